"""The only place that knows what a store of workflow states promises."""

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from workflowstore_server.model.state import BucketInfo, Consistency, Room, StoredState, WorkflowState


@dataclass(frozen=True, slots=True)
class StorePosition:
    """Where a bucket stands at one moment that every acknowledged write came before."""

    identity: str
    """Tells the bucket from one of the same name before or after it."""
    first_revision: int
    """The oldest revision that is stored. All before it are gone. One beyond `last_revision` in an empty bucket."""
    last_revision: int
    """The newest revision that was ever stored."""
    keys: int
    """Keys that something is stored under, delete markers included."""
    time_ns: int
    """The time by the storage's clock, in nanoseconds since 1970."""
    session: object
    """The connection that says so. While it lasts, nobody can have exchanged the storage behind it."""
    max_age_seconds: float = 0.0
    """How old anything in it becomes. 0 = it stays."""


class Change(NamedTuple):
    """One write to a key: a document, or None for a delete marker. A tuple, because there are so many of them."""

    key: str
    revision: int
    document: bytes | None
    expires_at_ns: int | None = None
    """When the storage removes it without a word, by its own clock. None = as late as the bucket removes any."""
    purged: bool = False
    """Of a delete marker: whether it stands alone. Older revisions may lie behind others."""
    stored_at: str = ""
    """When the storage took it, by its own clock, in RFC 3339. A text, because hardly anybody reads it."""
    traceparent: str = ""
    """The trace in which it was written (W3C Trace Context), whoever says so. Empty = none was told."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Some writes in revision order. Of a key that was written again, older ones may be left out."""

    entries: tuple[Change, ...]
    at_end: bool
    """Whether these were the newest."""


class Saved(NamedTuple):
    """A state that was saved."""

    revision: int
    state: WorkflowState | None
    """None = the write was made earlier under the same id, and what it had stored has been overwritten since."""
    document_bytes: int = 0
    """Bytes of the stored document."""


class Deleted(NamedTuple):
    """What a delete found and did."""

    existed: bool
    revision: int = 0
    """Of the delete marker. 0 = nothing was there to delete, not even one."""
    repeated: bool = False
    """Whether something had been deleted earlier under the same id, so that nothing was now."""


class Draft(NamedTuple):
    """A state to be saved together with others; see StateStore.save."""

    state: WorkflowState
    expected_revision: int | None = None
    write_id: str = ""
    again_after: int | None = None


