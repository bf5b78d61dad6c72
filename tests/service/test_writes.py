"""Update, request ids and batches: each does what its comment in the .proto says."""

import asyncio
import json

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from nats.aio.client import Client

from support.statuses import failure, stream_failure
from workflowstore.v1 import error_reason_pb2 as reasons
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.model.limits import BATCH_BYTES_MAX, REPLY_BYTES_MAX
from workflowstore_server.service.server import Service
from workflowstore_server.store.jetstream import JetStreamStore

from .test_calls import NOW, WHOLE, save, states_of  # type: ignore[import-not-found]

FAILED = state_pb.WORKFLOW_STATUS_FAILED
RUNNING = state_pb.WORKFLOW_STATUS_RUNNING


def state(workflow_id: str = "wf-1", **fields: object) -> state_pb.WorkflowState:
    return state_pb.WorkflowState(workflow_id=workflow_id, **fields)  # type: ignore[arg-type]


def mask(*paths: str) -> FieldMask:
    return FieldMask(paths=paths)


async def load(stub: WorkflowStoreStub, workflow_id: str = "wf-1") -> state_pb.WorkflowState:
    return (await stub.Load(pb.LoadRequest(workflow_id=workflow_id))).state


async def test_an_update_changes_the_fields_in_its_mask_and_the_time(stub: WorkflowStoreStub) -> None:
    await stub.Save(pb.SaveRequest(state=WHOLE))

    updated = await stub.Update(
        pb.UpdateRequest(state=state("order:42", status=RUNNING, error="gone"), update_mask=mask("status", "error"))
    )

    expected = state_pb.WorkflowState()
    expected.CopyFrom(WHOLE)
    expected.status, expected.error = RUNNING, "gone"
    expected.updated_at.CopyFrom(NOW)
    expected.revision, expected.history_count = updated.revision, 1
    expected.document_bytes = updated.state.document_bytes
    assert updated.state == expected
    assert await load(stub, "order:42") == expected


async def test_every_field_that_a_client_may_set_can_be_updated(stub: WorkflowStoreStub) -> None:
    await save(stub, "order:42")
    paths = ["run_id", "status", "input_json", "result_json", "error", "history", "created_at", "updated_at", "labels"]

    await stub.Update(pb.UpdateRequest(state=WHOLE, update_mask=mask(*paths)))

    updated = await load(stub, "order:42")
    for path in paths:
        assert getattr(updated, path) == getattr(WHOLE, path), path


async def test_what_the_mask_names_and_the_state_lacks_is_emptied(stub: WorkflowStoreStub) -> None:
    await stub.Save(pb.SaveRequest(state=WHOLE))

    request = pb.UpdateRequest(
        state=state("order:42"), update_mask=mask("error", "labels", "history", "input_json", "created_at")
    )
    updated = (await stub.Update(request)).state

    assert (updated.error, dict(updated.labels), len(updated.history), updated.input_json) == ("", {}, 0, "")
    assert updated.created_at == NOW
    assert updated.result_json == WHOLE.result_json


async def test_appended_events_are_numbered_on_and_dated(stub: WorkflowStoreStub) -> None:
    past = Timestamp(seconds=5)
    await save(stub, "wf-1", history=[state_pb.HistoryEvent(id=7), state_pb.HistoryEvent(id=3)])

    request = pb.UpdateRequest(
        state=state(),
        append_history=[
            state_pb.HistoryEvent(activity_name="charge", timestamp=past),
            state_pb.HistoryEvent(signal_name="go"),
        ],
    )
    updated = (await stub.Update(request)).state

    assert [event.id for event in updated.history] == [7, 3, 8, 9]
    assert [event.timestamp for event in updated.history[2:]] == [past, NOW]


