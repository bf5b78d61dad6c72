/** The gRPC service config that workflowstore publishes: which calls gRPC tries again, and how often. */
export const serviceConfig = {
  "methodConfig": [
    {
      "name": [
        {"service": "workflowstore.v1.WorkflowStore", "method": "Save"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "Update"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "Load"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "Count"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "Delete"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "SaveBatch"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "LoadBatch"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "DeleteBatch"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "Import"},
        {"service": "workflowstore.v1.WorkflowStore", "method": "GetInfo"}
      ],
      "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]
      }
    }
  ],
  "retryThrottling": {
    "maxTokens": 1000,
    "tokenRatio": 1
  }
};
