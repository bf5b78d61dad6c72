"""Updates, batches and revisions of both clients over a real channel: what is sent, and what becomes of the replies."""

import asyncio
import math
from datetime import UTC, datetime

import grpc
import pytest

from workflowstore import (
    UNCHANGED,
    AlreadyExistsError,
    BucketConfigurationError,
    DeadlineExceededError,
    DeletedBatch,
    EventType,
    HistoryEvent,
    InternalError,
    MalformedDocumentError,
    MalformedEntry,
    OutcomeUnknownError,
    ReplyTooLargeError,
    RevisionMismatchError,
    Timestamp,
    WorkflowFilter,
    WorkflowNotFoundError,
    WorkflowRevision,
    WorkflowState,
    WorkflowStatus,
    WorkflowView,
)
from workflowstore.v1 import workflow_store_pb2 as pb

from .conftest import for_ever, refusal, replying, within_patience

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = 1767225600
NOT_FOUND = {"code": 5, "reason": "ERROR_REASON_WORKFLOW_NOT_FOUND"}
TOO_LARGE = {
    "code": 8,
    "reason": "ERROR_REASON_REPLY_TOO_LARGE",
    "metadata": {"size_bytes": "5", "limit_bytes": "4"},
}
MISMATCH = {
    "code": 10,
    "reason": "ERROR_REASON_REVISION_MISMATCH",
    "metadata": {"expected_revision": "1", "actual_revision": "2"},
}
UNKNOWN = {"code": 14, "reason": "ERROR_REASON_STORAGE_UNAVAILABLE", "metadata": {"outcome": "unknown"}}


def sent(server):
    """The last request, without what is random in it."""
    request = server.requests[-1]
    request.request_id = ""
    return request


EVENT = HistoryEvent(id=3, type=EventType.TIMER_FIRED, timestamp=NOW, duration_ns=5)
EVENT_SENT = {"id": 3, "type": 6, "timestamp": {"seconds": SECONDS}, "duration": {"nanos": 5}}
UPDATES = [
    ({}, {}, []),
    ({"run_id": "r"}, {"run_id": "r"}, ["run_id"]),
    ({"run_id": ""}, {}, ["run_id"]),
    ({"status": WorkflowStatus.FAILED}, {"status": 3}, ["status"]),
    ({"status": "running"}, {"status": 1}, ["status"]),
    ({"input": {"a": 1}}, {"input_json": '{"a":1}'}, ["input_json"]),
    ({"input": None}, {}, ["input_json"]),
    ({"result": [2**70]}, {"result_json": "[1180591620717411303424]"}, ["result_json"]),
    ({"error": "no stock"}, {"error": "no stock"}, ["error"]),
    ({"history": [EVENT]}, {"history": [EVENT_SENT]}, ["history"]),
    ({"history": ()}, {}, ["history"]),
    ({"created_at": NOW}, {"created_at": {"seconds": SECONDS}}, ["created_at"]),
    ({"updated_at": None}, {}, ["updated_at"]),
    ({"labels": {"a": "b"}}, {"labels": {"a": "b"}}, ["labels"]),
    ({"labels": {}}, {}, ["labels"]),
    ({"error": "", "run_id": "r"}, {"run_id": "r"}, ["run_id", "error"]),
]


@pytest.mark.parametrize(("given", "state", "mask"), UPDATES, ids=[str(given)[:30] for given, _, _ in UPDATES])
async def test_an_update_names_the_fields_that_are_given_and_no_other(colour, server, client, given, state, mask):
    server.update = replying(pb.UpdateResponse(revision=8, state={"workflow_id": "w"}))
    await colour.call(client.update, "w", **given)
    assert sent(server) == pb.UpdateRequest(state={"workflow_id": "w", **state}, update_mask={"paths": mask}, view=2)


async def test_an_update_sends_what_is_to_be_added_and_removed(colour, server, client):
    server.update = replying(pb.UpdateResponse(revision=8, state={"workflow_id": "w"}))
    await colour.call(
        client.update,
        "w",
        append_history=[EVENT, HistoryEvent()],
        set_labels={"a": "b"},
        remove_labels=["c", "d"],
        expected_revision=0,
        allow_missing=True,
        view=WorkflowView.SUMMARY,
        bucket="other",
    )
    assert sent(server) == pb.UpdateRequest(
        bucket="other",
        state={"workflow_id": "w"},
        update_mask={},
        append_history=[EVENT_SENT, {}],
        set_labels={"a": "b"},
        remove_labels=["c", "d"],
        expected_revision=0,
        allow_missing=True,
        view=1,
    )


