package workflowstore;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import workflowstore.v1.ErrorReason;
import workflowstore.v1.ItemError;

/**
 * What went wrong with a call, or with one item of a batch, taken out of its gRPC status.
 *
 * <p>Branch on {@link #reason()}, never on the text; treat a reason that this version does not know
 * by its {@link #code()}.
 */
// The map and the list are those of copyOf, which can be serialized.
@SuppressWarnings("serial")
public final class WorkflowStoreException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private static final String DOMAIN = "workflowstore";
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  /** What became of a write that failed. */
  public enum Outcome {
    /** It is not stored and will not be. */
    NOT_APPLIED,
    /**
     * It may be stored, or may become so within moments. Send it again with the same {@code
     * request_id}, which applies it once and gets the first result; or load to find out.
     */
    UNKNOWN
  }

  private final Status.Code code;
  private final String reasonName;
  private final Map<String, String> metadata;
  private final List<BadRequest.FieldViolation> violations;
  private final Duration retryAfter;

  private WorkflowStoreException(
      Status status,
      String reasonName,
      Map<String, String> metadata,
      List<BadRequest.FieldViolation> violations,
      Duration retryAfter,
      Throwable cause) {
    super(
        status.getDescription() == null
            ? status.getCode().name()
            : status.getCode() + ": " + status.getDescription(),
        cause);
    this.code = status.getCode();
    this.reasonName = reasonName;
    this.metadata = Map.copyOf(metadata);
    this.violations = List.copyOf(violations);
    this.retryAfter = retryAfter;
  }

  /**
   * What a failed call says.
   *
   * @param failure what a stub has thrown or a future has failed with: a StatusRuntimeException, a
   *     StatusException, or anything that one of them is the cause of. Of anything else the code is
   *     UNKNOWN. A WorkflowStoreException is returned as it is.
   * @return the exception, with {@code failure} as its cause. Details that cannot be read are left
   *     out.
   */
  public static WorkflowStoreException from(Throwable failure) {
    if (failure instanceof WorkflowStoreException known) {
      return known;
    }
    List<Any> details = details(Status.trailersFromThrowable(failure));
    ErrorInfo info =
        first(details, ErrorInfo.class)
            .filter(found -> found.getDomain().equals(DOMAIN))
            .orElse(ErrorInfo.getDefaultInstance());
    return new WorkflowStoreException(
        Status.fromThrowable(failure),
        info.getReason(),
        info.getMetadataMap(),
        first(details, BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of()),
        first(details, RetryInfo.class)
            .map(RetryInfo::getRetryDelay)
            .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()))
            .orElse(null),
        failure);
  }

  /**
   * What the error of one item of a batch says: the same as a call for this item alone would have
   * failed with, but for the violations and the delay, which items do not have.
   *
   * @param item the error
   * @return the exception, to be thrown or looked at
   */
  public static WorkflowStoreException from(ItemError item) {
    String reasonName =
        switch (item.getReason()) {
          case ERROR_REASON_UNSPECIFIED -> "";
          // One that this version does not know goes by its number.
          case UNRECOGNIZED -> Integer.toString(item.getReasonValue());
          default -> item.getReason().name();
        };
    return new WorkflowStoreException(
        Status.fromCodeValue(item.getCode()).withDescription(item.getMessage()),
        reasonName,
        item.getMetadataMap(),
        List.of(),
        null,
        null);
  }

  /**
   * The gRPC code.
   *
   * @return the code
   */
  public Status.Code code() {
    return code;
  }

  /**
   * The reason.
   *
   * @return the reason; ERROR_REASON_UNSPECIFIED if there is none, as when the call did not reach
   *     the service; UNRECOGNIZED if this version does not know it
   */
  public ErrorReason reason() {
    if (reasonName.isEmpty()) {
      return ErrorReason.ERROR_REASON_UNSPECIFIED;
    }
    try {
      return ErrorReason.valueOf(reasonName);
    } catch (IllegalArgumentException error) {
      return ErrorReason.UNRECOGNIZED;
    }
  }

  /**
   * The name of the reason as it came, also of one that this version does not know.
   *
   * @return the name, such as {@code ERROR_REASON_WORKFLOW_NOT_FOUND}; empty if there is none
   */
  public String reasonName() {
    return reasonName;
  }

  /**
   * The facts. Which there are is said at each {@link ErrorReason}.
   *
   * @return the facts by their keys; cannot be changed
   */
  public Map<String, String> metadata() {
    return metadata;
  }

  /**
   * Every wrong field of an ERROR_REASON_INVALID_REQUEST, with the limit and the way out.
   *
   * @return the wrong fields, 20 at most and then how many more; cannot be changed
   */
  public List<BadRequest.FieldViolation> violations() {
    return violations;
  }

  /**
   * How long to wait before trying again.
   *
   * @return the delay; empty where trying again is not advised
   */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }

  /**
   * What became of the write. Means nothing where the call was a read.
   *
   * @return what the server says where it says so; NOT_APPLIED for the other known reasons but
   *     ERROR_REASON_STORAGE_UNAVAILABLE, ERROR_REASON_CALL_TOO_LONG and ERROR_REASON_INTERNAL;
   *     UNKNOWN for these and where no answer came
   */
  public Outcome outcome() {
    return switch (metadata.getOrDefault("outcome", "")) {
      case "not_applied" -> Outcome.NOT_APPLIED;
      case "unknown" -> Outcome.UNKNOWN;
      default ->
          switch (reason()) {
            case ERROR_REASON_UNSPECIFIED,
                UNRECOGNIZED,
                ERROR_REASON_STORAGE_UNAVAILABLE,
                ERROR_REASON_CALL_TOO_LONG,
                ERROR_REASON_INTERNAL ->
                Outcome.UNKNOWN;
            default -> Outcome.NOT_APPLIED;
          };
    };
  }

  private static List<Any> details(Metadata trailers) {
    byte[] packed = trailers == null ? null : trailers.get(DETAILS);
    if (packed == null) {
      return List.of();
    }
    try {
      return com.google.rpc.Status.parseFrom(packed).getDetailsList();
    } catch (InvalidProtocolBufferException error) {
      return List.of();
    }
  }

  private static <T extends Message> Optional<T> first(List<Any> details, Class<T> type) {
    for (Any detail : details) {
      if (detail.is(type)) {
        try {
          return Optional.of(detail.unpack(type));
        } catch (InvalidProtocolBufferException error) {
          return Optional.empty();
        }
      }
    }
    return Optional.empty();
  }
}
