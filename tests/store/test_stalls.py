"""Processes that stand still for a while, ours or a nats-server, are not taken for ones that are gone."""

import asyncio
import json
import logging
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import pytest
from nats.aio.msg import Msg

from support.nats_server import NatsServer
from support.waiting import until
from workflowstore_server.model.errors import BucketRecreated
from workflowstore_server.model.state import WorkflowState
from workflowstore_server.store.jetstream import JetStreamStore, NatsOptions, OwnedConnection
from workflowstore_server.store.jetstream.bucket import DELETION_CHECKS


@asynccontextmanager
async def connected(options: NatsOptions, *addresses: str) -> AsyncIterator[OwnedConnection]:
    connection = OwnedConnection(options, lambda: addresses, "test")
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_reply_that_came_while_this_process_stood_still_is_taken(nats_server: NatsServer) -> None:
    async with connected(NatsOptions(request_timeout_seconds=0.5), nats_server.url) as connection:
        account = asyncio.create_task(connection.link.request("$JS.API.INFO", b""))
        await asyncio.sleep(0)  # it is sent

        time.sleep(1)  # nothing of this process gets on

        assert b"io.nats.jetstream.api.v1.account_info_response" in (await account).data


async def test_a_request_that_nobody_answers_ends_although_this_process_stood_still(nats_server: NatsServer) -> None:
    async with connected(NatsOptions(request_timeout_seconds=0.5), nats_server.url) as connection:
        nats_server.pause()
        account = asyncio.create_task(connection.link.request("$JS.API.INFO", b""))
        await asyncio.sleep(0)

        time.sleep(1)

        with pytest.raises(Exception, match="did not answer in time"):
            await account
        nats_server.resume()


async def test_a_deleted_bucket_is_made_again_once_nats_has_had_the_time_to_remove_it(
    nats_server: NatsServer, nats_client: nats.NATS
) -> None:
    """By its own measure, which is how often it has answered: when it stands still, it removes nothing."""
    asked: list[str] = []

    async def hear(message: Msg) -> None:
        asked.append(message.subject.removeprefix("$JS.API.STREAM."))

    async with connected(NatsOptions(), nats_server.url) as connection:
        store = JetStreamStore(connection, "b")
        await store.open()
        await nats_client.subscribe("$JS.API.STREAM.*.KV_b", cb=hear)
        await nats_client.jetstream().delete_stream("KV_b")

        with pytest.raises(BucketRecreated):
            await store.save(WorkflowState("wf"))

        await until(lambda: _true("CREATE.KV_b" in asked))
        await store.close()
    assert asked[: asked.index("CREATE.KV_b")].count("INFO.KV_b") > DELETION_CHECKS


async def test_a_server_that_takes_connections_and_says_nothing_keeps_nobody_from_the_others(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "shuffle", lambda servers: None)  # the silent one comes first
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = (f"nats://127.0.0.1:{silent.getsockname()[1]}", nats_server.url)
        async with connected(NatsOptions(connect_timeout_seconds=0.5), *addresses) as connection:
            assert json.loads((await connection.link.request("$JS.API.INFO", b"")).data)["streams"] == 0


async def test_a_nats_server_that_stands_still_as_we_start_is_asked_again(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    nats_server.pause()
    connection = OwnedConnection(NatsOptions(connect_timeout_seconds=3), lambda: (nats_server.url,), "test")
    opening = asyncio.create_task(connection.open())

    await until(lambda: _true("is asked again" in caplog.text))
    nats_server.resume()

    await opening
    assert connection.connected
    await connection.close()


async def _true(value: bool) -> bool:
    return value
