"""The only place that knows how a Watch is answered: from a snapshot or the past to what is written now."""

import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final

from workflowstore_server.codec import aside, change_message, message, rfc3339
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import changes, pages, query, schema, written
from workflowstore_server.index.database import Database
from workflowstore_server.index.feed import Feed, Place
from workflowstore_server.index.follower import Follower
from workflowstore_server.index.query import Way
from workflowstore_server.index.written import Written
from workflowstore_server.model.change import ChangeKind
from workflowstore_server.model.errors import RevisionForgotten, WatchTooSlow
from workflowstore_server.model.limits import CHUNK_BYTES_MAX, CHUNK_STATES_MAX
from workflowstore_server.model.selection import ListPosition, Selection, WorkflowFilter
from workflowstore_server.model.state import MalformedEntry, StoredState, WorkflowView
from workflowstore_server.store import StateStore

PROGRESS_SECONDS: Final = 5.0
"""The longest that a watch is told nothing while the bucket can be asked."""


@dataclass(frozen=True, slots=True)
class WatchMessage:
    """One message of a Watch."""

    changes: bytes
    """Fields `changes` of a WatchResponse, as they go over the wire."""
    revision: int
    """After which a later Watch goes on. 0 = within a snapshot."""
    snapshot_complete: bool
    created_at_ns: int
    """When the bucket was made."""


@dataclass(frozen=True, slots=True)
class WatchStart:
    """Where a Watch begins: now, if nothing else is said."""

    after_revision: int | None = None
    """After this revision."""
    bucket_created_at_ns: int | None = None
    """When the bucket was made that this revision is from. None = it is not known."""
    snapshot: bool = False
    """With the workflows that match."""


NOW: Final = WatchStart()

Told = list[tuple[ChangeKind, Written]]


