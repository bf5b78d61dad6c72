"""The only place that knows how changes of the bucket become changes of the index's tables.

What takes a connection runs in the thread of the index's one writer. Python's sqlite3 gives up the interpreter's lock
for each step of a statement and has to wait for it after each, for as long as other threads are busy; so a statement
writes many rows in one step.
"""

import asyncio
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Final

from workflowstore_server.codec import aside
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import schema
from workflowstore_server.index.schema import Entry, Malformed, Marker, Workflow
from workflowstore_server.store import Change

GROUPS: Final = (256, 16, 1)
"""Rows that one statement writes: as many as are left, in few statements that SQLite keeps prepared."""

MADE_AT_ONCE: Final = 64
"""Entries that are made without a pause: 1 to 2 ms of the event loop."""

TURNS_MAX: Final = 32
"""Turns of the event loop that others may have between two portions of entries."""

IDLE_TURN_SECONDS: Final = 0.000_05
"""A turn that is over sooner had nothing to do for others."""

DROPPED_AT_ONCE: Final = 4096
"""Ids that are in memory at once while workflows are taken out."""

Was = dict[str, bytes]
"""What workflows were before a change, by id: the column `summary`, or MALFORMED. Those that were not there lack."""

MALFORMED: Final = b""
"""Stands for a document that cannot be decoded."""

_VOLATILE: Final = ("revision", "status", "updated", "document_bytes", "labels", "summary")
_SETTLED: Final = ("run_id", "created")
_SET: Final = ", ".join(f"{name} = excluded.{name}" for name in _VOLATILE)
_SET_ALL: Final = ", ".join(f"{name} = excluded.{name}" for name in (*_VOLATILE, *_SETTLED))
_SAME: Final = " AND ".join(f"excluded.{name} = {name}" for name in _SETTLED)
_UPSERTS: Final = (
    # SQLite rewrites every index that has a column which is set; the first statement spares those that do not change.
    f"INSERT INTO workflows VALUES {{}} ON CONFLICT (workflow_id) DO UPDATE SET {_SET} WHERE {_SAME}",
    f"INSERT INTO workflows VALUES {{}} ON CONFLICT (workflow_id) DO UPDATE SET {_SET_ALL} WHERE NOT ({_SAME})",
)


@dataclass(frozen=True, slots=True)
class Meta:
    """The row of the table `meta`."""

    identity: str = ""
    """Of the bucket; see StorePosition."""
    revision: int = 0
    """Up to which the tables reflect the bucket."""
    complete: bool = False
    """Whether the index has been filled."""
    workflows: int = 0
    malformed: int = 0
    markers: int = 0
    expiring: int = 0
    forgotten_revision: int = 0
    """Changes up to this revision were lost without a message, so that not all of those before it can be told."""

    @property
    def keys(self) -> int:
        """Keys that the bucket had at `revision`."""
        return self.workflows + self.malformed + self.markers


def meta(connection: sqlite3.Connection) -> Meta:
    """Return the row of `meta`."""
    return Meta(*connection.execute("SELECT * FROM meta").fetchone())


def set_meta(connection: sqlite3.Connection, found: Meta) -> None:
    """Replace the row of `meta`."""
    connection.execute("DELETE FROM meta")
    connection.execute(
        "INSERT INTO meta VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [getattr(found, field.name) for field in fields(Meta)]
    )


async def entries_of(changes: Iterable[Change]) -> list[Entry]:
    """Return the entries that changes make, the last one of each key.

    They are made in the event loop, with pauses in which it turns to others. In the writer's thread it would take as
    much of the interpreter's lock, and both threads would work at a third less for their contending for it.
    """
    newest = {change.key: change for change in changes}
    entries = []
    for number, change in enumerate(newest.values(), 1):
        is_long = aside.is_long_document(change.document or b"")
        entries.append(await aside.run(is_long, schema.entry_of, change))
        if number % MADE_AT_ONCE == 0:
            await give_way()
    return entries


async def give_way() -> None:
    """Let the event loop turn to others until it has nothing else to do, or has had many turns.

    One turn is not enough: a call takes a dozen, and waited for a quarter of a second while an index was built.
    """
    for _ in range(TURNS_MAX):
        began = time.perf_counter()
        await asyncio.sleep(0)
        if time.perf_counter() - began < IDLE_TURN_SECONDS:
            return


