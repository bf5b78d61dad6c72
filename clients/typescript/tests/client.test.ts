import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, test } from "node:test";
import { create, type DescMethod, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import {
  connect,
  DeleteBatchRequestSchema,
  type SaveRequest,
  SaveRequestSchema,
  WatchResponseSchema,
  WorkflowStore,
  type WorkflowStoreClient,
  WorkflowStoreError,
} from "workflowstore";

type Unary = (call: ServerUnaryCall<never, object>, reply: sendUnaryData<object>) => void;
type Streaming = (call: ServerWritableStream<never, object>) => void;

let server: Server;
let client: WorkflowStoreClient;
let target: string;
let handlers: Record<string, Unary>;
let streams: Record<string, Streaming>;

beforeEach(async () => {
  handlers = {};
  streams = {};
  server = new Server();
  const definition = Object.fromEntries(WorkflowStore.methods.map((method) => [method.name, definitionOf(method)]));
  const implementation = Object.fromEntries(
    WorkflowStore.methods.map(({ name, methodKind }) => [
      name,
      methodKind === "unary"
        ? (call: ServerUnaryCall<never, object>, reply: sendUnaryData<object>) => handlers[name]?.(call, reply)
        : (call: ServerWritableStream<never, object>) => streams[name]?.(call),
    ]),
  );
  server.addService(definition, implementation as UntypedServiceImplementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  target = `127.0.0.1:${port}`;
  client = connect(target, credentials.createInsecure());
});

afterEach(() => {
  client.close();
  server.forceShutdown();
});

function definitionOf(method: DescMethod): MethodDefinition<object, object> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: () => Buffer.alloc(0),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, create(method.output, message as never))),
    responseDeserialize: () => ({}),
  };
}

function failing(code: status, times = Number.POSITIVE_INFINITY, answer: object = {}) {
  const requests: { requestId?: string }[] = [];
  const handler: Unary = (call, reply) => {
    requests.push(call.request);
    if (requests.length <= times) {
      reply({ code, details: "not now" });
    } else {
      reply(null, answer);
    }
  };
  return { requests, handler };
}