async def test_labels_are_set_and_removed(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1", labels={"a": "1", "b": "2"})

    request = pb.UpdateRequest(state=state(), set_labels={"b": "3", "c": "4"}, remove_labels=["a", "missing"])

    assert dict((await stub.Update(request)).state.labels) == {"b": "3", "c": "4"}


async def test_an_update_replies_with_a_summary_if_asked(stub: WorkflowStoreStub) -> None:
    await stub.Save(pb.SaveRequest(state=WHOLE))

    updated = await stub.Update(pb.UpdateRequest(state=state("order:42"), view=state_pb.WORKFLOW_VIEW_SUMMARY))

    assert (updated.state.input_json, len(updated.state.history), updated.state.history_count) == ("", 0, 1)
    assert dict(updated.state.labels) == {"team": "a"}


async def test_an_update_of_what_is_missing_needs_leave(stub: WorkflowStoreStub) -> None:
    assert (await failure(stub.Update(pb.UpdateRequest(state=state())))).reason == "WORKFLOW_NOT_FOUND"

    request = pb.UpdateRequest(
        state=state(error="x"), update_mask=mask("error"), allow_missing=True, expected_revision=0
    )
    made = (await stub.Update(request)).state

    assert (made.error, made.created_at, made.updated_at) == ("x", NOW, NOW)
    assert (await failure(stub.Update(request))).reason == "WORKFLOW_ALREADY_EXISTS"


async def test_an_update_expects_a_revision(stub: WorkflowStoreStub) -> None:
    revision = (await save(stub, "wf-1")).revision

    found = await failure(stub.Update(pb.UpdateRequest(state=state(), expected_revision=revision + 1)))
    assert found.reason == "REVISION_MISMATCH"
    assert found.metadata["actual_revision"] == str(revision)
    assert (await stub.Update(pb.UpdateRequest(state=state(), expected_revision=revision))).revision > revision


async def test_all_that_is_wrong_with_an_update_is_named_at_once(stub: WorkflowStoreStub) -> None:
    request = pb.UpdateRequest(
        bucket="nope",
        state=state("", run_id="r", error="x", revision=3),
        update_mask=mask("workflow_id", "*", "labels.team", "error"),
        append_history=[state_pb.HistoryEvent(id=4, input_json="{")],
        set_labels={"a": "v" * 1025},
        remove_labels=["a", ""],
        expected_revision=0,
        request_id="x" * 129,
        view=9,  # type: ignore[arg-type]
    )

    assert (await failure(stub.Update(request))).fields == {
        "bucket": "NOT_SERVED",
        "state.workflow_id": "REQUIRED",
        "update_mask": "UNKNOWN_FIELD",
        "state.run_id": "NOT_IN_MASK",
        "append_history[0].input_json": "INVALID_JSON",
        "append_history[0].id": "OUT_OF_RANGE",
        "set_labels[a]": "TOO_LONG",
        "remove_labels[0]": "CONTRADICTION",
        "remove_labels[1]": "REQUIRED",
        "expected_revision": "OUT_OF_RANGE",
        "view": "UNKNOWN_VALUE",
        "request_id": "TOO_LONG",
    }


async def test_too_many_labels_are_refused_wherever_they_come_from(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1", labels={f"l{number}": "" for number in range(64)})

    found = await failure(stub.Update(pb.UpdateRequest(state=state(), set_labels={"one": "more"})))
    assert found.fields == {"set_labels": "TOO_MANY"}
    many = [f"m{number}" for number in range(65)]
    found = await failure(stub.Update(pb.UpdateRequest(state=state(), remove_labels=many)))
    assert found.fields == {"remove_labels": "TOO_MANY"}
    request = pb.UpdateRequest(state=state(), set_labels={"one": "more"}, remove_labels=["l0"])
    assert len((await stub.Update(request)).state.labels) == 64


async def test_ids_of_events_come_to_an_end(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1", history=[state_pb.HistoryEvent(id=2**63 - 1)])

    found = await failure(stub.Update(pb.UpdateRequest(state=state(), append_history=[state_pb.HistoryEvent()])))

    assert found.fields == {"append_history": "OUT_OF_RANGE"}


async def test_a_hundred_updates_at_once_lose_nothing(stub: WorkflowStoreStub) -> None:
    await save(stub, "wf-1")

    await asyncio.gather(
        *[
            stub.Update(
                pb.UpdateRequest(
                    state=state(),
                    append_history=[state_pb.HistoryEvent(activity_name=str(number))],
                    request_id=str(number),
                )
            )
            for number in range(100)
        ]
    )

    history = (await load(stub)).history
    assert sorted(int(event.activity_name) for event in history) == list(range(100))
    assert [event.id for event in history] == list(range(1, 101))


async def test_a_repeated_request_gets_the_first_reply(stub: WorkflowStoreStub) -> None:
    requests = [
        (stub.Save, pb.SaveRequest(state=state(error="x"), expected_revision=0, request_id="r")),
        (stub.Update, pb.UpdateRequest(state=state(), append_history=[state_pb.HistoryEvent()], request_id="r")),
        (stub.Delete, pb.DeleteRequest(workflow_id="wf-1", request_id="r")),
        (stub.SaveBatch, pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=state())], request_id="r")),
        (
            stub.DeleteBatch,
            pb.DeleteBatchRequest(items=[pb.DeleteBatchItem(workflow_id="wf-1")], request_id="r"),
        ),
    ]
    for call, request in requests:
        first = await call(request)  # type: ignore[operator]
        before = (await stub.GetInfo(pb.GetInfoRequest())).store_revision

        assert await call(request) == first  # type: ignore[operator]
        assert (await stub.GetInfo(pb.GetInfoRequest())).store_revision == before


