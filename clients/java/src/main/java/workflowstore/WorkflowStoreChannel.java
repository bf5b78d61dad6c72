package workflowstore;

import com.google.gson.Gson;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannelBuilder;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** The only place that knows how a channel to workflowstore is configured. */
public final class WorkflowStoreChannel {
  /**
   * The largest reply that is accepted, in bytes. A chunk of a List is one state and 1 MiB, and a
   * state is less than the 64 MiB that a NATS message may have at most. gRPC's own limit of 4 MiB
   * would refuse what a server may well send.
   */
  public static final int REPLY_BYTES_MAX = 64 * 1024 * 1024;

  /**
   * The largest request that is tried again, in bytes. The largest that a server takes is a batch
   * of 8 MiB; of gRPC's own 1 MiB, larger ones would never be tried again. It is no memory of its
   * own: the request is kept, not copied.
   */
  private static final long RETRY_BYTES_MAX = 16 * 1024 * 1024;

  /**
   * The largest headers and trailers that are accepted, in bytes. The details of an error are
   * there. A server keeps them within gRPC's own 8 KiB; where a proxy on the way adds more, the
   * call would fail as INTERNAL, without them.
   */
  private static final int TRAILER_BYTES_MAX = 64 * 1024;

  private WorkflowStoreChannel() {}

  /**
   * A builder of a channel on which gRPC tries unary calls again that fail as UNAVAILABLE, as the
   * published service config says, and that takes replies of up to {@link #REPLY_BYTES_MAX} bytes
   * and errors with all their details. A write without a {@code request_id} gets a random one,
   * which makes it safe to try it again.
   *
   * <p>Everything else is the caller's: interceptors, authority, keep-alive, the deadline of each
   * call. {@code disableRetry()} turns the retries off. Whoever builds the channel shuts it down.
   *
   * @param target where the server is, such as {@code 127.0.0.1:50051} or {@code dns:///store:443}
   * @param credentials how to reach it: {@code InsecureChannelCredentials.create()} without TLS,
   *     {@code TlsChannelCredentials} with it
   * @return the builder
   */
  public static ManagedChannelBuilder<?> newBuilder(String target, ChannelCredentials credentials) {
    return Grpc.newChannelBuilder(target, credentials)
        .defaultServiceConfig(serviceConfig())
        .enableRetry()
        .intercept(new RequestIds())
        .perRpcBufferLimit(RETRY_BYTES_MAX)
        .maxInboundMessageSize(REPLY_BYTES_MAX)
        .maxInboundMetadataSize(TRAILER_BYTES_MAX);
  }

  /**
   * The published service config, in the form that {@link
   * ManagedChannelBuilder#defaultServiceConfig} takes, for channels that are made in another way.
   *
   * @return the service config: maps, lists, texts and doubles
   */
  public static Map<String, ?> serviceConfig() {
    try (InputStream file = WorkflowStoreChannel.class.getResourceAsStream("service_config.json")) {
      // Gson reads a map's numbers as doubles, which is what gRPC wants.
      @SuppressWarnings("unchecked")
      Map<String, ?> config =
          new Gson().fromJson(new InputStreamReader(file, StandardCharsets.UTF_8), Map.class);
      return config;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
