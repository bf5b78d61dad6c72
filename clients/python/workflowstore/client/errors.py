"""The only place that knows the exceptions of the client.

All of them are a WorkflowStoreError. A failure that the server explains has a `reason`; each reason has its class:

    gRPC code            reason                                  class
    INVALID_ARGUMENT     ERROR_REASON_INVALID_REQUEST            InvalidRequestError
    NOT_FOUND            ERROR_REASON_WORKFLOW_NOT_FOUND         WorkflowNotFoundError (`load` returns None)
    ALREADY_EXISTS       ERROR_REASON_WORKFLOW_ALREADY_EXISTS    AlreadyExistsError
    ABORTED              ERROR_REASON_REVISION_MISMATCH          RevisionMismatchError
    ABORTED              ERROR_REASON_CONTENDED                  ContendedError
    ABORTED              ERROR_REASON_WRITE_FORGOTTEN            WriteForgottenError
    RESOURCE_EXHAUSTED   ERROR_REASON_STATE_TOO_LARGE            StateTooLargeError
    RESOURCE_EXHAUSTED   ERROR_REASON_STORAGE_FULL               StorageFullError
    UNAVAILABLE          ERROR_REASON_STORAGE_UNAVAILABLE        UnavailableError
    UNAVAILABLE          ERROR_REASON_SHUTTING_DOWN              UnavailableError
    UNAVAILABLE          ERROR_REASON_BUCKET_RECREATED           UnavailableError
    UNAVAILABLE          ERROR_REASON_INDEX_BEHIND               UnavailableError
    FAILED_PRECONDITION  ERROR_REASON_BUCKET_NOT_FOUND           BucketNotFoundError
    FAILED_PRECONDITION  ERROR_REASON_BUCKET_CONFIGURATION       BucketConfigurationError
    DATA_LOSS            ERROR_REASON_MALFORMED_DOCUMENT         MalformedDocumentError
    OUT_OF_RANGE         ERROR_REASON_REVISION_FORGOTTEN         RevisionForgottenError
    OUT_OF_RANGE         ERROR_REASON_REVISION_NOT_REACHED       RevisionNotReachedError
    RESOURCE_EXHAUSTED   ERROR_REASON_WATCH_TOO_SLOW             WatchTooSlowError (`watch` goes on by itself)
    RESOURCE_EXHAUSTED   ERROR_REASON_REPLY_TOO_LARGE            ReplyTooLargeError (`load_batch` asks again by itself)
    RESOURCE_EXHAUSTED   ERROR_REASON_TOO_MANY_CALLS             TooManyCallsError
    DEADLINE_EXCEEDED    ERROR_REASON_CALL_TOO_LONG              DeadlineExceededError
    UNAVAILABLE          ERROR_REASON_READER_STALLED             UnavailableError (iterations go on by themselves)
    UNAUTHENTICATED      ERROR_REASON_UNAUTHENTICATED            UnauthenticatedError
    PERMISSION_DENIED    ERROR_REASON_PERMISSION_DENIED          PermissionDeniedError
    RESOURCE_EXHAUSTED   ERROR_REASON_IDENTITY_LIMIT_REACHED     TooManyCallsError
    INTERNAL             ERROR_REASON_INTERNAL                   InternalError

A failure without a reason (it never reached the service), or with one that this version does not know, goes by its
gRPC code:

    INVALID_ARGUMENT     InvalidRequestError
    UNAVAILABLE          UnavailableError, for example when nothing listens at the target; where the message says that
                         no encrypted connection could be made, TlsError, which is one
    DEADLINE_EXCEEDED    DeadlineExceededError
    any other            WorkflowStoreError, for example CANCELLED when the client is closed during the call

A write whose outcome is unknown raises an exception that is an OutcomeUnknownError as well as what is said above, so
that either can be caught.

What the client can see is wrong before it sends anything is a TypeError or a ValueError that names the field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Outcome: TypeAlias = Literal["not_applied", "unknown"]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing that is wrong with one field of a request."""

    field: str
    """Path of the field, such as "state.workflow_id"."""
    reason: str
    """A word for programs. Empty = none given."""
    description: str
    """A sentence for people, with the limit and the way out."""


@dataclass(frozen=True, slots=True)
class MalformedEntry:
    """A stored document that cannot be decoded. It is left as it is; save over it or delete it to go on."""

    key: str
    """Its key in the bucket."""
    revision: int
    reason: str
    """What is wrong with it."""


