package workflowstore.example;

import com.google.protobuf.FieldMask;
import io.grpc.Context;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.math.BigInteger;
import java.util.Iterator;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import workflowstore.Json;
import workflowstore.WorkflowStoreChannel;
import workflowstore.WorkflowStoreException;
import workflowstore.v1.HistoryEvent;
import workflowstore.v1.ListRequest;
import workflowstore.v1.ListResponse;
import workflowstore.v1.LoadRequest;
import workflowstore.v1.SaveRequest;
import workflowstore.v1.UpdateRequest;
import workflowstore.v1.WatchRequest;
import workflowstore.v1.WatchResponse;
import workflowstore.v1.WorkflowChange;
import workflowstore.v1.WorkflowFilter;
import workflowstore.v1.WorkflowState;
import workflowstore.v1.WorkflowStatus;
import workflowstore.v1.WorkflowStoreGrpc;
import workflowstore.v1.WorkflowStoreGrpc.WorkflowStoreBlockingStub;

/** What the client does, call by call, against the server at the address that is given. */
public final class Example {
  /** The input of the example's workflow. */
  record Order(int items, BigInteger total) {}

  private final WorkflowStoreBlockingStub store;
  // Workflows of its own for every run.
  private final String prefix = "example/" + UUID.randomUUID() + "/";
  private final String id = prefix + "order:42";

  private Example(ManagedChannel channel) {
    store = WorkflowStoreGrpc.newBlockingStub(channel);
  }

  /**
   * Runs the example.
   *
   * @param arguments the address, HOST:PORT; 127.0.0.1:50051 if there is none
   */
  public static void main(String[] arguments) {
    String target = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
    ManagedChannel channel =
        WorkflowStoreChannel.newBuilder(target, InsecureChannelCredentials.create()).build();
    try {
      Example example = new Example(channel);
      long revision = example.save();
      example.load();
      example.update(revision);
      example.conflict(revision);
      example.notFound();
      example.list();
      example.watch();
    } finally {
      channel.shutdownNow();
    }
  }

  /** A stub whose calls take 10 s at most: gRPC's own deadline is never. */
  private WorkflowStoreBlockingStub store() {
    return store.withDeadlineAfter(10, TimeUnit.SECONDS);
  }

  private long save() {
    BigInteger total = BigInteger.TWO.pow(53).add(BigInteger.ONE);
    WorkflowState state =
        WorkflowState.newBuilder()
            .setWorkflowId(id)
            .setStatus(WorkflowStatus.WORKFLOW_STATUS_RUNNING)
            .setInputJson(Json.toText(new Order(3, total)))
            .putLabels("team", "blue")
            .build();
    SaveRequest request =
        SaveRequest.newBuilder()
            .setState(state)
            .setExpectedRevision(0) // It must not exist yet.
            .setRequestId(UUID.randomUUID().toString()) // Makes it safe for gRPC to try it again.
            .build();
    long revision = store().save(request).getRevision();
    System.out.println("saved " + state.getInputJson());
    return revision;
  }

  private void load() {
    LoadRequest request = LoadRequest.newBuilder().setWorkflowId(id).build();
    WorkflowState state = store().load(request).getState();
    Order order = Json.fromText(state.getInputJson(), Order.class);
    System.out.println("loaded " + state.getStatus() + " with a total of " + order.total());
  }

  private void update(long revision) {
    UpdateRequest request =
        UpdateRequest.newBuilder()
            .setState(
                WorkflowState.newBuilder()
                    .setWorkflowId(id)
                    .setStatus(WorkflowStatus.WORKFLOW_STATUS_COMPLETED)
                    .setResultJson(Json.toText(Map.of("shipped", true))))
            .setUpdateMask(FieldMask.newBuilder().addPaths("status").addPaths("result_json"))
            .addAppendHistory(HistoryEvent.newBuilder().setActivityName("ship"))
            .setExpectedRevision(revision)
            .setRequestId(UUID.randomUUID().toString())
            .build();
    WorkflowState state = store().update(request).getState();
    System.out.println("updated to " + state.getStatus() + " " + state.getResultJson());
  }

  /** Somebody has written since the revision that we have seen. */
  private void conflict(long revision) {
    SaveRequest request =
        SaveRequest.newBuilder()
            .setState(WorkflowState.newBuilder().setWorkflowId(id))
            .setExpectedRevision(revision)
            .build();
    try {
      store().save(request);
    } catch (StatusRuntimeException failure) {
      WorkflowStoreException error = WorkflowStoreException.from(failure);
      boolean later = !error.metadata().get("actual_revision").equals(Long.toString(revision));
      System.out.println(error.reason() + " " + error.outcome() + ", a later revision: " + later);
    }
  }

  private void notFound() {
    LoadRequest request = LoadRequest.newBuilder().setWorkflowId("no such order").build();
    try {
      store().load(request);
    } catch (StatusRuntimeException failure) {
      WorkflowStoreException error = WorkflowStoreException.from(failure);
      switch (error.reason()) {
        case ERROR_REASON_WORKFLOW_NOT_FOUND ->
            System.out.println("no workflow " + error.metadata().get("workflow_id"));
        default -> throw error;
      }
    }
  }

  private WorkflowFilter mine() {
    return WorkflowFilter.newBuilder().setWorkflowIdPrefix(prefix).build();
  }

  /** States arrive in chunks, while the server reads on. */
  private void list() {
    ListRequest request = ListRequest.newBuilder().setFilter(mine()).build();
    for (Iterator<ListResponse> chunks = store().list(request); chunks.hasNext(); ) {
      for (WorkflowState state : chunks.next().getStatesList()) {
        System.out.println("listed " + state.getStatus() + " " + state.getLabelsMap());
      }
    }
  }

  /** Two changes: what there is, and one that is made meanwhile. */
  private void watch() {
    WatchRequest request = WatchRequest.newBuilder().setFilter(mine()).setSnapshot(true).build();
    // A Watch has no end of its own: closing the context cancels it.
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      Iterator<WatchResponse> messages = context.wrap(() -> store.watch(request)).call();
      for (int changes = 0; changes < 2; ) {
        WatchResponse message = messages.next();
        for (WorkflowChange change : message.getChangesList()) {
          changes++;
          System.out.println(change.getKind() + " " + change.getState().getLabelsMap());
        }
        if (message.getSnapshotComplete()) {
          store()
              .update(
                  UpdateRequest.newBuilder()
                      .setState(WorkflowState.newBuilder().setWorkflowId(id))
                      .putSetLabels("depot", "north")
                      .build());
        }
      }
    } catch (RuntimeException failure) {
      throw failure;
    } catch (Exception impossible) { // Callable.call() may throw anything; this one does not.
      throw new AssertionError(impossible);
    }
  }
}
