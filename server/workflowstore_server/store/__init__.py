"""The only place that knows what a store of workflow states promises."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from workflowstore_server.model.state import BucketInfo, MalformedEntry, StoredState, WorkflowState


@dataclass(frozen=True, slots=True)
class ScanBatch:
    """Some entries of a bucket, in revision order, and the revision up to which the whole scan sees every write."""

    entries: tuple[StoredState | MalformedEntry, ...]
    store_revision: int


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

    def scan(self) -> AsyncGenerator[ScanBatch]:
        """Yield every entry once, in revision order, in batches of bounded size; there is at least one batch.

        Every write acknowledged before the call is reflected. A workflow written meanwhile comes in its old or in its
        new state. A consumer that waits makes the scan wait: at most one batch is read ahead.

        Raises: BucketConfiguration.
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
