"""The only place that knows how the index follows its bucket: what it reads, when, and what it makes of what it finds.

It works in rounds. A round asks the stream's leader where the bucket stands, and applies what it lacks until then. Who
wants to read the index waits for a round that began after they came, so that it has every write acknowledged before
that; all who wait share it. Nothing is left at NATS between rounds, and nothing can be missed there: a round begins
where the index is.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from workflowstore_server.index import changes, checks, files, written
from workflowstore_server.index.changes import Was
from workflowstore_server.index.checks import CannotMend, Lost
from workflowstore_server.index.database import Database, DatabaseDamaged, DatabaseFailed
from workflowstore_server.index.feed import CHANGES_MAX, Feed
from workflowstore_server.index.schema import Entry
from workflowstore_server.model.current_call import Tracer
from workflowstore_server.model.errors import (
    BucketConfiguration,
    BucketRecreated,
    IndexBehind,
    RevisionForgotten,
    ShuttingDown,
    StoreError,
)
from workflowstore_server.store import Change, StateStore, StorePosition

log = logging.getLogger(__name__)

_T = TypeVar("_T")

POLL_SECONDS: Final = 1.0
"""The longest that nobody looks for changes. It bounds what a List finds to catch up with, not how fresh it is."""

RETRY_SECONDS: Final = 0.25
"""Pause after a round that failed, so that none is repeated without end. Those who come in it wait for the next."""

PROGRESS_SECONDS: Final = 5.0
"""How often the log tells how far the index is while it is being built."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How an index is kept."""

    directory: Path | None = None
    """Where its file lies. None = it is kept in memory, and built anew at every start."""

    wait_seconds: float = 5.0
    """How long List, Count and Watch wait for the index to catch up, before they fail as behind."""

    delete_marker_seconds: float = 0.0
    """How old a delete marker becomes before it is removed from the bucket. 0 = they stay. The same for all servers of
    a bucket: a Watch cannot resume further back."""


