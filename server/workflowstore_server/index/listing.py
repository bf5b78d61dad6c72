"""The only place that knows how List and Count are answered from the index, and who answers a Watch."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from workflowstore_server.codec import message
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import pages, query, written
from workflowstore_server.index.database import Database
from workflowstore_server.index.follower import Follower, IndexOptions
from workflowstore_server.index.janitor import Janitor, RetentionOptions
from workflowstore_server.index.pages import Page
from workflowstore_server.index.query import Way
from workflowstore_server.index.watching import NOW, Watch, WatchMessage, WatchStart
from workflowstore_server.model.current_call import Tracer
from workflowstore_server.model.limits import CHUNK_STATES_MAX, COUNT_GROUPS_MAX
from workflowstore_server.model.selection import (
    Counted,
    Group,
    GroupBy,
    ListPosition,
    Selection,
    WorkflowFilter,
)
from workflowstore_server.model.state import IndexInfo, MalformedEntry, WorkflowView
from workflowstore_server.store import StateStore

DECODED_AT_ONCE_MAX: Final = 128
"""Documents that are decoded without a break: 2 to 4 ms of the event loop."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of what a List replies. `position` is where it goes on, None when nothing is left."""

    states: bytes
    """Fields `states` of a ListResponse, as they go over the wire."""
    malformed: tuple[MalformedEntry, ...]
    position: ListPosition | None
    store_revision: int


class Index:
    """Lists and counts the workflows of a bucket, while its `follower` runs. Its `janitor` may run beside it.

    async with Index(store, IndexOptions()).following() as index:
        counted = await index.count(WorkflowFilter(), GroupBy.STATUS)
    """

    def __init__(
        self,
        store: StateStore,
        options: IndexOptions,
        retention: RetentionOptions | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.store = store
        self._options = options
        self.follower = Follower(store, options, tracer)
        retention = retention or RetentionOptions()
        self.janitor = Janitor(store, self.follower, retention, options.delete_marker_seconds)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Self]:
        """Follow the bucket for as long as the block runs."""
        following = asyncio.create_task(self.follower.run(), name=f"follower of {self.store.bucket}")
        try:
            yield self
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self.follower.stop()

    def info(self, store_revision: int | None = None) -> IndexInfo:
        """Describe the index beside a bucket that is at a revision; None = where it was when it was last looked at."""
        meta = self.follower.meta
        if store_revision is None:
            store_revision = self.follower.store_revision
        return IndexInfo(
            revision=meta.revision,
            lag=max(0, store_revision - meta.revision),
            ready=self.follower.ready,
            workflow_count=meta.workflows,
            malformed_count=meta.malformed,
            on_disk=self._options.directory is not None,
        )

    async def chunks(
        self,
        selection: Selection,
        view: WorkflowView = WorkflowView.SUMMARY,
        limit: int = 0,
        after: ListPosition | None = None,
    ) -> AsyncGenerator[Chunk]:
        """Yield what is selected after a position, in chunks, of which the first leaves as soon as it is known.

        At most `limit` states (0 = all). One chunk is read ahead while the one before it is sent.

        Raises: IndexBehind, and what a StateStore raises.
        """
        database, revision = await self.follower.fresh()
        position = after or ListPosition(malformed_key="")
        while position.malformed_key is not None:
            entries = await self.follower.read(database, partial(pages.malformed, selection, position.malformed_key))
            ended = len(entries) < CHUNK_STATES_MAX
            position = ListPosition() if ended else ListPosition(malformed_key=entries[-1].key)
            if entries:
                yield Chunk(b"", tuple(entries), position, revision)
        way = await self.follower.read(database, lambda connection: query.way_of(connection, selection))
        read_page = self._full_page if view is WorkflowView.FULL else self._summary_page
        remaining = limit or -1
        reading = asyncio.create_task(read_page(database, selection, way, position, remaining))
        try:
            while True:
                page = await reading
                remaining -= page.states_count
                following = page.position
                if following is not None and remaining:
                    reading = asyncio.create_task(read_page(database, selection, way, following, remaining))
                elif following is not None:
                    # As many as were asked for: is anything left?
                    rest, _ = await self.follower.read(database, partial(pages.documents, way, selection, following, 1))
                    following = following if rest else None
                yield Chunk(page.states, page.malformed, following, revision)
                if following is None or not remaining:
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def count(self, wanted: WorkflowFilter, group_by: GroupBy = GroupBy.NOTHING, label: str = "") -> Counted:
        """Count what matches, in all and apart.

        Raises: IndexBehind, and what a StateStore raises.
        """
        database, revision = await self.follower.fresh()

        def work(connection: sqlite3.Connection) -> tuple[int, list[Group], int, int]:
            # One state of the tables for all the queries.
            connection.execute("BEGIN")
            try:
                return (*_count(connection, wanted, group_by, label), _count_malformed(connection, wanted))
            finally:
                connection.execute("ROLLBACK")

        count, groups, omitted, malformed = await self.follower.read(database, work)
        return Counted(count, tuple(groups), omitted, malformed, revision)

    def watch(
        self, wanted: WorkflowFilter, view: WorkflowView = WorkflowView.SUMMARY, start: WatchStart = NOW
    ) -> AsyncGenerator[WatchMessage]:
        """Yield what changes from a start on, without an end.

        Raises: RevisionForgotten, WatchTooSlow, ShuttingDown, IndexBehind, and what a StateStore raises.
        """
        watch = Watch(self.follower, self.store, wanted, view, self._options.delete_marker_seconds)
        return watch.messages(start)

    async def _summary_page(
        self, database: Database, selection: Selection, way: Way, position: ListPosition, remaining: int
    ) -> Page:
        count = min(remaining, CHUNK_STATES_MAX) if remaining > 0 else CHUNK_STATES_MAX
        return await self.follower.read(database, partial(pages.summaries, way, selection, position, count))

    async def _full_page(
        self, database: Database, selection: Selection, way: Way, position: ListPosition, remaining: int
    ) -> Page:
        """Read documents from the bucket, for rows of the index.

        Of a document that was written after its row, the new state is taken if it still matches.
        """
        count = min(remaining, CHUNK_STATES_MAX) if remaining > 0 else CHUNK_STATES_MAX
        rows, last = await self.follower.read(database, partial(pages.documents, way, selection, position, count))
        if not rows:
            return Page(0, b"", None)
        found = await self.store.last([key_of(id_) for id_, _, _ in rows], max(revision for _, revision, _ in rows))
        states, malformed = [], []
        for number, (id_, _, _) in enumerate(rows, 1):
            if number % DECODED_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
            change = found.get(key_of(id_))
            if change is None or change.document is None:
                continue
            entry = await written.read(change)
            if isinstance(entry, MalformedEntry):
                malformed.append(entry)
            elif selection.filter.matches(entry.state):
                states.append(await written.full(entry))
        return Page(len(states), message.states_field(states), last, tuple(malformed))


