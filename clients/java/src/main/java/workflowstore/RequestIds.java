package workflowstore;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.MethodDescriptor;
import java.util.UUID;

/**
 * Gives each write without a {@code request_id} a random one. It sees a call once, however often
 * gRPC then tries it, so that a write that is tried again is applied once.
 */
final class RequestIds implements ClientInterceptor {
  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
      @Override
      public void sendMessage(Q request) {
        super.sendMessage(identified(request));
      }
    };
  }

  private static <Q> Q identified(Q request) {
    if (!(request instanceof Message message)) {
      return request;
    }
    FieldDescriptor field = message.getDescriptorForType().findFieldByName("request_id");
    if (field == null || !message.getField(field).equals("")) {
      return request;
    }
    // A message's builder builds messages of its class.
    @SuppressWarnings("unchecked")
    Q copy = (Q) message.toBuilder().setField(field, UUID.randomUUID().toString()).build();
    return copy;
  }
}
