"""The only place that knows how the index lies in SQLite: its file, its connections, and the threads they work in."""

import asyncio
import contextlib
import logging
import os
import sqlite3
import uuid
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, Self, TypeVar

from workflowstore_server.index import changes, files, schema
from workflowstore_server.index.changes import Meta

log = logging.getLogger(__name__)

READERS: Final = 3
"""Queries at once. They are short, but for counts and for walks on which little matches."""

PAGE_BYTES: Final = 8192
WRITER_CACHE_KIB: Final = 65_536
READER_CACHE_KIB: Final = 8_192
LOG_BYTES_KEPT: Final = 64 * 1024 * 1024
"""What stays of the write-ahead log's file when it has been emptied."""

BUSY_SECONDS: Final = 30.0
"""How long a connection waits for others. In a file nobody has to wait: readers see the state before a write."""

PASSING: Final = frozenset(
    {"SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_NOMEM", "SQLITE_INTERRUPT", "SQLITE_CANTOPEN"}
)
"""Errors that say nothing about what is in the file."""

_T = TypeVar("_T")


class DatabaseDamaged(Exception):
    """The file is not what was written; the text says what SQLite or a check found. It has to be built anew."""


class DatabaseFailed(Exception):
    """SQLite cannot go on, though what is there is sound: the disk is full, for example."""


