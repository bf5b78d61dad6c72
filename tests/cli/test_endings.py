"""Each failure of a call has its exit code and its words."""

import pytest

from workflowstore.client import errors
from workflowstore.client.errors import FieldViolation
from workflowstore_server.cli.endings import ExitCode, failure_of

CASES = [
    (errors.InvalidRequestError, "INVALID_ARGUMENT", 2),
    (errors.WorkflowNotFoundError, "NOT_FOUND", 3),
    (errors.AlreadyExistsError, "ALREADY_EXISTS", 4),
    (errors.RevisionMismatchError, "ABORTED", 4),
    (errors.ContendedError, "ABORTED", 4),
    (errors.WriteForgottenError, "ABORTED", 4),
    (errors.UnavailableError, "UNAVAILABLE", 5),
    (errors.TlsError, "UNAVAILABLE", 5),
    (errors.DeadlineExceededError, "DEADLINE_EXCEEDED", 5),
    (errors.MalformedDocumentError, "DATA_LOSS", 6),
    (errors.StateTooLargeError, "RESOURCE_EXHAUSTED", 7),
    (errors.StorageFullError, "RESOURCE_EXHAUSTED", 7),
    (errors.BucketNotFoundError, "FAILED_PRECONDITION", 1),
    (errors.BucketConfigurationError, "FAILED_PRECONDITION", 1),
    (errors.RevisionForgottenError, "OUT_OF_RANGE", 2),
    (errors.RevisionNotReachedError, "OUT_OF_RANGE", 2),
    (errors.WatchTooSlowError, "RESOURCE_EXHAUSTED", 7),
    (errors.ReplyTooLargeError, "RESOURCE_EXHAUSTED", 7),
    (errors.TooManyCallsError, "RESOURCE_EXHAUSTED", 7),
    (errors.UnauthenticatedError, "UNAUTHENTICATED", 8),
    (errors.PermissionDeniedError, "PERMISSION_DENIED", 8),
    (errors.OutcomeUnknownError, "INTERNAL", 1),
    (errors.InternalError, "INTERNAL", 1),
    (errors.WorkflowStoreError, "UNIMPLEMENTED", 1),
]


@pytest.mark.parametrize(("kind", "code", "exit_code"), CASES)
def test_exit_codes(kind, code, exit_code) -> None:
    failed = failure_of(kind("words", code=code, reason="ERROR_REASON_X"), "there:1", 1)
    assert failed.code == exit_code
    assert str(failed) == "words"


@pytest.mark.parametrize("reason", ["TOO_MANY_CALLS", "IDENTITY_LIMIT_REACHED"])
def test_a_server_that_is_busy_is_unavailable_and_not_full(reason: str) -> None:
    busy = errors.TooManyCallsError("words", code="RESOURCE_EXHAUSTED", reason=f"ERROR_REASON_{reason}")

    assert failure_of(busy, "there:1", 1).code == 5


def test_every_exception_of_the_client_has_a_case() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {kind.__name__ for kind in kinds if not kind.__name__.startswith("_")} == {
        kind.__name__ for kind, _, _ in CASES
    }


def test_violations_have_a_line_each() -> None:
    violations = [FieldViolation("state.workflow_id", "REQUIRED", "is required"), FieldViolation("x", "", "is\nbad")]
    error = errors.InvalidRequestError("all in one", code="INVALID_ARGUMENT", violations=violations)
    assert str(failure_of(error, "there:1", 1)) == (
        "the request is invalid:\n  state.workflow_id: is required\n  x: is\\nbad"
    )


@pytest.mark.parametrize(
    ("outcome", "words"), [("not_applied", "nothing was written"), ("unknown", "is not known; load the workflow")]
)
def test_the_outcome_of_a_failed_write_is_told(outcome, words) -> None:
    error = errors.UnavailableError("away", code="UNAVAILABLE", reason="X", outcome=outcome)
    assert words in str(failure_of(error, "there:1", 1))


def test_what_the_server_said_already_is_not_told_twice() -> None:
    error = errors.ContendedError("nothing was written", code="ABORTED", reason="X", outcome="not_applied")
    assert str(failure_of(error, "there:1", 1)) == "nothing was written"


def test_failures_below_the_service_name_the_address_and_the_way_out() -> None:
    away = failure_of(errors.UnavailableError("refused", code="UNAVAILABLE"), "there:1", 1)
    late = failure_of(errors.DeadlineExceededError("late", code="DEADLINE_EXCEEDED"), "there:1", 1.5)
    other = failure_of(errors.WorkflowStoreError("what", code="UNIMPLEMENTED"), "there:1", 1)
    assert str(away) == "no server answers at there:1: refused"
    assert str(late) == "the server at there:1 did not finish within 1.5 s; give it more with --timeout"
    assert str(other) == "what (UNIMPLEMENTED from there:1)"


def test_failures_do_not_act_on_the_terminal() -> None:
    failed = failure_of(errors.InternalError("\x1b[2J\x9b31m\u202eabc", code="INTERNAL", reason="X"), "there:1", 1)
    assert str(failed) == r"\x1b[2J\x9b31m\u202eabc"
    assert failed.code is ExitCode.FAILURE
