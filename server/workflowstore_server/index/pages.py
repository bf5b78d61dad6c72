"""The only place that knows how the rows that make one chunk are read from the tables."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from workflowstore_server.index import query, schema
from workflowstore_server.index.query import Way
from workflowstore_server.model.limits import CHUNK_BYTES_MAX, CHUNK_STATES_MAX
from workflowstore_server.model.selection import ListPosition, OrderBy, Selection
from workflowstore_server.model.state import MalformedEntry

JOINED_BYTES_MAX: Final = CHUNK_BYTES_MAX // CHUNK_STATES_MAX
"""Bytes of a summary up to which SQLite joins those of a chunk, in one step that keeps no other thread waiting. The
few chunks with a longer one are read row by row."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one chunk: their number, their states, and the position after the last one."""

    states_count: int
    states: bytes
    position: ListPosition | None
    malformed: tuple[MalformedEntry, ...] = ()


def malformed(selection: Selection, after: str, connection: sqlite3.Connection) -> list[MalformedEntry]:
    """Return the malformed entries of one chunk, which come after a key."""
    where = query.all_of([query.Term("key > ?", (after,)), *query.malformed_conditions(selection.filter)])
    sql = f"SELECT key, revision, reason FROM malformed WHERE {where.sql} ORDER BY key LIMIT {CHUNK_STATES_MAX}"
    return [MalformedEntry(*row) for row in connection.execute(sql, where.parameters)]


def summaries(
    way: Way, selection: Selection, position: ListPosition, count: int, connection: sqlite3.Connection
) -> Page:
    """Return the summaries of one chunk."""
    by_time = selection.order_by is not OrderBy.WORKFLOW_ID
    place = f"hex({_column(selection.order_by)}) || w.workflow_id" if by_time else "w.workflow_id"
    inner = _query(way, selection, position, count, f"{place} AS place, w.summary AS summary")
    # The last place of the page; a time of 9 bytes is 18 digits.
    last = "min(place)" if selection.descending else "max(place)"
    sql = f"""SELECT count(*), max(length(summary)), {last},
        group_concat(CASE WHEN length(summary) <= {JOINED_BYTES_MAX} THEN hex(summary) END, '') FROM ({inner.sql})"""
    found, longest, place, joined = connection.execute(sql, inner.parameters).fetchone()
    if not found:
        return Page(0, b"", None)
    if longest > JOINED_BYTES_MAX:
        return _long_summaries(way, selection, position, count, connection)
    time_ns, id_ = (schema.time_ns_of(bytes.fromhex(place[:18])), place[18:]) if by_time else (0, place)
    return Page(found, bytes.fromhex(joined), _after(found, count, time_ns, id_))


def _long_summaries(
    way: Way, selection: Selection, position: ListPosition, count: int, connection: sqlite3.Connection
) -> Page:
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
            return Page(len(states), b"".join(states), last)
        states.append(summary)
        last = ListPosition(None, id_, schema.time_ns_of(time))
    return Page(len(states), b"".join(states), last if len(states) == count else None)


def written_until(
    way: Way, selection: Selection, position: ListPosition, revision: int, connection: sqlite3.Connection
) -> tuple[list[tuple[str, int, bytes]], ListPosition | None]:
    """Return id, revision and summary of one chunk's rows, and the position after them.

    Those that were written after a revision are left out. The selection is in the order of the ids.
    """
    inner = _query(
        way, selection, position, CHUNK_STATES_MAX, "w.workflow_id AS id, w.revision AS revision, w.summary AS summary"
    )
    sql = f"""SELECT count(*), max(length(summary)), max(id), group_concat(CASE
            WHEN revision <= ? AND length(summary) <= {JOINED_BYTES_MAX}
            THEN hex(id) || ':' || revision || ':' || hex(summary) END) FROM ({inner.sql})"""
    found, longest, last, joined = connection.execute(sql, (revision, *inner.parameters)).fetchone()
    if not found:
        return [], None
    rows: list[tuple[str, int, bytes]] = []
    if longest <= JOINED_BYTES_MAX:
        for row in joined.split(",") if joined else ():
            id_, written_at, summary = row.split(":")
            rows.append((bytes.fromhex(id_).decode(), int(written_at), bytes.fromhex(summary)))
        return rows, ListPosition(None, last) if found == CHUNK_STATES_MAX else None
    size, number = 0, 0
    cursor = connection.execute(inner.sql, inner.parameters)
    for number, row in enumerate(cursor, 1):  # noqa: B007
        size += len(row[2])
        if row[1] <= revision:
            rows.append(row)
        if size > CHUNK_BYTES_MAX:
            cursor.close()
            return rows, ListPosition(None, row[0])
    return rows, ListPosition(None, last) if number == CHUNK_STATES_MAX else None


def documents(
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
