"""No call fails for a client while servers are rolled under load, one after the other or one alone on its port."""

import asyncio
import signal
from collections.abc import Callable

import pytest

from support.calling import calling
from support.nats_server import NatsServer
from support.ports import free_ports
from support.service_process import ServiceProcess
from support.waiting import until
from support.work import Work, goes_on, work
from workflowstore import AsyncClient

Serve = Callable[..., ServiceProcess]
Rounds = Callable[[int, int], int]


async def serving(server: ServiceProcess) -> None:
    async with calling(server.address) as caller:
        await until(caller.serving)


@pytest.mark.timeout(600)
async def test_no_call_fails_while_two_servers_are_rolled(
    serve: Serve, nats_server: NatsServer, rounds: Rounds
) -> None:
    ports = free_ports(2)

    async def started(port: int) -> ServiceProcess:
        server = await asyncio.to_thread(
            serve, "--nats-url", nats_server.url, "--index", ":memory:", "--listen", f"127.0.0.1:{port}",
            "--data-dir", f"{nats_server.folder}/{port}",
        )  # fmt: skip
        await serving(server)
        return server

    servers = [await started(port) for port in ports]

    async def roll(working: Work) -> None:
        for number in range(rounds(2, 20)):
            one = number % 2
            servers[one].signal(signal.SIGTERM)
            assert await asyncio.to_thread(servers[one].wait) == 0
            await goes_on(working)
            servers[one] = await started(ports[one])
            await goes_on(working)

    working = await work(AsyncClient(f"ipv4:127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}", timeout=60), roll)
    assert not working.repeated


@pytest.mark.timeout(600)
async def test_no_call_fails_while_a_server_is_started_again_on_its_port(serve: Serve, rounds: Rounds) -> None:
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    server = serve("--listen", listen)
    await serving(server)

    async def roll(working: Work) -> None:
        nonlocal server
        for _ in range(rounds(2, 20)):
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
            server = await asyncio.to_thread(serve, "--listen", listen)
            await goes_on(working)

    await work(AsyncClient(listen, timeout=60), roll)
