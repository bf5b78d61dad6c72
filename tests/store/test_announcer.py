"""How a bucket tells that something was written, and what happens where it cannot."""

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from support.nats_server import NatsServer
from support.waiting import until
from workflowstore_server.model.state import WorkflowState
from workflowstore_server.store.jetstream import JetStreamStore, NatsOptions, OwnedConnection, announcer


async def consumers(client: Client) -> list[str]:
    return [found.name for found in await client.jetstream().consumers_info("KV_beluga_workflows")]


async def test_a_consumer_that_was_removed_is_made_again(
    jetstream_store: JetStreamStore, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "SILENCE_SECONDS_MAX", announcer.HEARTBEAT_SECONDS + 1)
    told = asyncio.Event()
    async with jetstream_store.announced(told.set):

        async def one() -> list[str]:
            return await consumers(nats_client)

        (name,) = await until(one)
        # It is replaced without this too, if the machine stood still for too long.
        with contextlib.suppress(NotFoundError):
            await nats_client.jetstream().delete_consumer("KV_beluga_workflows", name)

        async def another() -> bool:
            return [other for other in await consumers(nats_client) if other != name] != []

        await until(another)
        told.clear()
        await jetstream_store.save(WorkflowState("wf-1"))
        async with asyncio.timeout(10):
            await told.wait()

    async def none() -> bool:
        return await consumers(nats_client) == []

    await until(none, seconds=30)


async def test_it_is_tried_again_after_whatever_has_failed(
    jetstream_store: JetStreamStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(announcer, "RETRY_SECONDS", 0.01)
    told = asyncio.Event()
    calls = 0

    def tell() -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ZeroDivisionError
        told.set()

    async with jetstream_store.announced(tell), asyncio.timeout(10):
        await told.wait()
    assert "does not announce its writes for now: an internal error" in caplog.text


async def test_without_the_permission_to_make_a_consumer_the_store_works_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    permissions = {"publish": {"deny": ["$JS.API.CONSUMER.>"]}}
    users = [{"user": "u", "password": "p", "permissions": permissions}]
    server = NatsServer(tmp_path, authorization={"users": users})
    options = NatsOptions(user="u", password="p")
    connection = OwnedConnection(options, lambda: (server.url,), "test")
    await connection.open()
    store = JetStreamStore(connection, "beluga_workflows")
    await store.open()
    with caplog.at_level(logging.DEBUG):
        async with store.announced(lambda: None):
            await store.save(WorkflowState("wf-1"))

            async def refused() -> bool:
                return "does not announce its writes" in caplog.text

            await until(refused)
    assert (await store.load("wf-1")).revision == 1
    await store.close()
    await connection.close()
    server.stop()
