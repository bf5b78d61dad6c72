"""Both clients over a real channel, against a server that says what the test wants it to say."""

import asyncio
import contextlib
import gc
import math
import socket
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from workflowstore import (
    AsyncClient,
    Client,
    CountGroup,
    DeadlineExceededError,
    Durability,
    IndexInfo,
    ListChunk,
    MalformedDocumentError,
    MalformedEntry,
    OrderBy,
    OutcomeUnknownError,
    RetentionInfo,
    RevisionMismatchError,
    RoomInfo,
    Timestamp,
    UnavailableError,
    WorkflowCount,
    WorkflowFilter,
    WorkflowState,
    WorkflowStatus,
    WorkflowStoreError,
    WorkflowView,
)
from workflowstore.v1 import workflow_store_pb2 as pb

from .conftest import PATIENCE_SECONDS, chunk_of, chunks, for_ever, refusal, within_patience


async def test_save_sends_the_state_and_returns_it_as_stored(colour, server, client):
    async def save(request, context):
        reply = pb.SaveResponse(revision=8)
        reply.created_at.FromJsonString("2026-01-01T00:00:00.000000001Z")
        reply.updated_at.FromJsonString("2026-01-02T00:00:00.123456789Z")
        return reply

    server.save = save
    state = WorkflowState("order:42", status=WorkflowStatus.RUNNING, input={"items": 3}, history=())
    saved = await colour.call(client.save, state, expected_revision=7)
    assert server.requests[0].state.input_json == '{"items":3}'
    assert server.requests[0].expected_revision == 7
    assert (saved.revision, saved.created_at.nanosecond, saved.updated_at.nanosecond) == (8, 1, 789)
    assert (saved.workflow_id, saved.input, saved.view) == ("order:42", {"items": 3}, WorkflowView.FULL)
    await colour.call(client.save, saved)
    assert server.requests[1].state.updated_at.nanos == 123_456_789
    await colour.call(client.save, saved.replace(error="no stock"))
    assert not server.requests[2].state.HasField("updated_at")
    assert server.requests[2].state.created_at.nanos == 1


