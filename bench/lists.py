"""The only place that knows how List is measured beside the N+1 loop that it replaces."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc

from bench import processes, raw_nats, server
from bench.plan import Plan
from bench.raw_nats import Nats
from bench.results import Row, row
from bench.server import Server
from bench.timing import CpuClock, Figure, Measurement, in_turn, median_of
from workflowstore import AsyncClient
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

LOOP: Final = "N+1 loop, nats-py"
STUB: Final = "generated stub"
CLIENT: Final = "finished client"


async def rows(plan: Plan, folder: Path) -> AsyncIterator[Row]:
    """Measure List of all states of buckets of several sizes, smallest first."""
    sizes = [size for size in sorted(plan.states) if plan.wants(f"list-{size}")]
    if not sizes:
        return
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(raw_nats.running(folder / "nats"))
        for size in sizes:
            await raw_nats.create_bucket(nats.client, _bucket(size), fsync=False)
            await raw_nats.fill(nats.client, _bucket(size), size)
        buckets = [part for size in sizes for part in ("--bucket", _bucket(size))]
        ours = await stack.enter_async_context(server.serving("--nats-url", nats.url, *buckets))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(ours.address))
        for size in sizes:
            async for one in _compare(plan, size, ours, nats, channel):
                yield one


async def _compare(plan: Plan, size: int, ours: Server, nats: Nats, channel: grpc.aio.Channel) -> AsyncIterator[Row]:
    working = {"server": ours.process, "storage": nats.process}
    gets = min(size, plan.gets_max)
    figures = await in_turn(
        {
            STUB: _reading(lambda progress: _through_stub(channel, _bucket(size), progress), size, working),
            CLIENT: _reading(lambda progress: _through_client(channel, _bucket(size), progress), size, working),
            LOOP: _looping(nats, _bucket(size), size, gets),
        },
        plan.rounds,
    )
    memory = processes.peak_memory_mib(ours.process)
    common = [f"server's peak memory so far {memory:.0f} MiB"] if memory is not None else []
    if gets < size:
        common.append(f"loop reckoned from all keys and {gets:,} gets")
    for through, part in ((STUB, "chunk"), (CLIENT, "state")):
        ours_rounds = figures[through]
        notes = [f"first {part} after {median_of(ours_rounds).first_ms:.1f} ms", *common]
        name = f"List {size:,}, {through}"
        yield row(name, LOOP, (ours_rounds, figures[LOOP]), note="; ".join(notes))


class _Progress:
    """How many states have been read, and when the first came."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.first_seconds: float | None = None
        self.count = 0

    def add(self, count: int) -> None:
        if self.first_seconds is None:
            self.first_seconds = time.perf_counter() - self.begun
        self.count += count


def _reading(read: Callable[[_Progress], Awaitable[None]], size: int, working: dict[str, int]) -> Measurement:
    async def measure() -> Figure:
        clock = CpuClock(working)
        with clock.running():
            progress = _Progress()
            await read(progress)
            seconds = time.perf_counter() - progress.begun
        if progress.count != size or progress.first_seconds is None:
            raise RuntimeError(f"a List has returned {progress.count} states of {size}")
        return Figure(
            rate=size / seconds,
            p50_ms=seconds * 1e3,
            first_ms=progress.first_seconds * 1e3,
            cpu_us=clock.each_us(size),
        )

    return measure


async def _through_stub(channel: grpc.aio.Channel, bucket: str, progress: _Progress) -> None:
    stub: Any = WorkflowStoreStub(channel)
    async for chunk in stub.List(pb.ListRequest(bucket=bucket)):
        progress.add(len(chunk.states))


async def _through_client(channel: grpc.aio.Channel, bucket: str, progress: _Progress) -> None:
    async with AsyncClient(channel=channel, bucket=bucket) as client:
        async for _ in client.list():
            progress.add(1)


def _looping(nats: Nats, bucket: str, size: int, gets: int) -> Measurement:
    async def measure() -> Figure:
        clock = CpuClock({"storage": nats.process})
        begun = time.perf_counter()
        keys = await raw_nats.keys(nats.client, bucket)
        keys_seconds = time.perf_counter() - begun
        if len(keys) != size:
            raise RuntimeError(f"nats-py has found {len(keys)} keys of {size}")
        with clock.running():
            begun = time.perf_counter()
            await raw_nats.get_one_by_one(nats.client, bucket, keys[:gets])
            gets_seconds = time.perf_counter() - begun
        seconds = keys_seconds + gets_seconds * size / gets
        return Figure(rate=size / seconds, p50_ms=seconds * 1e3, cpu_us=clock.each_us(gets))

    return measure


def _bucket(size: int) -> str:
    return f"states_{size}"
