"""The only place that knows which floors stand beside Save and Load."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty

from bench import documents, echo, etcd, raw_nats, server
from bench.plan import Plan
from bench.results import Bar, Row, row
from bench.timing import Load, calling, in_turn
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

OURS: Final = "workflowstore"
RAW: Final = "nats-py, fsync"
ECHO: Final = "empty gRPC echo"
ETCD_PUT: Final = "etcd put"
ETCD_GET: Final = "etcd get"

BUCKET: Final = "floor"
ALONE: Final = 1
TOGETHER: Final = 64

SAVE_BARS: Final = {RAW: Bar(0.5, p99_ms_max=75), ETCD_PUT: Bar(0.5)}
LOAD_BARS: Final = {ECHO: Bar(0.6), ETCD_GET: Bar(0.5)}
"""They hold with 64 calls in flight."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A numbered call, and the processes by role that work for it."""

    call: Callable[[int], Awaitable[object]]
    processes: Mapping[str, int | None]


async def rows(plan: Plan, folder: Path) -> AsyncIterator[Row]:
    """Measure Save and Load with one and with 64 calls in flight."""
    if not any(plan.wants(name) for name in ("save-1", "save-64", "load-1", "load-64")):
        return
    async with AsyncExitStack() as stack:
        saves, loads = await _contenders(stack, folder)
        # Also what is loaded has to be there first, and nobody is measured cold.
        for contender in saves.values():
            await calling(contender.call, Load(documents.IDS, TOGETHER), {})()
        for title, bars, contenders in (("Save", SAVE_BARS, saves), ("Load", LOAD_BARS, loads)):
            for in_flight, calls in ((ALONE, plan.calls_alone), (TOGETHER, plan.calls_together)):
                if plan.wants(f"{title.lower()}-{in_flight}"):
                    async for one in _compare(plan.rounds, Load(calls, in_flight), title, bars, contenders):
                        yield one


async def _compare(
    rounds: int, load: Load, title: str, bars: Mapping[str, Bar], contenders: Mapping[str, Contender]
) -> AsyncIterator[Row]:
    name = f"{title}, {load.in_flight} in flight"
    figures = await in_turn(
        {who: calling(contender.call, load, contender.processes) for who, contender in contenders.items()}, rounds
    )
    for floor, bar in bars.items():
        if floor in figures:
            pair = (figures[OURS], figures[floor])
            yield row(name, floor, pair, bar if load.in_flight == TOGETHER else None)
        else:
            yield Row(name, floor, note="etcd not installed")


async def _contenders(stack: AsyncExitStack, folder: Path) -> tuple[dict[str, Contender], dict[str, Contender]]:
    async def channel(address: str) -> grpc.aio.Channel:
        return await stack.enter_async_context(grpc.aio.insecure_channel(address))

    ours = await stack.enter_async_context(server.serving("--data-dir", str(folder / "workflowstore")))
    working = {"server": ours.process, "storage": ours.nats_process}
    stub: Any = WorkflowStoreStub(await channel(ours.address))
    save_requests = [pb.SaveRequest(state=documents.state(number)) for number in range(documents.IDS)]
    load_requests = [pb.LoadRequest(workflow_id=documents.id_of(number)) for number in range(documents.IDS)]
    saves = {OURS: Contender(lambda number: stub.Save(save_requests[number % documents.IDS]), working)}
    loads = {OURS: Contender(lambda number: stub.Load(load_requests[number % documents.IDS]), working)}

    nats = await stack.enter_async_context(raw_nats.running(folder / "nats"))
    await raw_nats.create_bucket(nats.client, BUCKET)
    saves[RAW] = Contender(raw_nats.Puts(nats.client, BUCKET).put, {"storage": nats.process})

    echo_address, echo_process = await stack.enter_async_context(echo.serving())
    empty_call = echo.stub(await channel(echo_address))
    loads[ECHO] = Contender(lambda _: empty_call(Empty()), {"server": echo_process})

    if etcd.program() is not None:
        etcd_address, etcd_process = await stack.enter_async_context(etcd.running(folder / "etcd"))
        key_values = etcd.KeyValues(await channel(etcd_address))
        await key_values.ready()
        saves[ETCD_PUT] = Contender(key_values.put, {"storage": etcd_process})
        loads[ETCD_GET] = Contender(key_values.get, {"storage": etcd_process})
    return saves, loads
