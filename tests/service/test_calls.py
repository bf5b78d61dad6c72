"""Each RPC does what its comment in the .proto says."""

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from nats.aio.client import Client

from support.strategies import states
from support.waiting import in_portions
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.codec import message
from workflowstore_server.model.state import StoredState, WorkflowState, WorkflowView

NOW = Timestamp(seconds=1_795_000_000, nanos=123_456_789)

WHOLE = state_pb.WorkflowState(
    workflow_id="order:42",
    run_id="run-1",
    status=state_pb.WORKFLOW_STATUS_FAILED,
    input_json='{"a":  12345678901234567890.10}',
    result_json="[1e400]",
    error="out of stock",
    history=[
        state_pb.HistoryEvent(
            id=9007199254740993,
            type=state_pb.EVENT_TYPE_TIMER_FIRED,
            timestamp=Timestamp(seconds=1, nanos=1),
            activity_name="charge",
            input_json='"in"',
            result_json='"out"',
            error="none",
            signal_name="stop",
            signal_payload_json='"now"',
        ),
    ],
    created_at=Timestamp(seconds=-62_135_596_800),
    updated_at=Timestamp(seconds=253_402_300_799, nanos=999_999_999),
    labels={"team": "a"},
)
WHOLE.history[0].duration.FromNanoseconds(-(2**63))


async def states_of(stub: WorkflowStoreStub, request: pb.ListRequest) -> list[state_pb.WorkflowState]:
    return [state async for chunk in stub.List(request) for state in chunk.states]


async def save(stub: WorkflowStoreStub, workflow_id: str, status: int = 0, **fields: object) -> pb.SaveResponse:
    state = state_pb.WorkflowState(workflow_id=workflow_id, status=status, **fields)  # type: ignore[arg-type]
    return await stub.Save(pb.SaveRequest(state=state))


async def test_a_whole_state_is_loaded_as_it_was_saved(stub: WorkflowStoreStub) -> None:
    saved = await stub.Save(pb.SaveRequest(state=WHOLE))

    loaded = (await stub.Load(pb.LoadRequest(workflow_id="order:42"))).state

    expected = state_pb.WorkflowState()
    expected.CopyFrom(WHOLE)
    expected.revision, expected.history_count = saved.revision, 1
    expected.document_bytes = loaded.document_bytes
    assert loaded == expected
    assert loaded.document_bytes > 400


@given(state=states)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_messages_and_model_stand_for_one_another(state: WorkflowState) -> None:
    encoded = message.encode_state(StoredState(state, 7, 100), WorkflowView.FULL)

    assert message.decode_state(encoded, now_ns=0) == state


async def test_times_left_out_are_the_servers(stub: WorkflowStoreStub) -> None:
    response = await save(stub, "wf-1")

    loaded = (await stub.Load(pb.LoadRequest(workflow_id="wf-1"))).state
    assert (response.created_at, response.updated_at) == (NOW, NOW)
    assert (loaded.created_at, loaded.updated_at) == (NOW, NOW)


async def test_output_only_fields_are_ignored_in_a_save(stub: WorkflowStoreStub) -> None:
    response = await save(stub, "wf-1", revision=99, history_count=99, document_bytes=99)

    loaded = (await stub.Load(pb.LoadRequest(workflow_id="wf-1"))).state
    assert loaded.revision == response.revision != 99
    assert loaded.history_count == 0


async def test_load_gives_the_summary_if_asked(stub: WorkflowStoreStub) -> None:
    await stub.Save(pb.SaveRequest(state=WHOLE))

    request = pb.LoadRequest(workflow_id="order:42", view=state_pb.WORKFLOW_VIEW_SUMMARY)
    summary = (await stub.Load(request)).state

    assert (summary.input_json, summary.result_json, len(summary.history)) == ("", "", 0)
    assert (summary.history_count, summary.error, summary.labels["team"]) == (1, "out of stock", "a")
    assert summary.document_bytes > 400