class Watch:
    """One Watch of one bucket."""

    def __init__(
        self,
        follower: Follower,
        store: StateStore,
        wanted: WorkflowFilter,
        view: WorkflowView,
        delete_marker_seconds: float,
    ) -> None:
        self._follower = follower
        self._store = store
        self._wanted = wanted
        self._view = view
        self._delete_marker_seconds = delete_marker_seconds
        self._database: Database
        self._feed: Feed
        self._created_at_ns = 0
        self._revision = 0
        """Up to which everything has been told."""
        self._place: int | None = None
        """Number of the next step of the feed. None = it has not come to those that the feed has."""
        self._known_from_revision = 0
        """What was told before has not been told from the index, but by another server or from the bucket: it may have
        been a revision that the bucket had no more when the index came to it. What a workflow was before a change is
        known of changes after this revision, where the bucket has been since."""
        self._forgotten_revision = 0
        """What had been forgotten when it began, and is of no matter to it."""
        self._told_at = 0.0
        self._rounds_told = 0
        """The follower's rounds when something was told last."""

    async def messages(self, start: WatchStart) -> AsyncGenerator[WatchMessage]:
        """Yield the messages, without an end.

        Raises: RevisionForgotten, WatchTooSlow, ShuttingDown, IndexBehind, and what a StateStore raises.
        """
        with self._follower.watched():
            self._database, self._revision = await self._follower.fresh()
            self._feed = self._follower.feed
            self._feed.check(start.after_revision)
            self._created_at_ns = rfc3339.parse(self._database.meta.identity)
            if start.after_revision is not None:
                await self._check_start(start.after_revision, start.bucket_created_at_ns)
                self._revision = start.after_revision
            self._forgotten_revision = self._forgotten()
            self._place = self._feed.place_after(self._revision)
            if start.snapshot:
                async with aclosing(self._snapshot()) as snapshot:
                    async for told in snapshot:
                        yield told
                # A long one may have been overtaken.
                if self._place is not None and self._place < self._feed.first_number:
                    self._place = None
            yield self._message(b"", snapshot_complete=start.snapshot)
            if self._place is None:
                async with aclosing(self._past()) as past:
                    async for told in past:
                        yield told
            async with aclosing(self._live()) as live:
                async for told in live:
                    yield told

    async def _check_start(self, after: int, created_at_ns: int | None) -> None:
        """Raises: RevisionForgotten."""
        position, newest = await self._store.position(), self._revision
        self._known_from_revision = position.last_revision
        earliest = self._forgotten()
        ages = [age for age in (self._delete_marker_seconds, position.max_age_seconds) if age]
        if ages:
            earliest = max(earliest, await self._store.revision_before(position.time_ns - int(min(ages) * 1e9)))
        another = created_at_ns is not None and created_at_ns != self._created_at_ns
        # To those who know nothing yet, nothing that is gone has to be told.
        if another or after > newest or 0 < after < earliest:
            raise RevisionForgotten(self._store.bucket, after, earliest)

    def _check(self) -> None:
        """Raises: RevisionForgotten, and what all watches end with."""
        self._feed.check(self._revision)
        forgotten = self._forgotten()
        if forgotten > max(self._revision, self._forgotten_revision):
            raise RevisionForgotten(self._store.bucket, self._revision, forgotten)

    def _forgotten(self) -> int:
        forgotten = self._database.meta.forgotten_revision
        # What was found at the revision before it comes in the feed.
        if forgotten and self._feed.found_at(forgotten - 1):
            forgotten -= 1
        return max(forgotten, self._feed.resumable_revision)

    async def _snapshot(self) -> AsyncGenerator[WatchMessage]:
        """Yield what matches, as of the revision. What has been written after it is told later."""
        until, selection = self._revision, Selection(self._store.bucket, self._wanted)
        position: ListPosition | None = ListPosition(malformed_key="")
        while position is not None and position.malformed_key is not None:
            read = partial(pages.malformed, selection, position.malformed_key)
            entries = await self._follower.read(self._database, read)
            fields = [_malformed_field(entry) for entry in entries if entry.revision <= until]
            for part in _parts(fields):
                self._feed.check(None)
                yield self._message(part, revision=0)
            position = ListPosition(malformed_key=entries[-1].key) if len(entries) == CHUNK_STATES_MAX else None
        way = await self._follower.read(self._database, lambda connection: query.way_of(connection, selection))
        read_page = self._full_page if self._view is WorkflowView.FULL else self._summary_page
        position = ListPosition()
        while position is not None:
            fields, position = await read_page(way, selection, position, until)
            for part in _parts(fields):
                self._feed.check(None)
                yield self._message(part, revision=0)

    async def _summary_page(
        self, way: Way, selection: Selection, position: ListPosition, until: int
    ) -> tuple[list[bytes], ListPosition | None]:
        read = partial(pages.written_until, way, selection, position, until)
        rows, following = await self._follower.read(self._database, read)
        return [change_message.changes_field(ChangeKind.SAVED, *row) for row in rows], following

    async def _full_page(
        self, way: Way, selection: Selection, position: ListPosition, until: int
    ) -> tuple[list[bytes], ListPosition | None]:
        read = partial(pages.documents, way, selection, position, CHUNK_STATES_MAX)
        rows, following = await self._follower.read(self._database, read)
        keys = [key_of(id_) for id_, revision, _ in rows if revision <= until]
        found = await self._store.last(keys, until) if keys else {}
        fields = []
        for number, key in enumerate(keys, 1):
            if number % changes.MADE_AT_ONCE == 0:
                await changes.give_way()
            change = found.get(key)
            if change is None or change.document is None or change.revision > until:
                continue
            entry = await written.read(change)
            # An older revision may have come to light again.
            if isinstance(entry, StoredState) and self._wanted.matches(entry.state):
                state = message.states_field([await written.full(entry)])
                id_ = entry.state.workflow_id
                fields.append(change_message.changes_field(ChangeKind.SAVED, id_, change.revision, state))
        return fields, following

    async def _past(self) -> AsyncGenerator[WatchMessage]:
        """Yield changes that the bucket has, until the feed has those after them. It is read as fast as it is told."""
        while (place := self._feed.place_after(self._revision)) is None:
            until = self._feed.revision
            batch = await self._store.changes(self._revision, until)
            position = await self._store.position()
            self._known_from_revision = position.last_revision
            last = batch.entries[-1].revision if batch.entries else self._revision
            if position.identity != self._database.meta.identity or position.last_revision < last:
                raise RevisionForgotten(self._store.bucket, self._revision, position.last_revision)
            # What was forgotten while it was read may be lacking in it.
            self._check()
            # The feed has what comes after.
            entries = [change for change in batch.entries if change.revision <= until]
            told = await self._matching(written.of_batch(entries), before_is_known=False)
            async with aclosing(self._tell(told, until if batch.at_end else min(last, until))) as parts:
                async for part in parts:
                    yield part
                    self._check()
        self._place = place

    async def _live(self) -> AsyncGenerator[WatchMessage]:
        """Yield changes from its place in the feed on, and when there are none that there are none."""
        assert self._place is not None, "found"
        place = Place(self._place, self._revision, self._wanted, self._known_from_revision)
        while True:
            self._feed.check(self._revision)
            if place.number < self._feed.first_number:
                raise WatchTooSlow(self._store.bucket, self._revision)
            if time.monotonic() >= self._told_at + PROGRESS_SECONDS:
                if self._follower.rounds_made > self._rounds_told:
                    yield self._message(b"")
                else:
                    # Nobody knows what has been written.
                    self._told_at = time.monotonic()
                continue
            step = self._feed.step(place.number)
            if step is None:
                await self._feed.news(place, self._told_at + PROGRESS_SECONDS - time.monotonic())
                self._revision = max(self._revision, place.revision)
                continue
            told = await self._matching(
                (one for one in step.written if step.found or one.revision > self._revision),
                before_is_known=place.knows_before(step),
            )
            async with aclosing(self._tell(told, max(step.until_revision, self._revision))) as parts:
                async for part in parts:
                    yield part
                    self._feed.check(self._revision)
            place.number += 1

    async def _matching(self, batch: Iterable[Written], *, before_is_known: bool = True) -> Told:
        told: Told = []
        for number, one in enumerate(batch, 1):
            if number % changes.MADE_AT_ONCE == 0:
                await changes.give_way()
            kind = await aside.run(one.is_long, partial(one.kind, self._wanted, before_is_known=before_is_known))
            if kind is not None:
                told.append((kind, one))
        return told

    async def _tell(self, told: Told, until: int) -> AsyncGenerator[WatchMessage]:
        """Yield changes in messages, after the last of which everything up to a revision has been told."""
        part: list[bytes] = []
        size = 0
        for number, (kind, one) in enumerate(told, 1):
            if number % changes.MADE_AT_ONCE == 0:
                await changes.give_way()
            field = await aside.run(one.is_long, one.changes_field, kind, self._view)
            if part and (len(part) == CHUNK_STATES_MAX or size + len(field) > CHUNK_BYTES_MAX):
                yield self._message(b"".join(part))
                part, size = [], 0
            part.append(field)
            size += len(field)
            self._revision = one.revision
        self._revision = until
        if part:
            yield self._message(b"".join(part))

    def _message(self, fields: bytes, *, revision: int | None = None, snapshot_complete: bool = False) -> WatchMessage:
        self._told_at, self._rounds_told = time.monotonic(), self._follower.rounds_made
        told_until = self._revision if revision is None else revision
        return WatchMessage(fields, told_until, snapshot_complete, self._created_at_ns)


def _malformed_field(entry: MalformedEntry) -> bytes:
    id_ = schema.id_of(entry.key) or ""
    return change_message.changes_field(ChangeKind.MALFORMED, id_, entry.revision, malformed=entry)


def _parts(fields: Iterable[bytes]) -> Iterator[bytes]:
    """Yield fields in as many messages as they need."""
    part: list[bytes] = []
    size = 0
    for field in fields:
        if part and (len(part) == CHUNK_STATES_MAX or size + len(field) > CHUNK_BYTES_MAX):
            yield b"".join(part)
            part, size = [], 0
        part.append(field)
        size += len(field)
    if part:
        yield b"".join(part)
