"""Both clients over a real channel, against a server that says what the test wants it to say."""

import asyncio
import contextlib
import gc
import math
import socket
from datetime import UTC, datetime

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from workflowstore import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    Durability,
    MalformedDocumentError,
    MalformedEntry,
    RevisionMismatchError,
    UnavailableError,
    WorkflowState,
    WorkflowStatus,
    WorkflowStoreError,
    WorkflowView,
)
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreServicer, add_WorkflowStoreServicer_to_server

PATIENCE_SECONDS = 10


class Script(WorkflowStoreServicer):
    """Each call runs what the test put there, and tells when it was cancelled."""

    def __init__(self):
        self.requests = []
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def Save(self, request, context):  # noqa: N802
        return await self._unary(self.save, request, context)

    async def Load(self, request, context):  # noqa: N802
        return await self._unary(self.load, request, context)

    async def Delete(self, request, context):  # noqa: N802
        return await self._unary(self.delete, request, context)

    async def GetInfo(self, request, context):  # noqa: N802
        return await self._unary(self.info, request, context)

    async def _unary(self, answer, request, context):
        self.requests.append(request)
        self.started.set()
        try:
            return await answer(request, context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def List(self, request, context):  # noqa: N802
        self.requests.append(request)
        self.started.set()
        try:
            async for chunk in self.list(request, context):
                yield chunk
        except (asyncio.CancelledError, GeneratorExit):  # the latter when the call ends while a chunk is being sent
            self.cancelled.set()
            raise


class Colour:
    """Drives a client of either colour from a test: calls of the synchronous one run in a thread."""

    def __init__(self, kind):
        self.is_async = kind is AsyncClient
        self.kind = kind

    def channel(self, target):
        return grpc.aio.insecure_channel(target) if self.is_async else grpc.insecure_channel(target)

    async def call(self, method, *arguments, **keywords):
        if self.is_async:
            return await method(*arguments, **keywords)
        return await asyncio.to_thread(method, *arguments, **keywords)

    async def take(self, states, count=math.inf):
        """The first `count` states and the error that ended them, leaving the iteration without closing it."""
        taken = []

        async def take_async(states):
            async for state in states:
                taken.append(state)
                if len(taken) == count:
                    break

        def take_sync(states):
            for state in states:
                taken.append(state)
                if len(taken) == count:
                    break

        try:
            await self.call(take_async if self.is_async else take_sync, states)
        except WorkflowStoreError as error:
            return taken, error
        return taken, None


@pytest.fixture(params=[AsyncClient, Client])
def colour(request):
    return Colour(request.param)


@pytest.fixture
async def server():
    script = Script()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_WorkflowStoreServicer_to_server(script, server)
    script.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield script
    await server.stop(None)


@pytest.fixture
async def client(colour, server):
    client = colour.kind(server.target)
    yield client
    await colour.call(client.close)


async def within_patience(event):
    async with asyncio.timeout(PATIENCE_SECONDS):
        await event.wait()


async def for_ever(request, context):
    await asyncio.Event().wait()


def refusal(code, reason="", **metadata):
    """What a servicer does to fail with this reason."""

    async def refuse(request, context):
        status = status_pb2.Status(code=code.value[0], message="refused")
        if reason:
            info = error_details_pb2.ErrorInfo(reason=reason, domain="workflowstore", metadata=metadata)
            status.details.add().Pack(info)
        details = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(code, "refused", details)

    return refuse


def chunk_of(*ids, malformed=()):
    return pb.ListResponse(
        states=[{"workflow_id": name} for name in ids],
        malformed=[{"key": key, "revision": 7, "reason": "not JSON"} for key in malformed],
    )


def chunks(*replies, then=None):
    async def answer(request, context):
        for reply in replies:
            yield reply
        if then is not None:
            await then(request, context)

    return answer


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
    assert server.requests[0] == pb.DeleteRequest(workflow_id="here", expected_revision=5, purge=True)
    assert server.requests[1] == pb.DeleteRequest(workflow_id="gone")


async def test_info_tells_of_the_server(colour, server, client):
    async def info(request, context):
        return pb.GetInfoResponse(
            server_version="1",
            durability=pb.DURABILITY_FSYNC_ALWAYS,
            buckets=["a", "b"],
            bucket={"name": "a", "history": 1, "max_age_seconds": 1.5, "bytes": 9},
            document_bytes_max=5,
        )

    server.info = info
    told = await colour.call(client.info)
    assert (told.server_version, told.durability, told.buckets) == ("1", Durability.FSYNC_ALWAYS, ("a", "b"))
    assert (told.bucket.name, told.bucket.max_age_seconds, told.bucket.bytes) == ("a", 1.5, 9)


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
    server.list = chunks(chunk_of(), chunk_of("a", "b"), chunk_of("c"))
    states, error = await colour.take(
        client.list(statuses=[WorkflowStatus.RUNNING, WorkflowStatus.FAILED], limit=5, view=WorkflowView.FULL)
    )
    assert error is None
    assert [state.workflow_id for state in states] == ["a", "b", "c"]
    assert {state.view for state in states} == {WorkflowView.FULL}
    assert server.requests[0] == pb.ListRequest(filter={"statuses": [1, 3]}, limit=5, view="WORKFLOW_VIEW_FULL")


async def test_summaries_of_a_list_cannot_be_saved(colour, server, client):
    server.list = chunks(chunk_of("a"))
    (summary,), _ = await colour.take(client.list())
    assert summary.view is WorkflowView.SUMMARY
    with pytest.raises(ValueError, match="is a summary"):
        await colour.call(client.save, summary.replace(error="x"))
    assert len(server.requests) == 1


async def test_a_list_that_breaks_off_raises_after_its_states(colour, server, client):
    server.list = chunks(
        chunk_of("a", "b"), then=refusal(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_STORAGE_UNAVAILABLE")
    )
    states, error = await colour.take(client.list())
    assert [state.workflow_id for state in states] == ["a", "b"]
    assert type(error) is UnavailableError
    assert error.outcome is None


async def test_malformed_entries_are_raised_after_the_last_state(colour, server, client):
    server.list = chunks(chunk_of("a", malformed=["x"]), chunk_of("b", malformed=[f"y{i}" for i in range(200)]))
    states, error = await colour.take(client.list())
    assert [state.workflow_id for state in states] == ["a", "b"]
    assert type(error) is MalformedDocumentError
    assert (error.code, error.reason) == ("DATA_LOSS", "ERROR_REASON_MALFORMED_DOCUMENT")
    assert (error.key, error.revision, error.detail) == ("x", 7, "not JSON")
    assert error.count == 201
    assert len(error.entries) == 100
    assert error.entries[:2] == (MalformedEntry("x", 7, "not JSON"), MalformedEntry("y0", 7, "not JSON"))


async def test_malformed_entries_go_to_the_callback_instead(colour, server, client):
    server.list = chunks(chunk_of("a", malformed=["x"]), chunk_of(malformed=["y"]))
    entries = []
    states, error = await colour.take(client.list(on_malformed=entries.append))
    assert (len(states), error) == (1, None)
    assert [entry.key for entry in entries] == ["x", "y"]


async def test_leaving_a_list_early_ends_the_call(colour, server, client):
    server.list = chunks(chunk_of("a", "b"), then=for_ever)
    states, error = await colour.take(client.list(), count=1)
    assert (len(states), error) == (1, None)
    await within_patience(server.cancelled)


async def test_closing_a_list_ends_the_call(colour, server, client):
    server.list = chunks(chunk_of("a", "b"), then=for_ever)
    states = client.list()
    assert (await anext(states) if colour.is_async else await asyncio.to_thread(next, states)).workflow_id == "a"
    await colour.call(states.aclose if colour.is_async else states.close)
    await within_patience(server.cancelled)


async def test_a_callback_that_raises_ends_the_call(colour, server, client):
    def refuse(entry):
        raise LookupError(entry.key)

    server.list = chunks(chunk_of("a", malformed=["x"]), then=for_ever)
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
    server.list = chunks(chunk_of("a"), then=for_ever)

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
    server.load = for_ever
    async with AsyncClient(server.target) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.load("w")
        await within_patience(server.cancelled)


@pytest.mark.parametrize("call", ["save", "list"])
async def test_closing_the_client_fails_the_calls_under_way(colour, server, call):
    server.save = for_ever
    server.list = chunks(chunk_of("a"), then=for_ever)
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
    server.list = chunks(chunk_of("a"), then=for_ever)
    states, error = await colour.take(client.list(timeout=0.2))
    assert len(states) == 1
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