class StateStore(Protocol):
    """Keeps workflow states in one bucket. Every method may raise `StorageUnavailable` and `BucketNotFound`."""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        ...

    @property
    def document_bytes_max(self) -> int:
        """The most bytes that a stored document may have."""
        ...

    @property
    def room(self) -> Room:
        """Whether there is room for what is written."""
        ...

    async def save(
        self,
        state: WorkflowState,
        expected_revision: int | None = None,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Saved:
        """Store a whole state and return it with its revision once it is as durable as the storage makes it.

        `expected_revision` None writes whatever is stored; 0 wants no such workflow (a deleted one does not exist);
        n wants the last write of this workflow to have revision n.

        A `write_id` (see codec.write_id) that was used before, and not too long ago (`BucketInfo.request_id_seconds`),
        makes it return what was saved then, and save nothing.

        Who makes a write again says so by `again_after`: the newest revision of the bucket that was known when it was
        made first. None = this is the first attempt. A store that may have forgotten earlier ones needs it.

        Raises: WorkflowAlreadyExists, RevisionMismatch, StateTooLarge, StorageFull; made again, WriteForgotten.
        """
        ...

    async def save_together(self, drafts: Sequence[Draft]) -> list[Saved]:
        """Save several states, of different workflows, as `save` does: all of them or none.

        Raises: what `save` raises, BucketConfiguration when the bucket does not allow it, Contended.
        """
        ...

    async def load(
        self, workflow_id: str, min_revision: int = 0, consistency: Consistency = Consistency.SESSION
    ) -> StoredState:
        """Return the state, as new as the consistency says, as of `min_revision` of the bucket or later.

        Raises: WorkflowNotFound, MalformedDocument, RevisionNotReached, and for LINEARIZABLE BucketConfiguration.
        """
        ...

    async def anchor(self, min_revision: int = 0, consistency: Consistency = Consistency.SESSION) -> int:
        """Return the revision that what is read now has to be of, or later, to be as new as the consistency says.

        It is `min_revision` at the least, and `position` is not before it from then on. 0 = any answer will do.

        Raises: RevisionNotReached, and for LINEARIZABLE BucketConfiguration.
        """
        ...

    async def position(self) -> StorePosition:
        """Return where the bucket stands: at or after every write acknowledged before the call.

        With several copies that is the word of their leader. If it was deposed without knowing it, others may have had
        writes acknowledged that it lacks; what this store has acknowledged or handed out is never after the position.

        Raises: BucketConfiguration when the bucket does not allow to read on from here.
        """
        ...

    async def changes(self, after: int, until: int) -> Changes:
        """Return the next writes after a revision, a bounded number of them.

        They are `at_end` only if nothing is stored after them, and nothing will be up to revision `until`, the bucket
        having been there before the call.
        """
        ...

    async def last(self, keys: Collection[str], at_least: int) -> dict[str, Change]:
        """Return the last write to each key, as of a moment at which the bucket was at revision `at_least` or later.

        Keys that nothing is stored under are left out.
        """
        ...

    def last_in_parts(self, keys: Collection[str], at_least: int) -> AsyncGenerator[dict[str, Change]]:
        """Yield what `last` returns in parts of a bounded size, each as soon as it is there, in any order."""
        ...

    async def delete(
        self,
        workflow_id: str,
        expected_revision: int | None = None,
        *,
        purge: bool = False,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Deleted:
        """Remove a workflow and tell whether it existed. `purge` also removes the revisions that the bucket keeps.

        A `write_id` that was used before makes it tell what it told then, and remove nothing; see `save`.

        Raises: RevisionMismatch, Contended; made again, WriteForgotten.
        """
        ...

    async def written(self, write_id: str, workflow_id: str = "", again_after: int | None = None) -> Change | None:
        """Return what was written under this id, None when nothing was, or so long ago that it is forgotten.

        What has been overwritten since has an empty key. With `again_after`, see `save`, None says that nothing was
        written to this workflow under the id.

        Raises: WriteForgotten, when that cannot be told.
        """
        ...

    async def put(self, key: str, document: bytes, expected_revision: int) -> int:
        """Store any bytes under any key that a bucket can have, and return the revision.

        `expected_revision` is that of the last write to the key, delete markers included; 0 = there is none.

        Raises: RevisionMismatch, StateTooLarge, StorageFull, with the key for a workflow id.
        """
        ...

    def revisions(self, workflow_id: str) -> AsyncGenerator[Change]:
        """Yield the writes to a workflow that the bucket still has, the oldest first."""
        ...

    async def revision(self, workflow_id: str, revision: int) -> Change | None:
        """Return the write to a workflow with this revision, None when the bucket has it no more."""
        ...

    async def compact(self, key: str, revision: int) -> None:
        """Remove a delete marker, and what the bucket still has of the key from before it, without a trace.

        Whatever was written to the key after the marker stays.

        Raises: BucketConfiguration when the bucket does not allow it.
        """
        ...

    async def revision_before(self, time_ns: int) -> int:
        """Return the revision just before the first write there is that was made at this time or later.

        Whatever was written before that time has this revision or an earlier one. Without such a write it is the
        newest revision.
        """
        ...

    def announced(self, tell: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Call `tell` soon after every write, by whomever, while the block runs.

        It is a hint: after trouble with the storage some may be left out.
        """
        ...

    async def info(self) -> BucketInfo:
        """Return how the bucket is configured and how full it is."""
        ...
