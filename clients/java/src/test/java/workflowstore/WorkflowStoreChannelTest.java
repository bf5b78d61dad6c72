package workflowstore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import workflowstore.v1.ListRequest;
import workflowstore.v1.ListResponse;
import workflowstore.v1.LoadRequest;
import workflowstore.v1.LoadResponse;
import workflowstore.v1.SaveRequest;
import workflowstore.v1.SaveResponse;
import workflowstore.v1.UpdateRequest;
import workflowstore.v1.UpdateResponse;
import workflowstore.v1.WorkflowState;
import workflowstore.v1.WorkflowStoreGrpc;
import workflowstore.v1.WorkflowStoreGrpc.WorkflowStoreBlockingStub;

@Timeout(60)
class WorkflowStoreChannelTest {
  private static final int BATCH_BYTES = 8 * 1024 * 1024;

  private static final int DETAIL_BYTES = 32 * 1024;
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  private final AtomicInteger calls = new AtomicInteger();
  private final List<String> requestIds = new CopyOnWriteArrayList<>();
  private Server server;
  private ManagedChannel channel;
  private WorkflowStoreBlockingStub store;

  /** Fails each Save and Load as UNAVAILABLE but every third, each List, and each Update. */
  private final class Failing extends WorkflowStoreGrpc.WorkflowStoreImplBase {
    @Override
    public void save(SaveRequest request, StreamObserver<SaveResponse> replies) {
      requestIds.add(request.getRequestId());
      reply(SaveResponse.getDefaultInstance(), replies);
    }

    @Override
    public void load(LoadRequest request, StreamObserver<LoadResponse> replies) {
      String big = "x".repeat(BATCH_BYTES);
      reply(
          LoadResponse.newBuilder().setState(WorkflowState.newBuilder().setInputJson(big)).build(),
          replies);
    }

    @Override
    public void list(ListRequest request, StreamObserver<ListResponse> replies) {
      calls.incrementAndGet();
      replies.onError(Status.UNAVAILABLE.asException());
    }

    @Override
    public void update(UpdateRequest request, StreamObserver<UpdateResponse> replies) {
      Metadata trailers = new Metadata();
      trailers.put(DETAILS, new byte[DETAIL_BYTES]);
      replies.onError(Status.INVALID_ARGUMENT.asException(trailers));
    }

    private <T> void reply(T message, StreamObserver<T> replies) {
      if (calls.incrementAndGet() % 3 != 0) {
        replies.onError(Status.UNAVAILABLE.asException());
        return;
      }
      replies.onNext(message);
      replies.onCompleted();
    }
  }

  @BeforeEach
  void start() throws IOException {
    server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .maxInboundMessageSize(2 * BATCH_BYTES)
            .addService(new Failing())
            .build()
            .start();
    channel =
        WorkflowStoreChannel.newBuilder(
                "127.0.0.1:" + server.getPort(), InsecureChannelCredentials.create())
            .build();
    store = WorkflowStoreGrpc.newBlockingStub(channel);
  }

  @AfterEach
  void stop() throws InterruptedException {
    channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
    server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
  }

  @Test
  void unaryCallsAreTriedAgainAndLargeRepliesTaken() {
    LoadResponse response = store.load(LoadRequest.getDefaultInstance());
    assertEquals(BATCH_BYTES, response.getState().getInputJson().length());
    assertEquals(3, calls.get());
  }

  @Test
  void theLargestRequestsAreTriedAgain() {
    String big = "x".repeat(BATCH_BYTES);
    store.save(
        SaveRequest.newBuilder().setState(WorkflowState.newBuilder().setInputJson(big)).build());
    assertEquals(3, calls.get());
  }

  @Test
  void aWriteIsTriedAgainWithOneRequestId() {
    store.save(SaveRequest.getDefaultInstance());
    assertEquals(3, requestIds.size());
    assertEquals(1, Set.copyOf(requestIds).size());
    assertNotEquals("", requestIds.get(0));
  }

  @Test
  void theRequestIdOfTheCallerIsKept() {
    store.save(SaveRequest.newBuilder().setRequestId("mine").build());
    assertEquals(List.of("mine", "mine", "mine"), requestIds);
  }

  @Test
  void streamsAreNotTriedAgain() {
    Iterator<ListResponse> chunks = store.list(ListRequest.getDefaultInstance());
    assertThrows(StatusRuntimeException.class, chunks::hasNext);
    assertEquals(1, calls.get());
  }

  @Test
  void longDetailsOfAnErrorArrive() {
    StatusRuntimeException error =
        assertThrows(
            StatusRuntimeException.class, () -> store.update(UpdateRequest.getDefaultInstance()));
    assertEquals(Status.Code.INVALID_ARGUMENT, error.getStatus().getCode());
    assertEquals(DETAIL_BYTES, error.getTrailers().get(DETAILS).length);
  }

  @Test
  void theServiceConfigIsThePublishedOne() {
    assertEquals(
        Set.of("methodConfig", "retryThrottling"), WorkflowStoreChannel.serviceConfig().keySet());
  }
}
