/** The only place that knows how a call of the service goes over a channel of grpc-js. */

import { randomUUID } from "node:crypto";
import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type ChannelCredentials,
  Client,
  type ClientOptions,
  type CallOptions as GrpcCallOptions,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { WorkflowStoreError } from "./errors.js";
import { serviceConfig } from "./gen/service_config.js";
import { WorkflowStore } from "./gen/workflowstore/v1/workflow_store_pb.js";

const OPTIONS: Partial<ClientOptions> = {
  // A chunk of a List is one state and 1 MiB, and a state is less than the 64 MiB that a NATS message may have at most.
  // gRPC's own limit of 4 MiB would refuse what a server may well send.
  "grpc.max_receive_message_length": 64 * 1024 * 1024,
  // So that a server that was restarted is found again within 2 s; gRPC's own pauses grow to 2 minutes.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2000,
  "grpc.service_config": JSON.stringify(serviceConfig),
  // The largest request that a server takes is a batch of 8 MiB; of gRPC's own 1 MiB, larger ones would never be tried
  // again. It is no memory of its own: the request is kept, not copied.
  "grpc.per_rpc_retry_buffer_size": 16 * 1024 * 1024,
};

/** The calls that write. */
const WRITES: ReadonlySet<string> = new Set(["Save", "Update", "Delete", "SaveBatch", "DeleteBatch", "Import"]);

/** What a call takes beside its request: what grpc-js takes (`deadline`, `interceptors`, `credentials`), and these. */
export interface CallOptions extends GrpcCallOptions {
  /** Ends the call, which then fails as CANCELLED. */
  signal?: AbortSignal;
  /** Metadata to send. */
  metadata?: Metadata;
}

type Calls<Methods> = {
  [Name in keyof Methods]: Methods[Name] extends DescMethodUnary<infer Input, infer Output>
    ? (request: MessageInitShape<Input>, options?: CallOptions) => Promise<MessageShape<Output>>
    : Methods[Name] extends DescMethodServerStreaming<infer Input, infer Output>
      ? (request: MessageInitShape<Input>, options?: CallOptions) => AsyncGenerator<MessageShape<Output>, void>
      : never;
};

/**
 * The calls of the service, named as in the proto but for the first letter. What they do stands at the proto's comments.
 *
 * A call that fails throws a {@link WorkflowStoreError}, or another Error, before anything is sent, for a request that has
 * no wire form, such as an integer out of range. It has no deadline unless its options have one.
 *
 * A stream (`list`, `watch`, `listRevisions`, `export`) begins when it is first read, and ends when the loop over it is
 * left. One that waits for its next message ends by the `signal` of its options.
 *
 * A write without a `requestId` is given a random one, so that gRPC can safely try it again.
 */
export type WorkflowStoreClient = Calls<typeof WorkflowStore.method> & {
  /** Closes the channel, as soon as the calls under way are done. Calls made later fail. */
  close(): void;
};

/**
 * A client. It connects at its first call, and anew whenever the connection is lost.
 *
 * gRPC tries unary calls again as the published service config says: those that fail as UNAVAILABLE, up to 5 times in all.
 *
 * @param target - Where the server is, such as "127.0.0.1:50051"; any target that grpc-js takes.
 * @param credentials - Of the channel: `credentials.createSsl()` of grpc-js, or `credentials.createInsecure()`.
 * @param options - Of the channel, over those that the client has by itself: interceptors, keepalive, a larger
 *   `grpc.max_receive_message_length` than 64 MiB, or `"grpc.enable_retries": 0` to try nothing again.
 */
export function connect(
  target: string,
  credentials: ChannelCredentials,
  options: Partial<ClientOptions> = {},
): WorkflowStoreClient {
  const channel = new Client(target, credentials, { ...OPTIONS, ...options });
  const calls = WorkflowStore.methods.map((method) => {
    // The service has calls of these two kinds only.
    const call =
      method.methodKind === "unary"
        ? unary(channel, method as DescMethodUnary)
        : serverStreaming(channel, method as DescMethodServerStreaming);
    return [method.localName, call] as const;
  });
  return { ...Object.fromEntries(calls), close: () => channel.close() } as WorkflowStoreClient;
}

function unary<Input extends DescMessage, Output extends DescMessage>(
  channel: Client,
  method: DescMethodUnary<Input, Output>,
) {
  return (init: MessageInitShape<Input>, options: CallOptions = {}) =>
    new Promise<MessageShape<Output>>((resolve, reject) => {
      const { request, write } = prepared(method, init);
      const { signal, metadata = new Metadata(), ...rest } = options;
      const call = channel.makeUnaryRequest(
        path(method),
        passed,
        (bytes) => fromBinary(method.output, bytes),
        request,
        metadata,
        rest,
        (error, reply) => {
          release();
          if (reply === undefined) {
            reject(WorkflowStoreError.fromServiceError(error as ServiceError, write));
          } else {
            resolve(reply);
          }
        },
      );
      const release = cancelledBy(signal, call);
    });
}

function serverStreaming<Input extends DescMessage, Output extends DescMessage>(
  channel: Client,
  method: DescMethodServerStreaming<Input, Output>,
) {
  return async function* (init: MessageInitShape<Input>, options: CallOptions = {}) {
    const { request, write } = prepared(method, init);
    const { signal, metadata = new Metadata(), ...rest } = options;
    const call = channel.makeServerStreamRequest(
      path(method),
      passed,
      (bytes) => fromBinary(method.output, bytes),
      request,
      metadata,
      rest,
    );
    // Its cancellation is reported after the loop below has been left, and nobody else listens then.
    call.on("error", () => {});
    const release = cancelledBy(signal, call);
    try {
      for await (const message of call) {
        yield message as MessageShape<Output>;
      }
    } catch (error) {
      throw WorkflowStoreError.fromServiceError(error as ServiceError, write);
    } finally {
      release();
      call.cancel();
    }
  };
}

function path(method: DescMethodUnary | DescMethodServerStreaming): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** The bytes of a request, made before the call, so that what has no wire form is reported as what it is. */
function prepared<Input extends DescMessage>(
  method: DescMethodUnary<Input> | DescMethodServerStreaming<Input>,
  init: MessageInitShape<Input>,
): { request: Buffer; write: boolean } {
  let message = create(method.input, init) as MessageShape<Input> & { requestId?: string; dryRun?: boolean };
  if (message.requestId === "") {
    // A copy: it may be the caller's own message.
    message = { ...message, requestId: randomUUID() };
  }
  const bytes = toBinary(method.input, message);
  return {
    request: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    write: WRITES.has(method.name) && message.dryRun !== true,
  };
}

function passed(bytes: Buffer): Buffer {
  return bytes;
}

/** Has `signal` cancel the call; returns what ends that. */
function cancelledBy(signal: AbortSignal | undefined, call: { cancel(): void }): () => void {
  const cancel = () => call.cancel();
  if (signal?.aborted) {
    cancel();
  }
  signal?.addEventListener("abort", cancel);
  return () => signal?.removeEventListener("abort", cancel);
}
