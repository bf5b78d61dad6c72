"""The only place that knows how Lists and Counts are measured that want few of the states of a bucket."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from bench.plan import Plan
from bench.raw_nats import Bucket
from bench.results import Bar, Row
from bench.server import Server
from bench.timing import Load, calling, in_turn, median_of
from workflowstore.v1 import workflow_filter_pb2, workflow_state_pb2
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

FIRST: Final = 100
ROUND_SECONDS_MAX: Final = 5.0

FAILED: Final = workflow_filter_pb2.WorkflowFilter(statuses=[workflow_state_pb2.WORKFLOW_STATUS_FAILED])
"""One state in a hundred; see documents.py."""

CUSTOMER: Final = workflow_filter_pb2.WorkflowFilter(labels={"customer": "c-123"})
"""One in a thousand."""

FIRST_BAR: Final = Bar(p99_ms_max=20)


async def rows(plan: Plan, bucket: Bucket, ours: Server) -> AsyncIterator[Row]:
    """Measure them through the generated stub, one after the other."""
    async with grpc.aio.insecure_channel(ours.address) as channel:
        stub: Any = WorkflowStoreStub(channel)
        load = Load(plan.queries, 1, ROUND_SECONDS_MAX)
        working = {"server": ours.process, "storage": bucket.nats.process}
        by_status = pb.ListRequest(filter=FAILED, limit=FIRST)
        latest = pb.ListRequest(filter=CUSTOMER, limit=FIRST, order_by=pb.OrderBy.ORDER_BY_UPDATED_AT, descending=True)
        calls = {
            f"List {bucket.size:,}, 1 % by status, first {FIRST}": await _listing(stub, by_status),
            f"List {bucket.size:,}, 0.1 % by label, latest {FIRST}": await _listing(stub, latest),
            f"Count {bucket.size:,} by status": lambda _: stub.Count(pb.CountRequest(status=True)),
        }
        figures = await in_turn(
            {name: calling(call, load, working) for name, call in calls.items()}, plan.rounds_of(bucket.size)
        )
    for name, bar in zip(calls, (FIRST_BAR, None, None), strict=True):
        figure = median_of(figures[name])
        costs = {f"{name.replace(f' {bucket.size:,}', '')}, ms": figure.p50_ms}
        yield Row(name, ours=figure, bar=bar, size=bucket.size, costs=costs)


async def _listing(stub: Any, request: pb.ListRequest) -> Callable[[int], Awaitable[None]]:
    counted = await stub.Count(pb.CountRequest(filter=request.filter))
    expected = min(counted.count, request.limit)

    async def call(_: int) -> None:
        found = 0
        async for chunk in stub.List(request):
            found += len(chunk.states)
        if found != expected:
            raise RuntimeError(f"a List has returned {found} states instead of {expected}")

    return call
