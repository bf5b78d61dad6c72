"""The only place that knows which other ways to write one state stand beside a plain Save."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from bench import documents, server
from bench.calls import ALONE, TOGETHER
from bench.plan import Plan
from bench.results import Row, row
from bench.timing import Load, calling, in_turn
from workflowstore.v1 import workflow_state_pb2
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

SAVE: Final = "Save"

Call = Callable[[int], Awaitable[object]]


async def rows(plan: Plan, folder: Path) -> AsyncIterator[Row]:
    """Measure Update, and Save with a request id."""
    if not any(plan.wants(name) for name in ("update", "request-id")):
        return
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(server.serving("--data-dir", str(folder / "workflowstore")))
        stub: Any = WorkflowStoreStub(await stack.enter_async_context(grpc.aio.insecure_channel(ours.address)))
        working = {"server": ours.process, "storage": ours.nats_process}
        save = _saving(stub)
        # What is updated has to be there first.
        await calling(save, Load(documents.IDS, TOGETHER), {})()

        async def compare(name: str, call: Call, in_flight: int) -> Row:
            load = Load(plan.calls_alone if in_flight == ALONE else plan.calls_together, in_flight)
            floor = f"{SAVE}, {in_flight} in flight"
            measurements = {name: calling(call, load, working), floor: calling(save, load, working)}
            figures = await in_turn(measurements, plan.rounds)
            return row(name, floor, (figures[name], figures[floor]))

        if plan.wants("update"):
            yield await compare(f"Update, {ALONE} in flight", _updating(stub, documents.IDS), ALONE)
            yield await compare(f"Update, {TOGETHER} in flight", _updating(stub, documents.IDS), TOGETHER)
            yield await compare(f"Update of one workflow, {TOGETHER} in flight", _updating(stub, 1), TOGETHER)
        if plan.wants("request-id"):
            yield await compare(f"Save with request_id, {TOGETHER} in flight", _saving(stub, with_id=True), TOGETHER)


def _saving(stub: Any, *, with_id: bool = False) -> Call:
    requests = [pb.SaveRequest(state=documents.state(number)) for number in range(documents.IDS)]
    ids = itertools.count()

    def save(number: int) -> Awaitable[object]:
        request = requests[number % documents.IDS]
        if with_id:
            request.request_id = f"6f0d8a52-3c1e-4b7a-9d40-{next(ids):012x}"
        call: Awaitable[object] = stub.Save(request)
        return call

    return save


def _updating(stub: Any, workflows: int) -> Call:
    """A call that sets the status and a label of one of so many workflows, and asks for no more than a summary."""
    requests = [
        pb.UpdateRequest(
            state=workflow_state_pb2.WorkflowState(
                workflow_id=documents.id_of(number), status=workflow_state_pb2.WORKFLOW_STATUS_COMPLETED
            ),
            update_mask=FieldMask(paths=["status"]),
            set_labels={"region": "us"},
            view=workflow_state_pb2.WORKFLOW_VIEW_SUMMARY,
        )
        for number in range(workflows)
    ]
    return lambda number: stub.Update(requests[number % workflows])
