"""The only place that knows how it is measured how new and how fast the reads of a bucket with three copies are."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import nats

from bench import cluster, documents, server
from bench.cluster import Node
from bench.plan import Plan
from bench.results import Row, row
from bench.timing import Load, calling, in_turn
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

BUCKET: Final = "reads"
PLAIN: Final = "reads_plain"
"""A bucket that does not allow direct reads, so that each Load is one request to the leader of its stream."""

LEADER: Final = "one by one, leader"
ALONE: Final = 1
TOGETHER: Final = 64

HANGS_SECONDS: Final = (1.0, 1.0, 1.0, 8.0)
"""How long a node hangs each time: one of the followers, and at last the leader, until another one is elected."""

PAIRS_SECONDS_MAX: Final = 240.0
"""A round of saves and loads that takes longer is cut off and counts what it has done."""


@dataclass(slots=True)
class _Told:
    """What became of loads that came after a save was acknowledged."""

    loads: int = 0
    stale: int = 0
    failed: int = 0

    def __str__(self) -> str:
        failed = f", {self.failed:,} calls failed" if self.failed else ""
        return f"{self.stale:,} of {self.loads:,} loads read less than a save had told{failed}"


MODES: Final = {
    "SESSION": (pb.CONSISTENCY_SESSION, False),
    "SESSION, min_revision": (pb.CONSISTENCY_SESSION, True),
    "LINEARIZABLE": (pb.CONSISTENCY_LINEARIZABLE, False),
    "ANY_REPLICA": (pb.CONSISTENCY_ANY_REPLICA, False),
    "ANY_REPLICA, min_revision": (pb.CONSISTENCY_ANY_REPLICA, True),
}
"""With `min_revision` as a client does that was told of the save, without it as another client."""


async def rows(plan: Plan, folder: Path) -> AsyncIterator[Row]:
    """Measure Loads of three copies, and how many of them are stale: at rest, and while servers hang."""
    if not any(plan.wants(name) for name in ("reads-1", "reads-64", "reads-stale", "reads-disturbed")):
        return
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(cluster.running(folder))
        client = await nats.connect([node.url for node in nodes])
        stack.push_async_callback(client.close)
        leader = await cluster.create_bucket(client, BUCKET, allow_direct=True)
        await cluster.create_bucket(client, PLAIN, allow_direct=False)
        _, one, other = cluster.followers_of(nodes, leader)
        writer, reader = [await _stub(stack, node, folder / f"server-{node.name}") for node in (one, other)]
        for number in range(documents.IDS):
            state = documents.state(number)
            await asyncio.gather(*[writer.Save(pb.SaveRequest(bucket=name, state=state)) for name in (BUCKET, PLAIN)])
        for in_flight, calls in ((ALONE, plan.calls_alone), (TOGETHER, plan.calls_together)):
            if plan.wants(f"reads-{in_flight}"):
                async for found in _compared(reader, Load(calls, in_flight), plan.rounds):
                    yield found
        if plan.wants("reads-stale"):
            for name in MODES:
                told = await _pairs(writer, reader, name, plan.loads_checked)
                yield Row(f"Save and Load, {name}", note=str(told))
        if plan.wants("reads-disturbed"):
            for name in MODES:
                async with aclosing(_disturbed(client, nodes)) as hanging:
                    told = await _pairs(writer, reader, name, plan.loads_checked, hanging)
                yield Row(f"Save and Load while servers hang, {name}", note=str(told))


async def _stub(stack: AsyncExitStack, node: Node, data: Path) -> Any:
    named = ("--nats-url", node.url, "--bucket", BUCKET, "--bucket", PLAIN, "--data-dir", str(data))
    ours = await stack.enter_async_context(server.serving(*named))
    return WorkflowStoreStub(await stack.enter_async_context(grpc.aio.insecure_channel(ours.address)))


async def _compared(stub: Any, load: Load, rounds: int) -> AsyncIterator[Row]:
    def call(bucket: str, consistency: "pb.Consistency.ValueType") -> Callable[[int], Awaitable[object]]:
        requests = [
            pb.LoadRequest(bucket=bucket, workflow_id=documents.id_of(number), consistency=consistency)
            for number in range(documents.IDS)
        ]
        return lambda number: stub.Load(requests[number % documents.IDS])

    contenders = {LEADER: call(PLAIN, pb.CONSISTENCY_SESSION)} | {
        name: call(BUCKET, consistency) for name, (consistency, least) in MODES.items() if not least
    }
    figures = await in_turn({name: calling(made, load, {}) for name, made in contenders.items()}, rounds)
    for name in contenders:
        if name != LEADER:
            title = f"Load of three copies, {name}, {load.in_flight} in flight"
            yield row(title, LEADER, (figures[name], figures[LEADER]))


async def _pairs(writer: Any, reader: Any, mode: str, count: int, hanging: AsyncIterator[None] | None = None) -> _Told:
    """Save on one server and load on the other, over and over; with `hanging` as long as that goes on."""
    consistency, least = MODES[mode]
    told = _Told()
    numbers = itertools.count() if hanging is not None else iter(range(count))
    end = asyncio.get_running_loop().time() + PAIRS_SECONDS_MAX
    hung = asyncio.Event()

    async def work(worker: int) -> None:
        state = documents.state(worker)
        for _ in numbers:
            if hung.is_set() or asyncio.get_running_loop().time() > end:
                break
            try:
                saved = await writer.Save(pb.SaveRequest(bucket=BUCKET, state=state), timeout=5)
                request = pb.LoadRequest(bucket=BUCKET, workflow_id=state.workflow_id, consistency=consistency)
                request.min_revision = saved.revision if least else 0
                loaded = await reader.Load(request, timeout=5)
            except grpc.aio.AioRpcError:
                told.failed += 1
                await asyncio.sleep(0.05)
            else:
                told.loads += 1
                told.stale += loaded.state.revision < saved.revision

    async with asyncio.TaskGroup() as workers:
        for worker in range(TOGETHER):
            workers.create_task(work(worker))
        if hanging is not None:
            async for _ in hanging:
                pass
            hung.set()
    return told


async def _disturbed(client: nats.aio.client.Client, nodes: list[Node]) -> AsyncIterator[None]:
    """Let nodes hang, one after the other, with a second of rest after each."""
    for number, seconds in enumerate(HANGS_SECONDS, 1):
        leader = await cluster.create_bucket(client, BUCKET, allow_direct=True)
        first, *others = cluster.followers_of(nodes, leader)
        node = first if number == len(HANGS_SECONDS) else others[number % 2]
        await node.hang(seconds)
        await asyncio.sleep(1)
        yield