async def test_the_reply_to_a_repeated_save_lacks_what_was_overwritten(stub: WorkflowStoreStub) -> None:
    request = pb.SaveRequest(state=state(), request_id="r")
    first = await stub.Save(request)
    await save(stub, "wf-1")

    again = await stub.Save(request)

    assert again.revision == first.revision
    assert not again.HasField("created_at")
    assert not again.HasField("updated_at")


def sent_again(known_revision: int) -> list[tuple[str, Message]]:
    """Each call that writes to wf-1, as it is sent again."""
    again = {"request_id": "r", "resent": True, "known_revision": known_revision}
    return [
        ("Save", pb.SaveRequest(state=state(error="x"), **again)),
        ("Update", pb.UpdateRequest(state=state(error="x"), update_mask=mask("error"), **again)),
        ("SaveBatch", pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=state())], **again)),
        ("DeleteBatch", pb.DeleteBatchRequest(items=[pb.DeleteBatchItem(workflow_id="wf-1")], **again)),
        ("Delete", pb.DeleteRequest(workflow_id="wf-1", **again)),
    ]


async def test_what_is_sent_again_is_not_applied_over_what_others_may_have_written_since(
    stub: WorkflowStoreStub,
) -> None:
    # The server has not been connected for long, so that NATS may have forgotten.
    revision = (await save(stub, "wf-1")).revision
    for method, request in sent_again(revision - 1):
        call = getattr(stub, method)(request)
        if "Batch" in method:
            (result,) = (await call).results
            assert (result.error.code, result.error.reason) == (10, reasons.ERROR_REASON_WRITE_FORGOTTEN)
            metadata = result.error.metadata
        else:
            found = await failure(call)
            assert (found.code, found.reason) == (grpc.StatusCode.ABORTED, "WRITE_FORGOTTEN")
            metadata = found.metadata
        assert (metadata["revision"], metadata["outcome"]) == (str(revision), "unknown")
    assert (await stub.GetInfo(pb.GetInfoRequest())).store_revision == revision


async def test_what_is_sent_again_is_applied_where_nobody_else_has_written_since(stub: WorkflowStoreStub) -> None:
    for method, _ in sent_again(0):
        revision = (await save(stub, "wf-1")).revision
        request = dict(sent_again(revision))[method]

        await getattr(stub, method)(request)

        assert (await stub.GetInfo(pb.GetInfoRequest())).store_revision == revision + 1


@pytest.mark.parametrize("method", [method for method, _ in sent_again(0)])
async def test_what_is_sent_again_needs_the_id_of_the_first_request(stub: WorkflowStoreStub, method: str) -> None:
    request = dict(sent_again(0))[method]
    request.ClearField("request_id")  # type: ignore[arg-type]

    assert (await failure(getattr(stub, method)(request))).fields == {"resent": "NEEDS_REQUEST_ID"}


async def test_a_request_id_belongs_to_a_call_and_a_workflow(stub: WorkflowStoreStub) -> None:
    one = await stub.Save(pb.SaveRequest(state=state("wf-1"), request_id="r"))
    other = await stub.Save(pb.SaveRequest(state=state("wf-2"), request_id="r"))
    updated = await stub.Update(pb.UpdateRequest(state=state("wf-1"), request_id="r"))

    assert len({one.revision, other.revision, updated.revision}) == 3


RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "workflowstore.v1.WorkflowStore"}],
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.01s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


async def test_a_passing_failure_of_a_second_attempt_does_not_say_that_nothing_was_written(
    service: Service, stub: WorkflowStoreStub, nats_client: Client
) -> None:
    await nats_client.close()
    request = pb.SaveRequest(state=state())

    assert (await failure(stub.Save(request))).metadata["outcome"] == "not_applied"
    options = (("grpc.service_config", json.dumps(RETRIES)),)
    async with grpc.aio.insecure_channel(service.address, options) as channel:
        assert (await failure(WorkflowStoreStub(channel).Save(request))).metadata["outcome"] == "unknown"


async def test_each_item_of_a_batch_of_saves_has_its_own_result(stub: WorkflowStoreStub) -> None:
    there = (await save(stub, "there")).revision

    reply = await stub.SaveBatch(
        pb.SaveBatchRequest(
            items=[
                pb.SaveBatchItem(state=state("new"), expected_revision=0),
                pb.SaveBatchItem(state=state("there"), expected_revision=0),
                pb.SaveBatchItem(state=state("missing"), expected_revision=9),
                pb.SaveBatchItem(state=state("big", error="x" * 4_200_000)),
                pb.SaveBatchItem(state=state("any", created_at=Timestamp(seconds=5))),
            ]
        )
    )

    assert [reasons.ErrorReason.Name(result.error.reason)[13:] for result in reply.results] == [
        "UNSPECIFIED",
        "WORKFLOW_ALREADY_EXISTS",
        "REVISION_MISMATCH",
        "STATE_TOO_LARGE",
        "UNSPECIFIED",
    ]
    assert [result.error.code for result in reply.results] == [0, 6, 10, 8, 0]
    assert reply.results[1].error.metadata["actual_revision"] == str(there)
    assert "exists at revision" in reply.results[1].error.message
    assert reply.results[0].revision != reply.results[4].revision
    assert (reply.results[4].created_at, reply.results[4].updated_at) == (Timestamp(seconds=5), NOW)
    assert {found.workflow_id for found in await states_of(stub, pb.ListRequest())} == {"new", "there", "any"}


async def test_a_batch_of_saves_is_refused_whole_when_the_request_is_wrong(stub: WorkflowStoreStub) -> None:
    item = pb.SaveBatchItem(state=state())
    wrong = pb.SaveBatchItem(state=state("wf-2", input_json="{"))

    found = await failure(stub.SaveBatch(pb.SaveBatchRequest(items=[item, wrong, item, pb.SaveBatchItem()])))
    assert found.fields == {
        "items[2].state.workflow_id": "REPEATED",
        "items[1].state.input_json": "INVALID_JSON",
        "items[3].state.workflow_id": "REQUIRED",
    }
    assert (await failure(stub.SaveBatch(pb.SaveBatchRequest()))).fields == {"items": "OUT_OF_RANGE"}
    many = [pb.SaveBatchItem(state=state(str(number))) for number in range(1001)]
    assert (await failure(stub.SaveBatch(pb.SaveBatchRequest(items=many)))).fields == {"items": "OUT_OF_RANGE"}
    large = [pb.SaveBatchItem(state=state(str(number), error="x" * 1_000_000)) for number in range(9)]
    found = await failure(stub.SaveBatch(pb.SaveBatchRequest(items=large)))
    assert found.fields == {"items": "TOO_LARGE"}
    assert str(BATCH_BYTES_MAX) in found.message
    assert await states_of(stub, pb.ListRequest()) == []


async def test_an_atomic_batch_needs_a_bucket_that_allows_it(stub: WorkflowStoreStub) -> None:
    items = [pb.SaveBatchItem(state=state("a")), pb.SaveBatchItem(state=state("b"))]

    found = await failure(stub.SaveBatch(pb.SaveBatchRequest(items=items, atomic=True)))

    assert found.code is grpc.StatusCode.FAILED_PRECONDITION
    assert found.metadata["setting"] == "allow_atomic=false"
    assert not (await stub.GetInfo(pb.GetInfoRequest())).bucket.allow_atomic


