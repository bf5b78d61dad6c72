import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { ErrorReason, ItemErrorSchema, WorkflowStoreError } from "workflowstore";

/** A google.rpc.Status of code ABORTED with these details, each a type's name and the bytes of its message. */
function packed(...details: [string, Buffer][]): Buffer {
  const field = (number: number, bytes: Buffer) => {
    assert.ok(bytes.length < 128);
    return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  };
  const anys = details.map(([type, bytes]) =>
    field(3, Buffer.concat([field(1, Buffer.from(`type.googleapis.com/google.rpc.${type}`)), field(2, bytes)])),
  );
  return Buffer.concat([Buffer.from([0x08, 0x0a]), ...anys]);
}

/** An ErrorInfo with metadata of one character a key and value. */
function errorInfo(reason: string, domain = "workflowstore", metadata: Record<string, string> = {}): Buffer {
  const text = (number: number, value: string) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, value.length]), Buffer.from(value)]);
  const entries = Object.entries(metadata).map(([key, value]) =>
    text(3, Buffer.concat([text(1, key), text(2, value)]).toString("latin1")),
  );
  return Buffer.concat([text(1, reason), text(2, domain), ...entries]);
}

function failure(code: status, details?: Buffer): ServiceError {
  const metadata = new Metadata();
  if (details !== undefined) {
    metadata.set("grpc-status-details-bin", details);
  }
  return Object.assign(new Error(`${code}: what happened`), { code, details: "what happened", metadata });
}

test("a status becomes code, reason, metadata, violations and delay, with the failure as its cause", () => {
  const cause = failure(
    status.ABORTED,
    packed(
      ["ErrorInfo", errorInfo("ERROR_REASON_CONTENDED", "workflowstore", { attempts: "16" })],
      // retry_delay { nanos: 250000000 }
      ["RetryInfo", Buffer.from([0x0a, 0x05, 0x10, 0x80, 0xe5, 0x9a, 0x77])],
      // field_violations { field: "a" description: "b" reason: "c" }
      ["BadRequest", Buffer.from([0x0a, 0x09, 0x0a, 1, 0x61, 0x12, 1, 0x62, 0x1a, 1, 0x63])],
    ),
  );
  const error = WorkflowStoreError.fromServiceError(cause, true);
  assert.ok(error instanceof Error);
  assert.equal(error.name, "WorkflowStoreError");
  assert.equal(error.message, "what happened");
  assert.equal(error.code, "ABORTED");
  assert.equal(error.reason, "ERROR_REASON_CONTENDED");
  assert.deepEqual(error.metadata, { attempts: "16" });
  assert.deepEqual(error.violations, [{ field: "a", reason: "c", description: "b" }]);
  assert.equal(error.retryAfterSeconds, 0.25);
  assert.equal(error.outcome, "not_applied");
  assert.equal(error.cause, cause);
});

test("without details, with those of another service, or with unreadable ones, the code alone is known", () => {
  const details = [
    undefined,
    packed(["ErrorInfo", errorInfo("ERROR_REASON_CONTENDED", "elsewhere")]),
    packed(["ErrorInfo", Buffer.from([0xff])]),
    Buffer.from([0xff, 0xff]),
  ];
  for (const bytes of details) {
    const error = WorkflowStoreError.fromServiceError(failure(status.UNAVAILABLE, bytes), true);
    assert.equal(error.code, "UNAVAILABLE");
    assert.equal(error.reason, undefined);
    assert.deepEqual(error.metadata, {});
    assert.deepEqual(error.violations, []);
    assert.equal(error.retryAfterSeconds, undefined);
    assert.equal(error.outcome, "unknown");
  }
});

test("the outcome is the server's word where it gives one, and else follows from the reason", () => {
  const outcome = (reason: string, metadata = {}) =>
    WorkflowStoreError.fromServiceError(
      failure(status.UNAVAILABLE, packed(["ErrorInfo", errorInfo(reason, "workflowstore", metadata)])),
      true,
    ).outcome;
  const open = ["STORAGE_UNAVAILABLE", "CALL_TOO_LONG", "INTERNAL"];
  for (const name of Object.keys(ErrorReason).filter((key) => Number.isNaN(Number(key)) && key !== "UNSPECIFIED")) {
    assert.equal(outcome(`ERROR_REASON_${name}`), open.includes(name) ? "unknown" : "not_applied", name);
  }
  assert.equal(outcome("ERROR_REASON_OF_A_NEWER_SERVER"), "unknown");
  assert.equal(outcome("ERROR_REASON_STORAGE_UNAVAILABLE", { outcome: "not_applied" }), "not_applied");
  assert.equal(outcome("ERROR_REASON_SHUTTING_DOWN", { outcome: "unknown" }), "unknown");
  assert.equal(outcome("ERROR_REASON_SHUTTING_DOWN", { outcome: "in doubt" }), "not_applied");
});

test("calls that only read have no outcome", () => {
  assert.equal(WorkflowStoreError.fromServiceError(failure(status.UNAVAILABLE), false).outcome, undefined);
});

test("an item of a batch fails as a call for it alone would", () => {
  const item = create(ItemErrorSchema, {
    code: status.ABORTED,
    reason: ErrorReason.REVISION_MISMATCH,
    message: "somebody was faster",
    metadata: { actual_revision: "17" },
  });
  const error = WorkflowStoreError.fromItemError(item, true);
  assert.equal(error.message, "somebody was faster");
  assert.equal(error.code, "ABORTED");
  assert.equal(error.reason, "ERROR_REASON_REVISION_MISMATCH");
  assert.deepEqual(error.metadata, { actual_revision: "17" });
  assert.equal(error.outcome, "not_applied");
  assert.equal(WorkflowStoreError.fromItemError(item, false).outcome, undefined);

  const newer = WorkflowStoreError.fromItemError(
    create(ItemErrorSchema, { code: 99, reason: 4711 as ErrorReason }),
    true,
  );
  assert.equal(newer.code, "UNKNOWN");
  assert.equal(newer.reason, "4711");
  assert.equal(newer.outcome, "unknown");
});
