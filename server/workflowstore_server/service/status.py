"""The only place that knows how a failure looks on the wire: its code, its reason, its metadata and its words."""

import dataclasses
import enum
from bisect import bisect_right
from itertools import accumulate
from typing import Final, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from workflowstore.v1 import error_reason_pb2 as reasons
from workflowstore.v1 import workflow_store_pb2
from workflowstore_server.model import errors
from workflowstore_server.model.errors import BucketRecreated, InvalidRequest, Outcome, StoreError

DOMAIN: Final = "workflowstore"
RETRY_SECONDS: Final = 0.25
"""When to try again what failed for a passing cause: longer than it takes to connect to NATS anew."""

SHOWN_CHARACTERS_MAX: Final = 120
"""Characters of one field that go into a message; the metadata have all of it."""

MESSAGE_BYTES_MAX: Final = 600
"""Bytes of the message of an invalid request, as gRPC sends it; its details have all that is wrong."""


class _Row(NamedTuple):
    code: grpc.StatusCode
    reason: "reasons.ErrorReason.ValueType"
    words: str
    passing: bool = False


_TABLE: Final[dict[type[StoreError], _Row]] = {
    errors.InvalidRequest: _Row(
        grpc.StatusCode.INVALID_ARGUMENT, reasons.ERROR_REASON_INVALID_REQUEST, "invalid request: {violations}"
    ),
    errors.WorkflowNotFound: _Row(
        grpc.StatusCode.NOT_FOUND,
        reasons.ERROR_REASON_WORKFLOW_NOT_FOUND,
        "workflow {workflow_id} does not exist in bucket {bucket}",
    ),
    errors.WorkflowAlreadyExists: _Row(
        grpc.StatusCode.ALREADY_EXISTS,
        reasons.ERROR_REASON_WORKFLOW_ALREADY_EXISTS,
        "workflow {workflow_id} exists at revision {actual_revision} and was expected not to",
    ),
    errors.RevisionMismatch: _Row(
        grpc.StatusCode.ABORTED,
        reasons.ERROR_REASON_REVISION_MISMATCH,
        "workflow {workflow_id} is at revision {actual_revision}, not at the expected {expected_revision}; load it and "
        "decide again",
    ),
    errors.Contended: _Row(
        grpc.StatusCode.ABORTED,
        reasons.ERROR_REASON_CONTENDED,
        "workflow {workflow_id} was changed by others during each of {attempts} attempts; nothing was written",
        passing=True,
    ),
    errors.WriteForgotten: _Row(
        grpc.StatusCode.ABORTED,
        reasons.ERROR_REASON_WRITE_FORGOTTEN,
        "whether an earlier attempt has written workflow {workflow_id} cannot be told any more, and this one has not: "
        "others have written revision {revision} since; load it and decide",
    ),
    errors.StateTooLarge: _Row(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reasons.ERROR_REASON_STATE_TOO_LARGE,
        "the stored form of workflow {workflow_id} would have {size_bytes} bytes, more than {limit_bytes}; shorten its "
        "history, or keep large payloads elsewhere and save a reference",
    ),
    errors.StorageFull: _Row(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reasons.ERROR_REASON_STORAGE_FULL,
        "the storage of bucket {bucket} has no room ({detail}); delete workflows or raise its limit",
    ),
    errors.StorageUnavailable: _Row(
        grpc.StatusCode.UNAVAILABLE,
        reasons.ERROR_REASON_STORAGE_UNAVAILABLE,
        "bucket {bucket} cannot be used at the moment: {detail}",
        passing=True,
    ),
    errors.ShuttingDown: _Row(
        grpc.StatusCode.UNAVAILABLE, reasons.ERROR_REASON_SHUTTING_DOWN, "this server is stopping", passing=True
    ),
    errors.BucketRecreated: _Row(
        grpc.StatusCode.UNAVAILABLE,
        reasons.ERROR_REASON_BUCKET_RECREATED,
        "bucket {bucket} had been deleted and has just been created again, empty; this call was not applied",
        passing=True,
    ),
    errors.BucketNotFound: _Row(
        grpc.StatusCode.FAILED_PRECONDITION,
        reasons.ERROR_REASON_BUCKET_NOT_FOUND,
        "bucket {bucket} does not exist; create it, or start the server without --no-create-buckets",
    ),
    errors.BucketConfiguration: _Row(
        grpc.StatusCode.FAILED_PRECONDITION,
        reasons.ERROR_REASON_BUCKET_CONFIGURATION,
        "bucket {bucket} has {setting}, which does not allow this call; change it with: {remedy}",
    ),
    errors.IndexBehind: _Row(
        grpc.StatusCode.UNAVAILABLE,
        reasons.ERROR_REASON_INDEX_BEHIND,
        "the index of bucket {bucket} is {lag} revisions behind, at {index_revision} of {store_revision}: {detail}; "
        "try again, ask another server, or let calls wait longer with --index-wait-seconds",
        passing=True,
    ),
    errors.RevisionForgotten: _Row(
        grpc.StatusCode.OUT_OF_RANGE,
        reasons.ERROR_REASON_REVISION_FORGOTTEN,
        "bucket {bucket} cannot tell all changes after revision {after_revision}: those before {earliest_revision} may "
        "be forgotten, or it has not come as far; begin with a snapshot",
    ),
    errors.RevisionNotReached: _Row(
        grpc.StatusCode.OUT_OF_RANGE,
        reasons.ERROR_REASON_REVISION_NOT_REACHED,
        "bucket {bucket} has come to revision {store_revision}, not to the min_revision {min_revision}; if it was made "
        "anew or restored, forget the revisions from before",
    ),
    errors.WatchTooSlow: _Row(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reasons.ERROR_REASON_WATCH_TOO_SLOW,
        "the changes of bucket {bucket} are not read as fast as they are made; watch again after revision "
        "{resume_revision}, read faster or watch less",
    ),
    errors.ReplyTooLarge: _Row(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reasons.ERROR_REASON_REPLY_TOO_LARGE,
        "the reply has no room for the {size_bytes} bytes of workflow {workflow_id}, for it has at most {limit_bytes}; "
        "ask for it again, in another batch or alone",
    ),
    errors.MalformedDocument: _Row(
        grpc.StatusCode.DATA_LOSS,
        reasons.ERROR_REASON_MALFORMED_DOCUMENT,
        "the document under key {key} at revision {revision} cannot be decoded: {detail}; save over it or delete it",
    ),
    errors.TooManyCalls: _Row(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reasons.ERROR_REASON_TOO_MANY_CALLS,
        "this server has {limit} {kind} at once and takes no more; try again or ask another server",
        passing=True,
    ),
    errors.CallTooLong: _Row(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        reasons.ERROR_REASON_CALL_TOO_LONG,
        "the call has taken more than the {limit_seconds} s that this server lets one take; ask for less at once",
        passing=True,
    ),
    errors.ReaderStalled: _Row(
        grpc.StatusCode.UNAVAILABLE,
        reasons.ERROR_REASON_READER_STALLED,
        "the stream was not read for {stalled_seconds} s; go on after the last message, and read faster",
        passing=True,
    ),
    errors.Unauthenticated: _Row(
        grpc.StatusCode.UNAUTHENTICATED,
        reasons.ERROR_REASON_UNAUTHENTICATED,
        "this server has to know who calls; send a token that it knows as metadata, `authorization: Bearer TOKEN`, or "
        "use a client certificate",
    ),
    errors.PermissionDenied: _Row(
        grpc.StatusCode.PERMISSION_DENIED,
        reasons.ERROR_REASON_PERMISSION_DENIED,
        "{identity} has no {access} access to what the call is about, or this server has no such bucket; the server's "
        "--auth-policy says who has",
    ),
    errors.IdentityLimitReached: _Row(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reasons.ERROR_REASON_IDENTITY_LIMIT_REACHED,
        "{identity} has come to its limit of {limit} {kind}; try again, or raise it in the server's --auth-policy",
        passing=True,
    ),
}