async def test_an_atomic_batch_is_all_or_nothing(
    stub: WorkflowStoreStub, nats_client: Client, jetstream_store: JetStreamStore
) -> None:
    stream = await nats_client.jetstream().stream_info("KV_beluga_workflows")
    stream.config.allow_atomic = True
    await nats_client.jetstream().update_stream(stream.config)
    items = [
        pb.SaveBatchItem(state=state("a"), expected_revision=0),
        pb.SaveBatchItem(state=state("b"), expected_revision=0),
    ]
    request = pb.SaveBatchRequest(items=items, atomic=True, request_id="r")

    first = await stub.SaveBatch(request)

    assert [result.revision for result in first.results] == [1, 2]
    assert await stub.SaveBatch(request) == first
    other = pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=state("c")), items[0]], atomic=True)
    assert (await failure(stub.SaveBatch(other))).reason == "WORKFLOW_ALREADY_EXISTS"
    assert [found.workflow_id for found in await states_of(stub, pb.ListRequest())] == ["a", "b"]
    info = await stub.GetInfo(pb.GetInfoRequest())
    assert (info.bucket.allow_atomic, info.bucket.request_id_seconds) == (True, 120)


async def test_a_batch_of_loads_replies_in_the_order_of_the_request(
    stub: WorkflowStoreStub, jetstream_store: JetStreamStore
) -> None:
    await stub.Save(pb.SaveRequest(state=WHOLE))
    await save(stub, "gone")
    await stub.Delete(pb.DeleteRequest(workflow_id="gone"))
    await jetstream_store.put("bad", b"{", 0)

    reply = await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=["missing", "order:42", "bad", "gone"]))

    assert [result.error.reason for result in reply.results] == [
        reasons.ERROR_REASON_WORKFLOW_NOT_FOUND,
        0,
        reasons.ERROR_REASON_MALFORMED_DOCUMENT,
        reasons.ERROR_REASON_WORKFLOW_NOT_FOUND,
    ]
    assert reply.results[1].state == await load(stub, "order:42")
    summary = await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=["order:42"], view=state_pb.WORKFLOW_VIEW_SUMMARY))
    assert (summary.results[0].state.input_json, summary.results[0].state.history_count) == ("", 1)


async def test_a_batch_of_loads_is_refused_when_it_is_wrong(stub: WorkflowStoreStub) -> None:
    found = await failure(stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=["a", "", "a"], view=9)))  # type: ignore[arg-type]

    assert found.fields == {
        "workflow_ids[2]": "REPEATED",
        "workflow_ids[1]": "REQUIRED",
        "view": "UNKNOWN_VALUE",
    }


async def test_a_thousand_are_loaded_by_few_reads(stub: WorkflowStoreStub, nats_client: Client) -> None:
    ids = [f"wf-{number:04d}" for number in range(1000)]
    await stub.SaveBatch(pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=state(id_)) for id_ in ids]))
    asked = 0
    original = nats_client.publish

    async def publish(subject: str, *arguments: object, **keywords: object) -> None:
        nonlocal asked
        asked += "DIRECT.GET" in subject or "MSG.GET" in subject
        await original(subject, *arguments, **keywords)  # type: ignore[arg-type]

    nats_client.publish = publish  # type: ignore[method-assign]

    reply = await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=ids))

    assert [result.state.workflow_id for result in reply.results] == ids
    assert 0 < asked <= 3


async def test_a_reply_that_is_full_says_what_to_ask_for_again(stub: WorkflowStoreStub) -> None:
    ids = [f"wf-{number}" for number in range(12)]
    for id_ in ids:
        await save(stub, id_, error="x" * 900_000)
    missing, replies = list(ids), 0
    found = {}
    while missing:
        reply = await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=missing))
        replies += 1
        assert reply.ByteSize() < REPLY_BYTES_MAX + 64 * 1024
        for id_, result in zip(missing, reply.results, strict=True):
            if not result.HasField("error"):
                found[id_] = result.state
            else:
                assert result.error.reason == reasons.ERROR_REASON_REPLY_TOO_LARGE
                assert result.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        missing = [id_ for id_ in missing if id_ not in found]

    assert sorted(found) == sorted(ids)
    assert replies == 3


