/** A tour of the client: node build/examples/tour.js [HOST:PORT] [BUCKET] */

import { randomUUID } from "node:crypto";
import { credentials } from "@grpc/grpc-js";
import {
  ChangeKind,
  connect,
  parseJson,
  stringifyJson,
  WorkflowStatus,
  WorkflowStoreError,
  WorkflowView,
} from "workflowstore";

const target = process.argv[2] ?? "127.0.0.1:50051";
const bucket = process.argv[3] ?? "";
const prefix = `tour-${randomUUID()}:`;
const workflowId = `${prefix}order`;

const client = connect(target, credentials.createInsecure());

// Save and load. Integers beyond 2^53 keep every digit, as bigint.
const inputJson = stringifyJson({ items: 3, total: 2n ** 63n });
const saved = await client.save({ bucket, state: { workflowId, status: WorkflowStatus.RUNNING, inputJson } });
const { state } = await client.load({ bucket, workflowId });
console.log("loaded", state?.revision === saved.revision, parseJson(state?.inputJson ?? ""));

// A stream: chunks of states, handed out while they arrive.
for (const name of ["parcel", "invoice"]) {
  await client.save({ bucket, state: { workflowId: prefix + name, labels: { team: "blue" } } });
}
for await (const chunk of client.list({ bucket, filter: { workflowIdPrefix: prefix }, view: WorkflowView.SUMMARY })) {
  for (const listed of chunk.states) {
    console.log("listed", listed.workflowId.slice(prefix.length), WorkflowStatus[listed.status]);
  }
}

// Changes what it names, on the server, and leaves the rest.
const updated = await client.update({
  bucket,
  state: { workflowId, status: WorkflowStatus.COMPLETED, resultJson: stringifyJson("shipped") },
  updateMask: { paths: ["status", "result_json"] },
  setLabels: { team: "red" },
});
console.log("updated", WorkflowStatus[updated.state?.status ?? 0], updated.state?.labels);

// Compare-and-set: the update above came after the revision that is expected here.
try {
  await client.save({ bucket, state: { workflowId }, expectedRevision: saved.revision });
} catch (error) {
  if (!(error instanceof WorkflowStoreError && error.reason === "ERROR_REASON_REVISION_MISMATCH")) {
    throw error;
  }
  console.log("conflict", error.code, error.metadata.actual_revision === String(updated.revision), error.outcome);
}

// What is not there.
try {
  await client.load({ bucket, workflowId: `${prefix}nothing` });
} catch (error) {
  if (!(error instanceof WorkflowStoreError)) {
    throw error;
  }
  console.log("missing", error.code, error.reason, Object.keys(error.metadata).sort());
}

// Every change as it is made. Leaving the loop ends the stream.
await client.delete({ bucket, workflowId: `${prefix}invoice` });
let seen = 0;
for await (const message of client.watch({
  bucket,
  filter: { workflowIdPrefix: prefix },
  start: { case: "afterRevision", value: updated.revision },
})) {
  for (const change of message.changes) {
    console.log("changed", ChangeKind[change.kind], change.workflowId.slice(prefix.length));
  }
  seen += message.changes.length;
  if (seen === 1) {
    await client.delete({ bucket, workflowId });
  }
  if (seen >= 2) {
    break;
  }
}

await client.delete({ bucket, workflowId: `${prefix}parcel` });
client.close();
