"""The only place that knows what a store does, told in a dictionary: the model that JetStream's store is compared with.

It keeps nothing beyond the process.
"""

import time
from collections.abc import Collection
from typing import Final

from workflowstore_server.codec import document
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.errors import (
    MalformedDocument,
    RevisionMismatch,
    StateTooLarge,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from workflowstore_server.model.limits import DOCUMENT_BYTES_MAX
from workflowstore_server.model.state import BucketInfo, MalformedEntry, StoredState, WorkflowState
from workflowstore_server.store import Change, Changes, StorePosition

CHANGES_MAX: Final = 256
"""Changes handed out at once: few enough that tests meet the end of a batch."""


class MemoryStore:
    """A `StateStore` in memory, in one revision a workflow."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.document_bytes_max = DOCUMENT_BYTES_MAX
        self.identity = "memory"
        self.session = 0
        self._revision = 0
        self._entries: dict[str, tuple[int, bytes | None]] = {}

    async def save(self, state: WorkflowState, expected_revision: int | None = None) -> int:
        encoded = document.encode(state)
        if len(encoded) > self.document_bytes_max:
            raise StateTooLarge(self.bucket, state.workflow_id, len(encoded), self.document_bytes_max)
        last, stored = self._last(state.workflow_id)
        if expected_revision == 0 and stored is not None:
            raise WorkflowAlreadyExists(self.bucket, state.workflow_id, last)
        if expected_revision and expected_revision != last:
            raise RevisionMismatch(self.bucket, state.workflow_id, expected_revision, last if stored else 0)
        return self.put(key_of(state.workflow_id), encoded)

    async def load(self, workflow_id: str) -> StoredState:
        revision, stored = self._last(workflow_id)
        if stored is None:
            raise WorkflowNotFound(self.bucket, workflow_id)
        decoded = document.entry_of(key_of(workflow_id), revision, stored)
        if isinstance(decoded, MalformedEntry):
            raise MalformedDocument(self.bucket, decoded.key, decoded.revision, decoded.reason)
        return decoded

    async def position(self) -> StorePosition:
        first = min((revision for revision, _ in self._entries.values()), default=self._revision + 1)
        return StorePosition(self.identity, first, self._revision, len(self._entries), time.time_ns(), self.session)

    async def changes(self, after: int, until: int) -> Changes:
        del until  # it is never behind
        newer = sorted(
            (Change(key, revision, stored) for key, (revision, stored) in self._entries.items() if revision > after),
            key=lambda change: change.revision,
        )
        return Changes(tuple(newer[:CHANGES_MAX]), at_end=len(newer) <= CHANGES_MAX)

    async def last(self, keys: Collection[str], at_least: int) -> dict[str, Change]:
        del at_least
        return {key: Change(key, *self._entries[key]) for key in keys if key in self._entries}

    async def delete(self, workflow_id: str, expected_revision: int | None = None, *, purge: bool = False) -> bool:
        del purge  # there are no old revisions
        last, stored = self._last(workflow_id)
        actual = last if stored is not None else 0
        if expected_revision is not None and expected_revision != actual:
            raise RevisionMismatch(self.bucket, workflow_id, expected_revision, actual)
        if stored is None:
            return False
        self.put(key_of(workflow_id), None)
        return True

    async def info(self) -> BucketInfo:
        return BucketInfo(
            name=self.bucket,
            history=1,
            replicas=1,
            max_bytes=0,
            max_age_seconds=0.0,
            on_disk=False,
            allow_direct=True,
            revisions=len(self._entries),
            bytes=sum(len(stored or b"") for _, stored in self._entries.values()),
            store_revision=self._revision,
        )

    def put(self, key: str, stored: bytes | None) -> int:
        """Store any bytes under any key, as another writer of the bucket could; None is a delete marker."""
        self._revision += 1
        self._entries[key] = (self._revision, stored)
        return self._revision

    def forget(self, keys: Collection[str]) -> None:
        """Lose what is stored under keys, without a trace, as when somebody purges them."""
        for key in keys:
            self._entries.pop(key, None)

    def _last(self, workflow_id: str) -> tuple[int, bytes | None]:
        return self._entries.get(key_of(workflow_id), (0, None))
