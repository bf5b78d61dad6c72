package workflowstore.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * WorkflowStore durably keeps the state of workflow executions in buckets of NATS JetStream KV.
 * Every request names a bucket; empty means the server's first one, and a bucket that the server was not started with
 * is refused. Errors carry a google.rpc.ErrorInfo whose reason is an ErrorReason.
 * A request has at most 65,536 fields, counted with those of its items, of their states and with each event and label,
 * but without what an event consists of. One without states or documents has at most 2 MiB. One with more is refused
 * before it is read.
 * Calls that write take a `request_id`: any text of up to 128 bytes that the caller has used for no other request, such
 * as a random UUID. The same call with the same id, sent again within BucketInfo's `request_id_seconds` (2 minutes
 * unless the bucket says otherwise), to whatever server of the bucket, is applied once and gets the first result. So a
 * call whose outcome is unknown can be sent again. Without an id each call is a request of its own.
 * NATS forgets ids when it restarts, those of what has been overwritten before. A call that is sent again after such a
 * moment, and finds that others have written to its workflow since `known_revision`, is not applied, and ends as ABORTED
 * (ERROR_REASON_WRITE_FORGOTTEN): whether it had been applied before cannot be told any more. So `known_revision` should
 * be the newest revision of the bucket that the caller knows when it makes the call first. gRPC's own retries are known
 * by themselves; who sends a call again by hand says so (`resent`).
 * Any call may also be refused as RESOURCE_EXHAUSTED (ERROR_REASON_TOO_MANY_CALLS) before it begins. One with a single
 * reply ends as DEADLINE_EXCEEDED after 60 seconds, whatever its deadline (ERROR_REASON_CALL_TOO_LONG). A stream of which
 * nothing is read for 30 seconds ends as UNAVAILABLE (ERROR_REASON_READER_STALLED), and so does one whose connection has
 * become 30 minutes old: go on after the last message.
 * A server that asks its callers who they are refuses those that it does not know as UNAUTHENTICATED, and what they may
 * not do as PERMISSION_DENIED, as does every call below. Of a bucket that a caller may read a part of, a filter selects in
 * that part, as if there were nothing else. Revisions are those of the whole bucket.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class WorkflowStoreGrpc {

  private WorkflowStoreGrpc() {}

  public static final java.lang.String SERVICE_NAME = "workflowstore.v1.WorkflowStore";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.SaveRequest,
      workflowstore.v1.SaveResponse> getSaveMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Save",
      requestType = workflowstore.v1.SaveRequest.class,
      responseType = workflowstore.v1.SaveResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.SaveRequest,
      workflowstore.v1.SaveResponse> getSaveMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.SaveRequest, workflowstore.v1.SaveResponse> getSaveMethod;
    if ((getSaveMethod = WorkflowStoreGrpc.getSaveMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getSaveMethod = WorkflowStoreGrpc.getSaveMethod) == null) {
          WorkflowStoreGrpc.getSaveMethod = getSaveMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.SaveRequest, workflowstore.v1.SaveResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Save"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.SaveRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.SaveResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("Save"))
              .build();
        }
      }
    }
    return getSaveMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.UpdateRequest,
      workflowstore.v1.UpdateResponse> getUpdateMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Update",
      requestType = workflowstore.v1.UpdateRequest.class,
      responseType = workflowstore.v1.UpdateResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.UpdateRequest,
      workflowstore.v1.UpdateResponse> getUpdateMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.UpdateRequest, workflowstore.v1.UpdateResponse> getUpdateMethod;
    if ((getUpdateMethod = WorkflowStoreGrpc.getUpdateMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getUpdateMethod = WorkflowStoreGrpc.getUpdateMethod) == null) {
          WorkflowStoreGrpc.getUpdateMethod = getUpdateMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.UpdateRequest, workflowstore.v1.UpdateResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Update"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.UpdateRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.UpdateResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("Update"))
              .build();
        }
      }
    }
    return getUpdateMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.LoadRequest,
      workflowstore.v1.LoadResponse> getLoadMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Load",
      requestType = workflowstore.v1.LoadRequest.class,
      responseType = workflowstore.v1.LoadResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.LoadRequest,
      workflowstore.v1.LoadResponse> getLoadMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.LoadRequest, workflowstore.v1.LoadResponse> getLoadMethod;
    if ((getLoadMethod = WorkflowStoreGrpc.getLoadMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getLoadMethod = WorkflowStoreGrpc.getLoadMethod) == null) {
          WorkflowStoreGrpc.getLoadMethod = getLoadMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.LoadRequest, workflowstore.v1.LoadResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Load"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.LoadRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.LoadResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("Load"))
              .build();
        }
      }
    }
    return getLoadMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.ListRequest,
      workflowstore.v1.ListResponse> getListMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "List",
      requestType = workflowstore.v1.ListRequest.class,
      responseType = workflowstore.v1.ListResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<workflowstore.v1.ListRequest,
      workflowstore.v1.ListResponse> getListMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.ListRequest, workflowstore.v1.ListResponse> getListMethod;
    if ((getListMethod = WorkflowStoreGrpc.getListMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getListMethod = WorkflowStoreGrpc.getListMethod) == null) {
          WorkflowStoreGrpc.getListMethod = getListMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.ListRequest, workflowstore.v1.ListResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "List"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.ListRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.ListResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("List"))
              .build();
        }
      }
    }
    return getListMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.WatchRequest,
      workflowstore.v1.WatchResponse> getWatchMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Watch",
      requestType = workflowstore.v1.WatchRequest.class,
      responseType = workflowstore.v1.WatchResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<workflowstore.v1.WatchRequest,
      workflowstore.v1.WatchResponse> getWatchMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.WatchRequest, workflowstore.v1.WatchResponse> getWatchMethod;
    if ((getWatchMethod = WorkflowStoreGrpc.getWatchMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getWatchMethod = WorkflowStoreGrpc.getWatchMethod) == null) {
          WorkflowStoreGrpc.getWatchMethod = getWatchMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.WatchRequest, workflowstore.v1.WatchResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Watch"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.WatchRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.WatchResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("Watch"))
              .build();
        }
      }
    }
    return getWatchMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.ListRevisionsRequest,
      workflowstore.v1.ListRevisionsResponse> getListRevisionsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListRevisions",
      requestType = workflowstore.v1.ListRevisionsRequest.class,
      responseType = workflowstore.v1.ListRevisionsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<workflowstore.v1.ListRevisionsRequest,
      workflowstore.v1.ListRevisionsResponse> getListRevisionsMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.ListRevisionsRequest, workflowstore.v1.ListRevisionsResponse> getListRevisionsMethod;
    if ((getListRevisionsMethod = WorkflowStoreGrpc.getListRevisionsMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getListRevisionsMethod = WorkflowStoreGrpc.getListRevisionsMethod) == null) {
          WorkflowStoreGrpc.getListRevisionsMethod = getListRevisionsMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.ListRevisionsRequest, workflowstore.v1.ListRevisionsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListRevisions"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.ListRevisionsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.ListRevisionsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("ListRevisions"))
              .build();
        }
      }
    }
    return getListRevisionsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.CountRequest,
      workflowstore.v1.CountResponse> getCountMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Count",
      requestType = workflowstore.v1.CountRequest.class,
      responseType = workflowstore.v1.CountResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.CountRequest,
      workflowstore.v1.CountResponse> getCountMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.CountRequest, workflowstore.v1.CountResponse> getCountMethod;
    if ((getCountMethod = WorkflowStoreGrpc.getCountMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getCountMethod = WorkflowStoreGrpc.getCountMethod) == null) {
          WorkflowStoreGrpc.getCountMethod = getCountMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.CountRequest, workflowstore.v1.CountResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Count"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.CountRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.CountResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("Count"))
              .build();
        }
      }
    }
    return getCountMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.DeleteRequest,
      workflowstore.v1.DeleteResponse> getDeleteMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Delete",
      requestType = workflowstore.v1.DeleteRequest.class,
      responseType = workflowstore.v1.DeleteResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.DeleteRequest,
      workflowstore.v1.DeleteResponse> getDeleteMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.DeleteRequest, workflowstore.v1.DeleteResponse> getDeleteMethod;
    if ((getDeleteMethod = WorkflowStoreGrpc.getDeleteMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getDeleteMethod = WorkflowStoreGrpc.getDeleteMethod) == null) {
          WorkflowStoreGrpc.getDeleteMethod = getDeleteMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.DeleteRequest, workflowstore.v1.DeleteResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Delete"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.DeleteRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.DeleteResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("Delete"))
              .build();
        }
      }
    }
    return getDeleteMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.SaveBatchRequest,
      workflowstore.v1.SaveBatchResponse> getSaveBatchMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "SaveBatch",
      requestType = workflowstore.v1.SaveBatchRequest.class,
      responseType = workflowstore.v1.SaveBatchResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.SaveBatchRequest,
      workflowstore.v1.SaveBatchResponse> getSaveBatchMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.SaveBatchRequest, workflowstore.v1.SaveBatchResponse> getSaveBatchMethod;
    if ((getSaveBatchMethod = WorkflowStoreGrpc.getSaveBatchMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getSaveBatchMethod = WorkflowStoreGrpc.getSaveBatchMethod) == null) {
          WorkflowStoreGrpc.getSaveBatchMethod = getSaveBatchMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.SaveBatchRequest, workflowstore.v1.SaveBatchResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "SaveBatch"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.SaveBatchRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.SaveBatchResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("SaveBatch"))
              .build();
        }
      }
    }
    return getSaveBatchMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.LoadBatchRequest,
      workflowstore.v1.LoadBatchResponse> getLoadBatchMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "LoadBatch",
      requestType = workflowstore.v1.LoadBatchRequest.class,
      responseType = workflowstore.v1.LoadBatchResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.LoadBatchRequest,
      workflowstore.v1.LoadBatchResponse> getLoadBatchMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.LoadBatchRequest, workflowstore.v1.LoadBatchResponse> getLoadBatchMethod;
    if ((getLoadBatchMethod = WorkflowStoreGrpc.getLoadBatchMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getLoadBatchMethod = WorkflowStoreGrpc.getLoadBatchMethod) == null) {
          WorkflowStoreGrpc.getLoadBatchMethod = getLoadBatchMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.LoadBatchRequest, workflowstore.v1.LoadBatchResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "LoadBatch"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.LoadBatchRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.LoadBatchResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("LoadBatch"))
              .build();
        }
      }
    }
    return getLoadBatchMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.DeleteBatchRequest,
      workflowstore.v1.DeleteBatchResponse> getDeleteBatchMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteBatch",
      requestType = workflowstore.v1.DeleteBatchRequest.class,
      responseType = workflowstore.v1.DeleteBatchResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.DeleteBatchRequest,
      workflowstore.v1.DeleteBatchResponse> getDeleteBatchMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.DeleteBatchRequest, workflowstore.v1.DeleteBatchResponse> getDeleteBatchMethod;
    if ((getDeleteBatchMethod = WorkflowStoreGrpc.getDeleteBatchMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getDeleteBatchMethod = WorkflowStoreGrpc.getDeleteBatchMethod) == null) {
          WorkflowStoreGrpc.getDeleteBatchMethod = getDeleteBatchMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.DeleteBatchRequest, workflowstore.v1.DeleteBatchResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteBatch"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.DeleteBatchRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.DeleteBatchResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("DeleteBatch"))
              .build();
        }
      }
    }
    return getDeleteBatchMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.ExportRequest,
      workflowstore.v1.ExportResponse> getExportMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Export",
      requestType = workflowstore.v1.ExportRequest.class,
      responseType = workflowstore.v1.ExportResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<workflowstore.v1.ExportRequest,
      workflowstore.v1.ExportResponse> getExportMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.ExportRequest, workflowstore.v1.ExportResponse> getExportMethod;
    if ((getExportMethod = WorkflowStoreGrpc.getExportMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getExportMethod = WorkflowStoreGrpc.getExportMethod) == null) {
          WorkflowStoreGrpc.getExportMethod = getExportMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.ExportRequest, workflowstore.v1.ExportResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Export"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.ExportRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.ExportResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("Export"))
              .build();
        }
      }
    }
    return getExportMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.ImportRequest,
      workflowstore.v1.ImportResponse> getImportMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Import",
      requestType = workflowstore.v1.ImportRequest.class,
      responseType = workflowstore.v1.ImportResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.ImportRequest,
      workflowstore.v1.ImportResponse> getImportMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.ImportRequest, workflowstore.v1.ImportResponse> getImportMethod;
    if ((getImportMethod = WorkflowStoreGrpc.getImportMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getImportMethod = WorkflowStoreGrpc.getImportMethod) == null) {
          WorkflowStoreGrpc.getImportMethod = getImportMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.ImportRequest, workflowstore.v1.ImportResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Import"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.ImportRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.ImportResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("Import"))
              .build();
        }
      }
    }
    return getImportMethod;
  }

  private static volatile io.grpc.MethodDescriptor<workflowstore.v1.GetInfoRequest,
      workflowstore.v1.GetInfoResponse> getGetInfoMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetInfo",
      requestType = workflowstore.v1.GetInfoRequest.class,
      responseType = workflowstore.v1.GetInfoResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<workflowstore.v1.GetInfoRequest,
      workflowstore.v1.GetInfoResponse> getGetInfoMethod() {
    io.grpc.MethodDescriptor<workflowstore.v1.GetInfoRequest, workflowstore.v1.GetInfoResponse> getGetInfoMethod;
    if ((getGetInfoMethod = WorkflowStoreGrpc.getGetInfoMethod) == null) {
      synchronized (WorkflowStoreGrpc.class) {
        if ((getGetInfoMethod = WorkflowStoreGrpc.getGetInfoMethod) == null) {
          WorkflowStoreGrpc.getGetInfoMethod = getGetInfoMethod =
              io.grpc.MethodDescriptor.<workflowstore.v1.GetInfoRequest, workflowstore.v1.GetInfoResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetInfo"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.GetInfoRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  workflowstore.v1.GetInfoResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowStoreMethodDescriptorSupplier("GetInfo"))
              .build();
        }
      }
    }
    return getGetInfoMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static WorkflowStoreStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkflowStoreStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkflowStoreStub>() {
        @java.lang.Override
        public WorkflowStoreStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkflowStoreStub(channel, callOptions);
        }
      };
    return WorkflowStoreStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static WorkflowStoreBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkflowStoreBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkflowStoreBlockingV2Stub>() {
        @java.lang.Override
        public WorkflowStoreBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkflowStoreBlockingV2Stub(channel, callOptions);
        }
      };
    return WorkflowStoreBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static WorkflowStoreBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkflowStoreBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkflowStoreBlockingStub>() {
        @java.lang.Override
        public WorkflowStoreBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkflowStoreBlockingStub(channel, callOptions);
        }
      };
    return WorkflowStoreBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static WorkflowStoreFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkflowStoreFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkflowStoreFutureStub>() {
        @java.lang.Override
        public WorkflowStoreFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkflowStoreFutureStub(channel, callOptions);
        }
      };
    return WorkflowStoreFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * WorkflowStore durably keeps the state of workflow executions in buckets of NATS JetStream KV.
   * Every request names a bucket; empty means the server's first one, and a bucket that the server was not started with
   * is refused. Errors carry a google.rpc.ErrorInfo whose reason is an ErrorReason.
   * A request has at most 65,536 fields, counted with those of its items, of their states and with each event and label,
   * but without what an event consists of. One without states or documents has at most 2 MiB. One with more is refused
   * before it is read.
   * Calls that write take a `request_id`: any text of up to 128 bytes that the caller has used for no other request, such
   * as a random UUID. The same call with the same id, sent again within BucketInfo's `request_id_seconds` (2 minutes
   * unless the bucket says otherwise), to whatever server of the bucket, is applied once and gets the first result. So a
   * call whose outcome is unknown can be sent again. Without an id each call is a request of its own.
   * NATS forgets ids when it restarts, those of what has been overwritten before. A call that is sent again after such a
   * moment, and finds that others have written to its workflow since `known_revision`, is not applied, and ends as ABORTED
   * (ERROR_REASON_WRITE_FORGOTTEN): whether it had been applied before cannot be told any more. So `known_revision` should
   * be the newest revision of the bucket that the caller knows when it makes the call first. gRPC's own retries are known
   * by themselves; who sends a call again by hand says so (`resent`).
   * Any call may also be refused as RESOURCE_EXHAUSTED (ERROR_REASON_TOO_MANY_CALLS) before it begins. One with a single
   * reply ends as DEADLINE_EXCEEDED after 60 seconds, whatever its deadline (ERROR_REASON_CALL_TOO_LONG). A stream of which
   * nothing is read for 30 seconds ends as UNAVAILABLE (ERROR_REASON_READER_STALLED), and so does one whose connection has
   * become 30 minutes old: go on after the last message.
   * A server that asks its callers who they are refuses those that it does not know as UNAUTHENTICATED, and what they may
   * not do as PERMISSION_DENIED, as does every call below. Of a bucket that a caller may read a part of, a filter selects in
   * that part, as if there were nothing else. Revisions are those of the whole bucket.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Save writes a whole state over whatever was stored under its id. When the reply arrives the state is on disk
     * (as far as GetInfo's `durability` says so), and every later Load and List sees it.
     * Errors: INVALID_ARGUMENT, ALREADY_EXISTS and ABORTED (`expected_revision`), RESOURCE_EXHAUSTED (size, storage),
     * UNAVAILABLE (see the `outcome` of ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    default void save(workflowstore.v1.SaveRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.SaveResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSaveMethod(), responseObserver);
    }

    /**
     * <pre>
     * Update changes parts of a stored state: fields, labels, events at the end of the history. The server reads, changes
     * and writes, and does it again when somebody else has written in between, so that no change is lost. What is not
     * named stays as it is.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (unless `allow_missing`), ABORTED (`expected_revision`, contention),
     * RESOURCE_EXHAUSTED (size, storage), DATA_LOSS (the stored document cannot be decoded), UNAVAILABLE.
     * </pre>
     */
    default void update(workflowstore.v1.UpdateRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.UpdateResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUpdateMethod(), responseObserver);
    }

    /**
     * <pre>
     * Load reads one state. It sees every write acknowledged before the call; what that means when a bucket has several
     * replicas and their leader has just changed, `consistency` says.
     * Errors: INVALID_ARGUMENT, NOT_FOUND, DATA_LOSS (the stored document cannot be decoded), OUT_OF_RANGE
     * (`min_revision`), FAILED_PRECONDITION (`consistency`), UNAVAILABLE.
     * </pre>
     */
    default void load(workflowstore.v1.LoadRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.LoadResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getLoadMethod(), responseObserver);
    }

    /**
     * <pre>
     * List streams all states that match, in the order asked for. It sees every write acknowledged before the call, by
     * whatever writer of the bucket: the server's index catches up first. For a bucket with several replicas see
     * `consistency`.
     * The stream is complete when it ends with OK and its last chunk has no `next_page_token`. One that breaks, or that
     * ended at its `limit`, goes on after any of its chunks by that chunk's `next_page_token`, on any server of the bucket.
     * While workflows are written during a List (or between its parts), each state is the one before or the one after
     * the write. Ordered by workflow id, no workflow that exists and matches throughout is missed, and none repeated.
     * Ordered by created_at the same holds while writers keep created_at as it was. Ordered by updated_at, a workflow
     * that is written meanwhile moves: ascending it may come a second time, in its new state; descending it may be
     * missed, because it has moved to where the List has been.
     * A reader that stops reading stops the work; nothing piles up, and after a while the stream ends.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    default void list(workflowstore.v1.ListRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.ListResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListMethod(), responseObserver);
    }

    /**
     * <pre>
     * Watch streams changes as they are made: saved states that match, workflows that no longer match, deleted ones.
     * It begins where the request says, and its first message comes at once. Changes come in the order of their
     * revisions, each once. Of a workflow that is written faster than it is watched, or was written while nobody watched,
     * the bucket may have forgotten all but the newest revisions (BucketInfo's `history`); those that it keeps all come.
     * Every message carries the revision after which a later Watch goes on. What a List or Count reflects goes up to its
     * `store_revision`: a Watch after that revision misses nothing.
     * The stream has no end of its own. It ends as UNAVAILABLE when the server stops (ERROR_REASON_SHUTTING_DOWN), and as
     * RESOURCE_EXHAUSTED when the reader is so slow that changes would pile up (ERROR_REASON_WATCH_TOO_SLOW); watch again
     * after the revision of the last message. While NATS is away the stream is silent, and goes on when it is back.
     * What the bucket loses without a message, by the age that it is limited to, a message's time to live or a purge by
     * hand, is told as deleted at the revision that the bucket then has, but not again to those who resume before it.
     * Errors: INVALID_ARGUMENT, OUT_OF_RANGE (changes after `after_revision` may be forgotten: begin with a snapshot),
     * FAILED_PRECONDITION (the bucket does not allow direct reads), UNAVAILABLE, RESOURCE_EXHAUSTED.
     * </pre>
     */
    default void watch(workflowstore.v1.WatchRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.WatchResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListRevisions streams the revisions that the bucket keeps of one workflow (BucketInfo's `history`, of which the
     * newest is the stored state), delete markers included.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (no revision is stored), UNAVAILABLE.
     * </pre>
     */
    default void listRevisions(workflowstore.v1.ListRevisionsRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.ListRevisionsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListRevisionsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Count tells how many workflows match, in all and apart by status or by the value of a label. It sees every write
     * acknowledged before the call, as List does.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    default void count(workflowstore.v1.CountRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.CountResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCountMethod(), responseObserver);
    }

    /**
     * <pre>
     * Delete removes a workflow. Deleting what does not exist succeeds and writes nothing.
     * Errors: INVALID_ARGUMENT, ABORTED (`expected_revision`, contention), UNAVAILABLE (see the `outcome` of
     * ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    default void delete(workflowstore.v1.DeleteRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.DeleteResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteMethod(), responseObserver);
    }

    /**
     * <pre>
     * SaveBatch writes up to 1,000 states, each as Save does: apart from one another, or all or nothing (`atomic`).
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was written is not written again); for `atomic` those of Save and FAILED_PRECONDITION (the bucket
     * does not allow atomic batches). Otherwise each item has its own result or error.
     * </pre>
     */
    default void saveBatch(workflowstore.v1.SaveBatchRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.SaveBatchResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSaveBatchMethod(), responseObserver);
    }

    /**
     * <pre>
     * LoadBatch reads up to 1,000 states at once.
     * Errors, of the whole call: INVALID_ARGUMENT, OUT_OF_RANGE (`min_revision`), FAILED_PRECONDITION (`consistency`),
     * UNAVAILABLE. Otherwise each item has its own state or error.
     * </pre>
     */
    default void loadBatch(workflowstore.v1.LoadBatchRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.LoadBatchResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getLoadBatchMethod(), responseObserver);
    }

    /**
     * <pre>
     * DeleteBatch removes up to 1,000 workflows: those that are named, or those that match a filter. Each is removed apart
     * from the others. One that matched and was changed before it could be removed is left, and has an error.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was removed); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was removed is not removed again); with a filter also those of List. Otherwise each workflow has its
     * own result or error.
     * </pre>
     */
    default void deleteBatch(workflowstore.v1.DeleteBatchRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.DeleteBatchResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteBatchMethod(), responseObserver);
    }

    /**
     * <pre>
     * Export streams the stored documents of all workflows that match, byte for byte, and those that cannot be decoded, as
     * a List by workflow id does. It is a backup that Import takes back.
     * Errors: as List.
     * </pre>
     */
    default void export(workflowstore.v1.ExportRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.ExportResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getExportMethod(), responseObserver);
    }

    /**
     * <pre>
     * Import stores up to 1,000 documents byte for byte. A document that is stored already is left alone and is no
     * conflict, so that an import which was cut off can be repeated.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written), UNAVAILABLE. Otherwise each document has its own
     * result or error.
     * </pre>
     */
    default void import_(workflowstore.v1.ImportRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.ImportResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getImportMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetInfo tells what this server is, how the bucket is configured and how durable a write to it is.
     * Errors: INVALID_ARGUMENT, UNAVAILABLE.
     * </pre>
     */
    default void getInfo(workflowstore.v1.GetInfoRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.GetInfoResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetInfoMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service WorkflowStore.
   * <pre>
   * WorkflowStore durably keeps the state of workflow executions in buckets of NATS JetStream KV.
   * Every request names a bucket; empty means the server's first one, and a bucket that the server was not started with
   * is refused. Errors carry a google.rpc.ErrorInfo whose reason is an ErrorReason.
   * A request has at most 65,536 fields, counted with those of its items, of their states and with each event and label,
   * but without what an event consists of. One without states or documents has at most 2 MiB. One with more is refused
   * before it is read.
   * Calls that write take a `request_id`: any text of up to 128 bytes that the caller has used for no other request, such
   * as a random UUID. The same call with the same id, sent again within BucketInfo's `request_id_seconds` (2 minutes
   * unless the bucket says otherwise), to whatever server of the bucket, is applied once and gets the first result. So a
   * call whose outcome is unknown can be sent again. Without an id each call is a request of its own.
   * NATS forgets ids when it restarts, those of what has been overwritten before. A call that is sent again after such a
   * moment, and finds that others have written to its workflow since `known_revision`, is not applied, and ends as ABORTED
   * (ERROR_REASON_WRITE_FORGOTTEN): whether it had been applied before cannot be told any more. So `known_revision` should
   * be the newest revision of the bucket that the caller knows when it makes the call first. gRPC's own retries are known
   * by themselves; who sends a call again by hand says so (`resent`).
   * Any call may also be refused as RESOURCE_EXHAUSTED (ERROR_REASON_TOO_MANY_CALLS) before it begins. One with a single
   * reply ends as DEADLINE_EXCEEDED after 60 seconds, whatever its deadline (ERROR_REASON_CALL_TOO_LONG). A stream of which
   * nothing is read for 30 seconds ends as UNAVAILABLE (ERROR_REASON_READER_STALLED), and so does one whose connection has
   * become 30 minutes old: go on after the last message.
   * A server that asks its callers who they are refuses those that it does not know as UNAUTHENTICATED, and what they may
   * not do as PERMISSION_DENIED, as does every call below. Of a bucket that a caller may read a part of, a filter selects in
   * that part, as if there were nothing else. Revisions are those of the whole bucket.
   * </pre>
   */
  public static abstract class WorkflowStoreImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return WorkflowStoreGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service WorkflowStore.
   * <pre>
   * WorkflowStore durably keeps the state of workflow executions in buckets of NATS JetStream KV.
   * Every request names a bucket; empty means the server's first one, and a bucket that the server was not started with
   * is refused. Errors carry a google.rpc.ErrorInfo whose reason is an ErrorReason.
   * A request has at most 65,536 fields, counted with those of its items, of their states and with each event and label,
   * but without what an event consists of. One without states or documents has at most 2 MiB. One with more is refused
   * before it is read.
   * Calls that write take a `request_id`: any text of up to 128 bytes that the caller has used for no other request, such
   * as a random UUID. The same call with the same id, sent again within BucketInfo's `request_id_seconds` (2 minutes
   * unless the bucket says otherwise), to whatever server of the bucket, is applied once and gets the first result. So a
   * call whose outcome is unknown can be sent again. Without an id each call is a request of its own.
   * NATS forgets ids when it restarts, those of what has been overwritten before. A call that is sent again after such a
   * moment, and finds that others have written to its workflow since `known_revision`, is not applied, and ends as ABORTED
   * (ERROR_REASON_WRITE_FORGOTTEN): whether it had been applied before cannot be told any more. So `known_revision` should
   * be the newest revision of the bucket that the caller knows when it makes the call first. gRPC's own retries are known
   * by themselves; who sends a call again by hand says so (`resent`).
   * Any call may also be refused as RESOURCE_EXHAUSTED (ERROR_REASON_TOO_MANY_CALLS) before it begins. One with a single
   * reply ends as DEADLINE_EXCEEDED after 60 seconds, whatever its deadline (ERROR_REASON_CALL_TOO_LONG). A stream of which
   * nothing is read for 30 seconds ends as UNAVAILABLE (ERROR_REASON_READER_STALLED), and so does one whose connection has
   * become 30 minutes old: go on after the last message.
   * A server that asks its callers who they are refuses those that it does not know as UNAUTHENTICATED, and what they may
   * not do as PERMISSION_DENIED, as does every call below. Of a bucket that a caller may read a part of, a filter selects in
   * that part, as if there were nothing else. Revisions are those of the whole bucket.
   * </pre>
   */
  public static final class WorkflowStoreStub
      extends io.grpc.stub.AbstractAsyncStub<WorkflowStoreStub> {
    private WorkflowStoreStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkflowStoreStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkflowStoreStub(channel, callOptions);
    }

    /**
     * <pre>
     * Save writes a whole state over whatever was stored under its id. When the reply arrives the state is on disk
     * (as far as GetInfo's `durability` says so), and every later Load and List sees it.
     * Errors: INVALID_ARGUMENT, ALREADY_EXISTS and ABORTED (`expected_revision`), RESOURCE_EXHAUSTED (size, storage),
     * UNAVAILABLE (see the `outcome` of ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    public void save(workflowstore.v1.SaveRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.SaveResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getSaveMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Update changes parts of a stored state: fields, labels, events at the end of the history. The server reads, changes
     * and writes, and does it again when somebody else has written in between, so that no change is lost. What is not
     * named stays as it is.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (unless `allow_missing`), ABORTED (`expected_revision`, contention),
     * RESOURCE_EXHAUSTED (size, storage), DATA_LOSS (the stored document cannot be decoded), UNAVAILABLE.
     * </pre>
     */
    public void update(workflowstore.v1.UpdateRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.UpdateResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUpdateMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Load reads one state. It sees every write acknowledged before the call; what that means when a bucket has several
     * replicas and their leader has just changed, `consistency` says.
     * Errors: INVALID_ARGUMENT, NOT_FOUND, DATA_LOSS (the stored document cannot be decoded), OUT_OF_RANGE
     * (`min_revision`), FAILED_PRECONDITION (`consistency`), UNAVAILABLE.
     * </pre>
     */
    public void load(workflowstore.v1.LoadRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.LoadResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getLoadMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * List streams all states that match, in the order asked for. It sees every write acknowledged before the call, by
     * whatever writer of the bucket: the server's index catches up first. For a bucket with several replicas see
     * `consistency`.
     * The stream is complete when it ends with OK and its last chunk has no `next_page_token`. One that breaks, or that
     * ended at its `limit`, goes on after any of its chunks by that chunk's `next_page_token`, on any server of the bucket.
     * While workflows are written during a List (or between its parts), each state is the one before or the one after
     * the write. Ordered by workflow id, no workflow that exists and matches throughout is missed, and none repeated.
     * Ordered by created_at the same holds while writers keep created_at as it was. Ordered by updated_at, a workflow
     * that is written meanwhile moves: ascending it may come a second time, in its new state; descending it may be
     * missed, because it has moved to where the List has been.
     * A reader that stops reading stops the work; nothing piles up, and after a while the stream ends.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    public void list(workflowstore.v1.ListRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.ListResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getListMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Watch streams changes as they are made: saved states that match, workflows that no longer match, deleted ones.
     * It begins where the request says, and its first message comes at once. Changes come in the order of their
     * revisions, each once. Of a workflow that is written faster than it is watched, or was written while nobody watched,
     * the bucket may have forgotten all but the newest revisions (BucketInfo's `history`); those that it keeps all come.
     * Every message carries the revision after which a later Watch goes on. What a List or Count reflects goes up to its
     * `store_revision`: a Watch after that revision misses nothing.
     * The stream has no end of its own. It ends as UNAVAILABLE when the server stops (ERROR_REASON_SHUTTING_DOWN), and as
     * RESOURCE_EXHAUSTED when the reader is so slow that changes would pile up (ERROR_REASON_WATCH_TOO_SLOW); watch again
     * after the revision of the last message. While NATS is away the stream is silent, and goes on when it is back.
     * What the bucket loses without a message, by the age that it is limited to, a message's time to live or a purge by
     * hand, is told as deleted at the revision that the bucket then has, but not again to those who resume before it.
     * Errors: INVALID_ARGUMENT, OUT_OF_RANGE (changes after `after_revision` may be forgotten: begin with a snapshot),
     * FAILED_PRECONDITION (the bucket does not allow direct reads), UNAVAILABLE, RESOURCE_EXHAUSTED.
     * </pre>
     */
    public void watch(workflowstore.v1.WatchRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.WatchResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListRevisions streams the revisions that the bucket keeps of one workflow (BucketInfo's `history`, of which the
     * newest is the stored state), delete markers included.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (no revision is stored), UNAVAILABLE.
     * </pre>
     */
    public void listRevisions(workflowstore.v1.ListRevisionsRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.ListRevisionsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getListRevisionsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Count tells how many workflows match, in all and apart by status or by the value of a label. It sees every write
     * acknowledged before the call, as List does.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    public void count(workflowstore.v1.CountRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.CountResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCountMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Delete removes a workflow. Deleting what does not exist succeeds and writes nothing.
     * Errors: INVALID_ARGUMENT, ABORTED (`expected_revision`, contention), UNAVAILABLE (see the `outcome` of
     * ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    public void delete(workflowstore.v1.DeleteRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.DeleteResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * SaveBatch writes up to 1,000 states, each as Save does: apart from one another, or all or nothing (`atomic`).
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was written is not written again); for `atomic` those of Save and FAILED_PRECONDITION (the bucket
     * does not allow atomic batches). Otherwise each item has its own result or error.
     * </pre>
     */
    public void saveBatch(workflowstore.v1.SaveBatchRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.SaveBatchResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getSaveBatchMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * LoadBatch reads up to 1,000 states at once.
     * Errors, of the whole call: INVALID_ARGUMENT, OUT_OF_RANGE (`min_revision`), FAILED_PRECONDITION (`consistency`),
     * UNAVAILABLE. Otherwise each item has its own state or error.
     * </pre>
     */
    public void loadBatch(workflowstore.v1.LoadBatchRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.LoadBatchResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getLoadBatchMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * DeleteBatch removes up to 1,000 workflows: those that are named, or those that match a filter. Each is removed apart
     * from the others. One that matched and was changed before it could be removed is left, and has an error.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was removed); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was removed is not removed again); with a filter also those of List. Otherwise each workflow has its
     * own result or error.
     * </pre>
     */
    public void deleteBatch(workflowstore.v1.DeleteBatchRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.DeleteBatchResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteBatchMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Export streams the stored documents of all workflows that match, byte for byte, and those that cannot be decoded, as
     * a List by workflow id does. It is a backup that Import takes back.
     * Errors: as List.
     * </pre>
     */
    public void export(workflowstore.v1.ExportRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.ExportResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getExportMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Import stores up to 1,000 documents byte for byte. A document that is stored already is left alone and is no
     * conflict, so that an import which was cut off can be repeated.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written), UNAVAILABLE. Otherwise each document has its own
     * result or error.
     * </pre>
     */
    public void import_(workflowstore.v1.ImportRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.ImportResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getImportMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetInfo tells what this server is, how the bucket is configured and how durable a write to it is.
     * Errors: INVALID_ARGUMENT, UNAVAILABLE.
     * </pre>
     */
    public void getInfo(workflowstore.v1.GetInfoRequest request,
        io.grpc.stub.StreamObserver<workflowstore.v1.GetInfoResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetInfoMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service WorkflowStore.
   * <pre>
   * WorkflowStore durably keeps the state of workflow executions in buckets of NATS JetStream KV.
   * Every request names a bucket; empty means the server's first one, and a bucket that the server was not started with
   * is refused. Errors carry a google.rpc.ErrorInfo whose reason is an ErrorReason.
   * A request has at most 65,536 fields, counted with those of its items, of their states and with each event and label,
   * but without what an event consists of. One without states or documents has at most 2 MiB. One with more is refused
   * before it is read.
   * Calls that write take a `request_id`: any text of up to 128 bytes that the caller has used for no other request, such
   * as a random UUID. The same call with the same id, sent again within BucketInfo's `request_id_seconds` (2 minutes
   * unless the bucket says otherwise), to whatever server of the bucket, is applied once and gets the first result. So a
   * call whose outcome is unknown can be sent again. Without an id each call is a request of its own.
   * NATS forgets ids when it restarts, those of what has been overwritten before. A call that is sent again after such a
   * moment, and finds that others have written to its workflow since `known_revision`, is not applied, and ends as ABORTED
   * (ERROR_REASON_WRITE_FORGOTTEN): whether it had been applied before cannot be told any more. So `known_revision` should
   * be the newest revision of the bucket that the caller knows when it makes the call first. gRPC's own retries are known
   * by themselves; who sends a call again by hand says so (`resent`).
   * Any call may also be refused as RESOURCE_EXHAUSTED (ERROR_REASON_TOO_MANY_CALLS) before it begins. One with a single
   * reply ends as DEADLINE_EXCEEDED after 60 seconds, whatever its deadline (ERROR_REASON_CALL_TOO_LONG). A stream of which
   * nothing is read for 30 seconds ends as UNAVAILABLE (ERROR_REASON_READER_STALLED), and so does one whose connection has
   * become 30 minutes old: go on after the last message.
   * A server that asks its callers who they are refuses those that it does not know as UNAUTHENTICATED, and what they may
   * not do as PERMISSION_DENIED, as does every call below. Of a bucket that a caller may read a part of, a filter selects in
   * that part, as if there were nothing else. Revisions are those of the whole bucket.
   * </pre>
   */
  public static final class WorkflowStoreBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<WorkflowStoreBlockingV2Stub> {
    private WorkflowStoreBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkflowStoreBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkflowStoreBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Save writes a whole state over whatever was stored under its id. When the reply arrives the state is on disk
     * (as far as GetInfo's `durability` says so), and every later Load and List sees it.
     * Errors: INVALID_ARGUMENT, ALREADY_EXISTS and ABORTED (`expected_revision`), RESOURCE_EXHAUSTED (size, storage),
     * UNAVAILABLE (see the `outcome` of ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    public workflowstore.v1.SaveResponse save(workflowstore.v1.SaveRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getSaveMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Update changes parts of a stored state: fields, labels, events at the end of the history. The server reads, changes
     * and writes, and does it again when somebody else has written in between, so that no change is lost. What is not
     * named stays as it is.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (unless `allow_missing`), ABORTED (`expected_revision`, contention),
     * RESOURCE_EXHAUSTED (size, storage), DATA_LOSS (the stored document cannot be decoded), UNAVAILABLE.
     * </pre>
     */
    public workflowstore.v1.UpdateResponse update(workflowstore.v1.UpdateRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getUpdateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Load reads one state. It sees every write acknowledged before the call; what that means when a bucket has several
     * replicas and their leader has just changed, `consistency` says.
     * Errors: INVALID_ARGUMENT, NOT_FOUND, DATA_LOSS (the stored document cannot be decoded), OUT_OF_RANGE
     * (`min_revision`), FAILED_PRECONDITION (`consistency`), UNAVAILABLE.
     * </pre>
     */
    public workflowstore.v1.LoadResponse load(workflowstore.v1.LoadRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getLoadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * List streams all states that match, in the order asked for. It sees every write acknowledged before the call, by
     * whatever writer of the bucket: the server's index catches up first. For a bucket with several replicas see
     * `consistency`.
     * The stream is complete when it ends with OK and its last chunk has no `next_page_token`. One that breaks, or that
     * ended at its `limit`, goes on after any of its chunks by that chunk's `next_page_token`, on any server of the bucket.
     * While workflows are written during a List (or between its parts), each state is the one before or the one after
     * the write. Ordered by workflow id, no workflow that exists and matches throughout is missed, and none repeated.
     * Ordered by created_at the same holds while writers keep created_at as it was. Ordered by updated_at, a workflow
     * that is written meanwhile moves: ascending it may come a second time, in its new state; descending it may be
     * missed, because it has moved to where the List has been.
     * A reader that stops reading stops the work; nothing piles up, and after a while the stream ends.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, workflowstore.v1.ListResponse>
        list(workflowstore.v1.ListRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getListMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Watch streams changes as they are made: saved states that match, workflows that no longer match, deleted ones.
     * It begins where the request says, and its first message comes at once. Changes come in the order of their
     * revisions, each once. Of a workflow that is written faster than it is watched, or was written while nobody watched,
     * the bucket may have forgotten all but the newest revisions (BucketInfo's `history`); those that it keeps all come.
     * Every message carries the revision after which a later Watch goes on. What a List or Count reflects goes up to its
     * `store_revision`: a Watch after that revision misses nothing.
     * The stream has no end of its own. It ends as UNAVAILABLE when the server stops (ERROR_REASON_SHUTTING_DOWN), and as
     * RESOURCE_EXHAUSTED when the reader is so slow that changes would pile up (ERROR_REASON_WATCH_TOO_SLOW); watch again
     * after the revision of the last message. While NATS is away the stream is silent, and goes on when it is back.
     * What the bucket loses without a message, by the age that it is limited to, a message's time to live or a purge by
     * hand, is told as deleted at the revision that the bucket then has, but not again to those who resume before it.
     * Errors: INVALID_ARGUMENT, OUT_OF_RANGE (changes after `after_revision` may be forgotten: begin with a snapshot),
     * FAILED_PRECONDITION (the bucket does not allow direct reads), UNAVAILABLE, RESOURCE_EXHAUSTED.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, workflowstore.v1.WatchResponse>
        watch(workflowstore.v1.WatchRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListRevisions streams the revisions that the bucket keeps of one workflow (BucketInfo's `history`, of which the
     * newest is the stored state), delete markers included.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (no revision is stored), UNAVAILABLE.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, workflowstore.v1.ListRevisionsResponse>
        listRevisions(workflowstore.v1.ListRevisionsRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getListRevisionsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Count tells how many workflows match, in all and apart by status or by the value of a label. It sees every write
     * acknowledged before the call, as List does.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    public workflowstore.v1.CountResponse count(workflowstore.v1.CountRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCountMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Delete removes a workflow. Deleting what does not exist succeeds and writes nothing.
     * Errors: INVALID_ARGUMENT, ABORTED (`expected_revision`, contention), UNAVAILABLE (see the `outcome` of
     * ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    public workflowstore.v1.DeleteResponse delete(workflowstore.v1.DeleteRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * SaveBatch writes up to 1,000 states, each as Save does: apart from one another, or all or nothing (`atomic`).
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was written is not written again); for `atomic` those of Save and FAILED_PRECONDITION (the bucket
     * does not allow atomic batches). Otherwise each item has its own result or error.
     * </pre>
     */
    public workflowstore.v1.SaveBatchResponse saveBatch(workflowstore.v1.SaveBatchRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getSaveBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * LoadBatch reads up to 1,000 states at once.
     * Errors, of the whole call: INVALID_ARGUMENT, OUT_OF_RANGE (`min_revision`), FAILED_PRECONDITION (`consistency`),
     * UNAVAILABLE. Otherwise each item has its own state or error.
     * </pre>
     */
    public workflowstore.v1.LoadBatchResponse loadBatch(workflowstore.v1.LoadBatchRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getLoadBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * DeleteBatch removes up to 1,000 workflows: those that are named, or those that match a filter. Each is removed apart
     * from the others. One that matched and was changed before it could be removed is left, and has an error.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was removed); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was removed is not removed again); with a filter also those of List. Otherwise each workflow has its
     * own result or error.
     * </pre>
     */
    public workflowstore.v1.DeleteBatchResponse deleteBatch(workflowstore.v1.DeleteBatchRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Export streams the stored documents of all workflows that match, byte for byte, and those that cannot be decoded, as
     * a List by workflow id does. It is a backup that Import takes back.
     * Errors: as List.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, workflowstore.v1.ExportResponse>
        export(workflowstore.v1.ExportRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Import stores up to 1,000 documents byte for byte. A document that is stored already is left alone and is no
     * conflict, so that an import which was cut off can be repeated.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written), UNAVAILABLE. Otherwise each document has its own
     * result or error.
     * </pre>
     */
    public workflowstore.v1.ImportResponse import_(workflowstore.v1.ImportRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getImportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetInfo tells what this server is, how the bucket is configured and how durable a write to it is.
     * Errors: INVALID_ARGUMENT, UNAVAILABLE.
     * </pre>
     */
    public workflowstore.v1.GetInfoResponse getInfo(workflowstore.v1.GetInfoRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetInfoMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service WorkflowStore.
   * <pre>
   * WorkflowStore durably keeps the state of workflow executions in buckets of NATS JetStream KV.
   * Every request names a bucket; empty means the server's first one, and a bucket that the server was not started with
   * is refused. Errors carry a google.rpc.ErrorInfo whose reason is an ErrorReason.
   * A request has at most 65,536 fields, counted with those of its items, of their states and with each event and label,
   * but without what an event consists of. One without states or documents has at most 2 MiB. One with more is refused
   * before it is read.
   * Calls that write take a `request_id`: any text of up to 128 bytes that the caller has used for no other request, such
   * as a random UUID. The same call with the same id, sent again within BucketInfo's `request_id_seconds` (2 minutes
   * unless the bucket says otherwise), to whatever server of the bucket, is applied once and gets the first result. So a
   * call whose outcome is unknown can be sent again. Without an id each call is a request of its own.
   * NATS forgets ids when it restarts, those of what has been overwritten before. A call that is sent again after such a
   * moment, and finds that others have written to its workflow since `known_revision`, is not applied, and ends as ABORTED
   * (ERROR_REASON_WRITE_FORGOTTEN): whether it had been applied before cannot be told any more. So `known_revision` should
   * be the newest revision of the bucket that the caller knows when it makes the call first. gRPC's own retries are known
   * by themselves; who sends a call again by hand says so (`resent`).
   * Any call may also be refused as RESOURCE_EXHAUSTED (ERROR_REASON_TOO_MANY_CALLS) before it begins. One with a single
   * reply ends as DEADLINE_EXCEEDED after 60 seconds, whatever its deadline (ERROR_REASON_CALL_TOO_LONG). A stream of which
   * nothing is read for 30 seconds ends as UNAVAILABLE (ERROR_REASON_READER_STALLED), and so does one whose connection has
   * become 30 minutes old: go on after the last message.
   * A server that asks its callers who they are refuses those that it does not know as UNAUTHENTICATED, and what they may
   * not do as PERMISSION_DENIED, as does every call below. Of a bucket that a caller may read a part of, a filter selects in
   * that part, as if there were nothing else. Revisions are those of the whole bucket.
   * </pre>
   */
  public static final class WorkflowStoreBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<WorkflowStoreBlockingStub> {
    private WorkflowStoreBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkflowStoreBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkflowStoreBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Save writes a whole state over whatever was stored under its id. When the reply arrives the state is on disk
     * (as far as GetInfo's `durability` says so), and every later Load and List sees it.
     * Errors: INVALID_ARGUMENT, ALREADY_EXISTS and ABORTED (`expected_revision`), RESOURCE_EXHAUSTED (size, storage),
     * UNAVAILABLE (see the `outcome` of ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    public workflowstore.v1.SaveResponse save(workflowstore.v1.SaveRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getSaveMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Update changes parts of a stored state: fields, labels, events at the end of the history. The server reads, changes
     * and writes, and does it again when somebody else has written in between, so that no change is lost. What is not
     * named stays as it is.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (unless `allow_missing`), ABORTED (`expected_revision`, contention),
     * RESOURCE_EXHAUSTED (size, storage), DATA_LOSS (the stored document cannot be decoded), UNAVAILABLE.
     * </pre>
     */
    public workflowstore.v1.UpdateResponse update(workflowstore.v1.UpdateRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUpdateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Load reads one state. It sees every write acknowledged before the call; what that means when a bucket has several
     * replicas and their leader has just changed, `consistency` says.
     * Errors: INVALID_ARGUMENT, NOT_FOUND, DATA_LOSS (the stored document cannot be decoded), OUT_OF_RANGE
     * (`min_revision`), FAILED_PRECONDITION (`consistency`), UNAVAILABLE.
     * </pre>
     */
    public workflowstore.v1.LoadResponse load(workflowstore.v1.LoadRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getLoadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * List streams all states that match, in the order asked for. It sees every write acknowledged before the call, by
     * whatever writer of the bucket: the server's index catches up first. For a bucket with several replicas see
     * `consistency`.
     * The stream is complete when it ends with OK and its last chunk has no `next_page_token`. One that breaks, or that
     * ended at its `limit`, goes on after any of its chunks by that chunk's `next_page_token`, on any server of the bucket.
     * While workflows are written during a List (or between its parts), each state is the one before or the one after
     * the write. Ordered by workflow id, no workflow that exists and matches throughout is missed, and none repeated.
     * Ordered by created_at the same holds while writers keep created_at as it was. Ordered by updated_at, a workflow
     * that is written meanwhile moves: ascending it may come a second time, in its new state; descending it may be
     * missed, because it has moved to where the List has been.
     * A reader that stops reading stops the work; nothing piles up, and after a while the stream ends.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    public java.util.Iterator<workflowstore.v1.ListResponse> list(
        workflowstore.v1.ListRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getListMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Watch streams changes as they are made: saved states that match, workflows that no longer match, deleted ones.
     * It begins where the request says, and its first message comes at once. Changes come in the order of their
     * revisions, each once. Of a workflow that is written faster than it is watched, or was written while nobody watched,
     * the bucket may have forgotten all but the newest revisions (BucketInfo's `history`); those that it keeps all come.
     * Every message carries the revision after which a later Watch goes on. What a List or Count reflects goes up to its
     * `store_revision`: a Watch after that revision misses nothing.
     * The stream has no end of its own. It ends as UNAVAILABLE when the server stops (ERROR_REASON_SHUTTING_DOWN), and as
     * RESOURCE_EXHAUSTED when the reader is so slow that changes would pile up (ERROR_REASON_WATCH_TOO_SLOW); watch again
     * after the revision of the last message. While NATS is away the stream is silent, and goes on when it is back.
     * What the bucket loses without a message, by the age that it is limited to, a message's time to live or a purge by
     * hand, is told as deleted at the revision that the bucket then has, but not again to those who resume before it.
     * Errors: INVALID_ARGUMENT, OUT_OF_RANGE (changes after `after_revision` may be forgotten: begin with a snapshot),
     * FAILED_PRECONDITION (the bucket does not allow direct reads), UNAVAILABLE, RESOURCE_EXHAUSTED.
     * </pre>
     */
    public java.util.Iterator<workflowstore.v1.WatchResponse> watch(
        workflowstore.v1.WatchRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListRevisions streams the revisions that the bucket keeps of one workflow (BucketInfo's `history`, of which the
     * newest is the stored state), delete markers included.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (no revision is stored), UNAVAILABLE.
     * </pre>
     */
    public java.util.Iterator<workflowstore.v1.ListRevisionsResponse> listRevisions(
        workflowstore.v1.ListRevisionsRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getListRevisionsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Count tells how many workflows match, in all and apart by status or by the value of a label. It sees every write
     * acknowledged before the call, as List does.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    public workflowstore.v1.CountResponse count(workflowstore.v1.CountRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCountMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Delete removes a workflow. Deleting what does not exist succeeds and writes nothing.
     * Errors: INVALID_ARGUMENT, ABORTED (`expected_revision`, contention), UNAVAILABLE (see the `outcome` of
     * ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    public workflowstore.v1.DeleteResponse delete(workflowstore.v1.DeleteRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * SaveBatch writes up to 1,000 states, each as Save does: apart from one another, or all or nothing (`atomic`).
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was written is not written again); for `atomic` those of Save and FAILED_PRECONDITION (the bucket
     * does not allow atomic batches). Otherwise each item has its own result or error.
     * </pre>
     */
    public workflowstore.v1.SaveBatchResponse saveBatch(workflowstore.v1.SaveBatchRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getSaveBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * LoadBatch reads up to 1,000 states at once.
     * Errors, of the whole call: INVALID_ARGUMENT, OUT_OF_RANGE (`min_revision`), FAILED_PRECONDITION (`consistency`),
     * UNAVAILABLE. Otherwise each item has its own state or error.
     * </pre>
     */
    public workflowstore.v1.LoadBatchResponse loadBatch(workflowstore.v1.LoadBatchRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getLoadBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * DeleteBatch removes up to 1,000 workflows: those that are named, or those that match a filter. Each is removed apart
     * from the others. One that matched and was changed before it could be removed is left, and has an error.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was removed); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was removed is not removed again); with a filter also those of List. Otherwise each workflow has its
     * own result or error.
     * </pre>
     */
    public workflowstore.v1.DeleteBatchResponse deleteBatch(workflowstore.v1.DeleteBatchRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Export streams the stored documents of all workflows that match, byte for byte, and those that cannot be decoded, as
     * a List by workflow id does. It is a backup that Import takes back.
     * Errors: as List.
     * </pre>
     */
    public java.util.Iterator<workflowstore.v1.ExportResponse> export(
        workflowstore.v1.ExportRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Import stores up to 1,000 documents byte for byte. A document that is stored already is left alone and is no
     * conflict, so that an import which was cut off can be repeated.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written), UNAVAILABLE. Otherwise each document has its own
     * result or error.
     * </pre>
     */
    public workflowstore.v1.ImportResponse import_(workflowstore.v1.ImportRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getImportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetInfo tells what this server is, how the bucket is configured and how durable a write to it is.
     * Errors: INVALID_ARGUMENT, UNAVAILABLE.
     * </pre>
     */
    public workflowstore.v1.GetInfoResponse getInfo(workflowstore.v1.GetInfoRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetInfoMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service WorkflowStore.
   * <pre>
   * WorkflowStore durably keeps the state of workflow executions in buckets of NATS JetStream KV.
   * Every request names a bucket; empty means the server's first one, and a bucket that the server was not started with
   * is refused. Errors carry a google.rpc.ErrorInfo whose reason is an ErrorReason.
   * A request has at most 65,536 fields, counted with those of its items, of their states and with each event and label,
   * but without what an event consists of. One without states or documents has at most 2 MiB. One with more is refused
   * before it is read.
   * Calls that write take a `request_id`: any text of up to 128 bytes that the caller has used for no other request, such
   * as a random UUID. The same call with the same id, sent again within BucketInfo's `request_id_seconds` (2 minutes
   * unless the bucket says otherwise), to whatever server of the bucket, is applied once and gets the first result. So a
   * call whose outcome is unknown can be sent again. Without an id each call is a request of its own.
   * NATS forgets ids when it restarts, those of what has been overwritten before. A call that is sent again after such a
   * moment, and finds that others have written to its workflow since `known_revision`, is not applied, and ends as ABORTED
   * (ERROR_REASON_WRITE_FORGOTTEN): whether it had been applied before cannot be told any more. So `known_revision` should
   * be the newest revision of the bucket that the caller knows when it makes the call first. gRPC's own retries are known
   * by themselves; who sends a call again by hand says so (`resent`).
   * Any call may also be refused as RESOURCE_EXHAUSTED (ERROR_REASON_TOO_MANY_CALLS) before it begins. One with a single
   * reply ends as DEADLINE_EXCEEDED after 60 seconds, whatever its deadline (ERROR_REASON_CALL_TOO_LONG). A stream of which
   * nothing is read for 30 seconds ends as UNAVAILABLE (ERROR_REASON_READER_STALLED), and so does one whose connection has
   * become 30 minutes old: go on after the last message.
   * A server that asks its callers who they are refuses those that it does not know as UNAUTHENTICATED, and what they may
   * not do as PERMISSION_DENIED, as does every call below. Of a bucket that a caller may read a part of, a filter selects in
   * that part, as if there were nothing else. Revisions are those of the whole bucket.
   * </pre>
   */
  public static final class WorkflowStoreFutureStub
      extends io.grpc.stub.AbstractFutureStub<WorkflowStoreFutureStub> {
    private WorkflowStoreFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkflowStoreFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkflowStoreFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Save writes a whole state over whatever was stored under its id. When the reply arrives the state is on disk
     * (as far as GetInfo's `durability` says so), and every later Load and List sees it.
     * Errors: INVALID_ARGUMENT, ALREADY_EXISTS and ABORTED (`expected_revision`), RESOURCE_EXHAUSTED (size, storage),
     * UNAVAILABLE (see the `outcome` of ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.SaveResponse> save(
        workflowstore.v1.SaveRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getSaveMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Update changes parts of a stored state: fields, labels, events at the end of the history. The server reads, changes
     * and writes, and does it again when somebody else has written in between, so that no change is lost. What is not
     * named stays as it is.
     * Errors: INVALID_ARGUMENT, NOT_FOUND (unless `allow_missing`), ABORTED (`expected_revision`, contention),
     * RESOURCE_EXHAUSTED (size, storage), DATA_LOSS (the stored document cannot be decoded), UNAVAILABLE.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.UpdateResponse> update(
        workflowstore.v1.UpdateRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUpdateMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Load reads one state. It sees every write acknowledged before the call; what that means when a bucket has several
     * replicas and their leader has just changed, `consistency` says.
     * Errors: INVALID_ARGUMENT, NOT_FOUND, DATA_LOSS (the stored document cannot be decoded), OUT_OF_RANGE
     * (`min_revision`), FAILED_PRECONDITION (`consistency`), UNAVAILABLE.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.LoadResponse> load(
        workflowstore.v1.LoadRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getLoadMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Count tells how many workflows match, in all and apart by status or by the value of a label. It sees every write
     * acknowledged before the call, as List does.
     * Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the bucket does not allow direct reads), OUT_OF_RANGE
     * (`min_revision`), UNAVAILABLE (see ERROR_REASON_INDEX_BEHIND).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.CountResponse> count(
        workflowstore.v1.CountRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCountMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Delete removes a workflow. Deleting what does not exist succeeds and writes nothing.
     * Errors: INVALID_ARGUMENT, ABORTED (`expected_revision`, contention), UNAVAILABLE (see the `outcome` of
     * ERROR_REASON_STORAGE_UNAVAILABLE).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.DeleteResponse> delete(
        workflowstore.v1.DeleteRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * SaveBatch writes up to 1,000 states, each as Save does: apart from one another, or all or nothing (`atomic`).
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was written is not written again); for `atomic` those of Save and FAILED_PRECONDITION (the bucket
     * does not allow atomic batches). Otherwise each item has its own result or error.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.SaveBatchResponse> saveBatch(
        workflowstore.v1.SaveBatchRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getSaveBatchMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * LoadBatch reads up to 1,000 states at once.
     * Errors, of the whole call: INVALID_ARGUMENT, OUT_OF_RANGE (`min_revision`), FAILED_PRECONDITION (`consistency`),
     * UNAVAILABLE. Otherwise each item has its own state or error.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.LoadBatchResponse> loadBatch(
        workflowstore.v1.LoadBatchRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getLoadBatchMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * DeleteBatch removes up to 1,000 workflows: those that are named, or those that match a filter. Each is removed apart
     * from the others. One that matched and was changed before it could be removed is left, and has an error.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was removed); with a `request_id` UNAVAILABLE, to be sent again
     * with that id (what was removed is not removed again); with a filter also those of List. Otherwise each workflow has its
     * own result or error.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.DeleteBatchResponse> deleteBatch(
        workflowstore.v1.DeleteBatchRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteBatchMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Import stores up to 1,000 documents byte for byte. A document that is stored already is left alone and is no
     * conflict, so that an import which was cut off can be repeated.
     * Errors, of the whole call: INVALID_ARGUMENT (nothing was written), UNAVAILABLE. Otherwise each document has its own
     * result or error.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.ImportResponse> import_(
        workflowstore.v1.ImportRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getImportMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetInfo tells what this server is, how the bucket is configured and how durable a write to it is.
     * Errors: INVALID_ARGUMENT, UNAVAILABLE.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<workflowstore.v1.GetInfoResponse> getInfo(
        workflowstore.v1.GetInfoRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetInfoMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_SAVE = 0;
  private static final int METHODID_UPDATE = 1;
  private static final int METHODID_LOAD = 2;
  private static final int METHODID_LIST = 3;
  private static final int METHODID_WATCH = 4;
  private static final int METHODID_LIST_REVISIONS = 5;
  private static final int METHODID_COUNT = 6;
  private static final int METHODID_DELETE = 7;
  private static final int METHODID_SAVE_BATCH = 8;
  private static final int METHODID_LOAD_BATCH = 9;
  private static final int METHODID_DELETE_BATCH = 10;
  private static final int METHODID_EXPORT = 11;
  private static final int METHODID_IMPORT = 12;
  private static final int METHODID_GET_INFO = 13;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_SAVE:
          serviceImpl.save((workflowstore.v1.SaveRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.SaveResponse>) responseObserver);
          break;
        case METHODID_UPDATE:
          serviceImpl.update((workflowstore.v1.UpdateRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.UpdateResponse>) responseObserver);
          break;
        case METHODID_LOAD:
          serviceImpl.load((workflowstore.v1.LoadRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.LoadResponse>) responseObserver);
          break;
        case METHODID_LIST:
          serviceImpl.list((workflowstore.v1.ListRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.ListResponse>) responseObserver);
          break;
        case METHODID_WATCH:
          serviceImpl.watch((workflowstore.v1.WatchRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.WatchResponse>) responseObserver);
          break;
        case METHODID_LIST_REVISIONS:
          serviceImpl.listRevisions((workflowstore.v1.ListRevisionsRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.ListRevisionsResponse>) responseObserver);
          break;
        case METHODID_COUNT:
          serviceImpl.count((workflowstore.v1.CountRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.CountResponse>) responseObserver);
          break;
        case METHODID_DELETE:
          serviceImpl.delete((workflowstore.v1.DeleteRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.DeleteResponse>) responseObserver);
          break;
        case METHODID_SAVE_BATCH:
          serviceImpl.saveBatch((workflowstore.v1.SaveBatchRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.SaveBatchResponse>) responseObserver);
          break;
        case METHODID_LOAD_BATCH:
          serviceImpl.loadBatch((workflowstore.v1.LoadBatchRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.LoadBatchResponse>) responseObserver);
          break;
        case METHODID_DELETE_BATCH:
          serviceImpl.deleteBatch((workflowstore.v1.DeleteBatchRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.DeleteBatchResponse>) responseObserver);
          break;
        case METHODID_EXPORT:
          serviceImpl.export((workflowstore.v1.ExportRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.ExportResponse>) responseObserver);
          break;
        case METHODID_IMPORT:
          serviceImpl.import_((workflowstore.v1.ImportRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.ImportResponse>) responseObserver);
          break;
        case METHODID_GET_INFO:
          serviceImpl.getInfo((workflowstore.v1.GetInfoRequest) request,
              (io.grpc.stub.StreamObserver<workflowstore.v1.GetInfoResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getSaveMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.SaveRequest,
              workflowstore.v1.SaveResponse>(
                service, METHODID_SAVE)))
        .addMethod(
          getUpdateMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.UpdateRequest,
              workflowstore.v1.UpdateResponse>(
                service, METHODID_UPDATE)))
        .addMethod(
          getLoadMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.LoadRequest,
              workflowstore.v1.LoadResponse>(
                service, METHODID_LOAD)))
        .addMethod(
          getListMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              workflowstore.v1.ListRequest,
              workflowstore.v1.ListResponse>(
                service, METHODID_LIST)))
        .addMethod(
          getWatchMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              workflowstore.v1.WatchRequest,
              workflowstore.v1.WatchResponse>(
                service, METHODID_WATCH)))
        .addMethod(
          getListRevisionsMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              workflowstore.v1.ListRevisionsRequest,
              workflowstore.v1.ListRevisionsResponse>(
                service, METHODID_LIST_REVISIONS)))
        .addMethod(
          getCountMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.CountRequest,
              workflowstore.v1.CountResponse>(
                service, METHODID_COUNT)))
        .addMethod(
          getDeleteMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.DeleteRequest,
              workflowstore.v1.DeleteResponse>(
                service, METHODID_DELETE)))
        .addMethod(
          getSaveBatchMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.SaveBatchRequest,
              workflowstore.v1.SaveBatchResponse>(
                service, METHODID_SAVE_BATCH)))
        .addMethod(
          getLoadBatchMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.LoadBatchRequest,
              workflowstore.v1.LoadBatchResponse>(
                service, METHODID_LOAD_BATCH)))
        .addMethod(
          getDeleteBatchMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.DeleteBatchRequest,
              workflowstore.v1.DeleteBatchResponse>(
                service, METHODID_DELETE_BATCH)))
        .addMethod(
          getExportMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              workflowstore.v1.ExportRequest,
              workflowstore.v1.ExportResponse>(
                service, METHODID_EXPORT)))
        .addMethod(
          getImportMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.ImportRequest,
              workflowstore.v1.ImportResponse>(
                service, METHODID_IMPORT)))
        .addMethod(
          getGetInfoMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              workflowstore.v1.GetInfoRequest,
              workflowstore.v1.GetInfoResponse>(
                service, METHODID_GET_INFO)))
        .build();
  }

  private static abstract class WorkflowStoreBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    WorkflowStoreBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return workflowstore.v1.WorkflowStoreProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("WorkflowStore");
    }
  }

  private static final class WorkflowStoreFileDescriptorSupplier
      extends WorkflowStoreBaseDescriptorSupplier {
    WorkflowStoreFileDescriptorSupplier() {}
  }

  private static final class WorkflowStoreMethodDescriptorSupplier
      extends WorkflowStoreBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    WorkflowStoreMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (WorkflowStoreGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new WorkflowStoreFileDescriptorSupplier())
              .addMethod(getSaveMethod())
              .addMethod(getUpdateMethod())
              .addMethod(getLoadMethod())
              .addMethod(getListMethod())
              .addMethod(getWatchMethod())
              .addMethod(getListRevisionsMethod())
              .addMethod(getCountMethod())
              .addMethod(getDeleteMethod())
              .addMethod(getSaveBatchMethod())
              .addMethod(getLoadBatchMethod())
              .addMethod(getDeleteBatchMethod())
              .addMethod(getExportMethod())
              .addMethod(getImportMethod())
              .addMethod(getGetInfoMethod())
              .build();
        }
      }
    }
    return result;
  }
}
