"""The only place that knows how a call can fail. Failures carry fields; their wording is the service's business."""

import enum
from dataclasses import dataclass


class Outcome(enum.Enum):
    """What became of a write that failed."""

    NOT_APPLIED = "not_applied"
    """It is not stored and will not be."""

    UNKNOWN = "unknown"
    """It may be stored, or may become so within moments."""


class StoreError(Exception):
    """Root of everything that a call is expected to fail with."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field of a request: its path, what is wrong as a constant, and the limit with the way out in words."""

    field: str
    reason: str
    description: str


@dataclass(eq=False)
class InvalidRequest(StoreError):
    """The request is wrong in itself; `violations` has every wrong field."""

    violations: tuple[FieldViolation, ...]


@dataclass(eq=False)
class WorkflowNotFound(StoreError):
    """No such workflow in the bucket."""

    bucket: str
    workflow_id: str


@dataclass(eq=False)
class WorkflowAlreadyExists(StoreError):
    """The workflow must not exist, and does."""

    bucket: str
    workflow_id: str
    actual_revision: int


@dataclass(eq=False)
class RevisionMismatch(StoreError):
    """The stored state is not at the expected revision; `actual_revision` is 0 when there is none."""

    bucket: str
    workflow_id: str
    expected_revision: int
    actual_revision: int


@dataclass(eq=False)
class Contended(StoreError):
    """Other writers came first at every one of `attempts`; nothing was written."""

    bucket: str
    workflow_id: str
    attempts: int


@dataclass(eq=False)
class WriteForgotten(StoreError):
    """The write was made before, and it cannot be told whether it was applied then. This time it was not.

    Somebody has written `revision` since, before or after it.
    """

    bucket: str
    workflow_id: str
    revision: int
    outcome: Outcome


@dataclass(eq=False)
class StateTooLarge(StoreError):
    """The document has `size_bytes`, more than the `limit_bytes` that can be stored."""

    bucket: str
    workflow_id: str
    size_bytes: int
    limit_bytes: int


@dataclass(eq=False)
class StorageFull(StoreError):
    """The storage has no room; nothing was written. `detail` is the storage's own error, or what was found instead.

    `outcome` is UNKNOWN where an earlier attempt at the same write may have been applied and cannot be looked up.
    """

    bucket: str
    detail: str
    outcome: Outcome | None = None


@dataclass(eq=False)
class StorageUnavailable(StoreError):
    """The storage cannot be reached or did not answer. `outcome` is None for reads."""

    bucket: str
    detail: str
    outcome: Outcome | None = None


@dataclass(eq=False)
class ShuttingDown(StoreError):
    """The server is stopping. A Watch is told after which revision to go on."""

    resume_revision: int | None = None


@dataclass(eq=False)
class BucketRecreated(StoreError):
    """The bucket had been deleted underneath and was created again, empty; the call was not applied."""

    bucket: str


@dataclass(eq=False)
class BucketNotFound(StoreError):
    """The bucket does not exist, and may not be created."""

    bucket: str


@dataclass(eq=False)
class BucketConfiguration(StoreError):
    """The bucket's `setting` does not allow the call; `remedy` changes it."""

    bucket: str
    setting: str
    remedy: str


@dataclass(eq=False)
class IndexBehind(StoreError):
    """The index has not caught up with the bucket in time; `detail` says what is being done about it."""

    bucket: str
    index_revision: int
    store_revision: int
    lag: int
    detail: str


@dataclass(eq=False)
class RevisionForgotten(StoreError):
    """Changes after a revision may be forgotten; `earliest_revision` is the first from which a Watch can resume."""

    bucket: str
    after_revision: int
    earliest_revision: int


@dataclass(eq=False)
class RevisionNotReached(StoreError):
    """The bucket has only come to `store_revision`, and the answer was to be of `min_revision` or later."""

    bucket: str
    min_revision: int
    store_revision: int


@dataclass(eq=False)
class WatchTooSlow(StoreError):
    """The reader of a Watch does not keep up; it can go on after `resume_revision`."""

    bucket: str
    resume_revision: int


@dataclass(eq=False)
class ReplyTooLarge(StoreError):
    """The reply has no room for a state whose message has `size_bytes`; `limit_bytes` is the reply's."""

    bucket: str
    workflow_id: str
    size_bytes: int
    limit_bytes: int


@dataclass(eq=False)
class MalformedDocument(StoreError):
    """The document stored under `key` at `revision` cannot be decoded."""

    bucket: str
    key: str
    revision: int
    detail: str


@dataclass(eq=False)
class TooManyCalls(StoreError):
    """So many calls of this kind run that the server takes no more; this one was not begun."""

    kind: str
    limit: int


@dataclass(eq=False)
class CallTooLong(StoreError):
    """The call has taken `limit_seconds`, more than the server lets it. `outcome` is None for reads."""

    limit_seconds: float
    outcome: Outcome | None = None


@dataclass(eq=False)
class ReaderStalled(StoreError):
    """The reader of a stream has not read on for so long; it can go on after what it has."""

    stalled_seconds: float


@dataclass(eq=False)
class Unauthenticated(StoreError):
    """Who calls is not known: there is no token and no certificate, or none that is known."""


@dataclass(eq=False)
class PermissionDenied(StoreError):
    """The identity has no such access to what is asked for, whether that exists or not.

    `bucket` and `workflow_id` are as the request has them; `workflow_id` is empty where it is not about single ones.
    """

    identity: str
    access: str
    bucket: str
    workflow_id: str


@dataclass(eq=False)
class IdentityLimitReached(StoreError):
    """The identity has as much of this kind under way on this server as it may; this call was not begun."""

    identity: str
    kind: str
    limit: int
    retry_seconds: float | None = None
    """None = as long as after other failures that pass."""
