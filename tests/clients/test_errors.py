"""Every failure becomes the exception of its reason, with its facts as fields, and never by its text."""

import copy
import pickle

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

import workflowstore
from workflowstore import FieldViolation, MalformedEntry, OutcomeUnknownError, WorkflowStoreError
from workflowstore.client import errors
from workflowstore.client._status import item_error, to_error
from workflowstore.v1 import error_reason_pb2, workflow_store_pb2

FACTS = {"bucket": "b", "workflow_id": "order:42"}

# reason: (code, metadata, class, its fields, the outcome for a write)
REASONS = {
    "INVALID_REQUEST": ("INVALID_ARGUMENT", {"fields": "limit"}, "InvalidRequestError", {}, "not_applied"),
    "WORKFLOW_NOT_FOUND": ("NOT_FOUND", FACTS, "WorkflowNotFoundError", {"workflow_id": "order:42"}, "not_applied"),
    "WORKFLOW_ALREADY_EXISTS": (
        "ALREADY_EXISTS",
        {**FACTS, "actual_revision": "17"},
        "AlreadyExistsError",
        {"workflow_id": "order:42", "actual_revision": 17},
        "not_applied",
    ),
    "REVISION_MISMATCH": (
        "ABORTED",
        {**FACTS, "expected_revision": "16", "actual_revision": "17"},
        "RevisionMismatchError",
        {"workflow_id": "order:42", "expected_revision": 16, "actual_revision": 17},
        "not_applied",
    ),
    "STATE_TOO_LARGE": (
        "RESOURCE_EXHAUSTED",
        {**FACTS, "size_bytes": "5242880", "limit_bytes": "4128768"},
        "StateTooLargeError",
        {"workflow_id": "order:42", "size_bytes": 5242880, "limit_bytes": 4128768},
        "not_applied",
    ),
    "STORAGE_FULL": (
        "RESOURCE_EXHAUSTED",
        {"bucket": "b", "detail": "10047"},
        "StorageFullError",
        {"detail": "10047"},
        "not_applied",
    ),
    "STORAGE_UNAVAILABLE": (
        "UNAVAILABLE",
        {"bucket": "b", "detail": "no leader", "outcome": "not_applied"},
        "UnavailableError",
        {},
        "not_applied",
    ),
    "SHUTTING_DOWN": ("UNAVAILABLE", {}, "UnavailableError", {}, "not_applied"),
    "BUCKET_RECREATED": ("UNAVAILABLE", {"bucket": "b"}, "UnavailableError", {}, "not_applied"),
    "INDEX_BEHIND": (
        "UNAVAILABLE",
        {"bucket": "b", "index_revision": "340000", "store_revision": "1000000", "lag": "660000", "detail": "is built"},
        "UnavailableError",
        {},
        "not_applied",
    ),
    "BUCKET_NOT_FOUND": ("FAILED_PRECONDITION", {"bucket": "b"}, "BucketNotFoundError", {"bucket": "b"}, "not_applied"),
    "BUCKET_CONFIGURATION": (
        "FAILED_PRECONDITION",
        {"bucket": "b", "setting": "allow_direct=false", "remedy": "nats stream edit"},
        "BucketConfigurationError",
        {"setting": "allow_direct=false", "remedy": "nats stream edit"},
        "not_applied",
    ),
    "MALFORMED_DOCUMENT": (
        "DATA_LOSS",
        {"bucket": "b", "key": "order-42", "revision": "17", "detail": "CreatedAt"},
        "MalformedDocumentError",
        {
            "key": "order-42",
            "revision": 17,
            "detail": "CreatedAt",
            "count": 1,
            "entries": (MalformedEntry("order-42", 17, "CreatedAt"),),
        },
        "not_applied",
    ),
    "REVISION_FORGOTTEN": (
        "OUT_OF_RANGE",
        {"bucket": "b", "after_revision": "17", "earliest_revision": "340000"},
        "RevisionForgottenError",
        {"after_revision": 17, "earliest_revision": 340000},
        "not_applied",
    ),
    "REVISION_NOT_REACHED": (
        "OUT_OF_RANGE",
        {"bucket": "b", "min_revision": "340000", "store_revision": "17"},
        "RevisionNotReachedError",
        {"min_revision": 340000, "store_revision": 17},
        "not_applied",
    ),
    "WATCH_TOO_SLOW": (
        "RESOURCE_EXHAUSTED",
        {"bucket": "b", "resume_revision": "340000"},
        "WatchTooSlowError",
        {"resume_revision": 340000},
        "not_applied",
    ),
    "TOO_MANY_CALLS": (
        "RESOURCE_EXHAUSTED",
        {"kind": "lists", "limit": "128"},
        "TooManyCallsError",
        {"kind": "lists", "limit": 128},
        "not_applied",
    ),
    "CALL_TOO_LONG": ("DEADLINE_EXCEEDED", {"limit_seconds": "60"}, "DeadlineExceededError", {}, "unknown"),
    "UNAUTHENTICATED": ("UNAUTHENTICATED", {}, "UnauthenticatedError", {}, "not_applied"),
    "PERMISSION_DENIED": (
        "PERMISSION_DENIED",
        {"identity": "billing", "access": "write", **FACTS},
        "PermissionDeniedError",
        {"identity": "billing", "access": "write", "workflow_id": "order:42"},
        "not_applied",
    ),
    "IDENTITY_LIMIT_REACHED": (
        "RESOURCE_EXHAUSTED",
        {"identity": "billing", "kind": "streams", "limit": "50"},
        "TooManyCallsError",
        {"kind": "streams", "limit": 50},
        "not_applied",
    ),
    "READER_STALLED": ("UNAVAILABLE", {"stalled_seconds": "30"}, "UnavailableError", {}, "not_applied"),
    "REPLY_TOO_LARGE": (
        "RESOURCE_EXHAUSTED",
        {**FACTS, "size_bytes": "524288", "limit_bytes": "4128768"},
        "ReplyTooLargeError",
        {"workflow_id": "order:42", "size_bytes": 524288, "limit_bytes": 4128768},
        "not_applied",
    ),
    "INTERNAL": ("INTERNAL", {"error_id": "9f3c"}, "InternalError", {"error_id": "9f3c"}, "unknown"),
    "WRITE_FORGOTTEN": (
        "ABORTED",
        {**FACTS, "revision": "340000", "outcome": "unknown"},
        "WriteForgottenError",
        {"workflow_id": "order:42", "revision": 340000},
        "unknown",
    ),
    "CONTENDED": ("ABORTED", {**FACTS, "attempts": "16"}, "ContendedError", {"workflow_id": "order:42"}, "not_applied"),
}