class WorkflowStoreError(Exception):
    """A call failed. The root of the exceptions of the client; also raised itself, for failures without a class.

    Attributes:
        message: What happened, for people. Branch on the class or on `reason`, never on this text.
        code: Name of the gRPC status code, such as "ABORTED".
        reason: Name of the ErrorReason, such as "ERROR_REASON_REVISION_MISMATCH". None = the service gave none.
        metadata: The facts that came with the reason.
        retry_after_seconds: How long the server asks to wait before trying again. None = it did not ask.
        outcome: What became of a write: "not_applied" (it is not and will not be stored) or "unknown" (it may be
            stored, or may still become so within moments; see OutcomeUnknownError). None for calls that only read.
        call_id: What the server's log and its traces call this call. Empty = the server gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_seconds: float | None = None,
        outcome: Outcome | None = None,
        call_id: str = "",
    ) -> None:
        # Exception pickles its arguments and then what is in __dict__: all keywords must have defaults.
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.retry_after_seconds = retry_after_seconds
        self.outcome = outcome
        self.call_id = call_id

    def __str__(self) -> str:
        facts = [self.code]
        if self.reason is not None:
            facts.append(self.reason)
        facts += [f"{key}={value}" for key, value in sorted(self.metadata.items())]
        if self.outcome is not None and "outcome" not in self.metadata:
            facts.append(f"outcome={self.outcome}")
        if self.call_id:
            facts.append(f"call_id={self.call_id}")
        return f"{self.message} ({', '.join(facts)})"

    def _number(self, key: str) -> int:
        value = self.metadata.get(key, "")
        return int(value) if value.isdecimal() else 0


class OutcomeUnknownError(WorkflowStoreError):
    """A write failed, and it may be stored nevertheless, or may still become so within moments.

    What went wrong has its own class, such as UnavailableError, which the exception has too. The same call with the
    same `request_id` may be made again and applies once, see `AsyncClient`; or load to find out.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # The classes that `outcome_unknown` makes cannot be found by their names.
        return _with_outcome_unknown, (type(self).__bases__[-1], self.args), vars(self)


_WITH_OUTCOME_UNKNOWN: dict[type[WorkflowStoreError], type[OutcomeUnknownError]] = {
    WorkflowStoreError: OutcomeUnknownError
}


def outcome_unknown(kind: type[WorkflowStoreError]) -> type[OutcomeUnknownError]:
    """The class of failures of this kind that are an OutcomeUnknownError as well, which is always the same one."""
    if kind not in _WITH_OUTCOME_UNKNOWN:
        name = kind.__name__.removesuffix("Error") + OutcomeUnknownError.__name__
        made = type(name, (OutcomeUnknownError, kind), {"__module__": __name__, "__doc__": kind.__doc__})
        _WITH_OUTCOME_UNKNOWN.setdefault(kind, made)  # another thread may have made it meanwhile
    return _WITH_OUTCOME_UNKNOWN[kind]


def _with_outcome_unknown(kind: type[WorkflowStoreError], arguments: tuple[Any, ...]) -> WorkflowStoreError:
    return outcome_unknown(kind)(*arguments)


class InvalidRequestError(WorkflowStoreError):
    """The request is wrong in itself; sending it again will not help.

    Attributes:
        violations: Everything that is wrong with it.
    """

    def __init__(self, message: str, *, violations: Sequence[FieldViolation] = (), **facts: Any) -> None:
        super().__init__(message, **facts)
        self.violations = tuple(violations)

    def __str__(self) -> str:
        return "\n  ".join([super().__str__(), *(f"{v.field}: {v.description}" for v in self.violations)])


class _WorkflowError(WorkflowStoreError):
    @property
    def workflow_id(self) -> str:
        return self.metadata.get("workflow_id", "")


class WorkflowNotFoundError(_WorkflowError):
    """No workflow with this id is stored. `load` returns None instead."""


class AlreadyExistsError(_WorkflowError):
    """`expected_revision` was 0 (must not exist) and the workflow exists. Nothing was written."""

    @property
    def actual_revision(self) -> int:
        return self._number("actual_revision")


class RevisionMismatchError(_WorkflowError):
    """`expected_revision` is not the stored revision. Nothing was written: load again, decide again, save again."""

    @property
    def expected_revision(self) -> int:
        return self._number("expected_revision")

    @property
    def actual_revision(self) -> int:
        """0 = the workflow does not exist."""
        return self._number("actual_revision")


class ContendedError(_WorkflowError):
    """Other writers were faster more often than the server tries. Nothing was written. Try again."""


class WriteForgottenError(_WorkflowError):
    """Whether an earlier attempt at this write was applied is forgotten, and this one was not. Load, and decide."""

    @property
    def revision(self) -> int:
        """What somebody has written to the workflow since."""
        return self._number("revision")


class StateTooLargeError(_WorkflowError):
    """The stored form of the state would be larger than the server stores. Nothing was written."""

    @property
    def size_bytes(self) -> int:
        return self._number("size_bytes")

    @property
    def limit_bytes(self) -> int:
        return self._number("limit_bytes")


