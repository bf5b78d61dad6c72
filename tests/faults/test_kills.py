"""Nothing is lost, and nothing is read that cannot be, while processes are killed or stand still at random moments."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.nats_server import NatsServer
from support.service_process import ServiceProcess
from support.traffic import traffic
from workflowstore_server import app
from workflowstore_server.config.sources import Config

Configured = Callable[..., Config]
Serve = Callable[..., ServiceProcess]
Rounds = Callable[[int, int], int]

pytestmark = pytest.mark.timeout(900)


async def a_moment(chance: random.Random) -> None:
    """Wait so long that what happens next meets calls in whatever state they are."""
    await asyncio.sleep(chance.random() * 0.2)


async def test_nats_server_is_killed(nats_server: NatsServer, configured: Configured, rounds: Rounds) -> None:
    chance = random.Random(1)
    async with (
        app.running(configured(nats_url=[nats_server.url])) as service,
        traffic([service.address], seed=1) as clients,
    ):
        for _ in range(rounds(5, 50)):
            await clients.more(20)
            await a_moment(chance)
            nats_server.kill()
            await a_moment(chance)
            await asyncio.to_thread(nats_server.start)


async def test_the_embedded_nats_server_is_killed(serve: Serve, rounds: Rounds) -> None:
    server, chance = serve(), random.Random(6)
    async with traffic([server.address], seed=6) as clients:
        # Each time it is started again later, until it has been up for a while.
        for _ in range(rounds(3, 8)):
            await clients.more(20)
            await a_moment(chance)
            os.kill(server.nats_server_pids[-1], signal.SIGKILL)


async def test_the_service_is_killed(serve: Serve, rounds: Rounds) -> None:
    server, chance = serve(), random.Random(2)
    async with traffic([server.address], seed=2) as clients:
        for _ in range(rounds(3, 50)):
            await clients.more(20)
            await a_moment(chance)
            server.kill()
            server = await asyncio.to_thread(serve, "--listen", server.address)


async def test_the_service_stops_and_starts(serve: Serve, rounds: Rounds) -> None:
    server, chance = serve(), random.Random(3)
    async with traffic([server.address], seed=3) as clients:
        for _ in range(rounds(2, 10)):
            await clients.more(20)
            await a_moment(chance)
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
            server = await asyncio.to_thread(serve, "--listen", server.address)


@pytest.mark.parametrize("who", ["nats-server", "the service"])
async def test_a_process_stands_still(serve: Serve, rounds: Rounds, who: str) -> None:
    server, chance = serve(), random.Random(who)
    pid = server.process.pid if who == "the service" else server.nats_server_pids[-1]
    async with traffic([server.address], seed=4) as clients:
        for _ in range(rounds(2, 15)):
            await clients.more(20)
            await a_moment(chance)
            os.kill(pid, signal.SIGSTOP)
            # From less than any time limit to more than those of the clients and of the service's requests.
            await asyncio.sleep(chance.choice([0.1, 1, 7]))
            os.kill(pid, signal.SIGCONT)


async def test_servers_are_replaced_one_after_the_other(
    serve: Serve, nats_server: NatsServer, tmp_path: Path, rounds: Rounds
) -> None:
    """Two servers over one NATS: clients go on with whichever is there, in the middle of their Lists and Watches."""
    chance = random.Random(8)
    options = [("--nats-url", nats_server.url, "--data-dir", str(tmp_path / f"data-{number}")) for number in range(2)]
    servers = [await asyncio.to_thread(serve, *options[number]) for number in range(2)]
    both = "ipv4:" + ",".join(server.address for server in servers)
    async with traffic([both], seed=8) as clients:
        for number in range(rounds(2, 20)):
            await clients.more(20)
            await a_moment(chance)
            server = servers[number % 2]
            server.signal(chance.choice([signal.SIGTERM, signal.SIGKILL]))
            await asyncio.to_thread(server.wait)
            servers[number % 2] = await asyncio.to_thread(serve, *options[number % 2], "--listen", server.address)
