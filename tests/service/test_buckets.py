"""Several buckets of one server have nothing to do with one another: not what they hold, nor what is asked of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from support.entries import indexed
from support.statuses import failure, rest
from support.waiting import until
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.service.boundary import LONG_AT_ONCE_MAX
from workflowstore_server.service.calls import CallOptions
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import Servicer
from workflowstore_server.store.memory import MemoryStore

from .conftest import about  # type: ignore[import-not-found]

OWN = (("grpc.use_local_subchannel_pool", 1),)
"""Options of a channel whose connection others do not share."""


def state(workflow_id: str, **fields: Any) -> state_pb.WorkflowState:
    return state_pb.WorkflowState(workflow_id=workflow_id, **fields)


async def test_what_one_bucket_holds_no_call_to_another_sees_or_changes(stub: WorkflowStoreStub) -> None:
    buckets = ("beluga_workflows", "other")
    watches = [stub.Watch(pb.WatchRequest(bucket=bucket)) for bucket in buckets]
    for watch in watches:
        await watch.read()
    for bucket in buckets:
        for id_ in ("both", f"in-{bucket}"):
            await stub.Save(pb.SaveRequest(bucket=bucket, state=state(id_, error=bucket), request_id="r"))
        items = [pb.SaveBatchItem(state=state(f"batch-{bucket}-{number}", error=bucket)) for number in range(3)]
        await stub.SaveBatch(pb.SaveBatchRequest(bucket=bucket, items=items, request_id="r"))

    for bucket, watch in zip(buckets, watches, strict=True):
        ids = {"both", f"in-{bucket}", *(f"batch-{bucket}-{number}" for number in range(3))}
        changes: list[pb.WorkflowChange] = []
        while len(changes) < 5:
            changes += (await watch.read()).changes
        assert {change.workflow_id for change in changes} == ids
        assert {change.state.error for change in changes} == {bucket}
        watch.cancel()
        for view in (state_pb.WORKFLOW_VIEW_SUMMARY, state_pb.WORKFLOW_VIEW_FULL):
            chunks = [chunk async for chunk in rest(stub.List(pb.ListRequest(bucket=bucket, view=view)))]
            assert {one.workflow_id for chunk in chunks for one in chunk.states} == ids
            assert {one.error for chunk in chunks for one in chunk.states} == {bucket}
        assert (await stub.Count(pb.CountRequest(bucket=bucket))).count == 5
        exported = [chunk async for chunk in rest(stub.Export(pb.ExportRequest(bucket=bucket)))]
        assert {one.key for chunk in exported for one in chunk.documents} == ids
        loaded = await stub.LoadBatch(
            pb.LoadBatchRequest(bucket=bucket, workflow_ids=["both", *sorted(ids - {"both"})])
        )
        assert {result.state.error for result in loaded.results} == {bucket}

    elsewhere = await stub.LoadBatch(pb.LoadBatchRequest(bucket="other", workflow_ids=["in-beluga_workflows"]))
    assert elsewhere.results[0].HasField("error")
    deleted = await stub.DeleteBatch(
        pb.DeleteBatchRequest(bucket="other", filter=WorkflowFilter(), limit=100, purge=True, request_id="r")
    )
    assert len(deleted.results) == 5
    assert (await stub.Count(pb.CountRequest(bucket="other"))).count == 0
    assert (await stub.Count(pb.CountRequest())).count == 5


class SlowStore(MemoryStore):
    """A store whose saves wait until a test lets them go on, as those to a bucket without a leader do."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.go_on = asyncio.Event()
        self.saves = 0

    async def save(self, *arguments: Any) -> Any:
        self.saves += 1
        await self.go_on.wait()
        return await super().save(*arguments)


CALLS_MAX = 16


@pytest.fixture
async def slow() -> SlowStore:
    return SlowStore("slow")


@pytest.fixture
async def overloaded(slow: SlowStore) -> AsyncIterator[Service]:
    """A server with few places, and a bucket whose calls do not end beside one whose calls do."""
    quick = MemoryStore("quick")
    async with indexed(slow) as slow_index, indexed(quick) as quick_index:
        indexes = {"quick": quick_index, "slow": slow_index}
        servicer = Servicer({"quick": quick, "slow": slow}, indexes, about, lambda: 0)
        options = ServiceOptions("127.0.0.1:0", drain_seconds=1, calls=CallOptions(calls_max=CALLS_MAX))
        service = Service(servicer, indexes, options)
        await service.start()
        yield service
        slow.go_on.set()
        await service.drain()


async def test_calls_that_pile_up_before_one_bucket_leave_places_to_another(
    overloaded: Service, slow: SlowStore
) -> None:
    # Each from a connection of its own: it is not the share of a connection that leaves room.
    channels = [grpc.aio.insecure_channel(overloaded.address, options=OWN) for _ in range(CALLS_MAX)]
    saves = [
        asyncio.ensure_future(WorkflowStoreStub(channel).Save(pb.SaveRequest(bucket="slow", state=state(f"{number}"))))
        for number, channel in enumerate(channels)
    ]

    async def all_wait_or_are_refused() -> bool:
        return slow.saves + sum(1 for save in saves if save.done()) == CALLS_MAX

    await until(all_wait_or_are_refused)
    assert slow.saves <= CALLS_MAX // 2 + 1
    for save in saves:
        if save.done():
            assert (await failure(save)).reason == "TOO_MANY_CALLS"
    async with grpc.aio.insecure_channel(overloaded.address, options=OWN) as channel:
        stub = WorkflowStoreStub(channel)
        for number in range(CALLS_MAX):
            saved = await stub.Save(pb.SaveRequest(bucket="quick" if number % 2 else "", state=state(f"{number}")))
            assert saved.revision == number + 1

    slow.go_on.set()
    await asyncio.gather(*saves, return_exceptions=True)
    for channel in channels:
        await channel.close()


@pytest.mark.parametrize("hidden", [False, True])
async def test_long_requests_that_wait_for_one_bucket_leave_their_turn_to_another(
    overloaded: Service, slow: SlowStore, hidden: bool
) -> None:
    """Also those that name their bucket behind all else, where it is not looked for first."""
    long = state("wf", error="x" * 100_000)
    to_slow = pb.SaveRequest(state=long).SerializeToString() + pb.SaveRequest(bucket="slow").SerializeToString()
    if not hidden:
        to_slow = pb.SaveRequest(bucket="slow", state=long).SerializeToString()
    async with grpc.aio.insecure_channel(overloaded.address, options=OWN) as channel:
        save = channel.unary_unary("/workflowstore.v1.WorkflowStore/Save")
        saves = [asyncio.ensure_future(save(to_slow)) for _ in range(LONG_AT_ONCE_MAX - 1)]
        await until(lambda: _reached(slow, LONG_AT_ONCE_MAX // 2))

        saved = await WorkflowStoreStub(channel).Save(pb.SaveRequest(bucket="quick", state=long))

        assert saved.revision == 1
        assert slow.saves == LONG_AT_ONCE_MAX // 2
        slow.go_on.set()
        await asyncio.gather(*saves)


async def _reached(store: SlowStore, saves: int) -> bool:
    return store.saves == saves