def _count(
    connection: sqlite3.Connection, wanted: WorkflowFilter, group_by: GroupBy, label: str
) -> tuple[int, list[Group], int]:
    way = query.counting_way_of(connection, wanted)
    if group_by is GroupBy.STATUS:
        numbers: dict[int, int] = {}
        term = query.counted(way, wanted, "w.status")
        for value, number in connection.execute(term.sql, term.parameters):
            numbers[value] = numbers.get(value, 0) + number
        largest_first = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
        return sum(numbers.values()), [Group(message.status_of(value), number) for value, number in largest_first], 0
    term = query.counted(way, wanted)
    count = sum(number for (number,) in connection.execute(term.sql, term.parameters))
    if group_by is GroupBy.NOTHING:
        return count, [], 0
    term = query.counted_by_label(way, wanted, label, COUNT_GROUPS_MAX)
    rows = connection.execute(term.sql, term.parameters).fetchall()
    found = [Group(value, number) for value, number, _, _ in rows]
    distinct, labelled = (rows[0][2], rows[0][3]) if rows else (0, 0)
    if count > labelled:
        distinct += 1
        found.append(Group(None, count - labelled))
        # Those without the label stand last among groups as large.
        found.sort(key=lambda group: -group.count)
    return count, found[:COUNT_GROUPS_MAX], distinct - min(distinct, COUNT_GROUPS_MAX)


def _count_malformed(connection: sqlite3.Connection, wanted: WorkflowFilter) -> int:
    where = query.all_of(query.malformed_conditions(wanted))
    found: tuple[int] = connection.execute(
        f"SELECT count(*) FROM malformed WHERE {where.sql}",
        where.parameters,
    ).fetchone()
    return found[0]
