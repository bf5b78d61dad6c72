"""Whatever some clients do, the calls of others succeed, and memory is bounded."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from support import hostile
from support.calling import calling
from support.service_process import ServiceProcess
from support.waiting import until
from workflowstore import AsyncClient, WorkflowState, WorkflowStoreError

pytestmark = pytest.mark.timeout(900)

ROUNDS = 3
SECONDS_MAX = 300
"""How long a call of an honest client may take with all its attempts: it is not measured here."""

MEMORY_BYTES_MAX = 600 * 1024 * 1024

Serve = Callable[..., ServiceProcess]
Rounds = Callable[[int, int], int]


@asynccontextmanager
async def attacking(kind: Callable[..., object], address: str, count: int) -> AsyncIterator[str]:
    """Such clients, from when they have done their worst. What they have said then is given."""
    command = [sys.executable, "-m", "support.hostile", kind.__name__, address, str(count)]
    environment = os.environ | {"PYTHONPATH": str(Path(hostile.__file__).parent.parent)}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS_MAX):
            said = (await process.stdout.readline()).decode()
        assert said.startswith("ready")
        yield said
    finally:
        process.kill()
        await process.wait()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def honest_calls(address: str) -> None:
    """A round of all kinds of calls, each of which has to succeed."""
    async with (
        asyncio.timeout(SECONDS_MAX),
        AsyncClient(address, timeout=SECONDS_MAX) as client,
        calling(address) as caller,
    ):
        for number in range(ROUNDS):
            saved = await client.save(WorkflowState(f"honest-{number}", labels={"by": "honest"}))
            assert await client.load(saved.workflow_id)
            assert [state.workflow_id async for state in client.list(limit=10)]
            assert saved.revision is not None
            async with aclosing(client.watch(after_revision=saved.revision - 1)) as changes:
                assert (await anext(changes)).workflow_id == saved.workflow_id
            assert await until(caller.serving)


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        (hostile.idle, (1000, 10_000)),
        (hostile.halves, (1000, 10_000)),
        (hostile.without_requests, (5000, 5000)),
        (hostile.flood, (3000, 4000)),
        (hostile.too_large, (50, 50)),
        (hostile.resets, (100, 100)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_honest_calls_succeed_beside(
    serve: Serve, rounds: Rounds, kind: Callable[..., object], counts: tuple[int, int]
) -> None:
    count = rounds(*counts)
    server = serve()
    await honest_calls(server.address)
    before = resident_bytes(server.process.pid)

    async with attacking(kind, server.address, count):
        await honest_calls(server.address)
        grown = resident_bytes(server.process.pid) - before

    print(f"{kind.__name__}, {count}: {grown / 2**20:.0f} MiB more")  # noqa: T201
    assert grown < MEMORY_BYTES_MAX
    await honest_calls(server.address)
    assert "internal error" not in server.log


async def test_honest_calls_succeed_beside_many_lists_that_nobody_reads(serve: Serve, rounds: Rounds) -> None:
    server = serve()
    async with AsyncClient(server.address) as client:
        for first in range(0, 3000, 500):
            states = [WorkflowState(f"wf-{number}", error="x" * 2000) for number in range(first, first + 500)]
            saved = await client.save_batch(states)
            assert not [result for result in saved if isinstance(result, WorkflowStoreError)]
    await honest_calls(server.address)
    before = resident_bytes(server.process.pid)

    async with attacking(hostile.unread_lists, server.address, rounds(200, 1000)) as said:
        await honest_calls(server.address)
        grown = resident_bytes(server.process.pid) - before

    print(f"unread lists, {said.strip()}: {grown / 2**20:.0f} MiB more")  # noqa: T201
    assert int(said.split()[1]) > 64
    assert grown < MEMORY_BYTES_MAX
    await honest_calls(server.address)
    assert "internal error" not in server.log
