"""The only place that knows how the index is held against its bucket for what no message tells: removals, another past.

The index has every key that the bucket has, since it has applied all its messages. So it has the same keys if it has as
many, and what makes it differ is that the bucket has lost some: by age or size (its oldest revisions), by the time to
live of single messages, or because somebody has purged them.
"""

import logging
import sqlite3
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from workflowstore_server.codec import aside
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import changes, schema
from workflowstore_server.index.changes import Was
from workflowstore_server.index.database import Database
from workflowstore_server.index.schema import Entry
from workflowstore_server.store import Change, StateStore, StorePosition

log = logging.getLogger(__name__)

COMPARED: Final = 64
"""Newest entries of each table that are compared with the bucket after a start and after a new connection. In a bucket
with another past it is the newest entries that differ."""

COMPARED_AT_ONCE: Final = 8
"""Entries whose documents are in memory at once, of up to 4 MiB each."""

LOOKED_UP_AT_ONCE: Final = 256
"""Keys that are looked up in the bucket at once."""


class CannotMend(Exception):
    """The index differs from its bucket by more than can be taken out; it has to be built anew. The text says why."""


async def agrees(database: Database, store: StateStore) -> bool:
    """Whether the newest entries of the index are those of the bucket, but for what the index has still to read."""
    revision = database.meta.revision
    entries = await database.look(_newest)
    keys = sorted(entries)
    for first in range(0, len(keys), COMPARED_AT_ONCE):
        part = keys[first : first + COMPARED_AT_ONCE]
        for key, change in (await store.last(part, revision)).items():
            if change.revision > revision:
                continue
            is_long = aside.is_long_document(change.document or b"")
            if (await aside.run(is_long, schema.entry_of, change)).row != entries[key]:
                return False
    return True


@dataclass(frozen=True, slots=True)
class Lost:
    """What was found to have changed without a message: workflows that are gone, and entries that are back."""

    was: Was = field(default_factory=dict)
    """What those were that are gone or were replaced."""
    back: list[Change] = field(default_factory=list)
    """Older revisions that have come to light again, where a newer one has expired."""


async def settle(
    database: Database, store: StateStore, position: StorePosition, *, built: bool, lost: Lost | None = None
) -> None:
    """Take out what the bucket has lost without a message, as far as it can be told from where the bucket stood.

    `built` tells that the index was built since then: nothing can be truer, once what the bucket has lost meanwhile is
    taken out. So a difference that remains is remembered.
    What has changed is put down in `lost`.

    Raises: CannotMend.
    """
    meta = database.meta
    was = lost.was if lost is not None else None
    if meta.expiring:
        due = await database.look(partial(_due, now_ns=position.time_ns))
        await _look_up(database, store, due, lost)
    if database.loses_oldest and position.first_revision > database.first_revision:
        await database.write(partial(changes.drop_before, revision=position.first_revision, was=was))
        database.first_revision = position.first_revision
    # Numbers of one moment, or they say nothing.
    if meta.revision != position.last_revision or database.meta.keys + database.surplus == position.keys:
        return
    if built:
        if database.meta.keys > position.keys:
            await _look_up_all(database, store, lost)
        if database.meta.keys != position.keys and await _still_there(store, position):
            database.surplus = position.keys - database.meta.keys
            log.warning(
                "bucket %s counts %d keys, and %d were found in it; if a List lacks one, `workflowstore index rebuild`",
                store.bucket,
                position.keys,
                database.meta.keys,
            )
        return
    if position.keys < (database.meta.keys - database.meta.markers) / 2:
        raise CannotMend("the bucket has lost most of its documents")
    # Old delete markers are what others compact, the oldest first. Where it was not that, there is more to do.
    place = await _look_up_markers(database, store, position, (0, ""), lost, all_of_them=False)
    if database.meta.keys + database.surplus != position.keys:
        await database.write(partial(changes.drop_before, revision=position.first_revision, was=was))
        database.loses_oldest, database.first_revision = True, position.first_revision
        await _look_up_markers(database, store, position, place, lost, all_of_them=True)
    if database.meta.keys + database.surplus != position.keys and await _still_there(store, position):
        raise CannotMend(
            f"it has {database.meta.keys} keys at revision {position.last_revision}, and the bucket {position.keys}"
        )