def details_of(*details) -> bytes:
    status = status_pb2.Status()
    for detail in details:
        status.details.add().Pack(detail)
    return status.SerializeToString()


def info(reason, metadata=(), domain="workflowstore"):
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=dict(metadata))


def test_every_reason_of_the_api_has_its_row():
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert set(REASONS) == names - {"UNSPECIFIED"}


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_its_class_and_its_fields(reason):
    code, metadata, kind, fields, outcome = REASONS[reason]
    details = details_of(info(f"ERROR_REASON_{reason}", metadata))
    error = to_error(code, "what happened", details, write=True)
    assert isinstance(error, getattr(workflowstore, kind))
    assert isinstance(error, OutcomeUnknownError) is (outcome == "unknown")
    assert {name: getattr(error, name) for name in fields} == fields
    assert (error.code, error.reason, error.message) == (code, f"ERROR_REASON_{reason}", "what happened")
    assert error.metadata == metadata
    assert error.outcome == outcome
    read = to_error(code, "what happened", details, write=False)
    assert (type(read), read.outcome) == (getattr(workflowstore, kind), None)


@pytest.mark.parametrize("reason", REASONS)
def test_the_documentation_has_every_reason_with_its_code_and_class(reason):
    code, _, kind, _, _ = REASONS[reason]
    rows = [line.split() for line in errors.__doc__.splitlines()]
    assert [row[:3] for row in rows if f"ERROR_REASON_{reason}" in row] == [[code, f"ERROR_REASON_{reason}", kind]]


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("stated", [{}, {"outcome": "unknown"}])
def test_exceptions_survive_pickle_and_copy(reason, stated):
    code, metadata, _, fields, _ = REASONS[reason]
    metadata = {**metadata, **stated}
    bad = error_details_pb2.BadRequest(field_violations=[{"field": "limit", "description": "is negative"}])
    error = to_error(code, "what happened", details_of(info(f"ERROR_REASON_{reason}", metadata), bad), write=True)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert vars(other) == vars(error)
        assert str(other) == str(error)
        assert {name: getattr(other, name) for name in fields} == fields


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_without_its_metadata_still_has_every_field(reason):
    code, _, _, fields, _ = REASONS[reason]
    error = to_error(code, "", details_of(info(f"ERROR_REASON_{reason}")), write=True)
    for name in fields:
        getattr(error, name)
    assert str(error)


