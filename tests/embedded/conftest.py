"""An embedded nats-server in a folder of the test's own, and a store over it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from workflowstore_server.embedded.directory import DataDirectory
from workflowstore_server.embedded.server import EmbeddedOptions, EmbeddedServer
from workflowstore_server.store.jetstream import JetStreamStore, NatsOptions, OwnedConnection

Make = Callable[..., EmbeddedServer]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    directory = DataDirectory(tmp_path / "data")
    yield directory
    directory.release()


@pytest.fixture
async def make(directory: DataDirectory) -> AsyncIterator[Make]:
    """Makes servers, not started yet, and stops those that the test leaves."""
    made: list[EmbeddedServer] = []

    def make(**options: Any) -> EmbeddedServer:
        made.append(EmbeddedServer(directory, EmbeddedOptions(**options)))
        return made[-1]

    yield make
    for server in made:
        await server.stop()


@pytest.fixture
async def embedded(make: Make) -> EmbeddedServer:
    server = make()
    await server.start()
    return server


@asynccontextmanager
async def kept(*keepers: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """What is kept going while the test runs."""
    tasks = [asyncio.ensure_future(keep()) for keep in keepers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes


@asynccontextmanager
async def store_over(server: EmbeddedServer) -> AsyncIterator[JetStreamStore]:
    """A store whose connection is replaced when it is lost, as the service's is."""
    options = NatsOptions(
        user=server.user.user,
        password=server.user.password,
        request_timeout_seconds=10,
        reconnect_wait_seconds_max=0.1,
    )
    connection = OwnedConnection(options, lambda: (server.address,), "test")
    await connection.open()
    store = JetStreamStore(connection, "beluga_workflows")
    try:
        async with kept(connection.keep):
            await store.open()
            yield store
    finally:
        await store.close()
        await connection.close()