test("gRPC tries a unary call again that fails as UNAVAILABLE, with one request id of its own", async () => {
  const { requests, handler } = failing(status.UNAVAILABLE, 2, { revision: 7n });
  handlers.Save = handler;
  const saved = await client.save({ state: { workflowId: "order:42" } });
  assert.equal(saved.revision, 7n);
  assert.equal(requests.length, 3);
  assert.match(requests[0]?.requestId ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(new Set(requests.map(({ requestId }) => requestId)).size, 1);

  await client.save({ state: { workflowId: "order:42" } });
  assert.notEqual(requests[3]?.requestId, requests[0]?.requestId);
});

test("it gives up after 5 attempts, and at once on other codes or when told to", async () => {
  const unavailable = failing(status.UNAVAILABLE);
  handlers.Load = unavailable.handler;
  await assert.rejects(client.load({ workflowId: "order:42" }), { name: "WorkflowStoreError", code: "UNAVAILABLE" });
  assert.equal(unavailable.requests.length, 5);

  const internal = failing(status.INTERNAL);
  handlers.Load = internal.handler;
  await assert.rejects(client.load({ workflowId: "order:42" }), { code: "INTERNAL" });
  assert.equal(internal.requests.length, 1);

  const once = failing(status.UNAVAILABLE);
  handlers.Load = once.handler;
  const plain = connect(target, credentials.createInsecure(), { "grpc.enable_retries": 0 });
  await assert.rejects(plain.load({ workflowId: "order:42" }), { code: "UNAVAILABLE" });
  assert.equal(once.requests.length, 1);
  plain.close();
});

test("it does not try again what the server says is not to be, as for ERROR_REASON_BUCKET_RECREATED", async () => {
  let attempts = 0;
  const metadata = new Metadata();
  metadata.set("grpc-retry-pushback-ms", "-1");
  handlers.Load = (_, reply) => {
    attempts += 1;
    reply({ code: status.UNAVAILABLE, details: "recreated", metadata });
  };
  await assert.rejects(client.load({ workflowId: "order:42" }), { code: "UNAVAILABLE", message: "recreated" });
  assert.equal(attempts, 1);
});

test("requests of some megabytes are tried again too, and replies as large are taken", async () => {
  const large = "x".repeat(3 * 1024 * 1024);
  const { requests, handler } = failing(status.UNAVAILABLE, 1, { revision: 1n });
  handlers.Save = handler;
  await client.save({ state: { workflowId: "order:42", error: large } });
  assert.equal(requests.length, 2);

  handlers.Load = (_, reply) => reply(null, { state: { error: large + large } });
  assert.equal((await client.load({ workflowId: "order:42" })).state?.error.length, 2 * large.length);
});

test("a request id that the caller gives is kept, and the caller's message is left alone", async () => {
  const { requests, handler } = failing(status.OK, 0);
  handlers.Save = handler;
  await client.save({ requestId: "mine", state: { workflowId: "order:42" } });
  const request: SaveRequest = create(SaveRequestSchema, { expectedRevision: 0n });
  await client.save(request);
  assert.equal(request.requestId, "");
  assert.equal(requests[0]?.requestId, "mine");
  const sent = requests[1] as SaveRequest;
  assert.notEqual(sent.requestId, "");
  assert.equal(sent.expectedRevision, 0n);
});

test("every call that writes tells its outcome, and no other does", async () => {
  const outcomes: Record<string, unknown> = {};
  for (const method of WorkflowStore.methods.filter(({ methodKind }) => methodKind === "unary")) {
    handlers[method.name] = failing(status.INTERNAL).handler;
    const call = client[method.localName as "getInfo"];
    outcomes[method.name] = await call({}).catch((error: WorkflowStoreError) => error.outcome);
  }
  assert.deepEqual(outcomes, {
    Save: "unknown",
    Update: "unknown",
    Load: undefined,
    Count: undefined,
    Delete: "unknown",
    SaveBatch: "unknown",
    LoadBatch: undefined,
    DeleteBatch: "unknown",
    Import: "unknown",
    GetInfo: undefined,
  });
  const dryRun = client.deleteBatch(create(DeleteBatchRequestSchema, { filter: {}, limit: 1, dryRun: true }));
  assert.equal(await dryRun.catch((error: WorkflowStoreError) => error.outcome), undefined);
});

test("a request without a wire form is refused before it is sent", async () => {
  const { requests, handler } = failing(status.OK, 0);
  handlers.Delete = handler;
  await assert.rejects(client.delete({ workflowId: "order:42", expectedRevision: -1n }), (error) => {
    return error instanceof Error && !(error instanceof WorkflowStoreError);
  });
  assert.equal(requests.length, 0);
});

test("a deadline and a signal end a call", async () => {
  handlers.Load = () => {};
  const request = { workflowId: "order:42" };
  await assert.rejects(client.load(request, { deadline: Date.now() + 50 }), { code: "DEADLINE_EXCEEDED" });
  await assert.rejects(client.load(request, { signal: AbortSignal.timeout(50) }), { code: "CANCELLED" });
  await assert.rejects(client.load(request, { signal: AbortSignal.abort() }), { code: "CANCELLED" });
});

test("a stream begins when it is read, and leaving the loop ends it on the server", async () => {
  let begun = 0;
  let ended: Promise<unknown> | undefined;
  streams.Watch = (call) => {
    begun += 1;
    ended = once(call, "cancelled");
    for (let revision = 1n; revision <= 3n; revision++) {
      call.write(create(WatchResponseSchema, { revision }));
    }
  };
  const stream = client.watch({});
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(begun, 0);
  const revisions: bigint[] = [];
  for await (const { revision } of stream) {
    revisions.push(revision);
    if (revisions.length === 2) {
      break;
    }
  }
  assert.deepEqual(revisions, [1n, 2n]);
  await ended;
});

test("a signal ends a stream that waits, and what the loop throws comes out of it", async () => {
  const ends: Promise<unknown>[] = [];
  streams.Watch = (call) => {
    ends.push(once(call, "cancelled"));
    call.write({});
  };
  const read = async (each: () => void, signal?: AbortSignal) => {
    for await (const _ of client.watch({}, signal === undefined ? {} : { signal })) {
      each();
    }
  };
  await assert.rejects(
    read(() => {}, AbortSignal.timeout(100)),
    { name: "WorkflowStoreError", code: "CANCELLED" },
  );
  await assert.rejects(
    read(() => {
      throw new RangeError("mine");
    }),
    RangeError,
  );
  await Promise.all(ends);
});

test("a stream that fails gives what came before, and then throws", async () => {
  streams.List = (call) => {
    call.write({ storeRevision: 1n });
    setImmediate(() => call.emit("error", { code: status.UNAVAILABLE, details: "gone" }));
  };
  let chunks = 0;
  const read = async () => {
    for await (const _ of client.list({})) {
      chunks += 1;
    }
  };
  await assert.rejects(read(), {
    name: "WorkflowStoreError",
    code: "UNAVAILABLE",
    message: "gone",
    outcome: undefined,
  });
  assert.equal(chunks, 1);
});

test("a closed client fails", async () => {
  client.close();
  await assert.rejects(client.load({ workflowId: "order:42" }));
});