def apply(
    connection: sqlite3.Connection,
    entries: Sequence[Entry],
    revision: int,
    was: Was | None = None,
    forgotten_revision: int = 0,
) -> Meta:
    """Apply entries, one a key, in one transaction with the revision that the index then has.

    `was` is given what the workflows were before. Up to `forgotten_revision` not all changes can be told from now on.
    """
    workflows = [entry for entry in entries if isinstance(entry, Workflow)]
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        before = meta(connection)
        keys = [entry.key for entry in entries]
        others = _ids_of(entry.key for entry in entries if not isinstance(entry, Workflow))
        if was is not None:
            _look_back(connection, [*others, *(workflow.row[0] for workflow in workflows)], before, was)
        removed = _remove(connection, keys, before, others)
        added = _put_workflows(connection, workflows)
        malformed = [entry.row for entry in entries if isinstance(entry, Malformed)]
        markers = [entry.row for entry in entries if isinstance(entry, Marker)]
        expiring = [(entry.key, entry.expires_at_ns) for entry in entries if entry.expires_at_ns is not None]
        _insert(connection, "INSERT INTO malformed VALUES {}", malformed, 4)
        _insert(connection, "INSERT INTO markers VALUES {}", markers, 3)
        _insert(connection, "INSERT INTO expiring VALUES {}", expiring, 2)
        left = _less(before, removed)
        after = replace(
            left,
            revision=revision,
            workflows=left.workflows + added,
            malformed=left.malformed + len(malformed),
            markers=left.markers + len(markers),
            expiring=left.expiring + len(expiring),
            forgotten_revision=max(left.forgotten_revision, forgotten_revision),
        )
        set_meta(connection, after)
    return after


def lose(connection: sqlite3.Connection, keys: Collection[str], was: Was | None = None) -> Meta:
    """Take out keys that nothing is stored under any more; `was` is given the workflows that were there until now."""
    ids = _ids_of(keys)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        before = meta(connection)
        if was is not None:
            _look_back(connection, ids, before, was)
        deleted_at = _newest_marker(connection, keys) if before.markers else 0
        after = _without(before, _remove(connection, keys, before, ids), deleted_at)
        set_meta(connection, after)
    return after


def drop_before(connection: sqlite3.Connection, revision: int, was: Was | None = None) -> Meta:
    """Take out everything that was last written before a revision, which the bucket has lost by age or size.

    `was` is given the workflows that were there until now.
    """
    for statement in schema.BY_REVISION:
        connection.execute(statement)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        before = meta(connection)
        if was is not None:
            lost = connection.execute(
                "SELECT workflow_id FROM malformed WHERE revision < ? AND workflow_id IS NOT NULL", (revision,)
            )
            was.update((id_, MALFORMED) for (id_,) in lost)
        newest_marker = "SELECT coalesce(max(revision), 0) FROM markers WHERE revision < ?"
        deleted_at = connection.execute(newest_marker, (revision,)).fetchone()[0]
        removed = {"workflows": 0}
        for table in ("malformed", "markers"):
            removed[table] = connection.execute(f"DELETE FROM {table} WHERE revision < ?", (revision,)).rowcount
        oldest = "SELECT workflow_id FROM workflows WHERE revision < ? LIMIT ?"
        while ids := [id_ for (id_,) in connection.execute(oldest, (revision, DROPPED_AT_ONCE))]:
            if was is not None:
                _look_back(connection, ids, before, was)
            removed["workflows"] += _remove_workflows(connection, ids)
        after = _without(before, removed, deleted_at)
        set_meta(connection, after)
    return after


def holds(connection: sqlite3.Connection, entry: Entry) -> bool:
    """Whether an entry stands in the tables as it is."""
    if isinstance(entry, Workflow):
        statement, key = "SELECT revision FROM workflows WHERE workflow_id = ?", entry.row[0]
    elif isinstance(entry, Malformed):
        statement, key = "SELECT revision FROM malformed WHERE key = ?", entry.key
    else:
        statement, key = "SELECT revision FROM markers WHERE key = ?", entry.key
    return bool(connection.execute(statement, (key,)).fetchone() == (entry.row[1],))


def _ids_of(keys: Iterable[str]) -> set[str]:
    """Return the workflow ids that keys stand for, where they stand for one."""
    return {id_ for key in keys if (id_ := schema.id_of(key)) is not None}


def _look_back(connection: sqlite3.Connection, ids: Collection[str], before: Meta, was: Was) -> None:
    """Note what workflows are, before they are changed."""
    statement = """SELECT group_concat(hex(workflow_id) || ':' || hex(summary)) FROM workflows
        WHERE workflow_id IN (VALUES {})"""
    for sql, group in _grouped(statement, [(id_,) for id_ in ids], 1) if before.workflows else ():
        (joined,) = connection.execute(sql, group).fetchone()
        for pair in joined.split(",") if joined else ():
            id_, _, summary = pair.partition(":")
            was[bytes.fromhex(id_).decode()] = bytes.fromhex(summary)
    statement = "SELECT workflow_id FROM malformed WHERE key IN (VALUES {})"
    for sql, group in _grouped(statement, [(key_of(id_),) for id_ in ids], 1) if before.malformed else ():
        was.update((id_, MALFORMED) for (id_,) in connection.execute(sql, group))


