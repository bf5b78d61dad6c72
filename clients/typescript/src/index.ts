/**
 * Client of workflowstore. {@link connect} gives the calls of the service; the messages are those that protobuf-es makes
 * of its protos, and so are their names, in camelCase.
 *
 * @packageDocumentation
 */
export { type CallOptions, connect, type WorkflowStoreClient } from "./client.js";
export { type FieldViolation, type Outcome, type Reason, WorkflowStoreError } from "./errors.js";
export * from "./gen/workflowstore/v1/error_reason_pb.js";
export * from "./gen/workflowstore/v1/workflow_filter_pb.js";
export * from "./gen/workflowstore/v1/workflow_state_pb.js";
export * from "./gen/workflowstore/v1/workflow_store_pb.js";
export { parseJson, stringifyJson } from "./json.js";
