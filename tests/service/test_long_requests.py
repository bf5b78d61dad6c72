"""What is long to read or to write keeps nobody waiting: it is refused unread, or worked on beside the event loop."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from support.statuses import failure, stream_failure
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.codec import document, message
from workflowstore_server.codec.aside import MESSAGE_BYTES_MAX
from workflowstore_server.model.errors import InvalidRequest, StateTooLarge
from workflowstore_server.model.limits import QUESTION_BYTES_MAX, REQUEST_FIELDS_MAX, WORKFLOW_ID_BYTES_MAX
from workflowstore_server.service import boundary, validation
from workflowstore_server.store.jetstream import JetStreamStore

LONG = state_pb.WorkflowState(workflow_id="wf-1", history=[state_pb.HistoryEvent(activity_name="a")] * 5000)
SHORT = state_pb.WorkflowState(workflow_id="wf-1", history=[state_pb.HistoryEvent(activity_name="a")])
TOO_LONG = state_pb.WorkflowState(workflow_id="wf-1", history=[state_pb.HistoryEvent()] * (REQUEST_FIELDS_MAX + 1))


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Save", pb.SaveRequest(state=TOO_LONG)),
        ("Update", pb.UpdateRequest(append_history=TOO_LONG.history)),
        ("SaveBatch", pb.SaveBatchRequest(items=[pb.SaveBatchItem()] * (REQUEST_FIELDS_MAX + 1))),
        ("LoadBatch", pb.LoadBatchRequest(workflow_ids=["x"] * (REQUEST_FIELDS_MAX + 1))),
        ("List", pb.ListRequest(filter=WorkflowFilter(labels={str(n): "" for n in range(REQUEST_FIELDS_MAX)}))),
    ],
)
async def test_a_request_of_too_many_fields_is_refused(stub: WorkflowStoreStub, method: str, request_: Any) -> None:
    call = getattr(stub, method)(request_)
    found = (await stream_failure(call))[1] if method == "List" else await failure(call)

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.fields == {"": "TOO_MANY_FIELDS"}
    assert str(REQUEST_FIELDS_MAX) in found.message


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Count", pb.CountRequest(filter=WorkflowFilter(statuses=[1] * (QUESTION_BYTES_MAX + 1)))),
        ("Load", pb.LoadRequest(workflow_id="x" * (QUESTION_BYTES_MAX + 1))),
    ],
)
async def test_a_question_that_is_too_long_is_refused_unread(
    stub: WorkflowStoreStub, method: str, request_: Any
) -> None:
    found = await failure(getattr(stub, method)(request_))

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.fields == {"": "TOO_LONG"}
    assert str(QUESTION_BYTES_MAX) in found.message


async def test_the_longest_question_is_answered(stub: WorkflowStoreStub) -> None:
    ids = [f"{number:04d}" + "\N{GRINNING FACE}" * 255 for number in range(1000)]
    assert len(ids[0].encode()) == WORKFLOW_ID_BYTES_MAX

    loaded = await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=ids))
    items = [pb.DeleteBatchItem(workflow_id=id_, expected_revision=2**64 - 1) for id_ in ids]
    deleted = await stub.DeleteBatch(pb.DeleteBatchRequest(items=items))

    assert len(loaded.results) == len(deleted.results) == 1000


def test_nothing_is_made_of_a_request_of_too_many_fields() -> None:
    decode = boundary._decoder("workflowstore.v1.WorkflowStore/Save", lambda _: pytest.fail("it was decoded"))

    with pytest.raises(InvalidRequest):
        decode(pb.SaveRequest(state=TOO_LONG).SerializeToString())


async def test_more_than_a_request_may_name_is_told_at_once(stub: WorkflowStoreStub) -> None:
    state = state_pb.WorkflowState(workflow_id="wf-1", labels={f"{n}" * 30: "" for n in range(200)})
    mask = FieldMask(paths=[f"path{n}" for n in range(65)])
    keys = [f"{n}" * 100 for n in range(200)]

    saved = await failure(stub.Save(pb.SaveRequest(state=state)))
    updated = await failure(stub.Update(pb.UpdateRequest(state=SHORT, update_mask=mask, remove_labels=keys)))
    _, listed = await stream_failure(stub.List(pb.ListRequest(filter=WorkflowFilter(statuses=[1] * 65))))

    assert saved.fields == {"state.labels": "TOO_MANY"}
    assert updated.fields["update_mask"] == "UNKNOWN_FIELD"
    assert listed.fields == {"filter.statuses": "TOO_MANY"}


class Threads:
    """The threads that functions were called in."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.called: dict[str, set[str]] = {}

    def watch(self, module: Any, name: str) -> None:
        actual: Callable[..., Any] = getattr(module, name)

        def watched(*arguments: Any) -> Any:
            self.called.setdefault(name, set()).add(threading.current_thread().name)
            return actual(*arguments)

        self._patch.setattr(module, name, watched)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    threads = Threads(monkeypatch)
    for name in ("check_save", "check_update", "check_save_batch", "check_import"):
        threads.watch(validation, name)
    for name in ("encode", "entry_of", "summary_of"):
        threads.watch(document, name)
    for name in ("decode_state", "decode_patch", "encode_state", "encode_updated"):
        threads.watch(message, name)
    return threads


