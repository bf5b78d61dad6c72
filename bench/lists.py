"""The only place that knows how List of all states is measured, and which floors stand beside it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc

from bench import documents, etcd, golang, processes, raw_nats
from bench.golang import NotBuilt
from bench.plan import LARGE, Plan
from bench.raw_nats import Bucket
from bench.results import Bar, Row, row
from bench.server import Server
from bench.timing import CLIENT as CLIENT_ROLE
from bench.timing import CpuClock, Figure, Measurement, in_turn, median_of
from workflowstore import AsyncClient
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

STUB: Final = "generated stub"
CLIENT: Final = "finished client"

LOOP: Final = "N+1 loop, nats-py"
GO_LOOP: Final = "N+1 loop, Go"
WHOLE: Final = "etcd Range, one reply"
SUMMARIES: Final = "etcd Range, summaries"
PAGED: Final = "etcd Range, pages of 500"
PAGE_SIZE: Final = 500

BARS: Final = {
    STUB: {LOOP: Bar(50), GO_LOOP: None, WHOLE: Bar(1), SUMMARIES: None, PAGED: Bar(6)},
    CLIENT: {LOOP: None},
}
CLIENT_BAR: Final = Bar(rate_min=80_000)
"""They hold from `LARGE` states on."""

FIRST_MS_MAX: Final = 10
FIRST_MS_MAX_BEYOND: Final = 20
"""For buckets of more than `LARGE` states."""


async def rows(plan: Plan, bucket: Bucket, ours: Server, go: Path | NotBuilt, etcd_folder: Path) -> AsyncIterator[Row]:
    """Measure List of all states of a bucket, whose index has caught up."""
    size, gets = bucket.size, min(plan.gets_max, bucket.size)
    working = {"server": ours.process, "storage": bucket.nats.process}
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(ours.address))
        measurements = {
            STUB: _reading(lambda progress: _through_stub(channel, progress), size, size, working),
            CLIENT: _reading(lambda progress: _through_client(channel, progress), size, size, working),
        }
        missing: dict[str, str] = {}
        if size > raw_nats.KEYS_MAX:
            missing[LOOP] = f"beyond {raw_nats.KEYS_MAX:,} keys nats-py's keys() loses some, and does not return"
        else:
            measurements[LOOP] = _looping(bucket, gets)
        if isinstance(go, NotBuilt):
            missing[GO_LOOP] = str(go)
        else:
            measurements[GO_LOOP] = _looping_in_go(go, bucket, gets)
        if etcd.program() is None:
            missing |= dict.fromkeys((WHOLE, SUMMARIES, PAGED), "etcd not installed")
        else:
            measurements |= await _ranging(stack, bucket, etcd_folder, plan.pages_max)
        # Nobody is measured cold.
        for name in measurements.keys() & {STUB, WHOLE, SUMMARIES}:
            await measurements[name]()
        figures = await in_turn(measurements, plan.rounds_of(size))
    for one in _compared(plan, bucket, figures, missing):
        yield one


def _compared(
    plan: Plan, bucket: Bucket, figures: Mapping[str, list[Figure]], missing: Mapping[str, str]
) -> Iterator[Row]:
    notes = {
        WHOLE: "whole documents, as the pages, where a List has summaries",
        SUMMARIES: "what a List sends of each state is the value, for the same bytes to be read",
    }
    if plan.gets_max < bucket.size:
        notes |= dict.fromkeys((LOOP, GO_LOOP), f"the loop is reckoned from all keys and {plan.gets_max:,} gets")
    if plan.pages_max * PAGE_SIZE < bucket.size:
        notes[PAGED] = f"reckoned from {plan.pages_max:,} pages, evenly spread over the range"
    judged = bucket.size >= LARGE
    for through, alone in ((STUB, _stub_bar(bucket.size)), (CLIENT, CLIENT_BAR)):
        figure = median_of(figures[through])
        name, costs = f"List {bucket.size:,}, {through}", _costs(through, figure)
        yield Row(name, ours=figure, bar=alone if judged else None, size=bucket.size, costs=costs)
        for floor, bar in BARS[through].items():
            if floor in missing:
                yield Row(name, floor, note=missing[floor])
            else:
                pair = (figures[through], figures[floor])
                yield row(name, floor, pair, bar if judged else None, notes.get(floor, ""))


def _stub_bar(size: int) -> Bar:
    first_ms_max = FIRST_MS_MAX if size <= LARGE else FIRST_MS_MAX_BEYOND
    return Bar(rate_min=250_000, first_ms_max=first_ms_max, memory_mib_max=300)


def _costs(through: str, figure: Figure) -> dict[str, float | None]:
    assert figure.rate is not None, "states were counted"
    costs: dict[str, float | None] = {f"List, {through}, us a state": 1e6 / figure.rate}
    if through == STUB:
        costs |= {"List, first chunk, ms": figure.first_ms, "List, server's memory, MiB": figure.memory_mib}
    return costs


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


def _reading(
    read: Callable[[_Progress], Awaitable[None]], count: int, size: int, processes_by_role: Mapping[str, int]
) -> Measurement:
    """A measurement of one reader of `count` states, as if it had read `size`."""

    async def measure() -> Figure:
        clock = CpuClock(processes_by_role)
        server_process = processes_by_role.get("server")
        if server_process is not None:
            processes.forget_peak_memory(server_process)
        with clock.running():
            progress = _Progress()
            await read(progress)
            seconds = time.perf_counter() - progress.begun
        if progress.count != count or progress.first_seconds is None:
            raise RuntimeError(f"{progress.count} states were read instead of {count}")
        return Figure(
            rate=count / seconds,
            p50_ms=seconds * size / count * 1e3,
            first_ms=progress.first_seconds * 1e3,
            memory_mib=None if server_process is None else processes.peak_memory_mib(server_process),
            cpu_us=clock.each_us(count),
        )

    return measure


async def _through_stub(channel: grpc.aio.Channel, progress: _Progress) -> None:
    stub: Any = WorkflowStoreStub(channel)
    async for chunk in stub.List(pb.ListRequest()):
        progress.add(len(chunk.states))


async def _through_client(channel: grpc.aio.Channel, progress: _Progress) -> None:
    async with AsyncClient(channel=channel) as client:
        async for _ in client.list():
            progress.add(1)


async def _ranging(stack: AsyncExitStack, bucket: Bucket, folder: Path, pages_max: int) -> dict[str, Measurement]:
    address, process = await stack.enter_async_context(etcd.running(folder))
    channel = grpc.aio.insecure_channel(address, options=etcd.CHANNEL_OPTIONS)
    await stack.enter_async_context(channel)
    ranges = etcd.Ranges(channel, "document", documents.stored)
    summaries = etcd.Ranges(channel, "summary", documents.summary)
    for one in (ranges, summaries):
        await one.fill(bucket.size)
    pages = -(-bucket.size // PAGE_SIZE)
    read = min(pages, pages_max)
    # The middle ones of as many equal parts: what a page costs depends on how much follows it.
    numbers = [(2 * part + 1) * pages // (2 * read) for part in range(read)]
    count = sum(min(PAGE_SIZE, bucket.size - number * PAGE_SIZE) for number in numbers)
    working = {"storage": process}
    return {
        WHOLE: _reading(lambda progress: ranges.whole(progress.add), bucket.size, bucket.size, working),
        SUMMARIES: _reading(lambda progress: summaries.whole(progress.add), bucket.size, bucket.size, working),
        PAGED: _reading(lambda progress: ranges.pages(numbers, PAGE_SIZE, progress.add), count, bucket.size, working),
    }


def _looping(bucket: Bucket, gets: int) -> Measurement:
    async def measure() -> Figure:
        begun = time.perf_counter()
        keys = await raw_nats.keys(bucket)
        keys_seconds = time.perf_counter() - begun
        clock = CpuClock({"storage": bucket.nats.process})
        with clock.running():
            begun = time.perf_counter()
            await raw_nats.get_one_by_one(bucket, keys[:gets])
            gets_seconds = time.perf_counter() - begun
        return _looped(bucket.size, len(keys), keys_seconds, gets_seconds / gets, clock.each_us(gets))

    return measure


def _looping_in_go(program: Path, bucket: Bucket, gets: int) -> Measurement:
    async def measure() -> Figure:
        listed = await golang.run(program, bucket, gets)
        cpu_us = {CLIENT_ROLE: listed.cpu_seconds / gets * 1e6}
        return _looped(bucket.size, listed.keys, listed.keys_seconds, listed.gets_seconds / gets, cpu_us)

    return measure


def _looped(size: int, keys: int, keys_seconds: float, get_seconds: float, cpu_us: Mapping[str, float]) -> Figure:
    if keys != size:
        raise RuntimeError(f"a loop has found {keys} keys instead of {size}")
    seconds = keys_seconds + get_seconds * size
    return Figure(rate=size / seconds, p50_ms=seconds * 1e3, cpu_us=cpu_us)
