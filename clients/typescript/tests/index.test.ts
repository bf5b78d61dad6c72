import assert from "node:assert/strict";
import { test } from "node:test";
import * as workflowstore from "workflowstore";

test("the package exports these names beside the schemas of the messages and enums", () => {
  const names = Object.keys(workflowstore).filter((name) => !/^file_|Schema$/.test(name));
  assert.deepEqual(names.sort(), [
    "ChangeKind",
    "Consistency",
    "Durability",
    "ErrorReason",
    "EventType",
    "ImportOutcome",
    "OnConflict",
    "OrderBy",
    "WorkflowStatus",
    "WorkflowStore",
    "WorkflowStoreError",
    "WorkflowView",
    "connect",
    "parseJson",
    "stringifyJson",
  ]);
});
