"""Nothing is lost, and nothing is read that cannot be, over networks that delay, hold, drop, reset and cut."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from support.nats_server import NatsServer
from support.proxy import Proxy, proxying
from support.traffic import traffic
from workflowstore_server import app
from workflowstore_server.config.sources import Config

Configured = Callable[..., Config]
Rounds = Callable[[int, int], int]

pytestmark = pytest.mark.timeout(900)


async def delays(proxy: Proxy, chance: random.Random) -> None:
    proxy.delay_seconds = chance.choice([0.01, 0.1])
    await asyncio.sleep(2)
    proxy.delay_seconds = 0


async def holds(proxy: Proxy, chance: random.Random) -> None:
    """A network that is away and comes back, as a partition does."""
    proxy.passes.clear()
    await asyncio.sleep(chance.choice([0.1, 1, 6]))
    proxy.passes.set()


async def drops(proxy: Proxy, chance: random.Random) -> None:
    """A network that is away for so long that all connections are lost."""
    proxy.passes.clear()
    await asyncio.sleep(chance.choice([0.1, 1, 6]))
    proxy.mend()


async def resets(proxy: Proxy, chance: random.Random) -> None:
    proxy.cut()


async def half_closes(proxy: Proxy, chance: random.Random) -> None:
    proxy.half_close()
    await asyncio.sleep(chance.random())
    proxy.mend()


async def cuts_in_a_message(proxy: Proxy, chance: random.Random) -> None:
    proxy.bytes_left = chance.choice([1, 50, 700, 20_000])


async def swallows_replies(proxy: Proxy, chance: random.Random) -> None:
    """What was asked is done, and nobody is told."""
    proxy.deaf.set()
    await asyncio.sleep(chance.choice([0.1, 1]))
    proxy.mend()


FAULTS: list[Callable[[Proxy, random.Random], Awaitable[None]]] = [
    delays, holds, drops, resets, half_closes, cuts_in_a_message, swallows_replies,
]  # fmt: skip


@pytest.mark.parametrize("where", ["NATS", "the service"])
async def test_the_network_before_it_is_bad(
    nats_server: NatsServer, configured: Configured, rounds: Rounds, where: str
) -> None:
    chance = random.Random(where)
    async with (
        proxying(nats_server.url) as before_nats,
        app.running(configured(nats_url=[before_nats.url])) as service,
        proxying(service.address) as before_service,
        traffic([f"127.0.0.1:{before_service.port}"], seed=1) as clients,
    ):
        proxy = before_nats if where == "NATS" else before_service
        for number in range(rounds(1, 4) * len(FAULTS)):
            await clients.more(20)
            await asyncio.sleep(chance.random() * 0.1)
            await FAULTS[number % len(FAULTS)](proxy, chance)
