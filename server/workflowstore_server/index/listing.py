"""The only place that knows how List and Count are answered from the index."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from workflowstore_server.codec import document, message
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import query, schema
from workflowstore_server.index.database import Database, DatabaseDamaged, DatabaseFailed
from workflowstore_server.index.follower import Follower, IndexOptions
from workflowstore_server.index.query import Way
from workflowstore_server.model.limits import CHUNK_BYTES_MAX, CHUNK_STATES_MAX, COUNT_GROUPS_MAX
from workflowstore_server.model.selection import (
    Counted,
    Group,
    GroupBy,
    ListPosition,
    OrderBy,
    Selection,
    WorkflowFilter,
)
from workflowstore_server.model.state import IndexInfo, MalformedEntry, WorkflowView
from workflowstore_server.store import StateStore

JOINED_BYTES_MAX: Final = CHUNK_BYTES_MAX // CHUNK_STATES_MAX
"""Bytes of a summary up to which SQLite joins those of a chunk, in one step that keeps no other thread waiting. The
few chunks with a longer one are read row by row."""

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


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows of one chunk: their number, their states, and the position after the last one."""

    states_count: int
    states: bytes
    position: ListPosition | None
    malformed: tuple[MalformedEntry, ...] = ()


class Index:
    """Lists and counts the workflows of a bucket, while its `follower` runs.

    async with Index(store, IndexOptions()).following() as index:
        counted = await index.count(WorkflowFilter(), GroupBy.STATUS)
    """

    def __init__(self, store: StateStore, options: IndexOptions) -> None:
        self._store = store
        self._on_disk = options.directory is not None
        self.follower = Follower(store, options)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Self]:
        """Follow the bucket for as long as the block runs."""
        following = asyncio.create_task(self.follower.run(), name=f"follower of {self._store.bucket}")
        try:
            yield self
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

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
            on_disk=self._on_disk,
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
            entries = await self._read(database, partial(_malformed, selection, position.malformed_key))
            ended = len(entries) < CHUNK_STATES_MAX
            position = ListPosition() if ended else ListPosition(malformed_key=entries[-1].key)
            if entries:
                yield Chunk(b"", tuple(entries), position, revision)
        way = await self._read(database, lambda connection: query.way_of(connection, selection))
        pages = self._full_pages if view is WorkflowView.FULL else self._summary_pages
        remaining = limit or -1
        reading = asyncio.create_task(pages(database, selection, way, position, remaining))
        try:
            while True:
                page = await reading
                remaining -= page.states_count
                following = page.position
                if following is not None and remaining:
                    reading = asyncio.create_task(pages(database, selection, way, following, remaining))
                elif following is not None:
                    # As many as were asked for: is anything left?
                    rest, _ = await self._read(database, partial(_documents, way, selection, following, 1))
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

        count, groups, omitted, malformed = await self._read(database, work)
        return Counted(count, tuple(groups), omitted, malformed, revision)

    async def _read(self, database: Database, work: Any) -> Any:
        try:
            return await database.read(work)
        except DatabaseDamaged:
            self.follower.suspect(database)
            raise self.follower.behind("the index is damaged and is being built anew") from None
        except DatabaseFailed as error:
            raise self.follower.behind(f"the index cannot be read: {error}") from error

    async def _summary_pages(
        self, database: Database, selection: Selection, way: Way, position: ListPosition, remaining: int
    ) -> _Page:
        count = min(remaining, CHUNK_STATES_MAX) if remaining > 0 else CHUNK_STATES_MAX
        page: _Page = await self._read(database, partial(_summaries, way, selection, position, count))
        return page

    async def _full_pages(
        self, database: Database, selection: Selection, way: Way, position: ListPosition, remaining: int
    ) -> _Page:
        """Read documents from the bucket, for rows of the index.

        Of a document that was written after its row, the new state is taken if it still matches.
        """
        count = min(remaining, CHUNK_STATES_MAX) if remaining > 0 else CHUNK_STATES_MAX
        rows, last = await self._read(database, partial(_documents, way, selection, position, count))
        if not rows:
            return _Page(0, b"", None)
        found = await self._store.last([key_of(id_) for id_, _, _ in rows], max(revision for _, revision, _ in rows))
        states, malformed = [], []
        for number, (id_, _, _) in enumerate(rows, 1):
            if number % DECODED_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
            change = found.get(key_of(id_))
            if change is None or change.document is None:
                continue
            entry = document.entry_of(change.key, change.revision, change.document)
            if isinstance(entry, MalformedEntry):
                malformed.append(entry)
            elif selection.filter.matches(entry.state):
                states.append(message.encode_state(entry, WorkflowView.FULL))
        return _Page(len(states), message.states_field(states), last, tuple(malformed))