async def test_an_update_returns_the_updated_state(colour, server, client):
    server.update = replying(pb.UpdateResponse(revision=8, state={"workflow_id": "w", "revision": 8, "error": "e"}))
    state = await colour.call(client.update, "w", error="e")
    assert (state.workflow_id, state.revision, state.error, state.view) == ("w", 8, "e", WorkflowView.FULL)
    summary = await colour.call(client.update, "w", error="e", view=WorkflowView.SUMMARY)
    assert summary.view is WorkflowView.SUMMARY


async def test_an_update_that_has_been_overwritten_since_returns_what_is_known_and_cannot_be_saved(
    colour, server, client
):
    server.update = replying(pb.UpdateResponse(revision=8))
    state = await colour.call(client.update, "w", error="e")
    assert state == WorkflowState("w", revision=8, view=WorkflowView.SUMMARY)
    with pytest.raises(ValueError, match="is a summary"):
        await colour.call(client.save, state)


async def test_an_update_of_what_does_not_exist_is_an_error(colour, server, client):
    server.update = refusal(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_WORKFLOW_NOT_FOUND", workflow_id="w")
    with pytest.raises(WorkflowNotFoundError) as caught:
        await colour.call(client.update, "w", error="e")
    assert (caught.value.workflow_id, caught.value.outcome) == ("w", "not_applied")


async def test_what_an_update_cannot_send_makes_no_call(colour, server, client):
    for wrong, error, words in (
        ({"status": "stopped"}, ValueError, "state.status: must be one of"),
        ({"input": math.nan}, ValueError, "state.input"),
        ({"append_history": ["started"]}, TypeError, r"append_history\[0\]: must be a HistoryEvent, not str"),
        ({"set_labels": {"a": 1}}, TypeError, r"set_labels\['a'\]: must be a str"),
        ({"remove_labels": "team"}, TypeError, "remove_labels: must be a sequence of texts, not str"),
        ({"remove_labels": [1]}, TypeError, r"remove_labels\[0\]: must be a str"),
        ({"expected_revision": -1}, ValueError, "expected_revision"),
        ({"set_labels": []}, TypeError, "set_labels: must be a mapping"),
        ({"allow_missing": 1}, TypeError, "allow_missing: must be a bool"),
    ):
        with pytest.raises(error, match=words):
            await colour.call(client.update, "w", **wrong)
    assert server.requests == []


def test_what_is_unchanged_says_so():
    assert repr(UNCHANGED) == "UNCHANGED"


async def test_save_batch_sends_the_states_and_returns_each_as_stored_or_its_error(colour, server, client):
    reply = pb.SaveBatchResponse(
        results=[
            {"revision": 8, "created_at": {"seconds": SECONDS, "nanos": 1}, "updated_at": {"seconds": SECONDS}},
            {"error": MISMATCH},
            {"error": UNKNOWN},
        ]
    )
    server.save_batch = replying(reply)
    states = (WorkflowState("a", input=[1]), WorkflowState("b"), WorkflowState("c"))
    saved, mismatch, unknown = await colour.call(client.save_batch, states, expected_revisions={"b": 1, "c": 0})
    assert sent(server) == pb.SaveBatchRequest(
        items=[
            {"state": {"workflow_id": "a", "input_json": "[1]"}},
            {"state": {"workflow_id": "b"}, "expected_revision": 1},
            {"state": {"workflow_id": "c"}, "expected_revision": 0},
        ]
    )
    assert (saved.workflow_id, saved.input, saved.revision) == ("a", [1], 8)
    assert saved.created_at == Timestamp.from_datetime(NOW, 1)
    assert (type(mismatch), mismatch.actual_revision, mismatch.outcome) == (RevisionMismatchError, 2, "not_applied")
    assert (isinstance(unknown, OutcomeUnknownError), unknown.outcome) == (True, "unknown")


async def test_an_atomic_batch_fails_as_a_whole(colour, server, client):
    server.save_batch = refusal(
        grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_BUCKET_CONFIGURATION", setting="allow_atomic=false"
    )
    with pytest.raises(BucketConfigurationError, match="allow_atomic=false"):
        await colour.call(client.save_batch, [WorkflowState("a")], atomic=True)
    assert sent(server) == pb.SaveBatchRequest(items=[{"state": {"workflow_id": "a"}}], atomic=True)


async def test_what_a_batch_cannot_send_makes_no_call(colour, server, client):
    summary = WorkflowState("b", view=WorkflowView.SUMMARY)
    for call, error, words in (
        (lambda: client.save_batch([WorkflowState("a"), {}]), TypeError, r"states\[1\]: must be a WorkflowState"),
        (lambda: client.save_batch([WorkflowState("a"), summary]), ValueError, r"states\[1\]: is a summary"),
        (
            lambda: client.save_batch([WorkflowState("a")], expected_revisions={"b": 1}),
            ValueError,
            "expected_revisions: 'b' is none of the workflows of this batch",
        ),
        (
            lambda: client.save_batch([WorkflowState("a")], expected_revisions=[1]),
            TypeError,
            "expected_revisions: must be a mapping",
        ),
        (
            lambda: client.save_batch([WorkflowState("a")], expected_revisions={"a": -1}),
            ValueError,
            r"expected_revisions\['a'\]: must be in",
        ),
        (lambda: client.load_batch("order:42"), TypeError, "workflow_ids: must be a sequence of texts, not str"),
        (lambda: client.load_batch(7), TypeError, "workflow_ids: must be a sequence of texts, not int"),
        (lambda: client.delete_batch(["a", 1]), TypeError, r"workflow_ids\[1\]: must be a str"),
        (
            lambda: client.delete_batch(["a"], expected_revisions={"b": 1}),
            ValueError,
            "expected_revisions: 'b' is none",
        ),
        (lambda: client.delete_matching(None, limit=1), TypeError, "filter: must be a WorkflowFilter"),
        (lambda: client.delete_matching(WorkflowFilter(), limit=0), ValueError, "limit: must be in 1"),
        (lambda: client.list_revisions("a", limit=0), ValueError, "limit: must be in 1"),
    ):
        with pytest.raises(error, match=words):
            await colour.call(call) if not colour.is_async else await call()
    assert server.requests == []


async def test_load_batch_returns_each_state_or_none_or_its_error(colour, server, client):
    malformed = {"code": 15, "reason": "ERROR_REASON_MALFORMED_DOCUMENT", "metadata": {"key": "c"}}
    server.load_batch = replying(
        pb.LoadBatchResponse(
            results=[
                {"state": {"workflow_id": "a", "revision": 8, "input_json": "[1]"}},
                {"error": NOT_FOUND},
                {"error": malformed},
                {"state": {"workflow_id": "d", "input_json": "1e99999999999999999999"}},
                {"error": {"code": 13, "reason": "ERROR_REASON_INTERNAL"}},
            ]
        )
    )
    state, missing, malformed, strange, failed = await colour.call(client.load_batch, ["a", "b", "c", "d", "e"])
    assert server.requests == [pb.LoadBatchRequest(workflow_ids=["a", "b", "c", "d", "e"], view=2)]
    assert (state.input, state.revision, state.view) == ([1], 8, WorkflowView.FULL)
    assert missing is None
    assert (type(malformed), malformed.key, malformed.outcome) == (MalformedDocumentError, "c", None)
    assert (type(strange), strange.key) == (MalformedDocumentError, "d")
    assert type(failed) is InternalError


async def test_load_batch_asks_again_for_what_had_no_room_until_all_have_come(colour, server, client):
    async def load_batch(request, context):
        *rest, room = request.workflow_ids
        missing = room == "b"
        last = {"error": NOT_FOUND} if missing else {"state": {"workflow_id": room}}
        return pb.LoadBatchResponse(results=[*[{"error": TOO_LARGE}] * len(rest), last])

    server.load_batch = load_batch
    ids = ["a", "b", "c", "d"]
    items = await colour.call(client.load_batch, ids, view=WorkflowView.SUMMARY, bucket="other")
    assert [item and item.workflow_id for item in items] == ["a", None, "c", "d"]
    assert server.requests == [
        pb.LoadBatchRequest(bucket="other", workflow_ids=ids[:count], view=1) for count in (4, 3, 2, 1)
    ]


async def test_load_batch_does_not_ask_for_ever(colour, server, client):
    server.load_batch = replying(pb.LoadBatchResponse(results=[{"error": TOO_LARGE}]))
    (error,) = await colour.call(client.load_batch, ["a"])
    assert (type(error), error.size_bytes, error.limit_bytes) == (ReplyTooLargeError, 5, 4)
    assert len(server.requests) == 1


async def test_the_deadline_is_that_of_all_calls_of_a_load_batch_together(colour, server, client):
    async def load_batch(request, context):
        remaining.append(context.time_remaining())
        if len(remaining) == 2:
            # A deadline that passes here may pass before, too, on a machine that is slow enough.
            await refusal(grpc.StatusCode.DEADLINE_EXCEEDED)(request, context)
        await asyncio.sleep(0.6)
        return pb.LoadBatchResponse(results=[{"state": {}}, {"error": TOO_LARGE}])

    remaining = []
    server.load_batch = load_batch
    with pytest.raises(DeadlineExceededError) as caught:
        await colour.call(client.load_batch, ["a", "b"], timeout=9)
    # gRPC sends a timeout that is almost that of another call as that one.
    assert remaining[1] < remaining[0] - 0.5
    assert caught.value.outcome is None


async def test_delete_batch_says_of_each_whether_it_existed(colour, server, client):
    server.delete_batch = replying(
        pb.DeleteBatchResponse(
            results=[
                {"workflow_id": "a", "existed": True},
                {"workflow_id": "b"},
                {"workflow_id": "c", "error": MISMATCH},
            ]
        )
    )
    existed, missing, mismatch = await colour.call(
        client.delete_batch, ["a", "b", "c"], expected_revisions={"c": 1}, purge=True
    )
    assert sent(server) == pb.DeleteBatchRequest(
        items=[{"workflow_id": "a"}, {"workflow_id": "b"}, {"workflow_id": "c", "expected_revision": 1}], purge=True
    )
    assert (existed, missing) == (True, False)
    assert (type(mismatch), mismatch.outcome) == (RevisionMismatchError, "not_applied")


async def test_delete_matching_tells_what_was_deleted_what_failed_and_what_is_left(colour, server, client):
    server.delete_batch = replying(
        pb.DeleteBatchResponse(
            results=[
                {"workflow_id": "a", "existed": True},
                {"workflow_id": "b"},
                {"workflow_id": "c", "error": MISMATCH},
            ],
            remaining_count=7,
        )
    )
    deleted = await colour.call(client.delete_matching, WorkflowFilter(run_id="r"), limit=3, dry_run=True, purge=True)
    assert sent(server) == pb.DeleteBatchRequest(filter={"run_id": "r"}, limit=3, dry_run=True, purge=True)
    assert (deleted.workflow_ids, deleted.remaining_count) == (("a",), 7)
    assert {name: type(error) for name, error in deleted.errors.items()} == {"c": RevisionMismatchError}
    server.delete_batch = replying(pb.DeleteBatchResponse())
    nothing = await colour.call(client.delete_matching, WorkflowFilter(), limit=1000)
    assert nothing == DeletedBatch(workflow_ids=(), errors={}, remaining_count=0)
    assert sent(server).HasField("filter")


def revisions(*replies, then=None):
    async def answer(request, context):
        for reply in replies:
            yield pb.ListRevisionsResponse(revisions=reply)
        if then is not None:
            await then(request, context)

    return answer


STORED = [
    {"revision": 7, "stored_at": {"seconds": SECONDS, "nanos": 5}, "state": {"workflow_id": "w", "input_json": "1"}},
    {"revision": 8, "deleted": True},
    {"revision": 9, "malformed": {"key": "w", "revision": 9, "reason": "not JSON"}},
]


async def test_revisions_come_in_the_order_of_the_server(colour, server, client):
    server.list_revisions = revisions(STORED[:2], STORED[2:])
    (state, deleted, malformed), error = await colour.take(
        client.list_revisions("w", newest_first=True, limit=5, bucket="other")
    )
    assert error is None
    assert server.requests == [
        pb.ListRevisionsRequest(bucket="other", workflow_id="w", view=2, newest_first=True, limit=5)
    ]
    assert (state.revision, state.stored_at) == (7, Timestamp.from_datetime(NOW, 5))
    assert (state.state.input, state.state.view, state.deleted, state.malformed) == (1, WorkflowView.FULL, False, None)
    assert deleted == WorkflowRevision(revision=8, stored_at=None, deleted=True)
    assert malformed == WorkflowRevision(revision=9, stored_at=None, malformed=MalformedEntry("w", 9, "not JSON"))


async def test_revisions_of_what_was_never_stored_are_an_error(colour, server, client):
    server.list_revisions = revisions(
        then=refusal(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_WORKFLOW_NOT_FOUND", workflow_id="w")
    )
    read, error = await colour.take(client.list_revisions("w", view=WorkflowView.SUMMARY))
    assert (read, type(error)) == ([], WorkflowNotFoundError)
    assert server.requests == [pb.ListRevisionsRequest(workflow_id="w", view=1)]


async def test_leaving_revisions_early_ends_the_call(colour, server, client):
    server.list_revisions = revisions(STORED, then=for_ever)
    read, error = await colour.take(client.list_revisions("w"), count=1)
    assert (len(read), error) == (1, None)
    await within_patience(server.cancelled)


async def test_already_existing_items_name_their_revision(colour, server, client):
    exists = {
        "code": 6,
        "reason": "ERROR_REASON_WORKFLOW_ALREADY_EXISTS",
        "metadata": {"workflow_id": "a", "actual_revision": "17"},
    }
    server.save_batch = replying(pb.SaveBatchResponse(results=[{"error": exists}]))
    (error,) = await colour.call(client.save_batch, [WorkflowState("a")], expected_revisions={"a": 0})
    assert (type(error), error.workflow_id, error.actual_revision) == (AlreadyExistsError, "a", 17)
