"""What the index's database does with a query whose caller goes away."""

import asyncio
import sqlite3

import pytest

from workflowstore_server.index.database import READERS, Database, DatabaseFailed

LONG = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"


class LongQuery:
    """A query that runs for a minute unless it is interrupted."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.connection: sqlite3.Connection | None = None
        self._loop = asyncio.get_running_loop()

    def __call__(self, connection: sqlite3.Connection) -> int:
        self.connection = connection
        connection.set_progress_handler(lambda: self._loop.call_soon_threadsafe(self.running.set) and None, 10_000)
        try:
            return int(connection.execute(LONG).fetchone()[0])
        finally:
            connection.set_progress_handler(None, 0)


async def opened() -> Database:
    database = await Database.create(None, "created")
    await database.finish(0)
    return database


async def test_a_query_whose_caller_is_cancelled_twice_is_interrupted_and_fails_unnoticed() -> None:
    database, query = await opened(), LongQuery()
    reading = asyncio.create_task(database.read(query))
    await query.running.wait()

    reading.cancel()
    await asyncio.sleep(0)
    reading.cancel()

    # What burns in the background fails every test.
    with pytest.raises(asyncio.CancelledError):
        await reading
    await database.close()


async def test_a_query_that_ends_as_the_database_is_closed_leaves_no_connection_to_those_who_come_late() -> None:
    database, query = await opened(), LongQuery()
    reading = asyncio.create_task(database.read(query))
    await query.running.wait()

    await database.close()
    with pytest.raises(DatabaseFailed):
        await reading

    for _ in range(2 * READERS):
        with pytest.raises(DatabaseFailed, match="closed"):
            await database.read(lambda connection: connection.execute("SELECT 1"))
