"""No call fails for a client while servers are rolled under load, one after the other or one alone on its port."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TypeVar

import pytest

from support.calling import calling
from support.nats_server import NatsServer
from support.service_process import ServiceProcess
from support.waiting import until
from workflowstore import AsyncClient, WorkflowState, WorkflowStoreError

IN_FLIGHT = 8

T = TypeVar("T")
Serve = Callable[..., ServiceProcess]
Rounds = Callable[[int, int], int]


class Work:
    """Calls of all kinds by a client that tries again what is unavailable: of itself, and, where no server is left, by
    its caller.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._numbers = count()
        self.calls = 0
        self.repeated: list[WorkflowStoreError] = []
        """What its own attempts did not suffice for."""
        self.saved: dict[str, int] = {}
        self.watched: set[str] = set()

    async def call(self) -> None:
        while True:
            state = WorkflowState(f"wf-{next(self._numbers)}")
            save = partial(self._client.save, state, expected_revision=0, request_id=state.workflow_id)
            saved = await self._until_available(save)
            assert saved.revision is not None
            self.saved[state.workflow_id] = saved.revision
            found = await self._until_available(partial(self._client.load, state.workflow_id))
            assert found is not None
            assert found.revision == saved.revision

    async def count(self) -> None:
        while True:
            before = len(self.saved)
            assert (await self._until_available(self._client.count)).count >= before

    async def _until_available(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                result = await call()
            except WorkflowStoreError as error:
                # The last of its attempts may have met the server in the moment in which it stopped.
                if error.code not in ("UNAVAILABLE", "CANCELLED"):
                    raise
                self.repeated.append(error)
                await asyncio.sleep(0.1)
            else:
                self.calls += 1
                return result

    async def watch(self) -> None:
        async for change in self._client.watch(after_revision=0):
            self.watched.add(change.workflow_id)


async def work(target: str, roll: Callable[[Work], Awaitable[None]]) -> Work:
    """Work while the servers are rolled. Whatever fails is raised."""
    async with AsyncClient(target, timeout=60) as client:
        working = Work(client)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(working.call()) for _ in range(IN_FLIGHT)]
            tasks += [group.create_task(working.count()), group.create_task(working.watch())]
            await until(lambda: _true(working.calls > 0))
            await roll(working)
            await until(lambda: _true(working.watched >= set(working.saved)), 60)
            for task in tasks:
                task.cancel()
        for workflow_id, revision in working.saved.items():
            found = await client.load(workflow_id)
            assert found is not None
            assert found.revision == revision
        print(f"{working.calls} calls, {len(working.repeated)} repeated by their caller")  # noqa: T201
        return working


async def _true(value: bool) -> bool:
    return value


async def goes_on(working: Work) -> None:
    """Wait until more calls have succeeded."""
    before = working.calls
    await until(lambda: _true(working.calls > before + 2 * IN_FLIGHT), 60)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def serving(server: ServiceProcess) -> None:
    async with calling(server.address) as caller:
        await until(caller.serving)


@pytest.mark.timeout(600)
async def test_no_call_fails_while_two_servers_are_rolled(
    serve: Serve, nats_server: NatsServer, rounds: Rounds
) -> None:
    ports = [free_port(), free_port()]

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

    working = await work(f"ipv4:127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}", roll)
    assert not working.repeated


@pytest.mark.timeout(600)
async def test_no_call_fails_while_a_server_is_started_again_on_its_port(serve: Serve, rounds: Rounds) -> None:
    listen = f"127.0.0.1:{free_port()}"
    server = serve("--listen", listen)
    await serving(server)

    async def roll(working: Work) -> None:
        nonlocal server
        for _ in range(rounds(2, 20)):
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
            server = await asyncio.to_thread(serve, "--listen", listen)
            await goes_on(working)

    await work(listen, roll)