def _malformed(selection: Selection, after: str, connection: sqlite3.Connection) -> list[MalformedEntry]:
    where = query.all_of([query.Term("key > ?", (after,)), *query.malformed_conditions(selection.filter)])
    sql = f"SELECT key, revision, reason FROM malformed WHERE {where.sql} ORDER BY key LIMIT {CHUNK_STATES_MAX}"
    return [MalformedEntry(*row) for row in connection.execute(sql, where.parameters)]


def _summaries(
    way: Way, selection: Selection, position: ListPosition, count: int, connection: sqlite3.Connection
) -> _Page:
    by_time = selection.order_by is not OrderBy.WORKFLOW_ID
    place = f"hex({_column(selection.order_by)}) || w.workflow_id" if by_time else "w.workflow_id"
    inner = _query(way, selection, position, count, f"{place} AS place, w.summary AS summary")
    # The last place of the page; a time of 9 bytes is 18 digits.
    last = "min(place)" if selection.descending else "max(place)"
    sql = f"""SELECT count(*), max(length(summary)), {last},
        group_concat(CASE WHEN length(summary) <= {JOINED_BYTES_MAX} THEN hex(summary) END, '') FROM ({inner.sql})"""
    found, longest, place, joined = connection.execute(sql, inner.parameters).fetchone()
    if not found:
        return _Page(0, b"", None)
    if longest > JOINED_BYTES_MAX:
        return _long_summaries(way, selection, position, count, connection)
    time_ns, id_ = (schema.time_ns_of(bytes.fromhex(place[:18])), place[18:]) if by_time else (0, place)
    return _Page(found, bytes.fromhex(joined), _after(found, count, time_ns, id_))


def _long_summaries(
    way: Way, selection: Selection, position: ListPosition, count: int, connection: sqlite3.Connection
) -> _Page:
    columns = f"w.summary, w.workflow_id, {_column(selection.order_by)}"
    inner = _query(way, selection, position, count, columns)
    states: list[bytes] = []
    size = 0
    cursor = connection.execute(inner.sql, inner.parameters)
    last = ListPosition()
    for summary, id_, time in cursor:
        size += len(summary)
        if states and size > CHUNK_BYTES_MAX:
            cursor.close()
            return _Page(len(states), b"".join(states), last)
        states.append(summary)
        last = ListPosition(None, id_, schema.time_ns_of(time))
    return _Page(len(states), b"".join(states), last if len(states) == count else None)


def _documents(
    way: Way, selection: Selection, position: ListPosition, count: int, connection: sqlite3.Connection
) -> tuple[list[tuple[str, int, int]], ListPosition | None]:
    """Return id, revision and document size of the rows whose documents make one chunk, and the position after them."""
    columns = f"w.workflow_id, w.revision, w.document_bytes, {_column(selection.order_by)}"
    inner = _query(way, selection, position, count, columns)
    rows: list[tuple[str, int, int]] = []
    size = 0
    last = ListPosition()
    for id_, revision, document_bytes, time in connection.execute(inner.sql, inner.parameters).fetchall():
        size += document_bytes
        if rows and size > CHUNK_BYTES_MAX:
            return rows, last
        rows.append((id_, revision, document_bytes))
        last = ListPosition(None, id_, schema.time_ns_of(time))
    return rows, last if len(rows) == count else None


def _query(way: Way, selection: Selection, position: ListPosition, count: int, columns: str) -> query.Term:
    place = None
    if position.workflow_id is not None:
        place = (schema.time_bytes(position.time_ns), position.workflow_id)
    return query.page(way, selection, place, count, columns)


def _column(order_by: OrderBy) -> str:
    return "w.updated" if order_by is OrderBy.UPDATED_AT else "w.created"


def _after(found: int, count: int, time_ns: int, id_: str) -> ListPosition | None:
    return ListPosition(None, id_, time_ns) if found == count else None


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