async def test_load_returns_the_state_or_none(colour, server, client):
    async def load(request, context):
        return pb.LoadResponse(state={"workflow_id": request.workflow_id, "input_json": "[1]", "revision": 3})

    server.load = load
    state = await colour.call(client.load, "order:42")
    assert (state.input, state.revision, state.view) == ([1], 3, WorkflowView.FULL)
    assert (await colour.call(client.load, "order:42", view=WorkflowView.SUMMARY)).view is WorkflowView.SUMMARY
    server.load = refusal(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_WORKFLOW_NOT_FOUND", workflow_id="order:42")
    assert await colour.call(client.load, "order:42") is None


async def test_not_found_by_someone_else_is_an_error(colour, server, client):
    server.load = refusal(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(WorkflowStoreError) as caught:
        await colour.call(client.load, "order:42")
    assert caught.value.code == "NOT_FOUND"


async def test_delete_says_whether_it_existed(colour, server, client):
    async def delete(request, context):
        return pb.DeleteResponse(existed=request.workflow_id == "here")

    server.delete = delete
    assert await colour.call(client.delete, "here", expected_revision=5, purge=True) is True
    assert await colour.call(client.delete, "gone") is False
    for request in server.requests:
        request.request_id = ""
    assert server.requests[0] == pb.DeleteRequest(workflow_id="here", expected_revision=5, purge=True)
    assert server.requests[1] == pb.DeleteRequest(workflow_id="gone")


async def test_info_tells_of_the_server(colour, server, client):
    async def info(request, context):
        return pb.GetInfoResponse(
            server_version="1",
            durability=pb.DURABILITY_FSYNC_ALWAYS,
            buckets=["a", "b"],
            bucket={
                "name": "a",
                "history": 1,
                "max_age_seconds": 1.5,
                "bytes": 9,
                "allow_atomic": True,
                "request_id_seconds": 120,
            },
            document_bytes_max=5,
            index={"revision": 6, "lag": 1, "ready": True, "workflow_count": 3, "malformed_count": 2, "on_disk": True},
            retention={
                "rules": [{"status": 2, "after_seconds": 30.5}, {"status": 3, "after_seconds": 90}],
                "delete_marker_seconds": 60,
                "deleted_count": 4,
                "compacted_count": 5,
            },
            room={"full": "no room", "low": "nearly", "disk_free_bytes": 0, "disk_reserve_bytes": 7},
        )

    server.info = info
    told = await colour.call(client.info)
    assert (told.server_version, told.durability, told.buckets) == ("1", Durability.FSYNC_ALWAYS, ("a", "b"))
    assert (told.bucket.name, told.bucket.max_age_seconds, told.bucket.bytes) == ("a", 1.5, 9)
    assert (told.bucket.allow_atomic, told.bucket.request_id_seconds) == (True, 120)
    assert told.retention == RetentionInfo(
        rules={WorkflowStatus.COMPLETED: 30.5, WorkflowStatus.FAILED: 90},
        delete_marker_seconds=60,
        deleted_count=4,
        compacted_count=5,
    )
    assert told.room == RoomInfo(full="no room", low="nearly", disk_free_bytes=0, disk_reserve_bytes=7)
    assert told.index == IndexInfo(revision=6, lag=1, ready=True, workflow_count=3, malformed_count=2, on_disk=True)


async def test_the_bucket_is_the_calls_or_else_the_clients(colour, server):
    server.load = refusal(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_WORKFLOW_NOT_FOUND")
    client = colour.kind(server.target, bucket="mine")
    await colour.call(client.load, "w")
    await colour.call(client.load, "w", bucket="other")
    await colour.call(client.load, "w", bucket="")
    assert [request.bucket for request in server.requests] == ["mine", "other", ""]
    await colour.call(client.close)


async def test_a_failure_is_the_exception_of_its_reason(colour, server, client):
    server.save = refusal(
        grpc.StatusCode.ABORTED,
        "ERROR_REASON_REVISION_MISMATCH",
        workflow_id="w",
        expected_revision="1",
        actual_revision="2",
    )
    with pytest.raises(RevisionMismatchError) as caught:
        await colour.call(client.save, WorkflowState("w"), expected_revision=1)
    assert (caught.value.expected_revision, caught.value.actual_revision) == (1, 2)
    assert caught.value.outcome == "not_applied"


async def test_list_reads_all_chunks_in_order(colour, server, client):
    server.list = chunks(chunk_of(token="1"), chunk_of("a", "b", token="2"), chunk_of("c"))
    states, error = await colour.take(client.list(limit=5, view=WorkflowView.FULL))
    assert error is None
    assert [state.workflow_id for state in states] == ["a", "b", "c"]
    assert {state.view for state in states} == {WorkflowView.FULL}
    assert server.requests == [pb.ListRequest(limit=5, view="WORKFLOW_VIEW_FULL", order_by="ORDER_BY_WORKFLOW_ID")]


async def test_list_chunks_reads_them_with_their_tokens(colour, server, client):
    server.list = chunks(
        chunk_of(malformed=["x"], token="1", revision=9),
        chunk_of("a", "b", token="2", revision=9),
        chunk_of("c", revision=9),
    )
    read, error = await colour.take(client.list_chunks(page_token="0"))
    assert error is None
    assert [[state.workflow_id for state in chunk.states] for chunk in read] == [[], ["a", "b"], ["c"]]
    assert [chunk.next_page_token for chunk in read] == ["1", "2", ""]
    assert read[0] == ListChunk(
        states=(), malformed=(MalformedEntry("x", 7, "not JSON"),), next_page_token="1", store_revision=9
    )
    assert [request.page_token for request in server.requests] == ["0"]


MOMENT = Timestamp.from_datetime(datetime(2026, 1, 1, tzinfo=UTC), 7)
FILTERS = [
    ({}, {}),
    ({"statuses": ["running", WorkflowStatus.FAILED, ""]}, {"statuses": [1, 3, 0]}),
    ({"statuses": {WorkflowStatus.CANCELED}}, {"statuses": [4]}),
    ({"workflow_id_prefix": "order:"}, {"workflow_id_prefix": "order:"}),
    ({"run_id": "r"}, {"run_id": "r"}),
    ({"labels": {"team": "a", "é": ""}}, {"labels": {"team": "a", "é": ""}}),
    ({"created_after": MOMENT}, {"created_after": {"seconds": 1767225600, "nanos": 7}}),
    ({"created_before": MOMENT + timedelta(seconds=1)}, {"created_before": {"seconds": 1767225601}}),
    ({"updated_after": datetime(1970, 1, 1, tzinfo=UTC)}, {"updated_after": {}}),
    ({"updated_before": MOMENT}, {"updated_before": {"seconds": 1767225600, "nanos": 7}}),
]


@pytest.mark.parametrize("call", ["list", "list_chunks", "count"])
@pytest.mark.parametrize(("wanted", "sent"), FILTERS, ids=[next(iter(wanted), "empty") for wanted, _ in FILTERS])
async def test_every_condition_of_a_filter_is_sent(colour, server, client, call, wanted, sent):
    async def count(request, context):
        return pb.CountResponse()

    server.list, server.count = chunks(chunk_of()), count
    if call == "count":
        await colour.call(client.count, WorkflowFilter(**wanted))
        assert server.requests == [pb.CountRequest(filter=sent)]
    else:
        await colour.take(getattr(client, call)(WorkflowFilter(**wanted)))
        assert server.requests == [pb.ListRequest(filter=sent, order_by=1, view=1)]


@pytest.mark.parametrize("call", ["list", "list_chunks"])
async def test_every_order_is_sent(colour, server, client, call):
    server.list = chunks(chunk_of())
    for order_by in (*OrderBy, "updated_at"):
        for descending in (False, True):
            await colour.take(getattr(client, call)(order_by=order_by, descending=descending))
    numbers = [pb.ORDER_BY_WORKFLOW_ID, pb.ORDER_BY_CREATED_AT, pb.ORDER_BY_UPDATED_AT, pb.ORDER_BY_UPDATED_AT]
    assert server.requests == [
        pb.ListRequest(order_by=number, descending=descending, view=1)
        for number in numbers
        for descending in (False, True)
    ]


async def test_a_state_that_python_cannot_hold_comes_after_those_before_it(colour, server, client):
    states = [{"workflow_id": "a"}, {"workflow_id": "b", "input_json": "1e99999999999999999999"}, {"workflow_id": "c"}]
    server.list = chunks(pb.ListResponse(states=states))
    read, error = await colour.take(client.list(view=WorkflowView.FULL))
    assert [state.workflow_id for state in read] == ["a"]
    assert (type(error), error.key) == (MalformedDocumentError, "b")
    read, error = await colour.take(client.list_chunks(view=WorkflowView.FULL))
    assert (read, type(error), error.key) == ([], MalformedDocumentError, "b")


async def test_count_tells_how_many_and_of_which_status(colour, server, client):
    async def count(request, context):
        return pb.CountResponse(
            count=6,
            groups=[{"status": 1, "count": 3}, {"status": 0, "count": 2}, {"status": 99, "count": 1}],
            malformed_count=2,
            store_revision=9,
        )

    server.count = count
    counted = await colour.call(client.count, by_status=True)
    assert server.requests == [pb.CountRequest(status=True)]
    groups = tuple(
        CountGroup(key=key, count=count)
        for key, count in (
            (WorkflowStatus.RUNNING, 3),
            (WorkflowStatus.UNSPECIFIED, 2),
            (WorkflowStatus.UNSPECIFIED, 1),
        )
    )
    assert counted == WorkflowCount(count=6, groups=groups, omitted_groups=0, malformed_count=2, store_revision=9)


async def test_count_tells_how_many_have_which_label(colour, server, client):
    async def count(request, context):
        return pb.CountResponse(
            count=6,
            groups=[{"label_value": "a", "count": 3}, {"count": 2}, {"label_value": "", "count": 1}],
            omitted_groups=4,
        )

    server.count = count
    counted = await colour.call(client.count, by_label="team", bucket="mine")
    assert server.requests == [pb.CountRequest(label="team", bucket="mine")]
    assert [(group.key, group.count) for group in counted.groups] == [("a", 3), (None, 2), ("", 1)]
    assert counted.omitted_groups == 4


async def test_a_count_is_grouped_by_one_thing(colour, server, client):
    with pytest.raises(ValueError, match="by_label: cannot be given with by_status"):
        await colour.call(client.count, by_status=True, by_label="team")
    assert server.requests == []


async def test_summaries_of_a_list_cannot_be_saved(colour, server, client):
    server.list = chunks(chunk_of("a"))
    (summary,), _ = await colour.take(client.list())
    assert summary.view is WorkflowView.SUMMARY
    with pytest.raises(ValueError, match="is a summary"):
        await colour.call(client.save, summary.replace(error="x"))
    assert len(server.requests) == 1


async def test_malformed_entries_are_raised_after_the_last_state(colour, server, client):
    server.list = chunks(
        chunk_of("a", malformed=["x"], token="1"), chunk_of("b", malformed=[f"y{i}" for i in range(200)])
    )
    states, error = await colour.take(client.list())
    assert [state.workflow_id for state in states] == ["a", "b"]
    assert type(error) is MalformedDocumentError
    assert (error.code, error.reason) == ("DATA_LOSS", "ERROR_REASON_MALFORMED_DOCUMENT")
    assert (error.key, error.revision, error.detail) == ("x", 7, "not JSON")
    assert error.count == 201
    assert len(error.entries) == 100
    assert error.entries[:2] == (MalformedEntry("x", 7, "not JSON"), MalformedEntry("y0", 7, "not JSON"))


async def test_malformed_entries_go_to_the_callback_instead(colour, server, client):
    server.list = chunks(chunk_of("a", malformed=["x"], token="1"), chunk_of(malformed=["y"]))
    entries = []
    states, error = await colour.take(client.list(on_malformed=entries.append))
    assert (len(states), error) == (1, None)
    assert [entry.key for entry in entries] == ["x", "y"]


async def test_leaving_a_list_early_ends_the_call(colour, server, client):
    server.list = chunks(chunk_of("a", "b", token="1"), then=for_ever)
    states, error = await colour.take(client.list(), count=1)
    assert (len(states), error) == (1, None)
    await within_patience(server.cancelled)


async def test_closing_a_list_ends_the_call(colour, server, client):
    server.list = chunks(chunk_of("a", "b", token="1"), then=for_ever)
    states = client.list()
    assert (await anext(states) if colour.is_async else await asyncio.to_thread(next, states)).workflow_id == "a"
    await colour.call(states.aclose if colour.is_async else states.close)
    await within_patience(server.cancelled)


async def test_a_callback_that_raises_ends_the_call(colour, server, client):
    def refuse(entry):
        raise LookupError(entry.key)

    server.list = chunks(chunk_of("a", malformed=["x"], token="1"), then=for_ever)
    with pytest.raises(LookupError, match="x"):
        await colour.take(client.list(on_malformed=refuse))
    await within_patience(server.cancelled)


async def test_a_list_that_nobody_reads_makes_no_call(server, colour, client):
    del server.requests[:]
    client.list()
    gc.collect()
    server.load = refusal(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_WORKFLOW_NOT_FOUND")
    await colour.call(client.load, "w")
    assert [type(request) for request in server.requests] == [pb.LoadRequest]


async def test_a_wrong_argument_of_list_is_refused_at_the_call(client):
    with pytest.raises(ValueError, match="limit"):
        client.list(limit=-1)
    with pytest.raises(TypeError, match="filter: must be a WorkflowFilter or None, not list"):
        client.list_chunks(["running"])


async def test_cancelling_a_task_cancels_its_call(server):
    server.save = for_ever
    async with AsyncClient(server.target) as client:
        task = asyncio.create_task(client.save(WorkflowState("w")))
        await within_patience(server.started)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        await within_patience(server.cancelled)


async def test_cancelling_a_task_cancels_its_list(server):
    server.list = chunks(chunk_of("a", token="1"), then=for_ever)

    async def read(client):
        async for _ in client.list():
            pass

    async with AsyncClient(server.target) as client:
        task = asyncio.create_task(read(client))
        await within_patience(server.started)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await within_patience(server.cancelled)


async def test_a_timeout_of_the_caller_is_the_callers(server):
    async def load(request, context):
        # Now, and not before the call has come.
        timeout.reschedule(asyncio.get_running_loop().time())
        await for_ever(request, context)

    server.load = load
    async with AsyncClient(server.target) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS) as timeout:
                await client.load("w")
        await within_patience(server.cancelled)


@pytest.mark.parametrize("call", ["save", "list"])
async def test_closing_the_client_fails_the_calls_under_way(colour, server, call):
    server.save = for_ever
    server.list = chunks(chunk_of("a", token="1"), then=for_ever)
    client = colour.kind(server.target)
    if call == "save":
        task = asyncio.create_task(colour.call(client.save, WorkflowState("w")))
    else:
        task = asyncio.create_task(colour.take(client.list()))
    await within_patience(server.started)
    await colour.call(client.close)
    if call == "save":
        with pytest.raises(WorkflowStoreError) as caught:
            await task
        assert (caught.value.code, caught.value.outcome) == ("CANCELLED", "unknown")
    else:
        _, error = await task
        assert (error.code, error.outcome) == ("CANCELLED", None)
    assert not task.cancelled()
    await within_patience(server.cancelled)


async def test_a_closed_client_says_so(colour, server):
    client = colour.kind(server.target)
    await colour.call(client.close)
    await colour.call(client.close)
    with pytest.raises(RuntimeError, match="the client is closed"):
        await colour.call(client.load, "w")
    with pytest.raises(RuntimeError, match="the client is closed"):
        await colour.take(client.list())


async def test_an_adopted_channel_is_not_closed(colour, server):
    server.load = refusal(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_WORKFLOW_NOT_FOUND")
    channel = colour.channel(server.target)
    for _ in range(2):
        client = colour.kind(channel=channel)
        assert await colour.call(client.load, "w") is None
        await colour.call(client.close)
    await colour.call(channel.close)


async def test_clients_are_context_managers(colour, server):
    async def use_async():
        async with AsyncClient(server.target) as client:
            return client

    def use_sync():
        with Client(server.target) as client:
            return client

    client = await colour.call(use_async if colour.is_async else use_sync)
    with pytest.raises(RuntimeError, match="the client is closed"):
        await colour.call(client.info)


async def test_a_target_and_a_channel_are_one_too_many(colour, server):
    channel = colour.channel(server.target)
    with pytest.raises(TypeError, match="not both"):
        colour.kind(server.target, channel=channel)
    await colour.call(channel.close)


def test_an_async_client_without_a_loop_is_refused():
    with pytest.raises(RuntimeError, match="no running event loop"):
        AsyncClient()


@pytest.fixture
def closed_port():
    with contextlib.closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        yield bound.getsockname()[1]


async def test_nothing_at_the_target_is_unavailable(colour, closed_port):
    client = colour.kind(f"127.0.0.1:{closed_port}")
    for method, argument, outcome in (
        (client.save, WorkflowState("w"), "unknown"),
        (client.delete, "w", "unknown"),
        (client.load, "w", None),
    ):
        with pytest.raises(UnavailableError) as caught:
            await colour.call(method, argument)
        assert (caught.value.reason, caught.value.outcome) == (None, outcome)
        assert isinstance(caught.value, OutcomeUnknownError) is (outcome == "unknown")
    _, error = await colour.take(client.list())
    assert type(error) is UnavailableError
    await colour.call(client.close)


async def test_the_deadline_is_the_calls_or_else_the_clients(colour, server):
    remaining = []

    async def load(request, context):
        remaining.append(context.time_remaining())
        return pb.LoadResponse(state={"workflow_id": "w"})

    async def answer(request, context):
        remaining.append(context.time_remaining())
        yield chunk_of("a")

    server.load, server.list = load, answer
    client = colour.kind(server.target, timeout=50)
    await colour.call(client.load, "w")
    await colour.call(client.load, "w", timeout=500)
    await colour.call(client.load, "w", timeout=math.inf)
    await colour.take(client.list())
    await colour.take(client.list(timeout=500))
    await colour.call(client.close)
    client = colour.kind(server.target, timeout=None)
    await colour.call(client.load, "w")
    await colour.call(client.close)
    # gRPC has no word for "none": the server sees a time beyond any.
    rounded = [None if left is None or left > 1e6 else round(left / 50) * 50 for left in remaining]
    assert rounded == [50, 500, None, None, 500, None]


async def test_a_passed_deadline_has_its_exception(colour, server, client):
    server.save = for_ever
    with pytest.raises(DeadlineExceededError) as caught:
        await colour.call(client.save, WorkflowState("w"), timeout=0.05)
    assert caught.value.outcome == "unknown"
    assert isinstance(caught.value, OutcomeUnknownError)
    server.list = chunks(chunk_of("a", token="1"), then=for_ever)
    states, error = await colour.take(client.list(timeout=1))
    # Where a second was too short, none has come by then.
    assert len(states) <= 1
    assert type(error) is DeadlineExceededError


async def test_a_chunk_larger_than_grpcs_own_limit_is_read(colour, server, client):
    large = pb.ListResponse(states=[{"workflow_id": "a", "input_json": '"' + "x" * 5_000_000 + '"'}])
    server.list = chunks(large)
    (state,), error = await colour.take(client.list(view=WorkflowView.FULL))
    assert error is None
    assert len(state.input) == 5_000_000


async def test_what_cannot_be_sent_makes_no_call(colour, server, client):
    for wrong in (WorkflowState("w", input=math.nan), WorkflowState("w", created_at=datetime(2026, 1, 1))):
        with pytest.raises(ValueError, match="state"):
            await colour.call(client.save, wrong)
    assert server.requests == []


async def test_time_zero_is_kept(colour, server, client):
    async def save(request, context):
        return pb.SaveResponse(revision=1, created_at=request.state.created_at, updated_at=request.state.updated_at)

    server.save = save
    zero = datetime(1, 1, 1, tzinfo=UTC)
    saved = await colour.call(client.save, WorkflowState("w", created_at=zero, updated_at=zero))
    assert (saved.created_at, saved.updated_at) == (zero, zero)
