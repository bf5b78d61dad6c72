"""Every call has an id, which its failure and the log know it by, and a bounded number of lines in the log."""

import logging
import re

import grpc
import pytest

from support.statuses import failure, stream_failure
from support.waiting import until
from workflowstore import AsyncClient, WorkflowNotFoundError, WorkflowStoreError
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.service.access_log import FAILURES_MAX, AccessLog, Logged
from workflowstore_server.service.server import Service

OK, NOT_FOUND, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE


async def test_every_failure_carries_an_id_of_its_own(stub: WorkflowStoreStub) -> None:
    unary = [await failure(stub.Load(pb.LoadRequest(workflow_id="none"))) for _ in range(2)]
    _, stream = await stream_failure(stub.List(pb.ListRequest(page_token="wrong")))

    ids = [found.request_info.request_id for found in (*unary, stream)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", call_id) for call_id in ids)
    assert len(set(ids)) == 3


@pytest.mark.parametrize("call_id", ["order-42", "0123456789abcdef" * 4, "a:b.c_d-e"])
async def test_a_caller_may_say_what_its_call_is_called(stub: WorkflowStoreStub, call_id: str) -> None:
    request = pb.LoadRequest(workflow_id="none")

    found = await failure(stub.Load(request, metadata=(("x-request-id", call_id),)))

    assert found.request_info.request_id == call_id


@pytest.mark.parametrize("call_id", ["", "a b", 'a"b', "a[b]", "x" * 65])
async def test_what_is_no_id_is_passed_over(stub: WorkflowStoreStub, call_id: str) -> None:
    request = pb.LoadRequest(workflow_id="none")

    found = await failure(stub.Load(request, metadata=(("x-request-id", call_id),)))

    assert re.fullmatch(r"[0-9a-f]{32}", found.request_info.request_id)


async def test_the_client_shows_the_id(service: Service) -> None:
    async with AsyncClient(service.address) as client:
        with pytest.raises(WorkflowStoreError) as caught:
            await client.delete("a", expected_revision=7)
        with pytest.raises(WorkflowNotFoundError) as missing:
            await client.update("none", error="x")

    for error in (caught.value, missing.value):
        assert re.fullmatch(r"[0-9a-f]{32}", error.call_id)
        assert f"call_id={error.call_id}" in str(error)


def _lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [record.facts for record in caplog.records if hasattr(record, "facts")]


async def test_calls_are_in_the_log_without_their_ids(
    stub: WorkflowStoreStub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id="order-42")))
        await failure(stub.Load(pb.LoadRequest(workflow_id="order-43")))
        # A line is written after the status was sent.
        await until(lambda: _two_lines(caplog))

    first, second = _lines(caplog)
    assert (first["method"], first["code"]) == ("Save", "OK")
    assert (second["method"], second["code"]) == ("Load", "NOT_FOUND")
    assert "order-" not in caplog.text


async def _two_lines(caplog: pytest.LogCaptureFixture) -> bool:
    return len(_lines(caplog)) == 2


def _note(access_log: AccessLog, code: grpc.StatusCode, now: float, times: int = 1, method: str = "Load") -> None:
    for _ in range(times):
        access_log.note(method, code, 0.001, now, lambda: "ipv4:127.0.0.1:1")


def test_of_calls_that_succeed_one_a_second_is_logged_for_each_method_and_code(
    caplog: pytest.LogCaptureFixture,
) -> None:
    access_log = AccessLog(Logged.SAMPLED)
    with caplog.at_level(logging.INFO):
        _note(access_log, OK, 10.0, times=50)
        _note(access_log, NOT_FOUND, 10.0)
        _note(access_log, OK, 10.0, method="Save")
        _note(access_log, OK, 11.0)

    assert [(line["method"], line["code"], line.get("not_logged", 0)) for line in _lines(caplog)] == [
        ("Load", "OK", 0),
        ("Load", "NOT_FOUND", 0),
        ("Save", "OK", 0),
        ("Load", "OK", 49),
    ]


def test_the_errors_of_the_server_are_logged_up_to_a_bound_and_what_is_beyond_it_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    access_log = AccessLog(Logged.ERRORS)
    with caplog.at_level(logging.INFO):
        _note(access_log, OK, 10.0)
        _note(access_log, NOT_FOUND, 10.0)
        _note(access_log, UNAVAILABLE, 10.0, times=FAILURES_MAX + 7)
        _note(access_log, UNAVAILABLE, 11.0)

    lines = _lines(caplog)
    assert len(lines) == FAILURES_MAX + 1
    assert {line["code"] for line in lines} == {"UNAVAILABLE"}
    assert lines[-1]["not_logged"] == 7
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_all_calls_are_logged_or_none_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _note(AccessLog(Logged.OFF), UNAVAILABLE, 10.0, times=3)
        assert not caplog.records
        _note(AccessLog(Logged.ALL), OK, 10.0, times=3)
        assert len(caplog.records) == 3