def _newest_marker(connection: sqlite3.Connection, keys: Iterable[str]) -> int:
    statement = "SELECT coalesce(max(revision), 0) FROM markers WHERE key IN (VALUES {})"
    groups = _grouped(statement, [(key,) for key in keys], 1)
    return max((connection.execute(sql, group).fetchone()[0] for sql, group in groups), default=0)


def _without(before: Meta, removed: Mapping[str, int], deleted_at: int) -> Meta:
    """Return what is left when so much was lost, of which the newest delete marker had the revision `deleted_at`.

    Those who have come to a delete marker need it no longer. Of a document nobody had been told that it would go, not
    even those who have come to the revision at which it was found to be gone.
    """
    forgotten = before.revision + 1 if removed["workflows"] or removed["malformed"] else deleted_at
    return replace(_less(before, removed), forgotten_revision=max(before.forgotten_revision, forgotten))


def _less(before: Meta, removed: Mapping[str, int]) -> Meta:
    return replace(before, **{table: getattr(before, table) - number for table, number in removed.items()})


def _remove(connection: sqlite3.Connection, keys: Iterable[str], before: Meta, ids: Iterable[str]) -> dict[str, int]:
    """Take keys out of the small tables, and ids out of the large one; return how many were in each."""
    removed = {"workflows": _remove_workflows(connection, ids) if before.workflows else 0}
    parameters = [(key,) for key in keys]
    for table in ("malformed", "markers", "expiring"):
        # Mostly empty.
        if getattr(before, table):
            statement = f"DELETE FROM {table} WHERE key IN (VALUES {{}})"
            removed[table] = _insert(connection, statement, parameters, 1)
        else:
            removed[table] = 0
    return removed


def _remove_workflows(connection: sqlite3.Connection, ids: Iterable[str]) -> int:
    parameters = [(id_,) for id_ in ids]
    for id_, labels in _stored_labels(connection, parameters)[1].items():
        _remove_labels(connection, id_, schema.labels_of(labels))
    return _insert(connection, "DELETE FROM workflows WHERE workflow_id IN (VALUES {})", parameters, 1)


def _put_workflows(connection: sqlite3.Connection, workflows: Sequence[Workflow]) -> int:
    """Insert or replace rows; return how many workflows were not there before."""
    there, stored_labels = _stored_labels(connection, [(workflow.row[0],) for workflow in workflows])
    rows = [workflow.row for workflow in workflows]
    for upsert in _UPSERTS if there else _UPSERTS[:1]:
        _insert(connection, upsert, rows, len(rows[0]) if rows else 0)
    added: list[tuple[str, str, str]] = []
    for workflow in workflows:
        id_, labels, stored = workflow.row[0], workflow.row[7], stored_labels.get(workflow.row[0])
        if labels != stored:
            if stored is not None:
                _remove_labels(connection, id_, schema.labels_of(stored))
            added += [(key, value, id_) for key, value in workflow.labels]
    _insert(connection, "INSERT INTO labels VALUES {}", added, 3)
    return len(workflows) - there


def _stored_labels(connection: sqlite3.Connection, ids: Sequence[tuple[str]]) -> tuple[int, dict[str, bytes]]:
    """Return how many of the workflows are there, and the column `labels` of those that have some."""
    statement = """SELECT count(*),
            group_concat(CASE WHEN labels IS NOT NULL THEN hex(workflow_id) || ':' || hex(labels) END)
        FROM workflows
        WHERE workflow_id IN (VALUES {})"""
    there, stored = 0, {}
    for sql, parameters in _grouped(statement, ids, 1):
        count, pairs = connection.execute(sql, parameters).fetchone()
        there += count
        for pair in pairs.split(",") if pairs else ():
            id_, _, labels = pair.partition(":")
            stored[bytes.fromhex(id_).decode()] = bytes.fromhex(labels)
    return there, stored


def _remove_labels(connection: sqlite3.Connection, id_: str, labels: Iterable[tuple[str, str]]) -> None:
    connection.executemany(
        "DELETE FROM labels WHERE key = ? AND value = ? AND workflow_id = ?",
        [(key, value, id_) for key, value in labels],
    )


def _insert(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]], columns: int) -> int:
    """Execute a statement for rows that take the place of its {}; return how many rows it has changed."""
    return sum(connection.execute(sql, parameters).rowcount for sql, parameters in _grouped(statement, rows, columns))


def _grouped(statement: str, rows: Sequence[Sequence[Any]], columns: int) -> Iterator[tuple[str, list[Any]]]:
    place = f"({', '.join('?' * columns)})"
    first = 0
    for size in GROUPS:
        sql = statement.format(", ".join([place] * size))
        while len(rows) - first >= size:
            yield sql, list(chain.from_iterable(rows[first : first + size]))
            first += size
