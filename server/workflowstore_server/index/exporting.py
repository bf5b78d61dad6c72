"""The only place that knows how an Export is answered: which documents of the bucket, and in which portions."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from workflowstore_server.codec.key import key_of
from workflowstore_server.index import pages, query, written
from workflowstore_server.index.listing import Index
from workflowstore_server.model.limits import CHUNK_STATES_MAX
from workflowstore_server.model.selection import ListPosition, Selection
from workflowstore_server.model.state import MalformedEntry
from workflowstore_server.store import Change

MALFORMED_AT_ONCE: Final = 8
"""Malformed documents that are in memory at once, of up to 4 MiB each: the index does not know their sizes."""


@dataclass(frozen=True, slots=True)
class DocumentChunk:
    """Some of what an Export replies. `position` is where it goes on, None when nothing is left."""

    changes: tuple[Change, ...]
    """Last writes to their keys, each with a document."""
    position: ListPosition | None
    store_revision: int


async def documents(
    index: Index, selection: Selection, after: ListPosition | None = None
) -> AsyncGenerator[DocumentChunk]:
    """Yield the documents of what is selected after a position, malformed ones first, in chunks.

    A document that was written after its row was is the new one, if that still matches.

    Raises: IndexBehind, and what a StateStore raises.
    """
    database, revision = await index.follower.fresh()
    position: ListPosition | None = after or ListPosition(malformed_key="")
    while position is not None and position.malformed_key is not None:
        entries = await index.follower.read(database, partial(pages.malformed, selection, position.malformed_key))
        entries = entries[:MALFORMED_AT_ONCE]
        ended = len(entries) < MALFORMED_AT_ONCE
        position = ListPosition() if ended else ListPosition(malformed_key=entries[-1].key)
        found = await index.store.last([entry.key for entry in entries], revision) if entries else {}
        if found:
            keys = (entry.key for entry in entries)
            yield DocumentChunk(_ordered(found, keys), position, revision)
    way = await index.follower.read(database, lambda connection: query.way_of(connection, selection))
    while position is not None:
        work = partial(pages.documents, way, selection, position, CHUNK_STATES_MAX)
        rows, position = await index.follower.read(database, work)
        known = {key_of(id_): row_revision for id_, row_revision, _ in rows}
        found = await index.store.last(known, max(known.values())) if known else {}
        matching = {
            key: change
            for key, change in found.items()
            if change.revision == known[key] or await _still_matches(selection, change)
        }
        yield DocumentChunk(_ordered(matching, known), position, revision)


def _ordered(found: dict[str, Change], keys: Iterable[str]) -> tuple[Change, ...]:
    return tuple(found[key] for key in keys if key in found and found[key].document is not None)


async def _still_matches(selection: Selection, change: Change) -> bool:
    if change.document is None:
        return False
    entry = await written.read(change)
    return isinstance(entry, MalformedEntry) or selection.filter.matches(entry.state)
