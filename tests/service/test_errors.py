"""Every failure leaves with its code, its reason and its metadata, and with nothing else."""

import asyncio
import dataclasses
import logging
import string
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from nats.aio.client import Client

from support.entries import indexed
from support.nats_server import NatsServer
from support.statuses import failure, stream_failure
from support.waiting import in_portions
from workflowstore.v1 import error_reason_pb2 as reasons
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.model import errors
from workflowstore_server.model.errors import Outcome, StoreError
from workflowstore_server.service import status
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import Servicer
from workflowstore_server.store import Change
from workflowstore_server.store.memory import MemoryStore

from .conftest import about  # type: ignore[import-not-found]

BUCKET = "beluga_workflows"

UNQUOTED = (string.punctuation + " ").replace("%", "")
"""What gRPC does not percent-encode in a message, beside letters and digits."""


def state(workflow_id: str = "wf-1", **fields: Any) -> state_pb.WorkflowState:
    return state_pb.WorkflowState(workflow_id=workflow_id, **fields)


async def test_all_wrong_fields_are_named_at_once(stub: WorkflowStoreStub) -> None:
    wrong = state(
        "x" * 1025,
        run_id="\u00e9" * 513,
        status=99,
        input_json="{",
        result_json="[" * 501 + "]" * 501,
        history=[
            state_pb.HistoryEvent(type=99, input_json="nope", signal_payload_json='"\\ud800"'),
            state_pb.HistoryEvent(result_json="NaN"),
        ],
        labels={"": "x", "k" * 129: "v" * 1025},
    )
    wrong.created_at.seconds = -62_135_596_801
    wrong.updated_at.nanos = -1
    wrong.history[1].timestamp.seconds = 253_402_300_800
    wrong.history[1].duration.seconds = 2**34

    found = await failure(stub.Save(pb.SaveRequest(bucket="nope", state=wrong)))

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.reason == "INVALID_REQUEST"
    key = "k" * 64 + "..."
    assert found.fields == {
        "bucket": "NOT_SERVED",
        "state.workflow_id": "TOO_LONG",
        "state.run_id": "TOO_LONG",
        "state.status": "UNKNOWN_VALUE",
        "state.input_json": "INVALID_JSON",
        "state.result_json": "INVALID_JSON",
        "state.history[0].type": "UNKNOWN_VALUE",
        "state.history[0].input_json": "INVALID_JSON",
        "state.history[0].signal_payload_json": "INVALID_JSON",
        "state.history[1].result_json": "INVALID_JSON",
        "state.history[1].timestamp": "OUT_OF_RANGE",
        "state.history[1].duration": "OUT_OF_RANGE",
        "state.created_at": "OUT_OF_RANGE",
        "state.updated_at": "OUT_OF_RANGE",
        "state.labels[]": "REQUIRED",
        f"state.labels[{key}]": "TOO_LONG",
    }
    assert found.metadata["fields"] == ",".join(v.field for v in found.bad_request.field_violations)
    assert all(violation.description for violation in found.bad_request.field_violations)


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("Save", pb.SaveRequest(), {"state": "REQUIRED"}),
        ("Save", pb.SaveRequest(state=state("")), {"state.workflow_id": "REQUIRED"}),
        ("Save", pb.SaveRequest(state=state("a\0b")), {"state.workflow_id": "INVALID_CHARACTER"}),
        ("Save", pb.SaveRequest(state=state(labels={str(n): "" for n in range(65)})), {"state.labels": "TOO_MANY"}),
        ("Load", pb.LoadRequest(), {"workflow_id": "REQUIRED"}),
        ("Load", pb.LoadRequest(workflow_id="x", bucket="y"), {"bucket": "NOT_SERVED"}),
        ("Load", pb.LoadRequest(workflow_id="x", view=7), {"view": "UNKNOWN_VALUE"}),  # type: ignore[arg-type]
        ("List", pb.ListRequest(limit=-1), {"limit": "OUT_OF_RANGE"}),
        ("List", pb.ListRequest(view=7, bucket="y"), {"bucket": "NOT_SERVED", "view": "UNKNOWN_VALUE"}),  # type: ignore[arg-type]
        (
            "List",
            pb.ListRequest(filter=WorkflowFilter(statuses=[1, 9])),  # type: ignore[list-item]
            {"filter.statuses[1]": "UNKNOWN_VALUE"},
        ),
        ("Delete", pb.DeleteRequest(), {"workflow_id": "REQUIRED"}),
        ("Delete", pb.DeleteRequest(workflow_id="x", expected_revision=0), {"expected_revision": "OUT_OF_RANGE"}),
        ("GetInfo", pb.GetInfoRequest(bucket="y"), {"bucket": "NOT_SERVED"}),
    ],
)
async def test_a_wrong_request_is_refused(
    stub: WorkflowStoreStub, method: str, request_: Any, fields: dict[str, str]
) -> None:
    call = getattr(stub, method)(request_)
    found = (await stream_failure(call))[1] if method == "List" else await failure(call)

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.fields == fields