async def _still_there(store: StateStore, position: StorePosition) -> bool:
    """Whether the bucket stands where it stood: what was looked up since is of the same moment."""
    now = await store.position()
    return (now.identity, now.last_revision, now.keys) == (position.identity, position.last_revision, position.keys)


async def _look_up_markers(
    database: Database,
    store: StateStore,
    position: StorePosition,
    after: tuple[int, str],
    lost: Lost | None,
    *,
    all_of_them: bool,
) -> tuple[int, str]:
    """Look up delete markers after a place, the oldest first, until the numbers agree; return the place after them.

    Unless all of them shall be looked up, it also ends after some of which none was lost.
    """
    while database.meta.keys + database.surplus != position.keys:
        markers = await database.look(partial(_markers, after=after))
        if not markers:
            break
        after = markers[-1]
        before = database.meta.markers
        await _look_up(database, store, [key for _, key in markers], lost)
        if database.meta.markers == before and not all_of_them:
            break
    return after


async def _look_up_all(database: Database, store: StateStore, lost: Lost | None) -> None:
    """Look up all that the index has."""
    for table, column, key in (
        ("workflows", "workflow_id", key_of),
        ("malformed", "key", str),
        ("markers", "key", str),
    ):
        after = ""
        while names := await database.look(partial(_names, table=table, column=column, after=after)):
            after = names[-1]
            await _look_up(database, store, [key(name) for name in names], lost)


async def _look_up(database: Database, store: StateStore, keys: list[str], lost: Lost | None) -> None:
    """Bring keys to what the bucket has under them now, if the index has read that far."""
    for first in range(0, len(keys), LOOKED_UP_AT_ONCE):
        part = keys[first : first + LOOKED_UP_AT_ONCE]
        revision = database.meta.revision
        found = await store.last(part, revision)
        gone = [key for key in part if key not in found]
        known = {key: change for key, change in found.items() if change.revision <= revision}
        entries = await changes.entries_of(known.values())
        back: list[Entry] = []
        await database.write(partial(_replace, gone=gone, there=entries, back=back, lost=lost))
        if lost is not None:
            lost.back.extend(known[entry.key] for entry in back)


def _replace(
    connection: sqlite3.Connection, gone: list[str], there: list[Entry], back: list[Entry], lost: Lost | None
) -> changes.Meta:
    was = lost.was if lost is not None else None
    meta = changes.lose(connection, gone, was)
    # An older revision has come to light again where a newer one has expired.
    back += [entry for entry in there if not changes.holds(connection, entry)]
    if not back:
        return meta
    return changes.apply(connection, back, meta.revision, was, forgotten_revision=meta.revision + 1)


def _names(connection: sqlite3.Connection, table: str, column: str, after: str) -> list[str]:
    statement = f"SELECT {column} FROM {table} WHERE {column} > ? ORDER BY {column} LIMIT ?"
    return [name for (name,) in connection.execute(statement, (after, LOOKED_UP_AT_ONCE))]


def _newest(connection: sqlite3.Connection) -> dict[str, tuple[Any, ...]]:
    rows = connection.execute("SELECT * FROM workflows ORDER BY revision DESC LIMIT ?", (COMPARED,))
    entries: dict[str, tuple[Any, ...]] = {key_of(row[0]): row for row in rows}
    for table in ("malformed", "markers"):
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY revision DESC LIMIT ?", (COMPARED,))
        entries |= {row[0]: row for row in rows}
    return entries


def _due(connection: sqlite3.Connection, now_ns: int) -> list[str]:
    return [key for (key,) in connection.execute("SELECT key FROM expiring WHERE expires_at_ns <= ?", (now_ns,))]


def _markers(connection: sqlite3.Connection, after: tuple[int, str]) -> list[tuple[int, str]]:
    statement = """SELECT stored_at_ns, key FROM markers
        WHERE (stored_at_ns, key) > (?, ?) ORDER BY stored_at_ns, key LIMIT ?"""
    return connection.execute(statement, (*after, LOOKED_UP_AT_ONCE)).fetchall()
