"""One who watches an index: what they were told, and what they know from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from support.waiting import until
from workflowstore.v1.workflow_store_pb2 import ChangeKind, WatchResponse, WorkflowChange
from workflowstore_server.index import Index, WatchMessage, WatchStart
from workflowstore_server.model.errors import StoreError
from workflowstore_server.model.selection import WorkflowFilter
from workflowstore_server.model.state import WorkflowView

SNAPSHOT = WatchStart(snapshot=True)


class Watcher:
    """Reads a Watch to its end."""

    def __init__(self) -> None:
        self.told: list[WatchMessage] = []
        self.changes: list[WorkflowChange] = []
        self.known: dict[str, str] = {}
        """The `error` of each workflow that is there and matches, by id."""
        self.ended: StoreError | None = None

    @property
    def revision(self) -> int:
        return self.told[-1].revision if self.told else -1

    @property
    def kinds(self) -> list[tuple[str, str, int]]:
        return [
            (ChangeKind.Name(change.kind).removeprefix("CHANGE_KIND_"), change.workflow_id, change.revision)
            for change in self.changes
        ]

    async def read(self, index: Index, wanted: WorkflowFilter, view: WorkflowView, start: WatchStart) -> None:
        try:
            async with aclosing(index.watch(wanted, view, start)) as messages:
                async for message in messages:
                    self.take(message)
        except StoreError as error:
            self.ended = error

    def take(self, message: WatchMessage) -> None:
        self.told.append(message)
        for change in WatchResponse.FromString(message.changes).changes:
            self.changes.append(change)
            if change.kind == ChangeKind.CHANGE_KIND_SAVED:
                self.known[change.workflow_id] = change.state.error
            else:
                self.known.pop(change.workflow_id, None)

    async def reached(self, revision: int) -> None:
        async def there() -> bool:
            assert self.ended is None or self.revision >= revision, self.ended
            return self.revision >= revision

        await until(there)

    async def ended_with(self) -> StoreError:
        async def there() -> StoreError | None:
            return self.ended

        ended = await until(there)
        assert ended is not None
        return ended


@asynccontextmanager
async def watching(
    index: Index,
    start: WatchStart = WatchStart(),  # noqa: B008
    wanted: WorkflowFilter = WorkflowFilter(),  # noqa: B008
    view: WorkflowView = WorkflowView.SUMMARY,
) -> AsyncIterator[Watcher]:
    """Somebody who has begun to watch."""
    watcher = Watcher()
    reading = asyncio.create_task(watcher.read(index, wanted, view, start))

    async def begun() -> bool:
        return bool(watcher.told or watcher.ended)

    try:
        await until(begun)
        yield watcher
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
