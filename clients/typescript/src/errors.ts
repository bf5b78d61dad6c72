/** The only place that knows how the status of a failed call, or of one item of it, becomes an error. */

import { fromBinary, type Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import { type ServiceError, status } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import { ErrorReason } from "./gen/workflowstore/v1/error_reason_pb.js";
import type { ItemError } from "./gen/workflowstore/v1/workflow_store_pb.js";

const DOMAIN = "workflowstore";
const DETAILS_KEY = "grpc-status-details-bin";
const REASON_PREFIX = "ERROR_REASON_";

/** The reasons that leave the outcome of a write open unless their metadata say more. */
const OUTCOME_OPEN: ReadonlySet<string> = new Set([
  "ERROR_REASON_STORAGE_UNAVAILABLE",
  "ERROR_REASON_CALL_TOO_LONG",
  "ERROR_REASON_INTERNAL",
]);

/** Name of an ErrorReason, such as "ERROR_REASON_REVISION_MISMATCH"; a newer server may send others. */
export type Reason = `ERROR_REASON_${Exclude<keyof typeof ErrorReason, "UNSPECIFIED">}` | (string & {});

/** What became of a write that failed: it is not and will not be stored, or it may be. */
export type Outcome = "not_applied" | "unknown";

/** One thing that is wrong with one field of a request. */
export interface FieldViolation {
  /** Path of the field, by its names in the proto, such as "state.workflow_id". */
  readonly field: string;
  /** A word for programs. Empty = none given. */
  readonly reason: string;
  /** A sentence for people, with the limit and the way out. */
  readonly description: string;
}

interface Facts {
  code: keyof typeof status;
  reason?: Reason | undefined;
  metadata?: Readonly<Record<string, string>>;
  violations?: readonly FieldViolation[];
  retryAfterSeconds?: number | undefined;
  outcome?: Outcome | undefined;
  cause?: unknown;
}

/** A call failed, or one item of a batch. Branch on `reason`, or on `code` where there is none; never on `message`. */
export class WorkflowStoreError extends Error {
  /** Name of the gRPC status code, such as "ABORTED". */
  readonly code: keyof typeof status;
  /** Why, in the words of the service. undefined = it gave no reason: the call never reached it, or was cut off. */
  readonly reason: Reason | undefined;
  /** The facts that came with the reason; error_reason.proto says at each reason which they are. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Everything that is wrong with the request, for ERROR_REASON_INVALID_REQUEST; of an item of a batch none are told. */
  readonly violations: readonly FieldViolation[];
  /** How long the server asks to wait before the call is made again. undefined = it did not ask. */
  readonly retryAfterSeconds: number | undefined;
  /**
   * What became of a write. "unknown": it may be stored, or may still become so within moments; make the same call with
   * the same `requestId` again, which applies once, or load to find out. undefined for calls that only read.
   */
  readonly outcome: Outcome | undefined;

  constructor(message: string, facts: Facts) {
    super(message, { cause: facts.cause });
    this.code = facts.code;
    this.reason = facts.reason;
    this.metadata = facts.metadata ?? {};
    this.violations = facts.violations ?? [];
    this.retryAfterSeconds = facts.retryAfterSeconds;
    this.outcome = facts.outcome;
  }

  /**
   * The error for a failed call, which is its `cause`. The client throws it by itself; this is for other stubs.
   *
   * @param error - What grpc-js reports. Details that cannot be read are left out.
   * @param write - Whether the call writes.
   */
  static fromServiceError(error: ServiceError, write: boolean): WorkflowStoreError {
    const details = unpackedStatus(error.metadata?.get(DETAILS_KEY)[0]);
    const found = first(details, ErrorInfoSchema);
    const info = found?.domain === DOMAIN ? found : undefined;
    const reason = info?.reason || undefined;
    const metadata = info?.metadata ?? {};
    const delay = first(details, RetryInfoSchema)?.retryDelay;
    return new WorkflowStoreError(error.details || error.message, {
      code: codeName(error.code),
      reason,
      metadata,
      violations: (first(details, BadRequestSchema)?.fieldViolations ?? []).map(({ field, reason, description }) => {
        return { field, reason, description };
      }),
      retryAfterSeconds: delay && Number(delay.seconds) + delay.nanos / 1e9,
      outcome: write ? outcomeOf(reason, metadata) : undefined,
      cause: error,
    });
  }

  /**
   * The error for one item of a batch, alike to that of a call for this item alone.
   *
   * @param item - The `error` of the item.
   * @param write - Whether the batch writes: not that of a LoadBatch, or of a dry run.
   */
  static fromItemError(item: ItemError, write: boolean): WorkflowStoreError {
    let reason: Reason | undefined;
    if (item.reason !== ErrorReason.UNSPECIFIED) {
      // One that this version does not know goes by its number.
      reason = item.reason in ErrorReason ? REASON_PREFIX + ErrorReason[item.reason] : String(item.reason);
    }
    return new WorkflowStoreError(item.message, {
      code: codeName(item.code),
      reason,
      metadata: item.metadata,
      outcome: write ? outcomeOf(reason, item.metadata) : undefined,
    });
  }
}

// On the prototype, as the errors of the language have it.
WorkflowStoreError.prototype.name = "WorkflowStoreError";

function codeName(code: number): keyof typeof status {
  return (status[code] ?? "UNKNOWN") as keyof typeof status;
}

function outcomeOf(reason: Reason | undefined, metadata: Readonly<Record<string, string>>): Outcome {
  if (metadata.outcome === "not_applied" || metadata.outcome === "unknown") {
    return metadata.outcome;
  }
  const known = reason?.startsWith(REASON_PREFIX) === true && reason.slice(REASON_PREFIX.length) in ErrorReason;
  return known && !OUTCOME_OPEN.has(reason) ? "not_applied" : "unknown";
}

function unpackedStatus(packed: string | Buffer | undefined): Any[] {
  return packed instanceof Buffer ? (readable(() => fromBinary(StatusSchema, packed))?.details ?? []) : [];
}

function first<T extends Message>(details: Any[], schema: GenMessage<T>): T | undefined {
  const packed = details.find((detail) => detail.typeUrl.endsWith(`/${schema.typeName}`));
  return packed && readable(() => anyUnpack(packed, schema));
}

/** What `read` gives, or undefined where the bytes are no such message. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