async def test_each_item_of_a_batch_of_deletes_has_its_own_result(stub: WorkflowStoreStub) -> None:
    there = (await save(stub, "there")).revision
    changed = (await save(stub, "changed")).revision
    items = [
        pb.DeleteBatchItem(workflow_id="missing"),
        pb.DeleteBatchItem(workflow_id="there", expected_revision=there),
        pb.DeleteBatchItem(workflow_id="changed", expected_revision=changed + 5),
    ]

    reply = await stub.DeleteBatch(pb.DeleteBatchRequest(items=items))

    assert [(result.workflow_id, result.existed, result.error.reason) for result in reply.results] == [
        ("missing", False, 0),
        ("there", True, 0),
        ("changed", False, reasons.ERROR_REASON_REVISION_MISMATCH),
    ]
    assert [found.workflow_id for found in await states_of(stub, pb.ListRequest())] == ["changed"]


async def test_all_that_is_wrong_with_a_batch_of_deletes_is_named(stub: WorkflowStoreStub) -> None:
    item = pb.DeleteBatchItem(workflow_id="a", expected_revision=0)

    found = await failure(stub.DeleteBatch(pb.DeleteBatchRequest(items=[item, item], limit=3, dry_run=True)))
    assert found.fields == {
        "items[1].workflow_id": "REPEATED",
        "limit": "CONTRADICTION",
        "dry_run": "CONTRADICTION",
        "items[0].expected_revision": "OUT_OF_RANGE",
        "items[1].expected_revision": "OUT_OF_RANGE",
    }
    assert (await failure(stub.DeleteBatch(pb.DeleteBatchRequest()))).fields == {"items": "OUT_OF_RANGE"}
    for limit in (0, -1, 1001):
        both = pb.DeleteBatchRequest(filter=WorkflowFilter(), items=[item], limit=limit)
        assert {"items", "limit"} <= set((await failure(stub.DeleteBatch(both))).fields)


async def test_what_matches_is_deleted_up_to_the_limit(stub: WorkflowStoreStub) -> None:
    for number in range(10):
        await save(stub, f"wf-{number}", FAILED if number % 2 else RUNNING)
    request = pb.DeleteBatchRequest(filter=WorkflowFilter(statuses=[FAILED]), limit=3)

    tried = await stub.DeleteBatch(pb.DeleteBatchRequest(filter=request.filter, limit=3, dry_run=True))
    assert [(result.workflow_id, result.existed) for result in tried.results] == [
        ("wf-1", True),
        ("wf-3", True),
        ("wf-5", True),
    ]
    assert tried.remaining_count == 5
    reply = await stub.DeleteBatch(request)
    assert [result.workflow_id for result in reply.results] == ["wf-1", "wf-3", "wf-5"]
    assert reply.remaining_count == 2
    reply = await stub.DeleteBatch(request)
    assert [result.workflow_id for result in reply.results] == ["wf-7", "wf-9"]
    assert reply.remaining_count == 0
    assert (await stub.DeleteBatch(request)).results == []
    assert len(await states_of(stub, pb.ListRequest())) == 5


async def test_a_repeated_delete_of_what_matches_deletes_no_more_than_the_limit(stub: WorkflowStoreStub) -> None:
    for number in range(10):
        await save(stub, f"wf-{number}")
    request = pb.DeleteBatchRequest(filter=WorkflowFilter(), limit=4, request_id="r")

    first = await stub.DeleteBatch(request)
    again = await stub.DeleteBatch(request)

    assert again == first
    assert [result.workflow_id for result in first.results] == ["wf-0", "wf-1", "wf-2", "wf-3"]
    assert len(await states_of(stub, pb.ListRequest())) == 6
    other = await stub.DeleteBatch(pb.DeleteBatchRequest(filter=WorkflowFilter(), limit=4, request_id="other"))
    assert [result.workflow_id for result in other.results] == ["wf-4", "wf-5", "wf-6", "wf-7"]


async def test_attempts_at_one_delete_at_once_delete_no_more_than_the_limit(stub: WorkflowStoreStub) -> None:
    for number in range(40):
        await save(stub, f"wf-{number:02d}")
    request = pb.DeleteBatchRequest(filter=WorkflowFilter(), limit=10, request_id="r")

    await asyncio.gather(*[stub.DeleteBatch(request) for _ in range(5)])

    assert len(await states_of(stub, pb.ListRequest())) == 30
    assert len((await stub.DeleteBatch(request)).results) == 10


