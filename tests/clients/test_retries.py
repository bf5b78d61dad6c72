"""Calls that may pass are tried again, as one request, in bounds; and a write of unknown outcome says so."""

import asyncio
import json
from pathlib import Path

import grpc
import pytest

import workflowstore
from workflowstore import (
    AsyncClient,
    InternalError,
    OutcomeUnknownError,
    StorageFullError,
    StoredDocument,
    UnavailableError,
    WorkflowFilter,
    WorkflowState,
)
from workflowstore.v1 import workflow_store_pb2 as pb

from .conftest import chunk_of, chunks, in_turn, refusal, replying

UNAVAILABLE = refusal(grpc.StatusCode.UNAVAILABLE)
ATTEMPTS_MAX = 5

# what the script calls it: (the reply, the method of the client and what it is given)
READS = {
    "load": (pb.LoadResponse(), "load", ("w",), {}),
    "count": (pb.CountResponse(), "count", (), {}),
    "info": (pb.GetInfoResponse(), "info", (), {}),
    "load_batch": (pb.LoadBatchResponse(results=[{"state": {}}]), "load_batch", (["w"],), {}),
}
WRITES = {
    "save": (pb.SaveResponse(), "save", (WorkflowState("w"),), {}),
    "update": (pb.UpdateResponse(), "update", ("w",), {"error": "no stock"}),
    "delete": (pb.DeleteResponse(), "delete", ("w",), {}),
    "save_batch": (pb.SaveBatchResponse(results=[{"revision": 1}]), "save_batch", ([WorkflowState("w")],), {}),
    "delete_batch": (pb.DeleteBatchResponse(), "delete_batch", (["w"],), {}),
    "delete_matching": (pb.DeleteBatchResponse(), "delete_matching", (WorkflowFilter(),), {"limit": 1}),
}
IMPORT = (pb.ImportResponse(), "import_documents", ([StoredDocument(key="w", document=b"{}")],), {})
CALLS = {**READS, **WRITES, "import_documents": IMPORT}


def script(server, call, *answers):
    setattr(server, "delete_batch" if call == "delete_matching" else call, in_turn(*answers))


@pytest.fixture(params=CALLS)
def call(request):
    return request.param


