"""A client reads nothing older than what it was told before, and gets over a bucket that was lost."""

import grpc
import pytest
from tests.clients.conftest import refusal, replying

from workflowstore import (
    Consistency,
    RevisionNotReachedError,
    StoredDocument,
    WorkflowState,
)
from workflowstore.v1 import workflow_store_pb2 as pb

STATE = {"workflow_id": "a", "revision": 17}


def streams(*replies):
    async def answer(request, context):
        for reply in replies:
            yield reply

    return answer


# What tells a client of revision 17, by the name of the server's call, and how the client makes that call.
TELLING = {
    "save": (replying(pb.SaveResponse(revision=17)), lambda c, client: c.call(client.save, WorkflowState("a"))),
    "update": (replying(pb.UpdateResponse(revision=17)), lambda c, client: c.call(client.update, "a", error="x")),
    "load": (replying(pb.LoadResponse(state=STATE)), lambda c, client: c.call(client.load, "a")),
    "delete": (replying(pb.DeleteResponse(revision=17)), lambda c, client: c.call(client.delete, "a")),
    "count": (replying(pb.CountResponse(store_revision=17)), lambda c, client: c.call(client.count)),
    "save_batch": (
        replying(pb.SaveBatchResponse(results=[{"revision": 17}])),
        lambda c, client: c.call(client.save_batch, [WorkflowState("a")]),
    ),
    "load_batch": (
        replying(pb.LoadBatchResponse(results=[{"state": STATE}])),
        lambda c, client: c.call(client.load_batch, ["a"]),
    ),
    "delete_batch": (
        replying(pb.DeleteBatchResponse(results=[{"workflow_id": "a", "revision": 17}])),
        lambda c, client: c.call(client.delete_batch, ["a"]),
    ),
    "import_documents": (
        replying(pb.ImportResponse(results=[{"revision": 17}])),
        lambda c, client: c.call(client.import_documents, [StoredDocument(key="a", revision=0, document=b"{}")]),
    ),
    "list": (streams(pb.ListResponse(store_revision=17)), lambda c, client: c.take(client.list())),
    "list_revisions": (
        streams(pb.ListRevisionsResponse(revisions=[{"revision": 17, "deleted": True}])),
        lambda c, client: c.take(client.list_revisions("a")),
    ),
    "export": (streams(pb.ExportResponse(store_revision=17)), lambda c, client: c.take(client.export())),
    "watch": (streams(pb.WatchResponse(revision=17)), lambda c, client: c.take(client.watch())),
}

# What reads no less than that.
READING = {
    "load": TELLING["load"],
    "load_batch": TELLING["load_batch"],
    "list": TELLING["list"],
    "count": TELLING["count"],
}


# What writes, and how the client makes that call, with whatever options.
WRITING = {
    "save": lambda c, client, **more: c.call(client.save, WorkflowState("a"), **more),
    "update": lambda c, client, **more: c.call(client.update, "a", error="x", **more),
    "delete": lambda c, client, **more: c.call(client.delete, "a", **more),
    "save_batch": lambda c, client, **more: c.call(client.save_batch, [WorkflowState("a")], **more),
    "delete_batch": lambda c, client, **more: c.call(client.delete_batch, ["a"], **more),
}


@pytest.mark.parametrize("writing", WRITING)
async def test_a_write_says_what_was_known_before_it_unless_it_was_sent_before(colour, server, client, writing):
    setattr(server, writing, TELLING[writing][0])
    await WRITING[writing](colour, client)
    first = server.requests[-1]
    await WRITING[writing](colour, client)
    second = server.requests[-1]
    await WRITING[writing](colour, client, request_id=first.request_id, resent=True)
    again = server.requests[-1]

    assert (first.known_revision, first.resent) == (0, False)
    assert (second.known_revision, second.resent) == (17, False)
    assert (again.known_revision, again.resent) == (0, True)


@pytest.mark.parametrize("reading", READING)
@pytest.mark.parametrize("telling", TELLING)
async def test_what_any_call_has_told_is_the_least_that_is_read(colour, server, client, telling, reading):
    script, call = TELLING[telling]
    setattr(server, telling, script)
    await call(colour, client)
    script, call = READING[reading]
    setattr(server, reading, script)

    await call(colour, client)

    assert server.requests[-1].min_revision == 17


async def test_buckets_have_revisions_of_their_own(colour, server, client):
    server.save, server.load = replying(pb.SaveResponse(revision=17)), replying(pb.LoadResponse(state={"revision": 3}))
    await colour.call(client.save, WorkflowState("a"), bucket="one")

    await colour.call(client.load, "a", bucket="other")

    assert server.requests[-1].min_revision == 0


async def test_the_greater_of_what_was_told_and_what_is_asked_for_is_sent(colour, server, client):
    server.save, server.load = replying(pb.SaveResponse(revision=17)), replying(pb.LoadResponse(state={"revision": 3}))
    await colour.call(client.save, WorkflowState("a"))

    for asked, sent in ((3, 17), (40, 40)):
        await colour.call(client.load, "a", min_revision=asked)
        assert server.requests[-1].min_revision == sent


async def test_a_read_of_any_replica_asks_for_no_more_than_its_caller_does(colour, server, client):
    server.save, server.load = replying(pb.SaveResponse(revision=17)), replying(pb.LoadResponse(state={"revision": 3}))
    await colour.call(client.save, WorkflowState("a"))

    for asked in (0, 3):
        await colour.call(client.load, "a", min_revision=asked, consistency=Consistency.ANY_REPLICA)
        assert server.requests[-1].min_revision == asked
        assert server.requests[-1].consistency == pb.CONSISTENCY_ANY_REPLICA


@pytest.mark.parametrize("reading", READING)
async def test_a_bucket_that_has_lost_what_was_told_fails_one_call_alone(colour, server, client, reading):
    server.save = replying(pb.SaveResponse(revision=17))
    await colour.call(client.save, WorkflowState("a"))
    script, call = READING[reading]
    lost = refusal(grpc.StatusCode.OUT_OF_RANGE, "ERROR_REASON_REVISION_NOT_REACHED", min_revision="17")
    if reading == "list":

        async def refused(request, context):
            await lost(request, context)
            yield

        server.list = refused
    else:
        setattr(server, reading, lost)

    if reading == "list":
        _, error = await call(colour, client)
    else:
        with pytest.raises(RevisionNotReachedError) as caught:
            await call(colour, client)
        error = caught.value

    assert isinstance(error, RevisionNotReachedError)
    assert server.requests[-1].min_revision == 17
    setattr(server, reading, script)
    await call(colour, client)
    assert server.requests[-1].min_revision == 0


async def test_a_batch_that_takes_several_calls_asks_all_of_them_for_the_same(colour, server, client):
    async def load_batch(request, context):
        results = [{"state": {"workflow_id": id_, "revision": 3}} for id_ in request.workflow_ids]
        if len(results) > 1:
            results[1] = {"error": {"reason": "ERROR_REASON_REPLY_TOO_LARGE"}}
        return pb.LoadBatchResponse(results=results)

    server.load_batch = load_batch
    await colour.call(client.load_batch, ["a", "b"], min_revision=17, consistency=Consistency.LINEARIZABLE)

    assert [(r.min_revision, r.consistency) for r in server.requests] == [(17, pb.CONSISTENCY_LINEARIZABLE)] * 2
