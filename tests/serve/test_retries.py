"""Writes that are made again: by the client by itself, on another server, and after replies that were lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from support.nats_server import NatsServer
from support.proxy import Proxy, proxying
from support.waiting import until
from workflowstore import AsyncClient, HistoryEvent, OutcomeUnknownError, UnavailableError, WorkflowState
from workflowstore.client import _channel
from workflowstore_server import app
from workflowstore_server.config.sources import Config

Configured = Callable[..., Config]

ACKNOWLEDGEMENT = b'{"stream":"KV_beluga_workflows","seq":'
"""How the acknowledgement of a write that was stored begins."""


@asynccontextmanager
async def served(configured: Configured, url: str) -> AsyncIterator[AsyncClient]:
    config = configured(nats_url=[url], index=":memory:")
    async with app.running(config) as service, AsyncClient(service.address) as client:
        yield client


async def save(client: AsyncClient, **options: object) -> object:
    return (await client.save(WorkflowState("wf-1", error="once"), **options)).revision  # type: ignore[arg-type]


async def save_expecting(client: AsyncClient, **options: object) -> object:
    return await save(client, expected_revision=1, **options)


async def update(client: AsyncClient, **options: object) -> object:
    return (await client.update("wf-1", append_history=[HistoryEvent()], **options)).revision  # type: ignore[arg-type]


async def save_batch(client: AsyncClient, **options: object) -> object:
    (saved,) = await client.save_batch([WorkflowState("wf-1")], **options)  # type: ignore[arg-type]
    assert isinstance(saved, WorkflowState)
    return saved.revision


async def delete(client: AsyncClient, **options: object) -> object:
    return await client.delete("wf-1", **options)  # type: ignore[arg-type]


WRITES = [save, save_expecting, update, save_batch, delete]


@pytest.mark.parametrize("write", WRITES)
async def test_the_client_makes_a_write_again_whose_reply_was_lost_and_it_is_made_once(
    nats_server: NatsServer, configured: Configured, monkeypatch: pytest.MonkeyPatch, write: Callable[..., object]
) -> None:
    config = json.loads(_channel._service_config())
    # Its attempts are as many as ever, with time between them for a busy machine to connect to NATS again.
    config["methodConfig"][0]["retryPolicy"] |= {"maxBackoff": "10s", "backoffMultiplier": 8}
    monkeypatch.setattr(_channel, "_service_config", lambda: json.dumps(config))
    async with proxying(nats_server.url) as proxy, served(configured, proxy.url) as client:
        await client.save(WorkflowState("wf-1"))
        proxy.loses = ACKNOWLEDGEMENT
        mending = asyncio.create_task(_mended(proxy))

        result = await write(client)  # type: ignore[misc]

        await mending
        assert result == (True if write is delete else 2)
        assert (await client.info()).store_revision == 2


async def _mended(proxy: Proxy) -> None:
    """Lose one acknowledgement, and let everything through again."""
    await proxy.deaf.wait()
    proxy.mend()


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_whose_outcome_is_unknown_says_so_and_is_made_once_on_another_server(
    nats_server: NatsServer, configured: Configured, write: Callable[..., object]
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxying(nats_server.url))
        one = await stack.enter_async_context(served(configured, proxy.url))
        other = await stack.enter_async_context(served(configured, nats_server.url))
        await one.save(WorkflowState("wf-1"))
        proxy.loses = ACKNOWLEDGEMENT
        attempt = asyncio.create_task(write(one, request_id="r"))  # type: ignore[arg-type]
        await proxy.deaf.wait()
        # What waits for a reply fails at once with its connection.
        proxy.cut()

        with pytest.raises(UnavailableError) as caught:
            await attempt
        assert isinstance(caught.value, OutcomeUnknownError)
        result = await write(other, request_id="r")  # type: ignore[misc]

        assert result == (True if write is delete else 2)
        assert (await other.info()).store_revision == 2
        proxy.mend()
        await until(lambda: _repeats(one, write, result))
        assert (await other.info()).store_revision == 2


async def _repeats(client: AsyncClient, write: Callable[..., object], result: object) -> bool:
    try:
        return await write(client, request_id="r") == result  # type: ignore[misc]
    except UnavailableError:
        return False
