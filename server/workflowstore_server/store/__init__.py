"""The only place that knows what a store of workflow states promises."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from workflowstore_server.model.state import BucketInfo, StoredState, WorkflowState


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


class Change(NamedTuple):
    """One write to a key: a document, or None for a delete marker. A tuple, because there are so many of them."""

    key: str
    revision: int
    document: bytes | None
    expires_at_ns: int | None = None
    """When the storage removes it without a word, by its own clock. None = as late as the bucket removes any."""
    purged: bool = False
    """Of a delete marker: whether it stands alone. Older revisions may lie behind others."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Some writes in revision order. Of a key that was written again, older ones may be left out."""

    entries: tuple[Change, ...]
    at_end: bool
    """Whether these were the newest."""


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

    async def save(self, state: WorkflowState, expected_revision: int | None = None) -> int:
        """Store a whole state and return its revision once it is as durable as the storage makes it.

        `expected_revision` None writes whatever is stored; 0 wants no such workflow (a deleted one does not exist);
        n wants the last write of this workflow to have revision n.

        Raises: WorkflowAlreadyExists, RevisionMismatch, StateTooLarge, StorageFull.
        """
        ...

    async def load(self, workflow_id: str) -> StoredState:
        """Return the state, which reflects every write acknowledged before the call.

        Raises: WorkflowNotFound, MalformedDocument.
        """
        ...

    async def position(self) -> StorePosition:
        """Return where the bucket stands: at or after every write acknowledged before the call.

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

    async def delete(self, workflow_id: str, expected_revision: int | None = None, *, purge: bool = False) -> bool:
        """Remove a workflow and tell whether it existed. `purge` also removes the revisions that the bucket keeps.

        Raises: RevisionMismatch, Contended.
        """
        ...

    async def info(self) -> BucketInfo:
        """Return how the bucket is configured and how full it is."""
        ...