async def test_reads_are_of_a_revision_that_the_bucket_has_come_to_or_fail(stub: WorkflowStoreStub) -> None:
    revision = (await stub.Save(pb.SaveRequest(state=WHOLE))).revision

    async def read(min_revision: int, consistency: pb.Consistency.ValueType) -> None:
        how = {"min_revision": min_revision, "consistency": consistency}
        await stub.Load(pb.LoadRequest(workflow_id="order:42", **how))
        await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=["order:42"], **how))
        assert (await stub.Count(pb.CountRequest(**how))).store_revision >= min_revision
        assert [chunk.store_revision async for chunk in stub.List(pb.ListRequest(**how))] >= [min_revision]

    for consistency in (pb.CONSISTENCY_UNSPECIFIED, pb.CONSISTENCY_SESSION, pb.CONSISTENCY_LINEARIZABLE):
        await read(revision, consistency)
    beyond = {"min_revision": revision + 1}
    for call in (
        stub.Load(pb.LoadRequest(workflow_id="order:42", **beyond)),
        stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=["order:42"], **beyond)),
        stub.Count(pb.CountRequest(**beyond)),
        stub.List(pb.ListRequest(**beyond)).read(),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_a_list_or_count_of_any_replica_is_refused(stub: WorkflowStoreStub) -> None:
    anyone = pb.CONSISTENCY_ANY_REPLICA
    for call in (stub.Count(pb.CountRequest(consistency=anyone)), stub.List(pb.ListRequest(consistency=anyone)).read()):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_bucket_that_was_made_anew_is_read_by_who_forgets_the_old_one(
    stub: WorkflowStoreStub, nats_client: Client
) -> None:
    for _ in range(5):
        revision = (await stub.Save(pb.SaveRequest(state=WHOLE))).revision
    await nats_client.jetstream().delete_stream("KV_beluga_workflows")
    await nats_client.jetstream().create_key_value(bucket="beluga_workflows", direct=True)
    again = (await stub.Save(pb.SaveRequest(state=WHOLE))).revision
    assert (await stub.Count(pb.CountRequest())).count == 1

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Load(pb.LoadRequest(workflow_id="order:42", min_revision=revision))
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert (await stub.Load(pb.LoadRequest(workflow_id="order:42", min_revision=again))).state.revision == again


async def test_list_gives_summaries_unless_asked_for_more(stub: WorkflowStoreStub) -> None:
    await stub.Save(pb.SaveRequest(state=WHOLE))

    [summary] = await states_of(stub, pb.ListRequest())
    [full] = await states_of(stub, pb.ListRequest(view=state_pb.WORKFLOW_VIEW_FULL))

    assert len(summary.history) == 0
    assert full == (await stub.Load(pb.LoadRequest(workflow_id="order:42"))).state


async def test_list_filters_by_any_of_the_statuses(stub: WorkflowStoreStub) -> None:
    for status in range(5):
        await save(stub, f"wf-{status}", status)

    async def listed(*statuses: int) -> set[str]:
        request = pb.ListRequest(filter=WorkflowFilter(statuses=statuses))  # type: ignore[arg-type]
        return {state.workflow_id for state in await states_of(stub, request)}

    assert await listed() == {f"wf-{status}" for status in range(5)}
    assert await listed(1) == {"wf-1"}
    assert await listed(1, 3, 3) == {"wf-1", "wf-3"}
    assert await listed(0) == {"wf-0"}


async def test_an_unknown_stored_status_reads_as_unspecified(stub: WorkflowStoreStub, nats_client: Client) -> None:
    document = b'{"WorkflowID":"wf-1","Status":"paused"}'
    await nats_client.jetstream().publish("$KV.beluga_workflows.wf-1", document)

    [state] = await states_of(stub, pb.ListRequest(filter=WorkflowFilter(statuses=[0])))  # type: ignore[list-item]

    assert state.status == state_pb.WORKFLOW_STATUS_UNSPECIFIED


async def test_list_stops_at_the_limit(stub: WorkflowStoreStub) -> None:
    for number in range(7):
        await save(stub, f"wf-{number}", status=1 + number % 2)

    async def listed(limit: int, *statuses: int) -> list[str]:
        request = pb.ListRequest(limit=limit, filter=WorkflowFilter(statuses=statuses))  # type: ignore[arg-type]
        return [state.workflow_id for state in await states_of(stub, request)]

    assert await listed(3) == ["wf-0", "wf-1", "wf-2"]
    assert await listed(2, 2) == ["wf-1", "wf-3"]
    assert len(await listed(0)) == len(await listed(7)) == len(await listed(8)) == 7


async def test_list_comes_in_chunks_bounded_by_count(stub: WorkflowStoreStub) -> None:
    await in_portions(save(stub, f"wf-{number}") for number in range(1100))

    chunks = [chunk async for chunk in stub.List(pb.ListRequest())]

    assert max(len(chunk.states) for chunk in chunks) <= 512
    assert len({state.workflow_id for chunk in chunks for state in chunk.states}) == 1100
    assert {chunk.store_revision for chunk in chunks} == {1100}