async def test_a_purge_of_what_matches_removes_old_revisions(stub: WorkflowStoreStub) -> None:
    for _ in range(3):
        await stub.Save(pb.SaveRequest(bucket="other", state=state()))

    await stub.DeleteBatch(pb.DeleteBatchRequest(bucket="other", filter=WorkflowFilter(), limit=1, purge=True))

    assert (await stub.GetInfo(pb.GetInfoRequest(bucket="other"))).bucket.revisions == 1


async def revisions_of(stub: WorkflowStoreStub, **fields: object) -> list[pb.WorkflowRevision]:
    request = pb.ListRevisionsRequest(bucket="other", workflow_id="wf-1", **fields)  # type: ignore[arg-type]
    return [revision async for chunk in stub.ListRevisions(request) for revision in chunk.revisions]


@pytest.mark.parametrize("error_bytes", [10, 700_000])
async def test_revisions_are_listed_either_way(stub: WorkflowStoreStub, error_bytes: int) -> None:
    for number in range(4):
        await stub.Save(pb.SaveRequest(bucket="other", state=state(error=str(number) * error_bytes, input_json="1")))

    oldest_first = await revisions_of(stub)

    assert [revision.revision for revision in oldest_first] == [2, 3, 4]
    assert [revision.state.error[0] for revision in oldest_first] == ["1", "2", "3"]
    assert oldest_first[0].state.input_json == "1"
    assert all(revision.stored_at.seconds > 1_700_000_000 for revision in oldest_first)
    assert await revisions_of(stub, newest_first=True) == oldest_first[::-1]
    assert await revisions_of(stub, newest_first=True, limit=2) == oldest_first[:0:-1]
    summaries = await revisions_of(stub, view=state_pb.WORKFLOW_VIEW_SUMMARY, limit=1)
    assert [(revision.revision, revision.state.input_json) for revision in summaries] == [(2, "")]


async def test_deletes_and_malformed_documents_are_among_the_revisions(
    stub: WorkflowStoreStub, nats_client: Client
) -> None:
    await stub.Save(pb.SaveRequest(bucket="other", state=state()))
    await stub.Delete(pb.DeleteRequest(bucket="other", workflow_id="wf-1"))
    await nats_client.jetstream().publish("$KV.other.wf-1", b"{")

    found = await revisions_of(stub)

    assert [revision.WhichOneof("written") for revision in found] == ["state", "deleted", "malformed"]
    assert (found[2].malformed.key, found[2].malformed.revision) == ("wf-1", 3)


async def test_revisions_of_what_was_never_there_are_not_found(stub: WorkflowStoreStub) -> None:
    _, found = await stream_failure(stub.ListRevisions(pb.ListRevisionsRequest(workflow_id="wf-1")))
    assert found.reason == "WORKFLOW_NOT_FOUND"
    wrong = pb.ListRevisionsRequest(bucket="nope", limit=-1, view=9)  # type: ignore[arg-type]
    _, found = await stream_failure(stub.ListRevisions(wrong))
    assert set(found.fields) == {"bucket", "workflow_id", "view", "limit"}


DOCUMENTS = {
    "order-42": b'{"WorkflowID":"order-42","Status":"failed","Extra":1}',
    "=YSBi": b'{\n "WorkflowID": "a b"}',
    "bad": b"{",
    "=x": b"\xff\x00",
    "empty": b"",
}


async def exported(stub: WorkflowStoreStub, **fields: object) -> list[pb.StoredDocument]:
    chunks = [chunk async for chunk in stub.Export(pb.ExportRequest(**fields))]  # type: ignore[arg-type]
    assert not chunks[-1].next_page_token
    return [document for chunk in chunks for document in chunk.documents]


async def test_documents_are_exported_and_imported_byte_for_byte(
    stub: WorkflowStoreStub, jetstream_store: JetStreamStore
) -> None:
    for key, document in DOCUMENTS.items():
        await jetstream_store.put(key, document, 0)
    await save(stub, "gone")
    await stub.Delete(pb.DeleteRequest(workflow_id="gone"))

    documents = await exported(stub)

    assert {document.key: document.document for document in documents} == DOCUMENTS
    assert {document.revision for document in documents} == set(range(1, 6))
    reply = await stub.Import(pb.ImportRequest(bucket="other", documents=documents))
    assert {result.outcome for result in reply.results} == {pb.IMPORT_OUTCOME_WRITTEN}
    again = await exported(stub, bucket="other")
    assert {document.key: document.document for document in again} == DOCUMENTS