def test_every_exported_exception_is_a_workflow_store_error():
    kinds = [getattr(workflowstore, name) for name in workflowstore.__all__ if name.endswith("Error")]
    assert {kind.__name__ for kind in kinds} == {row[2] for row in REASONS.values()} | {
        "DeadlineExceededError",
        "OutcomeUnknownError",
        "TlsError",
        "WorkflowStoreError",
    }
    assert all(issubclass(kind, WorkflowStoreError) for kind in kinds)


def test_the_outcome_that_the_server_states_holds():
    for outcome in ("not_applied", "unknown"):
        details = details_of(info("ERROR_REASON_STORAGE_UNAVAILABLE", {"outcome": outcome}))
        assert to_error("UNAVAILABLE", "", details, write=True).outcome == outcome
    silent = details_of(info("ERROR_REASON_STORAGE_UNAVAILABLE"))
    assert to_error("UNAVAILABLE", "", silent, write=True).outcome == "unknown"


def test_violations_come_as_fields():
    bad = error_details_pb2.BadRequest(
        field_violations=[
            {"field": "state.workflow_id", "reason": "REQUIRED", "description": "must not be empty"},
            {"field": "limit", "description": "must not be negative"},
        ]
    )
    error = to_error("INVALID_ARGUMENT", "2 fields", details_of(info("ERROR_REASON_INVALID_REQUEST"), bad), write=False)
    assert error.violations == (
        FieldViolation("state.workflow_id", "REQUIRED", "must not be empty"),
        FieldViolation("limit", "", "must not be negative"),
    )
    assert "limit: must not be negative" in str(error)


def test_the_time_to_wait_comes_in_seconds():
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000))
    error = to_error("UNAVAILABLE", "", details_of(retry, info("ERROR_REASON_SHUTTING_DOWN")), write=False)
    assert error.retry_after_seconds == 1.5
    assert to_error("UNAVAILABLE", "", b"", write=False).retry_after_seconds is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UNAVAILABLE", workflowstore.UnavailableError),
        ("DEADLINE_EXCEEDED", workflowstore.DeadlineExceededError),
        ("INVALID_ARGUMENT", workflowstore.InvalidRequestError),
        ("NOT_FOUND", WorkflowStoreError),
        ("INTERNAL", WorkflowStoreError),
        ("ABORTED", WorkflowStoreError),
    ],
)
def test_without_a_known_reason_the_code_decides(code, kind):
    newer = info("ERROR_REASON_FROM_THE_FUTURE", {"clue": "42"})
    for details, reason in ((b"", None), (details_of(newer), "ERROR_REASON_FROM_THE_FUTURE")):
        error = to_error(code, "what happened", details, write=True)
        assert isinstance(error, kind)
        assert isinstance(error, OutcomeUnknownError)
        assert (error.code, error.reason, error.outcome) == (code, reason, "unknown")
        assert type(to_error(code, "what happened", details, write=False)) is kind
    assert error.metadata == {"clue": "42"}


