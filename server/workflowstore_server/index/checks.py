"""The only place that knows how the index is held against its bucket for what no message tells: removals, another past.

The index has every key that the bucket has, since it has applied all its messages. So it has the same keys if it has as
many, and what makes it differ is that the bucket has lost some: by age or size (its oldest revisions), by the time to
live of single messages, or because somebody has purged them.
"""

import logging
import sqlite3
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from workflowstore_server.codec.key import key_of
from workflowstore_server.index import changes, schema
from workflowstore_server.index.database import Database
from workflowstore_server.index.schema import Entry
from workflowstore_server.store import StateStore, StorePosition

log = logging.getLogger(__name__)

COMPARED: Final = 64
"""Newest entries of each table that are compared with the bucket after a start and after a new connection. In a bucket
with another past it is the newest entries that differ."""

COMPARED_AT_ONCE: Final = 8
"""Entries whose documents are in memory at once, of up to 4 MiB each."""

LOOKED_UP_AT_ONCE: Final = 256


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
            if change.revision <= revision and schema.entry_of(change).row != entries[key]:
                return False
    return True


async def settle(database: Database, store: StateStore, position: StorePosition, *, built: bool) -> None:
    """Take out what the bucket has lost without a message, as far as it can be told from where the bucket stood.

    `built` tells that the index was built since then: nothing can be truer, so a difference that remains is remembered.

    Raises: CannotMend.
    """
    meta = database.meta
    if meta.expiring:
        due = await database.look(partial(_due, now_ns=position.time_ns))
        await _look_up(database, store, due)
    if database.loses_oldest and position.first_revision > database.first_revision:
        await database.write(partial(changes.drop_before, revision=position.first_revision))
        database.first_revision = position.first_revision
    # Numbers of one moment, or they say nothing.
    if meta.revision != position.last_revision or database.meta.keys + database.surplus == position.keys:
        return
    if built:
        if await _still_there(store, position):
            database.surplus = position.keys - database.meta.keys
            log.warning(
                "bucket %s counts %d keys, and %d were found in it; if a List lacks one, `workflowstore index rebuild`",
                store.bucket,
                position.keys,
                database.meta.keys,
            )
        return
    if position.keys < database.meta.keys / 2:
        raise CannotMend("the bucket has lost most of its keys")
    await database.write(partial(changes.drop_before, revision=position.first_revision))
    database.loses_oldest, database.first_revision = True, position.first_revision
    if database.meta.keys + database.surplus != position.keys:
        # Old delete markers are what others purge.
        last = ""
        while markers := await database.look(partial(_markers, after=last)):
            await _look_up(database, store, markers)
            last = markers[-1]
    if database.meta.keys + database.surplus != position.keys and await _still_there(store, position):
        raise CannotMend(
            f"it has {database.meta.keys} keys at revision {position.last_revision}, and the bucket {position.keys}"
        )


async def _still_there(store: StateStore, position: StorePosition) -> bool:
    """Whether the bucket stands where it stood: what was looked up since is of the same moment."""
    now = await store.position()
    return (now.identity, now.last_revision, now.keys) == (position.identity, position.last_revision, position.keys)


async def _look_up(database: Database, store: StateStore, keys: list[str]) -> None:
    """Bring keys to what the bucket has under them now, if the index has read that far."""
    for first in range(0, len(keys), LOOKED_UP_AT_ONCE):
        part = keys[first : first + LOOKED_UP_AT_ONCE]
        revision = database.meta.revision
        found = await store.last(part, revision)
        gone = [key for key in part if key not in found]
        known = await changes.entries_of(change for change in found.values() if change.revision <= revision)
        await database.write(partial(_replace, gone=gone, there=known))


def _replace(connection: sqlite3.Connection, gone: Iterable[str], there: list[Entry]) -> changes.Meta:
    meta = changes.lose(connection, gone)
    # An older revision has come to light again where a newer one has expired.
    return changes.apply(connection, there, meta.revision) if there else meta


def _newest(connection: sqlite3.Connection) -> dict[str, tuple[Any, ...]]:
    rows = connection.execute("SELECT * FROM workflows ORDER BY revision DESC LIMIT ?", (COMPARED,))
    entries: dict[str, tuple[Any, ...]] = {key_of(row[0]): row for row in rows}
    for table in ("malformed", "markers"):
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY revision DESC LIMIT ?", (COMPARED,))
        entries |= {row[0]: row for row in rows}
    return entries


def _due(connection: sqlite3.Connection, now_ns: int) -> list[str]:
    return [key for (key,) in connection.execute("SELECT key FROM expiring WHERE expires_at_ns <= ?", (now_ns,))]


def _markers(connection: sqlite3.Connection, after: str) -> list[str]:
    statement = "SELECT key FROM markers WHERE key > ? ORDER BY key LIMIT ?"
    return [key for (key,) in connection.execute(statement, (after, LOOKED_UP_AT_ONCE))]
