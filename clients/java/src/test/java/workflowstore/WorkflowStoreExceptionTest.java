package workflowstore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import workflowstore.WorkflowStoreException.Outcome;
import workflowstore.v1.ErrorReason;
import workflowstore.v1.ItemError;

class WorkflowStoreExceptionTest {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  private static StatusRuntimeException failure(Status status, byte[] details) {
    Metadata trailers = new Metadata();
    trailers.put(DETAILS, details);
    return status.asRuntimeException(trailers);
  }

  private static WorkflowStoreException error(Status.Code code, Message... details) {
    com.google.rpc.Status.Builder packed = com.google.rpc.Status.newBuilder().setCode(code.value());
    for (Message detail : details) {
      packed.addDetails(Any.pack(detail));
    }
    return WorkflowStoreException.from(failure(code.toStatus(), packed.build().toByteArray()));
  }

  private static ErrorInfo info(String reason, String... metadata) {
    ErrorInfo.Builder info = ErrorInfo.newBuilder().setDomain("workflowstore").setReason(reason);
    for (int i = 0; i < metadata.length; i += 2) {
      info.putMetadata(metadata[i], metadata[i + 1]);
    }
    return info.build();
  }

  @Test
  void anErrorHasWhatItsDetailsSay() {
    BadRequest.FieldViolation violation =
        BadRequest.FieldViolation.newBuilder().setField("state.workflow_id").build();
    WorkflowStoreException error =
        error(
            Status.Code.INVALID_ARGUMENT,
            RetryInfo.newBuilder()
                .setRetryDelay(
                    com.google.protobuf.Duration.newBuilder().setSeconds(1).setNanos(500_000_000))
                .build(),
            info("ERROR_REASON_INVALID_REQUEST", "fields", "state.workflow_id"),
            BadRequest.newBuilder().addFieldViolations(violation).build());
    assertEquals(Status.Code.INVALID_ARGUMENT, error.code());
    assertEquals(ErrorReason.ERROR_REASON_INVALID_REQUEST, error.reason());
    assertEquals("ERROR_REASON_INVALID_REQUEST", error.reasonName());
    assertEquals(Map.of("fields", "state.workflow_id"), error.metadata());
    assertEquals(List.of(violation), error.violations());
    assertEquals(Optional.of(Duration.ofMillis(1500)), error.retryAfter());
    assertEquals(Outcome.NOT_APPLIED, error.outcome());
  }

  @ParameterizedTest
  @EnumSource(ErrorReason.class)
  void everyReasonHasAnOutcomeOfItsOwnAndTheServersWordGoesFirst(ErrorReason reason) {
    List<ErrorReason> unknown =
        List.of(
            ErrorReason.ERROR_REASON_UNSPECIFIED,
            ErrorReason.UNRECOGNIZED,
            ErrorReason.ERROR_REASON_STORAGE_UNAVAILABLE,
            ErrorReason.ERROR_REASON_CALL_TOO_LONG,
            ErrorReason.ERROR_REASON_INTERNAL);
    assertEquals(
        unknown.contains(reason) ? Outcome.UNKNOWN : Outcome.NOT_APPLIED,
        error(Status.Code.ABORTED, info(reason.name())).outcome());
    for (Outcome stated : Outcome.values()) {
      ErrorInfo info = info(reason.name(), "outcome", stated.name().toLowerCase(Locale.ROOT));
      assertEquals(stated, error(Status.Code.ABORTED, info).outcome());
    }
  }

  @Test
  void aReasonOfALaterVersionKeepsItsName() {
    WorkflowStoreException error = error(Status.Code.ABORTED, info("ERROR_REASON_OF_TOMORROW"));
    assertEquals(ErrorReason.UNRECOGNIZED, error.reason());
    assertEquals("ERROR_REASON_OF_TOMORROW", error.reasonName());
    assertEquals(Outcome.UNKNOWN, error.outcome());
  }

  @Test
  void detailsOfAnotherServiceAreNoReason() {
    ErrorInfo other = info("ERROR_REASON_INTERNAL", "a", "b").toBuilder().setDomain("x").build();
    WorkflowStoreException error = error(Status.Code.INTERNAL, other);
    assertEquals("", error.reasonName());
    assertEquals(Map.of(), error.metadata());
  }

  @Test
  void detailsThatCannotBeReadAreLeftOut() {
    byte[] garbage = {1, 2, 3};
    WorkflowStoreException error =
        WorkflowStoreException.from(failure(Status.NOT_FOUND.withDescription("gone"), garbage));
    assertEquals("NOT_FOUND: gone", error.getMessage());
    assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, error.reason());

    Any broken =
        Any.pack(info("ERROR_REASON_INTERNAL")).toBuilder()
            .setValue(ByteString.copyFrom(garbage))
            .build();
    byte[] details = com.google.rpc.Status.newBuilder().addDetails(broken).build().toByteArray();
    assertEquals("", WorkflowStoreException.from(failure(Status.INTERNAL, details)).reasonName());
  }

  @Test
  void aFailureIsFoundUnderWhateverItIsTheCauseOf() {
    ExecutionException wrapped =
        new ExecutionException(Status.UNAVAILABLE.withDescription("nobody").asException());
    WorkflowStoreException error = WorkflowStoreException.from(wrapped);
    assertEquals(Status.Code.UNAVAILABLE, error.code());
    assertEquals(Outcome.UNKNOWN, error.outcome());
    assertSame(wrapped, error.getCause());
    assertSame(error, WorkflowStoreException.from(error));
    assertEquals(
        Status.Code.UNKNOWN, WorkflowStoreException.from(new IllegalStateException()).code());
  }

  @ParameterizedTest
  @CsvSource({
    "4, ERROR_REASON_REVISION_MISMATCH, NOT_APPLIED",
    "13, ERROR_REASON_INTERNAL, UNKNOWN",
    "0, '', UNKNOWN",
    "999, 999, UNKNOWN"
  })
  void theErrorOfAnItemIsThatOfACall(int reason, String name, Outcome outcome) {
    WorkflowStoreException error =
        WorkflowStoreException.from(
            ItemError.newBuilder()
                .setCode(Status.Code.ABORTED.value())
                .setReasonValue(reason)
                .setMessage("no")
                .putMetadata("workflow_id", "w")
                .build());
    assertEquals(Status.Code.ABORTED, error.code());
    assertEquals("ABORTED: no", error.getMessage());
    assertEquals(name, error.reasonName());
    assertEquals(Map.of("workflow_id", "w"), error.metadata());
    assertEquals(outcome, error.outcome());
  }
}
