"""Nothing is lost, and nothing is read that cannot be, while the leader of a bucket with three copies goes away."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.cluster import Cluster, clustered
from support.traffic import traffic
from workflowstore_server import app
from workflowstore_server.config.sources import Config

Configured = Callable[..., Config]
Rounds = Callable[[int, int], int]

pytestmark = pytest.mark.timeout(900)

AWAY_SECONDS = 8
"""Long enough for the others to elect another leader, which takes them 4 to 9 s."""


async def is_killed(cluster: Cluster, leader: int) -> None:
    cluster.nodes[leader].kill()
    await asyncio.sleep(AWAY_SECONDS)
    await asyncio.to_thread(cluster.nodes[leader].start)


async def is_paused(cluster: Cluster, leader: int) -> None:
    cluster.nodes[leader].pause()
    await asyncio.sleep(AWAY_SECONDS)
    cluster.nodes[leader].resume()


async def is_cut_off(cluster: Cluster, leader: int) -> None:
    cluster.cut_off(leader)
    await asyncio.sleep(AWAY_SECONDS)
    cluster.join(leader)


WAYS: list[Callable[[Cluster, int], Awaitable[None]]] = [is_killed, is_paused, is_cut_off]


async def test_the_leader_goes_away(tmp_path: Path, configured: Configured, rounds: Rounds) -> None:
    chance = random.Random(9)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(clustered(tmp_path))
        targets = []
        for number in range(2):
            # Each knows one node first, and all when that one is away.
            urls = cluster.urls[number:] + cluster.urls[:number]
            config = configured(nats_url=urls, data_dir=str(tmp_path / f"data-{number}"))
            targets.append((await stack.enter_async_context(app.running(config))).address)
        clients = await stack.enter_async_context(traffic(targets, seed=9, replicated=True))
        for number in range(rounds(1, 4) * len(WAYS)):
            await clients.more(40)
            await asyncio.sleep(chance.random() * 0.2)
            await WAYS[number % len(WAYS)](cluster, await cluster.leader("beluga_workflows"))