def status_of(error: StoreError, call_id: str = "", *, retried: bool = False) -> Status:
    """Return the status that a failure of a call is sent as.

    `retried` tells that the call was attempted before. What became of that attempt is not known here, so that a passing
    failure of this one, though it has written nothing, is no proof that nothing was written.
    """
    row = _TABLE[type(error)]
    fields = {field.name: getattr(error, field.name) for field in dataclasses.fields(error)}  # type: ignore[arg-type]
    retry_seconds = fields.get("retry_seconds") or RETRY_SECONDS
    if retried and row.passing:
        fields["outcome"] = Outcome.UNKNOWN
    details: list[Message] = []
    if isinstance(error, InvalidRequest):
        fields = {"fields": ",".join(violation.field for violation in error.violations if violation.field)}
        told = "; ".join(f"{v.field} {v.description}".strip() for v in error.violations)
        words = _within(row.words.format(violations=told), MESSAGE_BYTES_MAX)
        details.append(_bad_request(error))
    else:
        words = row.words.format(**{name: _shown(value) for name, value in fields.items()})
    if row.passing:
        delay = Duration()
        delay.FromNanoseconds(int(retry_seconds * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if call_id:
        details.append(error_details_pb2.RequestInfo(request_id=call_id))
    metadata = {name: _text(value) for name, value in fields.items() if value is not None}
    return _status(row.code, row.reason, words, metadata, details)


def is_for_the_caller(error: StoreError) -> bool:
    """Whether gRPC must not try the call again, though it would for the code.

    Of what is exhausted only too many calls pass by themselves, and that a bucket was made anew the caller has to hear.
    """
    row = _TABLE[type(error)]
    exhausted = row.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    return isinstance(error, BucketRecreated) or (exhausted and not row.passing)


def item_error_of(error: StoreError) -> workflow_store_pb2.ItemError:
    """Return what the failure of one item of a batch is told as."""
    status = status_of(error)
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return workflow_store_pb2.ItemError(
        code=status.code,
        reason=reasons.ErrorReason.Value(info.reason),
        message=status.message,
        metadata=dict(info.metadata),
    )


def internal(call_id: str) -> Status:
    """Return the status of a failure that nobody foresaw; the log has the rest under the id of the call."""
    words = f"internal error {call_id}; the server's log has the details"
    details: list[Message] = [error_details_pb2.RequestInfo(request_id=call_id)]
    return _status(grpc.StatusCode.INTERNAL, reasons.ERROR_REASON_INTERNAL, words, {"error_id": call_id}, details)


def _status(
    code: grpc.StatusCode,
    reason: "reasons.ErrorReason.ValueType",
    words: str,
    metadata: dict[str, str],
    details: list[Message],
) -> Status:
    info = error_details_pb2.ErrorInfo(reason=reasons.ErrorReason.Name(reason), domain=DOMAIN, metadata=metadata)
    status = Status(code=code.value[0], message=words)
    for detail in (info, *details):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _bad_request(error: InvalidRequest) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=violation.field, reason=violation.reason, description=violation.description
            )
            for violation in error.violations
        ]
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value.value if isinstance(value, enum.Enum) else value)


def _shown(value: object) -> str:
    text = _text(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."


def _within(text: str, size_max: int) -> str:
    """Return a text, or as much of it as has so many bytes when it is percent-encoded, as gRPC does with messages."""
    sizes = accumulate(1 if " " <= letter <= "~" and letter != "%" else 3 * len(letter.encode()) for letter in text)
    kept = bisect_right(list(sizes), size_max)
    return text if kept == len(text) else f"{text[:kept]}..."