async def use(stub: WorkflowStoreStub, state: state_pb.WorkflowState) -> None:
    """Send and read a state in every way."""
    await stub.Save(pb.SaveRequest(state=state))
    mask = FieldMask(paths=["history"])
    await stub.Update(pb.UpdateRequest(state=state, update_mask=mask))
    await stub.SaveBatch(pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=state)]))
    await stub.Load(pb.LoadRequest(workflow_id="wf-1"))
    await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=["wf-1"]))
    full = state_pb.WORKFLOW_VIEW_FULL
    assert [chunk async for chunk in stub.List(pb.ListRequest(view=full))]
    assert [chunk async for chunk in stub.ListRevisions(pb.ListRevisionsRequest(workflow_id="wf-1"))]
    (exported,) = [chunk async for chunk in stub.Export(pb.ExportRequest())]
    await stub.Import(pb.ImportRequest(documents=exported.documents, on_conflict=pb.ON_CONFLICT_SKIP))
    async with asyncio.timeout(30):
        for start in (pb.WatchRequest(view=full, snapshot=True), pb.WatchRequest(view=full, after_revision=0)):
            watch = stub.Watch(start)
            while not (await watch.read()).changes:
                pass
            watch.cancel()


async def test_what_is_long_is_worked_on_beside_the_event_loop(stub: WorkflowStoreStub, threads: Threads) -> None:
    assert LONG.ByteSize() > MESSAGE_BYTES_MAX
    await use(stub, LONG)

    assert threads.called.keys() >= {"check_save", "check_update", "check_save_batch", "check_import", "encode"}
    assert {name: names for name, names in threads.called.items() if names != {"aside_0"}} == {}


async def test_what_is_short_is_worked_on_in_the_event_loop(stub: WorkflowStoreStub, threads: Threads) -> None:
    await use(stub, SHORT)

    assert {name: names for name, names in threads.called.items() if names != {"MainThread"}} == {}


async def test_few_long_requests_are_in_memory_at_once(
    stub: WorkflowStoreStub, jetstream_store: JetStreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    actual, go_on = JetStreamStore.save, asyncio.Event()
    reached = most = 0

    async def save(*arguments: Any) -> Any:
        nonlocal reached, most
        reached += 1
        most = max(most, reached)
        if reached == boundary.LONG_AT_ONCE_MAX:
            asyncio.get_running_loop().call_later(0.1, go_on.set)
        await go_on.wait()
        reached -= 1
        return await actual(*arguments)

    monkeypatch.setattr(JetStreamStore, "save", save)
    # Of one bucket alone fewer work at once, for there are others.
    buckets = ("", "other") * boundary.LONG_AT_ONCE_MAX
    calls = [stub.Save(pb.SaveRequest(bucket=bucket, state=LONG)) for bucket in buckets]
    saved = await asyncio.gather(*calls)

    assert most == boundary.LONG_AT_ONCE_MAX
    assert len({(bucket, one.revision) for bucket, one in zip(buckets, saved, strict=True)}) == len(calls)


class InHand:
    """Something that a call works with."""


async def test_what_a_failed_call_had_in_hand_is_let_go_at_once(
    stub: WorkflowStoreStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[InHand]] = []

    async def save(*_: Any) -> None:
        in_hand = InHand()
        kept.append(weakref.ref(in_hand))
        raise StateTooLarge("b", "wf-1", 2, 1)

    monkeypatch.setattr(JetStreamStore, "save", save)
    gc.disable()
    try:
        found = await failure(stub.Save(pb.SaveRequest(state=SHORT)))
        assert found.reason == "STATE_TOO_LARGE"
        async with asyncio.timeout(30):
            while kept[0]() is not None:
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
