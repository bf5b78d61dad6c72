"""The only place that knows which single calls stand beside batches of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc

from bench import documents, etcd, raw_nats, server
from bench.calls import ALONE, BUCKET, ETCD_PUT, RAW, TOGETHER
from bench.plan import Plan
from bench.raw_nats import Nats
from bench.results import Bar, Row, row
from bench.timing import Load, Measurement, calling, in_turn
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

SAVED: Final = 100
"""States of one SaveBatch."""

LOADED: Final = 1_000
"""States of one LoadBatch."""

FEW: Final = 4
"""Batches in flight, where there is more than one."""

ROUND_SECONDS_MAX: Final = 10.0

JUDGED: Final = f"SaveBatch of {SAVED}, {ALONE} in flight"
JUDGED_BESIDE: Final = f"{ETCD_PUT}, {ALONE} in flight"
SAVE_BAR: Final = Bar(4)
SAVE_BAR_NOTE: Final = (
    "the bar is for one caller who sends one batch after the other, beside one who puts one after the other"
)

COUNTED_CALLS: Final = 50
"""LoadBatches whose requests to NATS are counted."""

Working = Mapping[str, int | None]


async def rows(plan: Plan, folder: Path) -> AsyncIterator[Row]:
    """Measure SaveBatch and LoadBatch beside single calls with one and with 64 in flight."""
    if not any(plan.wants(name) for name in ("batch-save", "batch-load")):
        return
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(raw_nats.running(folder / "nats"))
        options = ("--nats-url", nats.url, "--data-dir", str(folder / "workflowstore"), "--atomic-batches")
        ours = await stack.enter_async_context(server.serving(*options))
        stub: Any = WorkflowStoreStub(await stack.enter_async_context(grpc.aio.insecure_channel(ours.address)))
        working = {"server": ours.process, "storage": nats.process}
        # What is loaded has to be there first.
        save = _saving(stub, atomic=False)
        for number in range(documents.IDS // SAVED):
            await save(number)
        if plan.wants("batch-save"):
            await raw_nats.create_bucket(nats.client, BUCKET)
            raw = calling(
                raw_nats.Puts(nats.client, BUCKET).put,
                Load(plan.states_batched, SAVED, ROUND_SECONDS_MAX),
                {"storage": nats.process},
            )
            floors = {f"{RAW}, {SAVED} in flight": raw}
            if etcd.program() is not None:
                floors |= await _etcd_puts(stack, plan, folder / "etcd")
            async for one in _save_rows(plan, stub, working, floors):
                yield one
        if plan.wants("batch-load"):
            async for one in _load_rows(plan, stub, working, nats):
                yield one


async def _save_rows(plan: Plan, stub: Any, working: Working, floors: Mapping[str, Measurement]) -> AsyncIterator[Row]:
    requests = [pb.SaveRequest(state=documents.state(number)) for number in range(documents.IDS)]
    calls = plan.states_batched // SAVED
    batches = {
        f"{what} of {SAVED}, {in_flight} in flight": calling(
            _saving(stub, atomic=atomic), Load(calls, in_flight, ROUND_SECONDS_MAX, states=SAVED), working
        )
        for what, atomic in (("SaveBatch", False), ("Atomic SaveBatch", True))
        for in_flight in (ALONE, FEW)
    }
    singles = _singles(plan, "Save", lambda number: stub.Save(requests[number % documents.IDS]), working)
    figures = await in_turn({**batches, **singles, **floors}, plan.rounds)
    for name in batches:
        for floor in (*singles, *floors):
            bar, note = (SAVE_BAR, SAVE_BAR_NOTE) if (name, floor) == (JUDGED, JUDGED_BESIDE) else (None, "")
            yield row(name, floor, (figures[name], figures[floor]), bar, note)
    if JUDGED_BESIDE not in floors:
        yield Row(JUDGED, JUDGED_BESIDE, note="etcd not installed")


async def _load_rows(plan: Plan, stub: Any, working: Working, nats: Nats) -> AsyncIterator[Row]:
    requests = [pb.LoadRequest(workflow_id=documents.id_of(number)) for number in range(documents.IDS)]
    load = _loading(stub)
    name, batches = f"LoadBatch of {LOADED:,}, {ALONE} in flight", plan.states_batched // LOADED
    batched = calling(load, Load(batches, ALONE, ROUND_SECONDS_MAX, states=LOADED), working)
    singles = _singles(plan, "Load", lambda number: stub.Load(requests[number % documents.IDS]), working)
    figures = await in_turn({name: batched, **singles}, plan.rounds)
    before = await raw_nats.messages_in(nats)
    for number in range(COUNTED_CALLS):
        await load(number)
    sent = (await raw_nats.messages_in(nats) - before) / COUNTED_CALLS
    for floor in singles:
        note = f"one LoadBatch sends {sent:.1f} messages to NATS"
        yield row(name, floor, (figures[name], figures[floor]), note=note)


def _singles(
    plan: Plan, what: str, call: Callable[[int], Awaitable[object]], working: Working
) -> dict[str, Measurement]:
    return {
        f"{what}, {in_flight} in flight": calling(call, Load(calls, in_flight, ROUND_SECONDS_MAX), working)
        for in_flight, calls in ((ALONE, plan.calls_alone), (TOGETHER, plan.calls_together))
    }


async def _etcd_puts(stack: AsyncExitStack, plan: Plan, folder: Path) -> dict[str, Measurement]:
    address, process = await stack.enter_async_context(etcd.running(folder))
    key_values = etcd.KeyValues(await stack.enter_async_context(grpc.aio.insecure_channel(address)))
    await key_values.ready()
    return _singles(plan, ETCD_PUT, key_values.put, {"storage": process})


def _saving(stub: Any, *, atomic: bool) -> Callable[[int], Awaitable[None]]:
    """A call that saves the numbered hundred of the workflows."""
    states = [documents.state(number) for number in range(documents.IDS)]
    requests = [
        pb.SaveBatchRequest(
            items=[pb.SaveBatchItem(state=state) for state in states[first : first + SAVED]], atomic=atomic
        )
        for first in range(0, documents.IDS, SAVED)
    ]

    async def save(number: int) -> None:
        reply = await stub.SaveBatch(requests[number % len(requests)])
        if not all(result.revision for result in reply.results):
            raise RuntimeError("a SaveBatch has not saved all of its states")

    return save


def _loading(stub: Any) -> Callable[[int], Awaitable[None]]:
    """A call that loads the numbered thousand of the workflows."""
    ids = [documents.id_of(number) for number in range(documents.IDS)]
    requests = [
        pb.LoadBatchRequest(workflow_ids=ids[first : first + LOADED]) for first in range(0, documents.IDS, LOADED)
    ]

    async def load(number: int) -> None:
        reply = await stub.LoadBatch(requests[number % len(requests)])
        if not all(result.HasField("state") for result in reply.results):
            raise RuntimeError("a LoadBatch has not found all of its states")

    return load