def test_the_reasons_of_others_are_not_ours():
    foreign = details_of(info("ERROR_REASON_WORKFLOW_NOT_FOUND", {"workflow_id": "x"}, domain="proxy.example"))
    error = to_error("NOT_FOUND", "no such route", foreign, write=False)
    assert type(error) is WorkflowStoreError
    assert (error.reason, error.metadata) == (None, {})


def test_details_that_cannot_be_read_hide_no_error():
    broken = status_pb2.Status(
        details=[any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")]
    )
    for details in (b"\xff\xff", broken.SerializeToString()):
        assert str(to_error("ABORTED", "what happened", details, write=False)) == "what happened (ABORTED)"


def test_the_text_of_an_exception_has_all_the_facts():
    details = details_of(info("ERROR_REASON_WORKFLOW_ALREADY_EXISTS", {**FACTS, "actual_revision": "17"}))
    assert str(to_error("ALREADY_EXISTS", "it exists", details, write=True)) == (
        "it exists (ALREADY_EXISTS, ERROR_REASON_WORKFLOW_ALREADY_EXISTS, "
        "actual_revision=17, bucket=b, workflow_id=order:42, outcome=not_applied)"
    )


def test_users_can_make_exceptions_for_their_own_tests():
    assert workflowstore.RevisionMismatchError("lost").actual_revision == 0
    assert workflowstore.InvalidRequestError("bad", violations=[FieldViolation("a", "", "b")]).code == "UNKNOWN"


@pytest.mark.parametrize("reason", REASONS)
def test_whatever_fails_says_so_when_an_earlier_attempt_may_have_been_applied(reason):
    code, metadata, kind, fields, _ = REASONS[reason]
    details = details_of(info(f"ERROR_REASON_{reason}", {**metadata, "outcome": "unknown"}))
    error = to_error(code, "what happened", details, write=True)
    assert isinstance(error, OutcomeUnknownError)
    assert isinstance(error, getattr(workflowstore, kind))
    assert {name: getattr(error, name) for name in fields} == fields
    assert type(error) is type(to_error(code, "again", details, write=True))
    assert type(error).__name__ == kind.removesuffix("Error") + "OutcomeUnknownError"


@pytest.mark.parametrize("reason", REASONS)
def test_an_item_fails_as_a_call_for_it_alone_would(reason):
    code, metadata, _, _, _ = REASONS[reason]
    item = workflow_store_pb2.ItemError(
        code=grpc.StatusCode[code].value[0], reason=f"ERROR_REASON_{reason}", message="what happened", metadata=metadata
    )
    for write in (True, False):
        call = to_error(code, "what happened", details_of(info(f"ERROR_REASON_{reason}", metadata)), write=write)
        error = item_error(item, write=write)
        assert (type(error), vars(error)) == (type(call), vars(call))


def test_an_item_that_fails_for_an_unknown_reason_goes_by_its_code():
    for number, reason in ((0, None), (999, "999")):
        error = item_error(workflow_store_pb2.ItemError(code=14, reason=number, message="what happened"), write=False)
        assert type(error) is workflowstore.UnavailableError
        assert (error.code, error.reason, error.message) == ("UNAVAILABLE", reason, "what happened")
    assert item_error(workflow_store_pb2.ItemError(code=999), write=False).code == "UNKNOWN"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: a:1: Connection refused",
            workflowstore.UnavailableError,
        ),
        ("failed to connect to all addresses; last error: UNAVAILABLE: a:1: Socket closed", workflowstore.TlsError),
        ("Socket closed", workflowstore.UnavailableError),
    ],
)
def test_only_a_connection_that_could_not_be_made_is_a_matter_of_tls(said, kind):
    """One that breaks later on has been encrypted as both sides want it."""
    error = to_error("UNAVAILABLE", said, b"", write=False)
    assert type(error) is kind
    assert said in error.message


def test_a_write_that_tls_kept_from_its_server_is_of_unknown_outcome():
    """An attempt before this one may have come through."""
    error = to_error("UNAVAILABLE", "failed to connect to all addresses; last error: Socket closed", b"", write=True)
    assert isinstance(error, workflowstore.TlsError)
    assert isinstance(error, workflowstore.OutcomeUnknownError)
