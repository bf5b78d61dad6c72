"""The only place that knows what a store does, told in a dictionary: the model that JetStream's store is compared with.

It keeps nothing beyond the process.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from workflowstore_server.codec import document, rfc3339
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.errors import (
    MalformedDocument,
    RevisionMismatch,
    RevisionNotReached,
    StateTooLarge,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from workflowstore_server.model.limits import DOCUMENT_BYTES_MAX
from workflowstore_server.model.state import BucketInfo, Consistency, MalformedEntry, Room, StoredState, WorkflowState
from workflowstore_server.store import Change, Changes, Deleted, Draft, Saved, StorePosition

CHANGES_MAX: Final = 256
"""Changes handed out at once: few enough that tests meet the end of a batch."""


class MemoryStore:
    """A `StateStore` in memory, in one revision a workflow."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.document_bytes_max = DOCUMENT_BYTES_MAX
        self.identity = "2026-01-01T00:00:00Z"
        self.session = 0
        self.room = Room()
        self._revision = 0
        self._entries: dict[str, Change] = {}
        self._written: dict[str, int] = {}
        """Revisions of the writes that were given an id."""
        self._listeners: list[Callable[[], None]] = []

    async def save(
        self,
        state: WorkflowState,
        expected_revision: int | None = None,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Saved:
        del again_after  # nothing is forgotten
        self._check(state, expected_revision, write_id)
        return self._save(state, write_id)

    async def save_together(self, drafts: Sequence[Draft]) -> list[Saved]:
        for draft in drafts:
            self._check(draft.state, draft.expected_revision, draft.write_id)
        return [self._save(draft.state, draft.write_id) for draft in drafts]

    async def load(
        self, workflow_id: str, min_revision: int = 0, consistency: Consistency = Consistency.SESSION
    ) -> StoredState:
        await self.anchor(min_revision, consistency)
        revision, stored = self._last(workflow_id)
        if stored is None:
            raise WorkflowNotFound(self.bucket, workflow_id)
        decoded = document.entry_of(key_of(workflow_id), revision, stored)
        if isinstance(decoded, MalformedEntry):
            raise MalformedDocument(self.bucket, decoded.key, decoded.revision, decoded.reason)
        return decoded

    async def anchor(self, min_revision: int = 0, consistency: Consistency = Consistency.SESSION) -> int:
        del consistency  # there is one copy
        if min_revision > self._revision:
            raise RevisionNotReached(self.bucket, min_revision, self._revision)
        return min_revision

    async def position(self) -> StorePosition:
        first = min((entry.revision for entry in self._entries.values()), default=self._revision + 1)
        return StorePosition(self.identity, first, self._revision, len(self._entries), time.time_ns(), self.session)

    async def changes(self, after: int, until: int) -> Changes:
        del until  # it is never behind
        newer = sorted(
            (entry for entry in self._entries.values() if entry.revision > after), key=lambda change: change.revision
        )
        return Changes(tuple(newer[:CHANGES_MAX]), at_end=len(newer) <= CHANGES_MAX)

    async def last(self, keys: Collection[str], at_least: int) -> dict[str, Change]:
        del at_least
        return {key: self._entries[key] for key in keys if key in self._entries}

    async def last_in_parts(self, keys: Collection[str], at_least: int) -> AsyncGenerator[dict[str, Change]]:
        for key in keys:
            yield await self.last([key], at_least)

    async def delete(
        self,
        workflow_id: str,
        expected_revision: int | None = None,
        *,
        purge: bool = False,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Deleted:
        del purge, again_after  # there are no old revisions, and nothing is forgotten
        if write_id in self._written:
            return Deleted(existed=True, revision=self._written[write_id], repeated=True)
        last, stored = self._last(workflow_id)
        actual = last if stored is not None else 0
        if expected_revision is not None and expected_revision != actual:
            raise RevisionMismatch(self.bucket, workflow_id, expected_revision, actual)
        if stored is None:
            return Deleted(existed=False, revision=last)
        revision = self.store(key_of(workflow_id), None)
        self._note(write_id, revision)
        return Deleted(existed=True, revision=revision)

    async def written(self, write_id: str, workflow_id: str = "", again_after: int | None = None) -> Change | None:
        del workflow_id, again_after  # nothing is forgotten
        if write_id not in self._written:
            return None
        revision = self._written[write_id]
        there = (entry for entry in self._entries.values() if entry.revision == revision)
        return next(there, Change("", revision, None))

    async def put(self, key: str, document: bytes, expected_revision: int) -> int:
        actual = self._entries[key].revision if key in self._entries else 0
        if len(document) > self.document_bytes_max:
            raise StateTooLarge(self.bucket, key, len(document), self.document_bytes_max)
        if expected_revision != actual:
            raise RevisionMismatch(self.bucket, key, expected_revision, actual)
        return self.store(key, document)

    async def revisions(self, workflow_id: str) -> AsyncGenerator[Change]:
        if entry := self._entries.get(key_of(workflow_id)):
            yield entry

    async def revision(self, workflow_id: str, revision: int) -> Change | None:
        entry = self._entries.get(key_of(workflow_id))
        return entry if entry is not None and entry.revision == revision else None

    async def compact(self, key: str, revision: int) -> None:
        if key in self._entries and self._entries[key].revision <= revision:
            del self._entries[key]

    async def revision_before(self, time_ns: int) -> int:
        since = [entry.revision for entry in self._entries.values() if rfc3339.parse(entry.stored_at) >= time_ns]
        return min(since, default=self._revision + 1) - 1

    def announced(self, tell: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        return self._listening(tell)

    async def info(self) -> BucketInfo:
        return BucketInfo(
            name=self.bucket,
            history=1,
            replicas=1,
            max_bytes=0,
            max_age_seconds=0.0,
            on_disk=False,
            allow_direct=True,
            allow_atomic=True,
            request_id_seconds=float("inf"),
            revisions=len(self._entries),
            bytes=sum(len(entry.document or b"") for entry in self._entries.values()),
            store_revision=self._revision,
        )

    def store(self, key: str, stored: bytes | None, stored_at_ns: int | None = None) -> int:
        """Store any bytes under any key, as another writer of the bucket could; None is a delete marker."""
        self._revision += 1
        stored_at = rfc3339.format(time.time_ns() if stored_at_ns is None else stored_at_ns)
        self._entries[key] = Change(key, self._revision, stored, purged=stored is None, stored_at=stored_at)
        for tell in self._listeners:
            tell()
        return self._revision

    def forget(self, keys: Collection[str]) -> None:
        """Lose what is stored under keys, without a trace, as when somebody purges them."""
        for key in keys:
            self._entries.pop(key, None)

    @asynccontextmanager
    async def _listening(self, tell: Callable[[], None]) -> AsyncIterator[None]:
        self._listeners.append(tell)
        try:
            yield
        finally:
            self._listeners.remove(tell)

    def _check(self, state: WorkflowState, expected_revision: int | None, write_id: str) -> None:
        if (size := len(document.encode(state))) > self.document_bytes_max:
            raise StateTooLarge(self.bucket, state.workflow_id, size, self.document_bytes_max)
        if write_id in self._written:
            return
        last, stored = self._last(state.workflow_id)
        if expected_revision == 0 and stored is not None:
            raise WorkflowAlreadyExists(self.bucket, state.workflow_id, last)
        if expected_revision and expected_revision != last:
            raise RevisionMismatch(self.bucket, state.workflow_id, expected_revision, last if stored else 0)

    def _save(self, state: WorkflowState, write_id: str) -> Saved:
        if write_id not in self._written:
            encoded = document.encode(state)
            revision = self.store(key_of(state.workflow_id), encoded)
            self._note(write_id, revision)
            return Saved(revision, state, len(encoded))
        revision = self._written[write_id]
        entry = self._entries.get(key_of(state.workflow_id))
        if entry is None or entry.revision != revision or entry.document is None:
            return Saved(revision, None)
        return Saved(revision, document.decode(entry.document, entry.key), len(entry.document))

    def _note(self, write_id: str, revision: int) -> None:
        if write_id:
            self._written[write_id] = revision

    def _last(self, workflow_id: str) -> tuple[int, bytes | None]:
        entry = self._entries.get(key_of(workflow_id))
        return (entry.revision, entry.document) if entry is not None else (0, None)