@pytest.mark.parametrize("method", ["Save", "Load", "List", "Delete", "GetInfo"])
async def test_bytes_that_are_no_request_are_an_invalid_request(
    channel: grpc.aio.Channel, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/workflowstore.v1.WorkflowStore/{method}"
    if method == "List":
        _, found = await stream_failure(channel.unary_stream(path)(b"\xff\xff"))
    else:
        found = await failure(channel.unary_unary(path)(b"\xff\xff"))

    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.reason == "INVALID_REQUEST"
    assert found.fields == {"": "UNDECODABLE"}
    assert f"{method}Request" in found.message
    assert not caplog.records


async def test_so_many_wrong_fields_that_they_do_not_fit_are_counted(stub: WorkflowStoreStub) -> None:
    events = [state_pb.HistoryEvent(input_json="{") for _ in range(10_000)]

    found = await failure(stub.Save(pb.SaveRequest(state=state(history=events))))

    *told, more = found.bad_request.field_violations
    assert 10 <= len(told) <= 20
    assert f"and {10_000 - len(told)} more" in more.description


@pytest.mark.parametrize("labels", [60, 70])
@pytest.mark.parametrize("letter", ["k", "\U0001f600", "%", "\n"])
async def test_what_is_wrong_fits_the_trailers_that_clients_take(
    stub: WorkflowStoreStub, letter: str, labels: int
) -> None:
    wrong = state("x" * 1025, run_id="y" * 1025, labels={f"{n}" + letter * 200: "v" * 1025 for n in range(labels)})

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Save(pb.SaveRequest(bucket="nope", state=wrong))

    # As they are counted (RFC 9113, section 6.5.2); what is binary travels as base64.
    sizes = [len(key) + len(value) * 4 // 3 + 34 for key, value in caught.value.trailing_metadata() or ()]
    message = quote(caught.value.details() or "", safe=UNQUOTED)
    assert sum(sizes) + len(message) < 8192 - 512
    assert "state.workflow_id" in message


async def test_not_found(stub: WorkflowStoreStub) -> None:
    found = await failure(stub.Load(pb.LoadRequest(workflow_id="order:42")))

    assert found.code is grpc.StatusCode.NOT_FOUND
    assert found.reason == "WORKFLOW_NOT_FOUND"
    assert found.metadata == {"bucket": BUCKET, "workflow_id": "order:42"}


async def test_already_exists(stub: WorkflowStoreStub) -> None:
    saved = await stub.Save(pb.SaveRequest(state=state(), expected_revision=0))

    found = await failure(stub.Save(pb.SaveRequest(state=state(), expected_revision=0)))

    assert found.code is grpc.StatusCode.ALREADY_EXISTS
    assert found.reason == "WORKFLOW_ALREADY_EXISTS"
    assert found.metadata == {"bucket": BUCKET, "workflow_id": "wf-1", "actual_revision": str(saved.revision)}


async def test_revision_mismatch(stub: WorkflowStoreStub) -> None:
    first = await stub.Save(pb.SaveRequest(state=state()))
    second = await stub.Save(pb.SaveRequest(state=state()))
    metadata = {
        "bucket": BUCKET,
        "workflow_id": "wf-1",
        "expected_revision": str(first.revision),
        "actual_revision": str(second.revision),
    }

    for call in (
        stub.Save(pb.SaveRequest(state=state(), expected_revision=first.revision)),
        stub.Delete(pb.DeleteRequest(workflow_id="wf-1", expected_revision=first.revision)),
    ):
        found = await failure(call)
        assert found.code is grpc.StatusCode.ABORTED
        assert found.reason == "REVISION_MISMATCH"
        assert found.metadata == metadata


async def test_state_too_large(stub: WorkflowStoreStub) -> None:
    found = await failure(stub.Save(pb.SaveRequest(state=state(error="x" * 1_100_000))))

    assert found.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found.reason == "STATE_TOO_LARGE"
    assert int(found.metadata["size_bytes"]) > int(found.metadata["limit_bytes"]) == 1024 * 1024 - 1024


async def test_malformed_document(stub: WorkflowStoreStub, nats_client: Client) -> None:
    await nats_client.jetstream().publish(f"$KV.{BUCKET}.wf-1", b'{"WorkflowID":7}')

    found = await failure(stub.Load(pb.LoadRequest(workflow_id="wf-1")))

    assert found.code is grpc.StatusCode.DATA_LOSS
    assert found.reason == "MALFORMED_DOCUMENT"
    assert found.metadata.keys() == {"bucket", "key", "revision", "detail"}
    assert (found.metadata["key"], found.metadata["revision"]) == ("wf-1", "1")
    assert "WorkflowID" in found.metadata["detail"]


async def test_storage_unavailable_tells_the_outcome_of_writes_and_when_to_retry(
    stub: WorkflowStoreStub, nats_server: NatsServer
) -> None:
    nats_server.kill()
    await asyncio.sleep(0.1)

    write = await failure(stub.Save(pb.SaveRequest(state=state())))
    read = await failure(stub.Load(pb.LoadRequest(workflow_id="wf-1")))

    for found in (write, read):
        assert found.code is grpc.StatusCode.UNAVAILABLE
        assert found.reason == "STORAGE_UNAVAILABLE"
        assert found.retry_seconds
    assert write.metadata["outcome"] == "not_applied"
    assert "outcome" not in read.metadata


async def test_bucket_recreated(stub: WorkflowStoreStub, nats_client: Client) -> None:
    await nats_client.jetstream().delete_stream(f"KV_{BUCKET}")

    found = await failure(stub.Save(pb.SaveRequest(state=state())))

    assert found.code is grpc.StatusCode.UNAVAILABLE
    assert found.reason == "BUCKET_RECREATED"
    assert found.retry_seconds
    await stub.Save(pb.SaveRequest(state=state()))


async def test_a_list_that_fails_half_way_says_so(stub: WorkflowStoreStub, nats_server: NatsServer) -> None:
    await in_portions(stub.Save(pb.SaveRequest(state=state(f"wf-{n}", error="x" * 5000))) for n in range(3000))
    call = stub.List(pb.ListRequest(view=state_pb.WORKFLOW_VIEW_FULL))
    await call.read()

    nats_server.kill()
    messages, found = await stream_failure(call)

    assert found.code is grpc.StatusCode.UNAVAILABLE
    assert found.reason == "STORAGE_UNAVAILABLE"
    assert sum(len(chunk.states) for chunk in messages) < 3000


class FailingStore(MemoryStore):
    """A store whose calls fail with what a test asks for."""

    error: BaseException

    async def save(self, *_: Any) -> int:
        raise self.error

    async def last(self, *_: Any) -> dict[str, Change]:
        raise self.error


@pytest.fixture
async def failing() -> AsyncIterator[tuple[FailingStore, WorkflowStoreStub]]:
    store = FailingStore(BUCKET)
    async with indexed(store) as index:
        servicer = Servicer({BUCKET: store}, {BUCKET: index}, about, lambda: 0)
        service = Service(servicer, {BUCKET: index}, ServiceOptions(listen="127.0.0.1:0", drain_seconds=1))
        await service.start()
        async with grpc.aio.insecure_channel(service.address) as channel:
            yield store, WorkflowStoreStub(channel)
        await service.drain()


async def test_what_nobody_foresaw_is_internal_with_an_id_and_nothing_else(
    failing: tuple[FailingStore, WorkflowStoreStub], caplog: pytest.LogCaptureFixture
) -> None:
    store, stub = failing
    store.store("bad", b"{")
    store.store("wf-1", b'{"WorkflowID":"wf-1"}')
    store.error = ValueError("secret detail 42")

    with caplog.at_level(logging.ERROR):
        unary = await failure(stub.Save(pb.SaveRequest(state=state())))
        messages, stream = await stream_failure(stub.List(pb.ListRequest(view=state_pb.WORKFLOW_VIEW_FULL)))

    assert len(messages) == 1
    for found in (unary, stream):
        assert found.code is grpc.StatusCode.INTERNAL
        assert found.reason == "INTERNAL"
        assert "secret" not in found.message + str(found.info)
        assert found.metadata["error_id"] in caplog.text
    assert "secret detail 42" in caplog.text


async def test_a_library_that_cancels_itself_does_not_leave_the_caller_without_a_status(
    failing: tuple[FailingStore, WorkflowStoreStub],
) -> None:
    store, stub = failing
    store.error = asyncio.CancelledError()

    found = await failure(stub.Save(pb.SaveRequest(state=state()), timeout=10))

    assert found.code is grpc.StatusCode.UNAVAILABLE
    assert found.metadata["outcome"] == "unknown"


async def test_a_library_that_cancels_itself_within_a_stream_does_not_either(
    failing: tuple[FailingStore, WorkflowStoreStub],
) -> None:
    store, stub = failing
    store.store("wf-1", b'{"WorkflowID":"wf-1"}')
    store.error = asyncio.CancelledError()

    _, found = await stream_failure(stub.List(pb.ListRequest(view=state_pb.WORKFLOW_VIEW_FULL), timeout=10))

    assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")


@pytest.mark.parametrize("method", ["Save", "Load", "List", "Watch"])
async def test_a_call_without_a_request_gets_a_status(channel: grpc.aio.Channel, method: str) -> None:
    call = channel.stream_stream(f"/workflowstore.v1.WorkflowStore/{method}")(iter(()), timeout=10)

    _, found = await stream_failure(call)

    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "method",
    [
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "workflowstore.v1.WorkflowStore/Unknown",
        "unknown",
    ],
)
async def test_what_is_not_of_the_service_gets_a_status_too(channel: grpc.aio.Channel, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in channel.stream_stream(f"/{method}")(iter((b"\xff\xff",)), timeout=10):
            pass

    assert caught.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED


EXAMPLES: list[StoreError] = [
    errors.InvalidRequest((errors.FieldViolation("a", "REQUIRED", "is required"),)),
    errors.WorkflowNotFound("b", "wf"),
    errors.WorkflowAlreadyExists("b", "wf", 1),
    errors.RevisionMismatch("b", "wf", 1, 2),
    errors.Contended("b", "wf", 16),
    errors.WriteForgotten("b", "wf", 17, Outcome.UNKNOWN),
    errors.StateTooLarge("b", "wf", 2, 1),
    errors.StorageFull("b", "10047 insufficient storage resources available", Outcome.UNKNOWN),
    errors.StorageUnavailable("b", "away", Outcome.UNKNOWN),
    errors.ShuttingDown(17),
    errors.BucketRecreated("b"),
    errors.BucketNotFound("b"),
    errors.BucketConfiguration("b", "allow_direct=false", "nats stream edit"),
    errors.MalformedDocument("b", "k", 1, "not JSON"),
    errors.IndexBehind("b", 1, 3, 2, "the index is being built"),
    errors.RevisionForgotten("b", 1, 3),
    errors.RevisionNotReached("b", 3, 1),
    errors.WatchTooSlow("b", 3),
    errors.ReplyTooLarge("b", "wf", 2, 1),
    errors.TooManyCalls("lists", 128),
    errors.CallTooLong(60, Outcome.UNKNOWN),
    errors.ReaderStalled(30),
    errors.Unauthenticated(),
    errors.PermissionDenied("billing", "write", "b", "wf"),
    errors.IdentityLimitReached("billing", "request bytes a second", 1000, 1.5),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_failure_has_a_status_with_all_its_fields(error: StoreError) -> None:
    sent = status.status_of(error)

    assert sent.code
    assert sent.message
    if not isinstance(error, errors.InvalidRequest):
        info = status.error_details_pb2.ErrorInfo()
        assert sent.details[0].Unpack(info)
        assert set(info.metadata) == {field.name for field in dataclasses.fields(error)}  # type: ignore[arg-type]


def test_the_table_has_every_failure_and_every_reason_once() -> None:
    assert {type(error) for error in EXAMPLES} == set(StoreError.__subclasses__()) == set(status._TABLE)
    sent = sorted([row.reason for row in status._TABLE.values()] + [reasons.ERROR_REASON_INTERNAL])
    assert sent == sorted(set(reasons.ErrorReason.values()) - {reasons.ERROR_REASON_UNSPECIFIED})
