"""What every test may ask for: a nats-server of its own, a connected client, a store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from support.nats_server import NatsServer
from workflowstore_server.store.jetstream import JetStreamStore


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path)
    yield server
    if server.process.returncode is None:
        server.stop()


@pytest.fixture
async def nats_client(nats_server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(nats_server.url, pending_size=0)
    yield client
    await client.close()


@pytest.fixture
async def jetstream_store(nats_client: Client) -> AsyncIterator[JetStreamStore]:
    async with JetStreamStore.over(nats_client, "beluga_workflows") as store:
        yield store


@pytest.fixture(autouse=True)
async def nothing_burns_in_the_background() -> AsyncIterator[None]:
    """A test fails when it leaves a task behind or something fails that nobody awaits."""
    failures: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    left = {task for task in left if not _of_a_library(task)}
    assert not left
    assert not failures


def _of_a_library(task: "asyncio.Task[Any]") -> bool:
    """Whether it is a task that grpc.aio or nats-py leave to end by itself."""
    return any(name in repr(task) for name in ("Aio", "grpc", "nats", "Client.", "Subscription."))
