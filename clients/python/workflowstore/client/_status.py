"""The only place that knows how the status of a failed call, or of one item of it, becomes an exception."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from workflowstore.client import errors
from workflowstore.client._handshake import meaning_of
from workflowstore.client.errors import FieldViolation, Outcome, WorkflowStoreError
from workflowstore.v1.error_reason_pb2 import ERROR_REASON_UNSPECIFIED, ErrorReason
from workflowstore.v1.workflow_store_pb2 import ItemError

_DOMAIN: Final = "workflowstore"
_DETAILS_KEY: Final = "grpc-status-details-bin"
_CODE_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}

# What each reason is raised as, and what it says about a write unless its metadata say more.
_BY_REASON: Final[dict[str, tuple[type[WorkflowStoreError], Outcome]]] = {
    "ERROR_REASON_INVALID_REQUEST": (errors.InvalidRequestError, "not_applied"),
    "ERROR_REASON_WORKFLOW_NOT_FOUND": (errors.WorkflowNotFoundError, "not_applied"),
    "ERROR_REASON_WORKFLOW_ALREADY_EXISTS": (errors.AlreadyExistsError, "not_applied"),
    "ERROR_REASON_REVISION_MISMATCH": (errors.RevisionMismatchError, "not_applied"),
    "ERROR_REASON_CONTENDED": (errors.ContendedError, "not_applied"),
    "ERROR_REASON_WRITE_FORGOTTEN": (errors.WriteForgottenError, "unknown"),
    "ERROR_REASON_STATE_TOO_LARGE": (errors.StateTooLargeError, "not_applied"),
    "ERROR_REASON_STORAGE_FULL": (errors.StorageFullError, "not_applied"),
    "ERROR_REASON_STORAGE_UNAVAILABLE": (errors.UnavailableError, "unknown"),
    "ERROR_REASON_SHUTTING_DOWN": (errors.UnavailableError, "not_applied"),
    "ERROR_REASON_BUCKET_RECREATED": (errors.UnavailableError, "not_applied"),
    "ERROR_REASON_INDEX_BEHIND": (errors.UnavailableError, "not_applied"),
    "ERROR_REASON_BUCKET_NOT_FOUND": (errors.BucketNotFoundError, "not_applied"),
    "ERROR_REASON_BUCKET_CONFIGURATION": (errors.BucketConfigurationError, "not_applied"),
    "ERROR_REASON_MALFORMED_DOCUMENT": (errors.MalformedDocumentError, "not_applied"),
    "ERROR_REASON_REVISION_FORGOTTEN": (errors.RevisionForgottenError, "not_applied"),
    "ERROR_REASON_REVISION_NOT_REACHED": (errors.RevisionNotReachedError, "not_applied"),
    "ERROR_REASON_WATCH_TOO_SLOW": (errors.WatchTooSlowError, "not_applied"),
    "ERROR_REASON_REPLY_TOO_LARGE": (errors.ReplyTooLargeError, "not_applied"),
    "ERROR_REASON_TOO_MANY_CALLS": (errors.TooManyCallsError, "not_applied"),
    "ERROR_REASON_CALL_TOO_LONG": (errors.DeadlineExceededError, "unknown"),
    "ERROR_REASON_READER_STALLED": (errors.UnavailableError, "not_applied"),
    "ERROR_REASON_UNAUTHENTICATED": (errors.UnauthenticatedError, "not_applied"),
    "ERROR_REASON_PERMISSION_DENIED": (errors.PermissionDeniedError, "not_applied"),
    "ERROR_REASON_IDENTITY_LIMIT_REACHED": (errors.TooManyCallsError, "not_applied"),
    "ERROR_REASON_INTERNAL": (errors.InternalError, "unknown"),
}

_BY_CODE: Final[dict[str, type[WorkflowStoreError]]] = {
    "INVALID_ARGUMENT": errors.InvalidRequestError,
    "UNAVAILABLE": errors.UnavailableError,
    "DEADLINE_EXCEEDED": errors.DeadlineExceededError,
}

_Detail = TypeVar("_Detail", bound=Message)


class _FailedCall(Protocol):
    """What grpc.RpcError has in fact, of which its type says nothing."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


@contextmanager
def mapped_errors(*, write: bool) -> Iterator[None]:
    """Raise the failure of the call within as a WorkflowStoreError; `write` tells whether it writes."""
    try:
        yield
    except grpc.RpcError as error:
        call = cast("_FailedCall", error)
        details = next((value for key, value in call.trailing_metadata() or () if key == _DETAILS_KEY), b"")
        assert isinstance(details, bytes)
        raise to_error(call.code().name, call.details() or "", details, write=write) from error
    except asyncio.CancelledError:
        # grpc.aio also raises it when the channel is closed under the call. Only a task that was asked to stop may
        # see it: a TaskGroup would take any other for a quiet end.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise to_error("CANCELLED", "the channel was closed during the call", b"", write=write) from None


def to_error(code: str, message: str, details: bytes, *, write: bool) -> WorkflowStoreError:
    """The exception for a status.

    Args:
        code: Name of the gRPC status code.
        message: The status's message.
        details: A serialized google.rpc.Status; empty = none. Details that cannot be read are left out.
        write: Whether the call writes.
    """
    packed = _unpacked_status(details).details
    info = _first(packed, ErrorInfo)
    if info is None or info.domain != _DOMAIN:
        info = ErrorInfo()
    error = _error(code, message, info.reason, info.metadata, write=write)
    if (retry := _first(packed, RetryInfo)) is not None:
        error.retry_after_seconds = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    if (request := _first(packed, RequestInfo)) is not None:
        error.call_id = request.request_id
    if isinstance(error, errors.InvalidRequestError) and (bad_request := _first(packed, BadRequest)) is not None:
        violations = bad_request.field_violations
        error.violations = tuple([FieldViolation(v.field, v.reason, v.description) for v in violations])
    return error


def item_error(item: ItemError, *, write: bool) -> WorkflowStoreError:
    """The exception for one item of a batch, of the class that a call for this item alone would raise."""
    reason = ""
    if item.reason != ERROR_REASON_UNSPECIFIED:
        # One that this version does not know goes by its number.
        reason = ErrorReason.Name(item.reason) if item.reason in ErrorReason.values() else str(item.reason)
    return _error(_CODE_NAMES.get(item.code, "UNKNOWN"), item.message, reason, item.metadata, write=write)


def _error(code: str, message: str, reason: str, metadata: Mapping[str, str], *, write: bool) -> WorkflowStoreError:
    kind, outcome = _BY_REASON.get(reason, (_BY_CODE.get(code, WorkflowStoreError), "unknown"))
    if not reason and kind is errors.UnavailableError and (meaning := meaning_of(message)) is not None:
        kind, message = errors.TlsError, f"{meaning} (gRPC: {message})"
    if (stated := metadata.get("outcome", "")) in ("not_applied", "unknown"):
        outcome = cast("Outcome", stated)
    if write and outcome == "unknown":
        kind = errors.outcome_unknown(kind)
    return kind(message, code=code, reason=reason or None, metadata=dict(metadata), outcome=outcome if write else None)


def _unpacked_status(details: bytes) -> Status:
    try:
        return Status.FromString(details)
    except DecodeError:
        return Status()


def _first(packed: Iterable[Any], kind: type[_Detail]) -> _Detail | None:
    for detail in packed:
        found = kind()
        try:
            if detail.Unpack(found):
                return found
        except DecodeError:
            return None
    return None
