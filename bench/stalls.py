"""The only place that knows how it is measured that a server goes on answering while it works on its index."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc

from bench import health, lag, server
from bench.raw_nats import Bucket
from bench.results import Bar, Row
from bench.server import Server
from bench.timing import Figure
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

LAG_BAR: Final = Bar(p99_ms_max=20)
SECONDS: Final = 3.0
"""How long a server is watched that lists, and one that has nothing to do."""


class _Watched(NamedTuple):
    late: Figure
    """How late the event loop was."""
    answers: Figure
    """How long health checks took."""


async def rows(bucket: Bucket, data: Path, *, building: bool, listing: bool) -> AsyncIterator[Row]:
    """Measure it while the index in `data` is built anew, and while all of it is listed."""
    if building:
        shutil.rmtree(data, ignore_errors=True)
    async with server.indexing(bucket, data, program=lag.__name__) as ours:
        built = await _watch(ours, server.caught_up(ours, bucket))
        idle = await _watch(ours, asyncio.sleep(SECONDS))
        if building:
            for row in _rows(f"while {bucket.size:,} are built", built, idle):
                yield row
        if listing:
            for row in _rows(f"while {bucket.size:,} are listed", await _watch(ours, _list(ours)), idle):
                yield row


async def _watch(ours: Server, work: Awaitable[None]) -> _Watched:
    late: list[Figure] = []

    async def watched() -> None:
        # What was before does not count.
        await lag.take(ours)
        await work
        late.append(await lag.take(ours))

    answers = await health.during(ours.address, watched())
    return _Watched(late[0], answers)


async def _list(ours: Server) -> None:
    end = time.perf_counter() + SECONDS
    async with grpc.aio.insecure_channel(ours.address) as channel:
        stub: Any = WorkflowStoreStub(channel)
        while time.perf_counter() < end:
            async for _ in stub.List(pb.ListRequest()):
                pass


def _rows(when: str, found: _Watched, idle: _Watched) -> Iterator[Row]:
    yield Row(f"Loop late {when}", "idle", found.late, idle.late, bar=LAG_BAR)
    note = "each takes many turns of the event loop, and waits for each"
    yield Row(f"Health checks {when}", "idle", found.answers, idle.answers, note=note)