class Follower:
    """Keeps the index of one bucket up to date, and owns its database."""

    def __init__(self, store: StateStore, options: IndexOptions, tracer: Tracer | None = None) -> None:
        self._store = store
        self._tracer = tracer
        self._path = files.database_of(options.directory, store.bucket) if options.directory is not None else None
        self._wait_seconds = options.wait_seconds
        self._database: Database | None = None
        self._waiting: list[asyncio.Future[int]] = []
        self._watchers = 0
        self._watches_ended = False
        self._stopped = False
        self._forgotten_revision: int | None = 0
        """Up to which revision an index that is built next has forgotten changes. None = all that it then has."""
        self.feed = Feed(0)
        """The changes that were applied to the database last, while somebody watches, and what was found to be lost."""
        self.rounds_made = 0
        """Rounds that have succeeded."""
        self.rounds_failed = 0
        self.builds_made = 0
        """How often the index was built from nothing."""
        self.round_ended_at = time.monotonic()
        """When a round has succeeded last, or else when the follower was made."""
        self._asked = asyncio.Event()
        self._asked.set()  # the first round is made at once
        self._rounds = asyncio.Lock()
        """Held while a round is made."""
        self._session: object = None
        """The connection of the storage over which the index was compared with it; see StorePosition.session."""
        self._doing = "the server is starting"
        self.store_revision = 0
        """Where the bucket was when it was last looked at."""
        self._failure = ""
        """The failure that the log was told of last."""
        self.was_ready = False
        """Whether the index has ever caught up."""
        self.trouble: StoreError | None = None
        """Why the last round has failed. None = it has not."""

    @property
    def ready(self) -> bool:
        """Whether the index has caught up since it was opened or built."""
        return self._session is not None

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._watchers

    @property
    def meta(self) -> changes.Meta:
        """How far the index is, and how much is in it."""
        return self._database.meta if self._database is not None else changes.Meta()

    @property
    def lag(self) -> int:
        """Revisions that the bucket had when it was last looked at, and the index has not."""
        return max(0, self.store_revision - self.meta.revision)

    async def fresh(self) -> tuple[Database, int]:
        """Wait until the index has every write acknowledged before the call; return it and the revision it then has.

        Raises: IndexBehind when that takes too long, StorageUnavailable and what else a StateStore raises.
        """
        if self._stopped:
            raise self.behind("the server is stopping")
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._asked.set()
        try:
            async with asyncio.timeout(self._wait_seconds):
                revision = await waiter
        except TimeoutError:
            raise self.behind() from None
        database = self._database
        if database is None:
            raise self.behind()
        return database, revision

    @contextlib.asynccontextmanager
    async def resting(self) -> AsyncIterator[Database]:
        """Make no round while the block runs, in which the bucket and the index are changed together.

        Raises: IndexBehind when there is no index that has caught up.
        """
        async with self._rounds:
            database = self._database
            if database is None or not self.ready:
                raise self.behind()
            try:
                yield database
            except DatabaseDamaged:
                self.suspect(database)
                raise

    def behind(self, detail: str = "") -> IndexBehind:
        """The error of those who cannot wait longer."""
        return IndexBehind(self._store.bucket, self.meta.revision, self.store_revision, self.lag, detail or self._doing)

    def suspect(self, database: Database) -> None:
        """Take note that a reader has found the database damaged: it is replaced in the next round."""
        if database is self._database:
            self._session = None
            database.damaged = True
            self._asked.set()

    async def read(self, database: Database, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Let a function read the tables of a database that `fresh` has returned.

        Raises: IndexBehind.
        """
        try:
            return await database.read(work)
        except DatabaseDamaged:
            self.suspect(database)
            raise self.behind("the index is damaged and is being built anew") from None
        except DatabaseFailed as error:
            raise self.behind(f"the index cannot be read: {error}") from error

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Follow at once whatever is written, and keep it in the feed, while the block runs."""
        self._watchers += 1
        self._asked.set()
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self.feed.restart(self.feed.revision)
                self._asked.set()

    def end_watches(self) -> None:
        """Let all watches end, those that are still to come included."""
        self._watches_ended = True
        self.feed.end(ShuttingDown)

    def stop(self) -> None:
        """Let all who wait and all who will come go. `run` does so when it is cancelled, unless it had not begun."""
        self._stopped = True
        self.end_watches()
        _answer(self._waiting, self.behind("the server is stopping"))

    async def run(self) -> None:
        """Follow the bucket until cancelled, and leave the database closed."""
        announced = contextlib.AsyncExitStack()
        listening = False
        try:
            while True:
                # wait_for would pass over a cancellation that comes together with what it waits for.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._asked.wait()
                self._asked.clear()
                if self._watchers and not listening:
                    await announced.enter_async_context(self._store.announced(self._asked.set))
                elif listening and not self._watchers:
                    await announced.aclose()
                listening = self._watchers > 0
                async with self._rounds:
                    await self._serve()
        finally:
            self.stop()
            await announced.aclose()
            await self._drop(keep=True)

    async def _serve(self) -> None:
        """Make one round for those who wait."""
        waiting, self._waiting = self._waiting, []
        try:
            revision = await self._round()
        except (DatabaseDamaged, CannotMend) as error:
            log.error("the index of bucket %s is built anew: %s", self._store.bucket, error)
            await self._drop(keep=False, other_past=isinstance(error, CannotMend))
            # Those who wait go on waiting, for the new one.
            self._waiting = [*waiting, *self._waiting]
            await asyncio.sleep(RETRY_SECONDS)
            self._asked.set()
        except BucketRecreated as error:
            # Said in the log by the store, and to those who wait; the next round finds the new bucket.
            self._session = None
            _answer(waiting, error)
            self._asked.set()
        except Exception as error:
            self.rounds_failed += 1
            self.trouble, self._session = self._trouble_of(error), None
            if not (self.meta.complete or isinstance(error, StoreError)):
                # An index that is being built has no journal: what was begun cannot be taken back.
                await self._drop(keep=False)
            _answer(waiting, self.trouble)
            await asyncio.sleep(RETRY_SECONDS)
            self._asked.set()
        except BaseException:
            _answer(waiting, self.behind("the server is stopping"))
            raise
        else:
            self.trouble, self._failure = None, ""
            self.rounds_made += 1
            self.round_ended_at = time.monotonic()
            _answer(waiting, revision)

    def _trouble_of(self, error: Exception) -> StoreError:
        """What those who wait are told of a failure. The log is told once, however often it is met again."""
        known, self._failure = self._failure == repr(error), repr(error)
        if isinstance(error, StoreError):
            if isinstance(error, BucketConfiguration) and not known:
                log.warning("bucket %s has %s: List and Count are refused", self._store.bucket, error.setting)
            return error
        if isinstance(error, DatabaseFailed):
            if not known:
                log.error(
                    "the index of bucket %s cannot be written: %s; make room in --data-dir, and it goes on",
                    self._store.bucket, error,
                )  # fmt: skip
            return self.behind(f"the index cannot be written: {error}")
        if not known:
            log.error("the index of bucket %s has met an internal error", self._store.bucket, exc_info=error)
        return self.behind("the index has met an internal error; the server's log has the details")

    async def _round(self) -> int:
        self._doing = "the storage has not told yet where the bucket stands"
        position = await self._store.position()
        self.store_revision = position.last_revision
        self._doing = "the index is catching up"
        database = await self._fitting(position)
        built = not database.meta.complete
        if built:
            position = await self._build(database, position)
        position = await self._catch_up(database, position)
        # Kept also when nobody watches, for who comes back, but not in any number.
        lost = Lost() if self._watchers or database.meta.keys - position.keys <= CHANGES_MAX else None
        try:
            await checks.settle(database, self._store, position, built=built, lost=lost)
        finally:
            # Also what was found before it failed is not found again.
            if lost is None:
                self.feed.resumable_revision = database.meta.forgotten_revision
            elif lost.was or lost.back:
                revision = database.meta.revision
                self.feed.add(written.of_losses(lost.was, lost.back, revision), revision, found=True)
                await self.feed.tell()
        if self._session is None:
            meta = database.meta
            log.info(
                "the index of bucket %s has caught up at revision %d: %d workflows, %d malformed entries",
                self._store.bucket, meta.revision, meta.workflows, meta.malformed,
            )  # fmt: skip
        self._session = position.session
        self.was_ready = True
        return database.meta.revision

    async def _fitting(self, position: StorePosition) -> Database:
        """Return an index of the bucket as it is: the one there is, if it still is of this bucket, or an empty one."""
        database = self._database
        if database is None and self._path is not None:
            self._doing = "the index is being opened"
            database = await Database.open(self._path)
            if database is not None:
                self._use(database)
        if database is not None:
            mismatch, other_past = await self._mismatch(database, position)
            if not mismatch:
                return database
            log.warning("the index of bucket %s is built anew: %s", self._store.bucket, mismatch)
            await self._drop(keep=False, other_past=other_past)
        self._doing = "the index is being built"
        self._session = None
        return self._use(await Database.create(self._path, position.identity))

    def _use(self, database: Database) -> Database:
        self._database, self.feed = database, Feed(database.meta.revision, database.meta.forgotten_revision)
        if self._watches_ended:
            self.feed.end(ShuttingDown)
        return database

    async def _mismatch(self, database: Database, position: StorePosition) -> tuple[str, bool]:
        """Return why an index cannot be used, empty when it can, and whether that is because of the bucket."""
        meta = database.meta
        if meta.identity != position.identity:
            return "the bucket is another one than before", True
        if meta.revision > position.last_revision:
            return f"the bucket is back at revision {position.last_revision}, and was at {meta.revision}", True
        if database.damaged:
            return "it is damaged", False
        if not database.is_in_place():
            return "its file was removed or replaced", False
        if self._session != position.session and not await checks.agrees(database, self._store):
            return "the bucket has another past, as if restored from a backup", True
        return "", False

    async def _build(self, database: Database, position: StorePosition) -> StorePosition:
        self._doing = "the index is being built"
        began = time.monotonic()
        await self._catch_up(database, position)
        revision = database.meta.revision
        # Beyond it: the bucket was at this revision in its other past, too.
        await database.finish(revision + 1 if self._forgotten_revision is None else self._forgotten_revision)
        self.builds_made += 1
        self.feed.restart(revision)
        self.feed.resumable_revision = database.meta.forgotten_revision
        log.info("the index of bucket %s was built in %.1f s", self._store.bucket, time.monotonic() - began)
        self._doing = "the index is catching up"
        return await self._look_again(database, database.meta.revision)

    async def _look_again(self, database: Database, revision: int) -> StorePosition:
        """Ask where the bucket stands after it was read up to a revision: all of that was of the bucket it is now.

        Raises: CannotMend when it was not.
        """
        position = await self._store.position()
        if position.identity != database.meta.identity or position.last_revision < revision:
            raise CannotMend("the bucket was replaced while it was read")
        self.store_revision = position.last_revision
        return position

    async def _catch_up(self, database: Database, position: StorePosition) -> StorePosition:
        """Apply what the bucket has after the index, at least up to where it stood; return where it stands then."""
        after, until = database.meta.revision, position.last_revision
        if after >= until:
            return position
        return await self._apply(database, after, until)

    async def _apply(self, database: Database, after: int, until: int) -> StorePosition:
        progress = _Progress(self._store.bucket, after)
        reading = asyncio.create_task(self._store.changes(after, until))
        writing: asyncio.Task[None] | None = None
        try:
            while True:
                batch = await reading
                last = batch.entries[-1].revision if batch.entries else after
                after = max(last, until) if batch.at_end else last
                position = await self._look_again(database, after)
                if not batch.at_end:
                    # What was left out of this batch, because it was written again, lies before where the bucket is
                    # now; another replica than the one that answered must not end sooner.
                    until = max(until, position.last_revision)
                    reading = asyncio.create_task(self._store.changes(after, until))
                entries = await changes.entries_of(batch.entries)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write(database, batch.entries, entries, after))
                progress.tell(after, until, len(batch.entries))
                if batch.at_end:
                    await writing
                    return position
        finally:
            reading.cancel()
            await asyncio.gather(reading, *([writing] if writing else []), return_exceptions=True)

    async def _write(self, database: Database, batch: Sequence[Change], entries: list[Entry], revision: int) -> None:
        """Write what one batch makes, and tell those who watch."""
        was: Was | None = {} if self._watchers else None
        began_ns = time.time_ns()
        await database.write(partial(changes.apply, entries=entries, revision=revision, was=was))
        # What is built anew was applied long ago, in the eyes of those who wrote it.
        if self._tracer is not None and database.meta.complete:
            traceparents = [change.traceparent for change in batch if change.traceparent]
            self._tracer.applied(self._store.bucket, traceparents, began_ns)
        if self._watchers and database.meta.complete:
            self.feed.add(written.of_batch(batch, entries, was), revision)
            await self.feed.tell()
        else:
            self.feed.restart(revision)

    async def _drop(self, *, keep: bool, other_past: bool = False) -> None:
        """Close the database. `other_past` = the bucket is not what it was made of, or has lost much of that."""
        database, self._database = self._database, None
        if database is None:
            return
        if other_past:
            self._forgotten_revision = None
            self.feed.end(partial(_forgotten, self._store.bucket, self.store_revision))
        elif database.meta.complete:
            self._forgotten_revision = database.meta.forgotten_revision
        self.feed.end(lambda _: self.behind("the index is being built anew"))
        await database.close(keep=keep)