class Database:
    """One index in SQLite: one connection that writes, some that read, each in a thread of its own.

    In a file, or without a path in memory. Its methods are coroutines; the functions given to `read` and `write` run in
    the threads.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._name = str(path) if path is not None else f"file:/workflowstore-{uuid.uuid4().hex}?vfs=memdb"
        self._file: os.stat_result | None = None
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="index writer")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="index reader")
        self._connections: list[sqlite3.Connection] = []
        self._idle: asyncio.Queue[sqlite3.Connection | None] = asyncio.Queue()
        """Connections for reading that nobody uses; None once it is closed."""
        self._closed = False
        self._writer: sqlite3.Connection | None = None
        self.meta = Meta()
        """As of the last write."""
        self.damaged = False
        """Whether a reader has found it damaged."""
        self.surplus = 0
        """Keys that its bucket counts and that were not found in it when the index was built."""
        self.first_revision = 0
        """Nothing in it was last written before this revision."""
        self.loses_oldest = False
        """Whether its bucket was found to lose its oldest revisions, by age or size."""

    @classmethod
    async def open(cls, path: Path) -> Self | None:
        """Open the index in a file; None when there is none that can be used, which the log then has the reason of."""
        database = cls(path)
        try:
            if not await database._in_writer(database._open_existing):
                await database.close(keep=False)
                return None
        except (DatabaseDamaged, DatabaseFailed) as error:
            log.warning("the index in %s is built anew: %s", path, error)
            await database.close(keep=False)
            return None
        return database

    @classmethod
    async def create(cls, path: Path | None, identity: str) -> Self:
        """Make an empty index for the bucket of this identity, to be filled and then finished.

        Raises: DatabaseFailed.
        """
        database = cls(path)
        try:
            await database._in_writer(lambda: database._create(identity))
        except (DatabaseDamaged, DatabaseFailed) as error:
            await database.close(keep=False)
            raise DatabaseFailed(str(error)) from error
        return database

    async def finish(self, forgotten_revision: int) -> None:
        """Make the indexes of the tables, after which it can be read; see Meta.forgotten_revision.

        Raises: DatabaseDamaged, DatabaseFailed.
        """
        await self._in_writer(lambda: self._finish(forgotten_revision))

    async def write(self, work: Callable[[sqlite3.Connection], Meta]) -> None:
        """Let a function change the tables.

        Raises: DatabaseDamaged, DatabaseFailed.
        """

        def change() -> None:
            assert self._writer is not None, "open"
            self.meta = work(self._writer)

        await self._in_writer(change)

    async def look(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Let a function read what the last write has left, while no other writes.

        Raises: DatabaseDamaged, DatabaseFailed.
        """

        def read() -> _T:
            assert self._writer is not None, "open"
            return work(self._writer)

        return await self._in_writer(read)

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Let a function read. A caller that is cancelled interrupts it.

        Raises: DatabaseDamaged, DatabaseFailed.
        """
        connection = await self._idle.get()
        if connection is None:
            self._idle.put_nowait(None)
            raise DatabaseFailed("it was closed")
        running = asyncio.get_running_loop().run_in_executor(self._reading, _guarded, lambda: work(connection))

        def ended(running: "asyncio.Future[_T]") -> None:
            _forget_failure(running)
            if not self._closed:
                self._idle.put_nowait(connection)

        # Not where the caller waits: one that is cancelled does not wait for the end.
        running.add_done_callback(ended)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # Once it has ended, the connection may be at work for another.
            if not running.done():
                connection.interrupt()
            raise

    def is_in_place(self) -> bool:
        """Whether the file is still the one that was opened, and not deleted or replaced."""
        if self._path is None:
            return True
        try:
            found = self._path.stat()
        except OSError:
            return False
        return self._file is not None and (found.st_dev, found.st_ino) == (self._file.st_dev, self._file.st_ino)

    async def close(self, *, keep: bool = True) -> None:
        """Close it after what runs; `keep` leaves the file for the next start, else it is deleted."""
        loop = asyncio.get_running_loop()
        self._closed = True
        while not self._idle.empty():
            self._idle.get_nowait()
        self._idle.put_nowait(None)
        for connection in self._connections:
            connection.interrupt()
        # In this order: the connection that writes empties the log when it is the last one.
        await loop.run_in_executor(None, lambda: self._reading.shutdown(wait=True))
        for connection in self._connections:
            connection.close()
        await loop.run_in_executor(self._writing, lambda: self._close(keep=keep and self.is_in_place()))
        self._writing.shutdown(wait=False)

    async def _in_writer(self, work: Callable[[], _T]) -> _T:
        running = asyncio.get_running_loop().run_in_executor(self._writing, _guarded, work)
        running.add_done_callback(_forget_failure)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # Whatever comes next has to wait for it anyway.
            await asyncio.wait([running])
            raise

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=self._path is None
        )
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        return connection

    def _open_existing(self) -> bool:
        assert self._path is not None, "what is in memory is never there before"
        if not self._path.exists():
            return False
        checksum = files.checksum_of(self._path)
        stated = checksum.read_text() if checksum.exists() else None
        # From now on the file changes.
        checksum.unlink(missing_ok=True)
        if stated is not None and stated != _checksum(self._path):
            raise DatabaseDamaged("its checksum is not the one that it was closed with")
        self._writer = self._connect(WRITER_CACHE_KIB)
        ids = [self._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if ids != [schema.APPLICATION_ID, schema.SCHEMA_VERSION]:
            raise DatabaseDamaged(f"its schema has version {ids[1]}, and this server's {schema.SCHEMA_VERSION}")
        if stated is None:
            found = self._writer.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise DatabaseDamaged(found)
        self.meta = changes.meta(self._writer)
        if not self.meta.complete:
            raise DatabaseDamaged("it was not finished")
        self._open_for_use()
        return True

    def _create(self, identity: str) -> None:
        if self._path is not None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.delete(self._path)
            # What it sorts for an index of a table goes to files where there is room; all else may be read-only.
            os.environ["SQLITE_TMPDIR"] = str(self._path.parent)
        self._writer = self._connect(WRITER_CACHE_KIB)
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            f"application_id = {schema.APPLICATION_ID}",
            f"user_version = {schema.SCHEMA_VERSION}",
            # Until it is finished, a crash makes it be thrown away.
            "journal_mode = OFF",
            "synchronous = OFF",
        ):
            self._writer.execute(f"PRAGMA {pragma}")
        for statement in schema.TABLES:
            self._writer.execute(statement)
        self.meta = Meta(identity)
        changes.set_meta(self._writer, self.meta)
        if self._path is not None:
            self._path.chmod(0o600)
            self._file = self._path.stat()

    def _finish(self, forgotten_revision: int) -> None:
        assert self._writer is not None, "open"
        for statement in schema.INDEXES:
            self._writer.execute(statement)
        if self._path is not None:
            # What was written without a sync is on disk before the mark that says so.
            _sync(self._path)
        self.meta = replace(self.meta, complete=True, forgotten_revision=forgotten_revision)
        self._writer.execute("PRAGMA synchronous = FULL")
        changes.set_meta(self._writer, self.meta)
        self._open_for_use()

    def _open_for_use(self) -> None:
        assert self._writer is not None, "open"
        if self._path is not None:
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("PRAGMA synchronous = NORMAL")
            self._writer.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_KEPT}")
            self._file = self._path.stat()
        else:
            self._writer.execute("PRAGMA temp_store = MEMORY")
            # A reader would make a commit wait, and one without a journal cannot be taken back.
            self._writer.execute("PRAGMA journal_mode = MEMORY")
        # All of them now: one that is opened later could meet another file under the same name.
        for _ in range(READERS):
            connection = self._connect(READER_CACHE_KIB)
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT revision FROM meta").fetchone()
            self._connections.append(connection)
            self._idle.put_nowait(connection)

    def _close(self, *, keep: bool) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._writer is not None:
                self._writer.close()
        if self._path is None:
            return
        if not keep:
            if self._file is None or self.is_in_place():
                files.delete(self._path)
        elif self.meta.complete and not files.log_of(self._path).exists():
            _sync(self._path)
            files.checksum_of(self._path).write_text(_checksum(self._path))


def _forget_failure(running: "asyncio.Future[_T]") -> None:
    """Let nobody complain that the failure of what a cancelled caller had begun was never looked at."""
    if not running.cancelled():
        running.exception()


def _guarded(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in PASSING:
            raise DatabaseFailed(str(error)) from error
        raise DatabaseDamaged(str(error)) from error
    except OSError as error:
        raise DatabaseFailed(str(error)) from error
    except Exception as error:
        # SQLite finds damage of its structure; what stands in it was written by us, and is nonsense now.
        log.error("an index holds what cannot be understood", exc_info=error)
        raise DatabaseDamaged("it holds what cannot be understood") from error


def _checksum(path: Path) -> str:
    """Return the CRC-32 of a file with its size; 300 MB take 0.1 s."""
    checksum, size = 0, 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            checksum, size = zlib.crc32(part, checksum), size + len(part)
    return f"{checksum:08x} {size}\n"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