async def test_list_comes_in_chunks_bounded_by_bytes(stub: WorkflowStoreStub) -> None:
    for number in range(12):
        await save(stub, f"wf-{number}", error="x" * 400_000)
    await save(stub, "large", error="x" * 900_000)

    chunks = [chunk async for chunk in stub.List(pb.ListRequest())]

    assert sum(len(chunk.states) for chunk in chunks) == 13
    assert all(chunk.ByteSize() <= 1024 * 1024 or len(chunk.states) == 1 for chunk in chunks)


async def test_list_of_an_empty_bucket_is_one_empty_chunk(stub: WorkflowStoreStub) -> None:
    [chunk] = [chunk async for chunk in stub.List(pb.ListRequest())]

    assert chunk == pb.ListResponse()


async def test_list_reports_malformed_entries_whatever_the_filter(stub: WorkflowStoreStub, nats_client: Client) -> None:
    await save(stub, "wf-1", status=1)
    for number in range(600):
        await nats_client.jetstream().publish(f"$KV.beluga_workflows.bad-{number}", b"{")
    await save(stub, "wf-2", status=2)

    request = pb.ListRequest(filter=WorkflowFilter(statuses=[2]), limit=1)  # type: ignore[list-item]
    chunks = [chunk async for chunk in stub.List(request)]

    malformed = [entry for chunk in chunks for entry in chunk.malformed]
    assert [(entry.key, entry.revision) for entry in malformed] == sorted((f"bad-{n}", n + 2) for n in range(600))
    assert all(entry.reason for entry in malformed)
    assert [state.workflow_id for chunk in chunks for state in chunk.states] == ["wf-2"]
    assert max(len(chunk.malformed) + len(chunk.states) for chunk in chunks) <= 512


async def test_delete_tells_whether_the_workflow_existed(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1")

    assert (await stub.Delete(pb.DeleteRequest(workflow_id="wf-1"))).existed
    assert not (await stub.Delete(pb.DeleteRequest(workflow_id="wf-1"))).existed


async def test_purge_removes_old_revisions_for_good(stub: WorkflowStoreStub, nats_client: Client) -> None:
    for _ in range(3):
        state = state_pb.WorkflowState(workflow_id="wf-1")
        await stub.Save(pb.SaveRequest(bucket="other", state=state))

    await stub.Delete(pb.DeleteRequest(bucket="other", workflow_id="wf-1"))
    assert (await stub.GetInfo(pb.GetInfoRequest(bucket="other"))).bucket.revisions == 3
    await stub.Delete(pb.DeleteRequest(bucket="other", workflow_id="wf-1", purge=True))

    assert (await stub.GetInfo(pb.GetInfoRequest(bucket="other"))).bucket.revisions == 1  # the purge marker


async def test_buckets_are_apart(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1")

    assert await states_of(stub, pb.ListRequest(bucket="other")) == []
    assert len(await states_of(stub, pb.ListRequest(bucket="beluga_workflows"))) == 1


async def test_get_info_tells_versions_durability_and_the_bucket(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1")

    info = await stub.GetInfo(pb.GetInfoRequest())

    assert (info.server_version, info.nats_server_version) == ("1.2.3", "2.15.1")
    assert info.durability == pb.DURABILITY_FSYNC_ALWAYS
    assert list(info.buckets) == ["beluga_workflows", "other"]
    assert (info.bucket.name, info.bucket.history, info.bucket.replicas) == ("beluga_workflows", 1, 1)
    assert (info.bucket.on_disk, info.bucket.allow_direct) == (True, True)
    assert (info.bucket.revisions, info.store_revision) == (1, 1)
    assert info.bucket.bytes > 0
    assert info.document_bytes_max == 1024 * 1024 - 1024  # of the default max_payload of this nats-server


async def test_an_oversize_state_is_answered_with_the_limit_up_to_twice_the_limit(
    channel: grpc.aio.Channel, stub: WorkflowStoreStub
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as ours:
        await save(stub, "wf-1", error="x" * 7_000_000)
    with pytest.raises(grpc.aio.AioRpcError) as grpcs:
        await save(stub, "wf-1", error="x" * 9_000_000)

    assert ours.value.code() == grpcs.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "more than 1047552" in ours.value.details()
