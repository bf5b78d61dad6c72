"""The only place that knows how a stored state is changed without losing what others change at the same time."""

import asyncio
import random
from typing import Final
from weakref import WeakValueDictionary

from workflowstore_server.codec import aside, document
from workflowstore_server.model.errors import (
    Contended,
    Outcome,
    RevisionMismatch,
    StorageUnavailable,
    StoreError,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from workflowstore_server.model.patch import StatePatch
from workflowstore_server.model.state import StoredState, WorkflowState
from workflowstore_server.store import Saved, StateStore

ATTEMPTS_MAX: Final = 64
"""Attempts at one update. Updates of one workflow on one server queue up, so each failure is a writer elsewhere."""

PAUSE_SECONDS_MIN: Final = 0.001
PAUSE_SECONDS_MAX: Final = 0.05
"""Longest pause after an attempt that came too late, which doubles with each of them; half of it is left to chance."""


class Updater:
    """Changes states of one store: reads, changes, and writes if nobody else has written in between."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def update(
        self,
        patch: StatePatch,
        missing: WorkflowState,
        expected_revision: int | None,
        write_id: str,
        again_after: int | None = None,
        *,
        create: bool,
    ) -> Saved:
        """Change the workflow of `missing`, which is the state to begin with where there is none and `create` is given.

        Raises: WorkflowNotFound, RevisionMismatch, WorkflowAlreadyExists, InvalidRequest, MalformedDocument, Contended,
        and what `StateStore.save` raises.
        """
        workflow_id = missing.workflow_id
        lock = self._locks.setdefault(workflow_id, asyncio.Lock())
        async with lock:
            # Once that no earlier attempt has written is known, what others write since is changed as any state is.
            if again_after is not None and (earlier := await self._earlier(write_id, workflow_id, again_after)):
                return earlier
            pause = PAUSE_SECONDS_MIN
            for _ in range(ATTEMPTS_MAX):
                try:
                    found = await self._find(workflow_id, expected_revision, create=create)
                except StorageUnavailable as error:
                    raise StorageUnavailable(error.bucket, error.detail, Outcome.NOT_APPLIED) from error
                except StoreError as error:
                    earlier = await self._earlier(write_id)
                    if earlier is None:
                        raise error
                    return earlier
                state, revision = (found.state, found.revision) if found is not None else (missing, 0)
                try:
                    return await self._store.save(patch.applied_to(state), revision, write_id)
                except (RevisionMismatch, WorkflowAlreadyExists):
                    await asyncio.sleep(pause * (1 + random.random()) / 2)  # noqa: S311 (spreads load, hides nothing)
                    pause = min(2 * pause, PAUSE_SECONDS_MAX)
        raise Contended(self._store.bucket, workflow_id, ATTEMPTS_MAX)

    async def _find(self, workflow_id: str, expected_revision: int | None, *, create: bool) -> StoredState | None:
        """Return what is to be changed, None when it is to be made."""
        bucket = self._store.bucket
        try:
            stored = await self._store.load(workflow_id)
        except WorkflowNotFound:
            if not create:
                raise
            if expected_revision:
                raise RevisionMismatch(bucket, workflow_id, expected_revision, 0) from None
            return None
        if expected_revision == 0:
            raise WorkflowAlreadyExists(bucket, workflow_id, stored.revision)
        if expected_revision is not None and expected_revision != stored.revision:
            raise RevisionMismatch(bucket, workflow_id, expected_revision, stored.revision)
        return stored

    async def _earlier(self, write_id: str, workflow_id: str = "", again_after: int | None = None) -> Saved | None:
        """Return what an earlier attempt of the same update has written."""
        change = await self._store.written(write_id, workflow_id, again_after) if write_id else None
        if change is None:
            return None
        if change.document is None:
            return Saved(change.revision, None)
        is_long = aside.is_long_document(change.document)
        entry = await aside.run(is_long, document.entry_of, change.key, change.revision, change.document)
        if not isinstance(entry, StoredState):
            return Saved(change.revision, None)
        return Saved(change.revision, entry.state, entry.document_bytes)