def test_the_service_config_has_every_unary_call_and_no_other():
    config = json.loads((Path(workflowstore.__file__).parent / "service_config.json").read_text())
    (methods,) = config["methodConfig"]
    service = pb.DESCRIPTOR.services_by_name["WorkflowStore"]
    unary = [method.name for method in service.methods if not method.server_streaming]
    assert methods["name"] == [{"service": service.full_name, "method": name} for name in unary]
    assert methods["retryPolicy"]["maxAttempts"] == ATTEMPTS_MAX
    assert methods["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]
    # The most that gRPC takes: a server that restarts under hundreds of calls is no reason to give them up.
    assert config["retryThrottling"] == {"maxTokens": 1000, "tokenRatio": 1}


async def test_a_call_that_fails_as_unavailable_is_sent_again_as_the_same_request(colour, server, client, call):
    reply, method, arguments, keywords = CALLS[call]
    script(server, call, UNAVAILABLE, UNAVAILABLE, replying(reply))
    await colour.call(getattr(client, method), *arguments, **keywords)
    assert len(server.requests) == 3
    assert server.requests[0] == server.requests[1] == server.requests[2]


async def test_a_call_is_given_up_after_its_last_attempt(colour, server, client):
    server.load = UNAVAILABLE
    with pytest.raises(UnavailableError):
        await colour.call(client.load, "w")
    assert len(server.requests) == ATTEMPTS_MAX


async def test_retries_stop_when_hundreds_of_calls_fail(server):
    server.load = UNAVAILABLE
    async with AsyncClient(server.target) as client:

        async def fails():
            with pytest.raises(UnavailableError):
                await client.load("w")

        await fails()
        assert len(server.requests) == ATTEMPTS_MAX
        await asyncio.gather(*[fails() for _ in range(800)])
        before = len(server.requests)
        await fails()
        assert len(server.requests) == before + 1


async def test_a_call_that_meets_a_server_as_it_stops_is_sent_again(colour, server, client, call):
    reply, method, arguments, keywords = CALLS[call]
    # What gRPC says for a call that has arrived and was not begun.
    script(server, call, refusal(grpc.StatusCode.CANCELLED), replying(reply))
    await colour.call(getattr(client, method), *arguments, **keywords)
    assert server.requests[0] == server.requests[1]


async def test_a_call_that_the_server_has_no_place_for_is_sent_again(colour, server, client, call):
    reply, method, arguments, keywords = CALLS[call]
    too_many = refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_TOO_MANY_CALLS", kind="calls", limit="1")
    script(server, call, too_many, replying(reply))
    await colour.call(getattr(client, method), *arguments, **keywords)
    assert len(server.requests) == 2


async def test_a_list_that_the_server_has_no_place_for_is_sent_again(colour, server, client):
    too_many = refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_TOO_MANY_CALLS", kind="lists", limit="1")
    answers = [chunks(then=too_many), chunks(chunk_of("a"))]

    def answer(request, context):
        return answers.pop(0)(request, context)

    server.list = answer
    states, error = await colour.take(client.list())
    assert ([state.workflow_id for state in states], error) == (["a"], None)
    assert server.requests[0] == server.requests[1]


@pytest.mark.parametrize("code", ["INTERNAL", "ABORTED"])
async def test_no_other_failure_is_tried_again(colour, server, client, code):
    server.save = refusal(grpc.StatusCode[code])
    with pytest.raises(workflowstore.WorkflowStoreError):
        await colour.call(client.save, WorkflowState("w"))
    assert len(server.requests) == 1


async def test_retries_can_be_turned_off(colour, server, call):
    _, method, arguments, keywords = CALLS[call]
    script(server, call, UNAVAILABLE)
    client = colour.kind(server.target, retry=False)
    with pytest.raises(UnavailableError) as caught:
        await colour.call(getattr(client, method), *arguments, **keywords)
    await colour.call(client.close)
    assert len(server.requests) == 1
    assert isinstance(caught.value, OutcomeUnknownError) is (call not in READS)


async def test_an_adopted_channel_keeps_its_own_options(colour, server):
    server.load = UNAVAILABLE
    channel = colour.channel(server.target)
    client = colour.kind(channel=channel)
    with pytest.raises(UnavailableError):
        await colour.call(client.load, "w")
    assert len(server.requests) == 1
    await colour.call(channel.close)


async def test_a_large_request_is_tried_again_too(colour, server, client):
    server.save = in_turn(UNAVAILABLE, replying(pb.SaveResponse(revision=8)))
    state = WorkflowState("w", input="x" * 3_900_000)  # gRPC keeps 256 KiB of its own accord
    assert (await colour.call(client.save, state)).revision == 8
    assert [len(request.state.input_json) for request in server.requests] == [3_900_002] * 2


@pytest.mark.parametrize("call", WRITES)
async def test_every_write_is_a_request_of_its_own_unless_it_is_named(colour, server, client, call):
    reply, method, arguments, keywords = WRITES[call]
    script(server, call, replying(reply))
    for given in ({}, {}, {"request_id": "mine"}, {"request_id": ""}):
        await colour.call(getattr(client, method), *arguments, **keywords, **given)
    made, other, mine, none = [request.request_id for request in server.requests]
    assert made != other
    assert [len(made), len(other)] == [32, 32]
    assert (mine, none) == ("mine", "")
    with pytest.raises(TypeError, match="request_id: must be a str"):
        await colour.call(getattr(client, method), *arguments, **keywords, request_id=7)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        ("UNAVAILABLE", "ERROR_REASON_SHUTTING_DOWN", UnavailableError),
        ("INTERNAL", "ERROR_REASON_INTERNAL", InternalError),
        ("RESOURCE_EXHAUSTED", "ERROR_REASON_STORAGE_FULL", StorageFullError),
    ],
)
async def test_what_an_earlier_attempt_may_have_written_is_of_unknown_outcome(
    colour, server, client, code, reason, kind
):
    server.save = in_turn(UNAVAILABLE, refusal(grpc.StatusCode[code], reason, outcome="unknown"))
    for caught_as in (kind, OutcomeUnknownError):
        with pytest.raises(caught_as) as caught:
            await colour.call(client.save, WorkflowState("w"))
        assert (caught.value.reason, caught.value.outcome) == (reason, "unknown")


async def test_a_list_that_does_not_begin_is_not_tried_again(colour, server, client):
    server.list = chunks(then=UNAVAILABLE)
    _, error = await colour.take(client.list())
    assert type(error) is UnavailableError
    assert len(server.requests) == 1
