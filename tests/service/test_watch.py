"""Watch over a real channel."""

import asyncio
from typing import Any

import grpc
import pytest

from support.statuses import Failure, failure, rest, stream_failure
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.index import feed
from workflowstore_server.service.server import Service

from .conftest import give_time_to_drain  # type: ignore[import-not-found]

RUNNING = state_pb.WORKFLOW_STATUS_RUNNING
FAILED = state_pb.WORKFLOW_STATUS_FAILED


async def save(stub: WorkflowStoreStub, workflow_id: str, **fields: Any) -> int:
    state = state_pb.WorkflowState(workflow_id=workflow_id, **fields)
    revision: int = (await stub.Save(pb.SaveRequest(state=state))).revision
    return revision


async def read_until(call: Any, revision: int) -> list[pb.WatchResponse]:
    """Read messages of a Watch up to the one that goes as far as a revision."""
    messages: list[pb.WatchResponse] = []
    async with asyncio.timeout(20):
        while not messages or messages[-1].revision < revision:
            message = await call.read()
            assert message is not grpc.aio.EOF
            messages.append(message)
    return messages


def changes_of(messages: list[pb.WatchResponse]) -> list[pb.WorkflowChange]:
    return [change for message in messages for change in message.changes]


async def test_a_watch_tells_what_matches_then_what_changes_and_goes_on_where_it_was(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1", status=RUNNING, input_json='{"a":1}')
    wanted = WorkflowFilter(statuses=[RUNNING])
    call = stub.Watch(pb.WatchRequest(filter=wanted, snapshot=True, view=state_pb.WORKFLOW_VIEW_FULL))
    snapshot = await read_until(call, 1)
    revision = await save(stub, "wf-1", status=FAILED)
    changed = await read_until(call, revision)
    call.cancel()

    assert [message.snapshot_complete for message in snapshot] == [False, True]
    assert snapshot[-1].revision == 1
    (saved,) = changes_of(snapshot)
    assert (saved.kind, saved.workflow_id, saved.revision) == (pb.CHANGE_KIND_SAVED, "wf-1", 1)
    loaded = (await stub.Load(pb.LoadRequest(workflow_id="wf-1"))).state
    (unmatched,) = changes_of(changed)
    assert (unmatched.kind, unmatched.state) == (pb.CHANGE_KIND_UNMATCHED, loaded)
    assert saved.state.input_json == '{"a":1}'

    last = await save(stub, "wf-2", status=RUNNING)
    made = changed[-1].bucket_created_at
    call = stub.Watch(pb.WatchRequest(filter=wanted, after_revision=revision, bucket_created_at=made))
    assert [change.workflow_id for change in changes_of(await read_until(call, last))] == ["wf-2"]
    call.cancel()


async def test_a_watch_begins_now_with_a_message_that_says_so(stub: WorkflowStoreStub) -> None:
    before = await save(stub, "before")
    for request in (pb.WatchRequest(), pb.WatchRequest(snapshot=False)):
        call = stub.Watch(request)
        first = await call.read()
        assert (list(first.changes), first.revision, first.snapshot_complete) == ([], before, False)
        assert first.HasField("bucket_created_at")
        call.cancel()


async def test_a_watch_of_a_deletion_names_the_workflow(stub: WorkflowStoreStub) -> None:
    await save(stub, "order:1")
    call = stub.Watch(pb.WatchRequest())
    await call.read()
    await stub.Delete(pb.DeleteRequest(workflow_id="order:1"))
    (deleted,) = changes_of(await read_until(call, 2))
    call.cancel()

    assert deleted == pb.WorkflowChange(kind=pb.CHANGE_KIND_DELETED, workflow_id="order:1", revision=2)


async def test_what_is_wrong_with_a_watch_is_named_all_at_once(stub: WorkflowStoreStub) -> None:
    request = pb.WatchRequest(bucket="unknown", snapshot=True, filter=WorkflowFilter(statuses=[99]), view=99)  # type: ignore[arg-type, list-item]
    request.bucket_created_at.nanos = -1
    messages, failed = await stream_failure(stub.Watch(request))

    assert not messages
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failed.fields.keys() == {"bucket", "filter.statuses[0]", "view", "bucket_created_at"}
    request = pb.WatchRequest()
    request.bucket_created_at.seconds = 1
    _, failed = await stream_failure(stub.Watch(request))
    assert failed.fields == {"bucket_created_at": "WITHOUT_REVISION"}


async def test_a_watch_after_a_revision_that_is_not_there_is_out_of_range(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1")
    _, failed = await stream_failure(stub.Watch(pb.WatchRequest(after_revision=17)))

    assert failed.code is grpc.StatusCode.OUT_OF_RANGE
    assert failed.reason == "REVISION_FORGOTTEN"
    assert "it has not come as far; begin with a snapshot" in failed.message
    assert failed.metadata == {"bucket": "beluga_workflows", "after_revision": "17", "earliest_revision": "0"}


async def test_a_reader_that_stops_is_ended_with_the_revision_to_go_on_after(
    stub: WorkflowStoreStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHANGES_MAX", 20)
    monkeypatch.setattr(feed, "BYTES_MAX", 1_000_000)
    stopped, reading = stub.Watch(pb.WatchRequest()), stub.Watch(pb.WatchRequest())
    await stopped.read()
    await reading.read()
    last = 0
    for number in range(200):
        last = await save(stub, f"wf-{number}", error="x" * 100_000)
        await read_until(reading, last)
    messages, failed = await stream_failure(stopped)

    assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failed.reason == "WATCH_TOO_SLOW"
    resume_revision = int(failed.metadata["resume_revision"])
    assert 0 < resume_revision == messages[-1].revision < last
    resumed = stub.Watch(pb.WatchRequest(after_revision=resume_revision))
    assert [change.revision for change in changes_of(await read_until(resumed, last))] == list(
        range(resume_revision + 1, last + 1)
    )
    for call in (reading, resumed):
        call.cancel()


async def test_a_server_that_stops_ends_its_watches_at_once_and_says_where_to_go_on(
    service: Service, stub: WorkflowStoreStub
) -> None:
    call = stub.Watch(pb.WatchRequest())
    last = await save(stub, "wf-1")
    await read_until(call, last)
    give_time_to_drain(service, 60)
    draining = asyncio.create_task(service.drain())
    async with asyncio.timeout(30):
        # Well before the drain time.
        messages = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 (what came before the failure counts)
            async for message in rest(call):
                messages.append(message)
    ended = Failure(caught.value)
    await draining

    assert ended.code is grpc.StatusCode.UNAVAILABLE
    assert ended.reason == "SHUTTING_DOWN"
    assert ended.metadata == {"resume_revision": str(last)}
    assert ended.retry_seconds is not None
    refused = await failure(stub.Load(pb.LoadRequest(workflow_id="wf-1")))
    assert refused.code is grpc.StatusCode.UNAVAILABLE