class StorageFullError(WorkflowStoreError):
    """The storage has no room. Nothing was written; reads go on."""

    @property
    def detail(self) -> str:
        """The storage's own error."""
        return self.metadata.get("detail", "")


class UnavailableError(WorkflowStoreError):
    """The server, its storage or its index cannot answer for now. See `outcome` and `retry_after_seconds`."""


class TlsError(UnavailableError):
    """The connection to the server could not be encrypted as one of the two wants it. The message says what to do."""


class DeadlineExceededError(WorkflowStoreError):
    """The call took longer than its `timeout`, or than the server lets one take. The outcome of a write is unknown."""


class TooManyCallsError(WorkflowStoreError):
    """The server runs as many calls of this kind as it takes, in all or of the caller's identity, and has not begun
    this one. Try again.
    """

    @property
    def kind(self) -> str:
        """Which are too many: "calls" (with one reply), "lists", "watches", or "arrivals"; of an identity "calls",
        "streams" or "request bytes a second".
        """
        return self.metadata.get("kind", "")

    @property
    def limit(self) -> int:
        """How many of them the server runs at once, or takes in a second."""
        return self._number("limit")


class RevisionNotReachedError(WorkflowStoreError):
    """The bucket has not come to the revision that the reply was to be of: it was made anew, or restored from a backup.

    The client has forgotten what it was told of the bucket before, and reads it as it is from the next call on.
    """

    @property
    def min_revision(self) -> int:
        """What was asked for."""
        return self._number("min_revision")

    @property
    def store_revision(self) -> int:
        """The newest revision of the bucket."""
        return self._number("store_revision")


class RevisionForgottenError(WorkflowStoreError):
    """Changes after the revision that a watch was to go on from may be forgotten. Begin anew with `snapshot=True`."""

    @property
    def after_revision(self) -> int:
        """What was asked for."""
        return self._number("after_revision")

    @property
    def earliest_revision(self) -> int:
        """The earliest revision from which a watch can go on."""
        return self._number("earliest_revision")


class WatchTooSlowError(WorkflowStoreError):
    """Changes are made faster than they are read, and the server keeps no more of them. `watch` goes on by itself; it
    raises this for a snapshot that was not read to its end. Read faster, or watch less.
    """

    @property
    def resume_revision(self) -> int:
        """The revision after which to watch again."""
        return self._number("resume_revision")


class ReplyTooLargeError(_WorkflowError):
    """The reply to a batch has no room for this state. `load_batch` asks for it again by itself."""

    @property
    def size_bytes(self) -> int:
        return self._number("size_bytes")

    @property
    def limit_bytes(self) -> int:
        return self._number("limit_bytes")


class BucketNotFoundError(WorkflowStoreError):
    """The bucket does not exist, and the server was told not to create it."""

    @property
    def bucket(self) -> str:
        return self.metadata.get("bucket", "")


class BucketConfigurationError(WorkflowStoreError):
    """The configuration of the bucket does not allow the call."""

    @property
    def setting(self) -> str:
        """What stands in the way."""
        return self.metadata.get("setting", "")

    @property
    def remedy(self) -> str:
        """How to change it."""
        return self.metadata.get("remedy", "")


class MalformedDocumentError(WorkflowStoreError):
    """Stored documents cannot be decoded. They are left as they are; save over them or delete them to go on.

    `load` raises it for its one document. `list` raises it after the last state, for all that it met: `key`,
    `revision` and `detail` are those of the first.

    Attributes:
        entries: The documents, the first 100 of them.
        count: How many there are.
    """

    def __init__(
        self, message: str, *, entries: Sequence[MalformedEntry] = (), count: int | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.entries = tuple(entries) or (MalformedEntry(self.key, self.revision, self.detail),)
        self.count = len(self.entries) if count is None else count

    @property
    def key(self) -> str:
        """The key of the document in the bucket."""
        return self.metadata.get("key", "")

    @property
    def revision(self) -> int:
        return self._number("revision")

    @property
    def detail(self) -> str:
        """What is wrong with it."""
        return self.metadata.get("detail", "")


class UnauthenticatedError(WorkflowStoreError):
    """The server has to know who calls, and does not: there is no token, or one that it does not know (any more)."""


class PermissionDeniedError(_WorkflowError):
    """The caller has no such access to what the call is about, whether that exists or not. `workflow_id` is the first
    that is refused, empty where the call is not about single ones.
    """

    @property
    def identity(self) -> str:
        """Who the caller is to the server."""
        return self.metadata.get("identity", "")

    @property
    def access(self) -> str:
        """What would be needed: read, write or admin."""
        return self.metadata.get("access", "")


class InternalError(WorkflowStoreError):
    """The server met something it did not foresee. The outcome of a write is unknown."""

    @property
    def error_id(self) -> str:
        """What the server's log has the whole story under."""
        return self.metadata.get("error_id", "")