async def test_an_export_takes_a_filter_and_goes_on_after_a_chunk(stub: WorkflowStoreStub) -> None:
    for number in range(600):
        await save(stub, f"wf-{number:03d}", FAILED if number % 2 else RUNNING)
    wanted = WorkflowFilter(workflow_id_prefix="wf-")

    call = stub.Export(pb.ExportRequest(filter=wanted))
    first = await call.read()
    call.cancel()
    assert isinstance(first, pb.ExportResponse)
    rest = await exported(stub, filter=wanted, page_token=first.next_page_token)

    assert [document.key for document in [*first.documents, *rest]] == [f"wf-{number:03d}" for number in range(600)]
    assert len(await exported(stub, filter=WorkflowFilter(statuses=[FAILED]))) == 300
    _, found = await stream_failure(stub.Export(pb.ExportRequest(page_token=first.next_page_token)))
    assert found.fields == {"page_token": "OTHER_LIST"}


async def test_an_import_meets_what_is_there_already_as_it_is_told(
    stub: WorkflowStoreStub, jetstream_store: JetStreamStore
) -> None:
    await jetstream_store.put("same", b"{}", 0)
    await jetstream_store.put("other", b"{}", 0)
    await save(stub, "gone")
    await stub.Delete(pb.DeleteRequest(workflow_id="gone"))
    documents = [
        pb.StoredDocument(key="same", document=b"{}"),
        pb.StoredDocument(key="other", document=b"[]"),
        pb.StoredDocument(key="gone", document=b"{}"),
    ]
    written, unchanged, skipped = (
        pb.IMPORT_OUTCOME_WRITTEN,
        pb.IMPORT_OUTCOME_UNCHANGED,
        pb.IMPORT_OUTCOME_SKIPPED,
    )

    reply = await stub.Import(pb.ImportRequest(documents=documents))
    assert [result.outcome for result in reply.results] == [unchanged, 0, written]
    assert reply.results[1].error.reason == reasons.ERROR_REASON_WORKFLOW_ALREADY_EXISTS
    assert reply.results[1].error.metadata["workflow_id"] == "other"
    reply = await stub.Import(pb.ImportRequest(documents=documents, on_conflict=pb.ON_CONFLICT_SKIP))
    assert [result.outcome for result in reply.results] == [unchanged, skipped, unchanged]
    reply = await stub.Import(pb.ImportRequest(documents=documents, on_conflict=pb.ON_CONFLICT_OVERWRITE))
    assert [result.outcome for result in reply.results] == [unchanged, written, unchanged]
    assert reply.results[1].revision == (await stub.GetInfo(pb.GetInfoRequest())).store_revision


async def test_all_that_is_wrong_with_an_import_is_named_and_nothing_is_written(stub: WorkflowStoreStub) -> None:
    keys = ["", "a b", ".a", "a..b", "*", ">", "x" * 2001, "twice", "twice"]
    documents = [pb.StoredDocument(key=key, document=b"{}") for key in keys]

    found = await failure(stub.Import(pb.ImportRequest(documents=documents, on_conflict=9)))  # type: ignore[arg-type]

    assert found.fields == {
        **{f"documents[{number}].key": "INVALID_KEY" for number in range(7)},
        "documents[8].key": "REPEATED",
        "on_conflict": "UNKNOWN_VALUE",
    }
    assert (await failure(stub.Import(pb.ImportRequest()))).fields == {"documents": "OUT_OF_RANGE"}
    large = [pb.StoredDocument(key=str(number), document=b"x" * 3_000_000) for number in range(3)]
    assert (await failure(stub.Import(pb.ImportRequest(documents=large)))).fields == {"documents": "TOO_LARGE"}
    reply = await stub.Import(pb.ImportRequest(documents=[pb.StoredDocument(key="k", document=b"x" * 4_200_000)]))
    assert reply.results[0].error.reason == reasons.ERROR_REASON_STATE_TOO_LARGE
    assert (await stub.GetInfo(pb.GetInfoRequest())).store_revision == 0