def _forgotten(bucket: str, earliest_revision: int, resume_revision: int | None) -> RevisionForgotten:
    return RevisionForgotten(bucket, resume_revision or 0, earliest_revision)


def _answer(waiting: list[asyncio.Future[int]], answer: int | StoreError) -> None:
    for waiter in waiting:
        # One that gave up has cancelled its future.
        if not waiter.done():
            if isinstance(answer, int):
                waiter.set_result(answer)
            else:
                waiter.set_exception(answer)


class _Progress:
    """Tells the log how a long way is going."""

    def __init__(self, bucket: str, begun_at: int) -> None:
        self._bucket = bucket
        self._begun_at = begun_at
        self._told = time.monotonic()
        self._count = 0

    def tell(self, revision: int, until: int, count: int) -> None:
        """Take note of progress, and log it from time to time."""
        self._count += count
        elapsed = time.monotonic() - self._told
        if elapsed >= PROGRESS_SECONDS:
            share = (revision - self._begun_at) / max(1, until - self._begun_at)
            log.info(
                "the index of bucket %s is at revision %d of %d (%.0f %% of the way), %.0f changes a second",
                self._bucket, revision, until, 100 * share, self._count / elapsed,
            )  # fmt: skip
            self._told, self._count = time.monotonic(), 0
