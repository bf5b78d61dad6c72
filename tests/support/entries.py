"""What lies in a bucket and in an index, read from end to end."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from workflowstore.v1.workflow_state_pb2 import WorkflowState as WorkflowStateMessage
from workflowstore.v1.workflow_store_pb2 import ListResponse
from workflowstore_server.codec import document
from workflowstore_server.index import Index, IndexOptions, follower
from workflowstore_server.model.selection import ListPosition, Selection, WorkflowFilter
from workflowstore_server.model.state import MalformedEntry, StoredState, WorkflowView
from workflowstore_server.store import StateStore


async def everything(store: StateStore) -> list[StoredState | MalformedEntry]:
    """Every entry of a bucket that is at rest, in revision order."""
    until = (await store.position()).last_revision
    newest, after = {}, 0
    while True:
        batch = await store.changes(after, until)
        for change in batch.entries:
            assert change.revision > after
            newest[change.key] = change
            after = change.revision
        if batch.at_end:
            break
    ordered = sorted(newest.values(), key=lambda change: change.revision)
    return [
        document.entry_of(change.key, change.revision, change.document)
        for change in ordered
        if change.document is not None
    ]


async def ids_of(store: StateStore) -> list[str]:
    """The ids of all states of a bucket that is at rest, in the order of their last writes."""
    entries = await everything(store)
    assert not [entry for entry in entries if isinstance(entry, MalformedEntry)]
    return [entry.state.workflow_id for entry in entries if isinstance(entry, StoredState)]


@asynccontextmanager
async def indexed(
    store: StateStore, directory: Path | None = None, wait_seconds: float = 30.0, poll_seconds: float | None = None
) -> AsyncIterator[Index]:
    """An index that follows a store. With `poll_seconds` math.inf it has caught up, and looks only when it is asked."""
    with pytest.MonkeyPatch.context() as patch:
        if poll_seconds is not None:
            patch.setattr(follower, "POLL_SECONDS", poll_seconds)
        async with Index(store, IndexOptions(directory, wait_seconds)).following() as index:
            if poll_seconds == math.inf:
                await index.count(WorkflowFilter())
            yield index


async def listed(
    index: Index,
    selection: Selection,
    view: WorkflowView = WorkflowView.SUMMARY,
    limit: int = 0,
    after: ListPosition | None = None,
) -> tuple[list[WorkflowStateMessage], list[MalformedEntry]]:
    """What one List replies, its states and its malformed entries."""
    states: list[WorkflowStateMessage] = []
    malformed: list[MalformedEntry] = []
    async for chunk in index.chunks(selection, view, limit, after):
        states += ListResponse.FromString(chunk.states).states
        malformed += chunk.malformed
    return states, malformed
