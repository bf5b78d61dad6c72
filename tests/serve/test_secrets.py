"""Secrets and payloads are never logged: planted in whatever a caller or an operator hands over, and looked for."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest

from support.nats_server import NatsServer
from support.statuses import rest
from support.waiting import until
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb

from .conftest import Caller, calling  # type: ignore[import-not-found]

PLANTED = "hunter2"
"""Part of every secret below."""

PASSWORD = f"{PLANTED}-password"


def _state(workflow_id: str, **fields: Any) -> state_pb.WorkflowState:
    planted: dict[str, Any] = {
        "input_json": json.dumps({"card": f"{PLANTED}-input"}),
        "result_json": f'"{PLANTED}-result"',
        "error": f"{PLANTED}-error",
        "labels": {f"{PLANTED}-label": f"{PLANTED}-value"},
        "history": [
            state_pb.HistoryEvent(
                id=1,
                input_json=f'"{PLANTED}-event"',
                error=f"{PLANTED}-event-error",
                signal_payload_json=f'"{PLANTED}-signal"',
            )
        ],
    }
    return state_pb.WorkflowState(workflow_id=workflow_id, **planted | fields)


METADATA = (
    ("authorization", f"Bearer {PLANTED}-token"),
    ("cookie", f"{PLANTED}-cookie"),
    ("x-request-id", f"{PLANTED} is no id"),
)


async def _succeed(caller: Caller) -> None:
    stub, planted = caller.stub, {"metadata": METADATA}
    await stub.Save(pb.SaveRequest(state=_state("a")), **planted)
    planted_state = state_pb.WorkflowState(workflow_id="a", error=f"{PLANTED}-error", input_json=f'"{PLANTED}"')
    update = pb.UpdateRequest(state=planted_state, update_mask={"paths": ["error", "input_json"]})
    update.set_labels[f"{PLANTED}-label"] = f"{PLANTED}-value"
    await stub.Update(update, **planted)
    await stub.SaveBatch(pb.SaveBatchRequest(items=[{"state": _state("b")}, {"state": _state("c")}]), **planted)
    await stub.Load(pb.LoadRequest(workflow_id="a"), **planted)
    await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=["a", "none"]), **planted)
    wanted = {"labels": {f"{PLANTED}-label": f"{PLANTED}-value"}}
    for stream in (
        stub.List(pb.ListRequest(filter=wanted, view=state_pb.WORKFLOW_VIEW_FULL), **planted),
        stub.ListRevisions(pb.ListRevisionsRequest(workflow_id="a"), **planted),
        stub.Export(pb.ExportRequest(), **planted),
    ):
        assert [message async for message in rest(stream)]
    watch = stub.Watch(pb.WatchRequest(filter=wanted, snapshot=True), **planted)
    await watch.read()
    watch.cancel()
    await stub.Count(pb.CountRequest(filter=wanted), **planted)
    await stub.Delete(pb.DeleteRequest(workflow_id="c"), **planted)


async def _fail(caller: Caller, client: Any) -> set[grpc.StatusCode]:
    """Fail in all the ways that a caller can bring about; return the codes."""
    stub = caller.stub
    await client.jetstream().publish("$KV.beluga_workflows.bad", f'{{"WorkflowID": "{PLANTED}", "Input": {{'.encode())
    requests = (
        stub.Save(pb.SaveRequest(state=_state("a", input_json=f"{{{PLANTED}: 1}}"))),
        stub.Save(pb.SaveRequest(state=_state("a", labels={"": f"{PLANTED}-value"}))),
        stub.Save(pb.SaveRequest(state=_state("a", input_json=f'"{PLANTED * 700_000}"'))),
        stub.Save(pb.SaveRequest(state=_state("a"), expected_revision=0)),
        stub.Save(pb.SaveRequest(state=_state("a"), expected_revision=1, request_id=f"{PLANTED}-request")),
        stub.Load(pb.LoadRequest(workflow_id="bad")),
        stub.Load(pb.LoadRequest(workflow_id="a", bucket=f"{PLANTED}-bucket")),
        stub.Load(pb.LoadRequest(workflow_id="none")),
        stub.List(pb.ListRequest(page_token=f"{PLANTED}-page-token")).read(),
        stub.Watch(pb.WatchRequest(after_revision=1 << 40)).read(),
        stub.Import(pb.ImportRequest(documents=[{"key": "d", "document": f"{{{PLANTED}".encode()}])),
        _raw(caller, f"{PLANTED} is no message".encode()),
    )
    codes = set()
    for request in requests:
        try:
            await asyncio.wait_for(request, 20)
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
    return codes


async def _raw(caller: Caller, request: bytes) -> Any:
    call = caller.channel.unary_unary("/workflowstore.v1.WorkflowStore/Save")
    return await call(request)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server that wants a password."""
    (tmp_path / "nats").mkdir()
    server = NatsServer(tmp_path / "nats", authorization={"user": "service", "password": PASSWORD})
    yield server
    if server.process.returncode is None:
        server.stop()


async def test_nothing_that_is_secret_and_no_payload_is_ever_logged(serve: Any, guarded: NatsServer) -> None:
    url = guarded.url.replace("//", f"//service:{PASSWORD}@")
    server = serve(
        "--nats-url", url, "--log-level", "debug", "--log-format", "json", "--access-log", "all", "--retention",
        "completed=1s", "--metrics-listen", "127.0.0.1:0",
    )  # fmt: skip
    async with calling(server.address) as caller:
        await until(caller.serving)
        await _succeed(caller)
        async with await nats.connect(url) as client:
            codes = await _fail(caller, client)
        guarded.kill()
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.stub.Save(pb.SaveRequest(state=_state("a")), metadata=METADATA)

        async def told() -> bool:
            return "cannot connect to NATS" in server.log

        await until(told)
    server.kill()

    assert codes >= {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
    }
    # There is enough in the log for something to have been found.
    logged = [json.loads(line) for line in server.log.splitlines()]
    assert {line["method"] for line in logged if "method" in line} >= {"Save", "SaveBatch", "Update", "List", "Watch"}
    assert {line["level"] for line in logged} >= {"debug", "info", "warning"}
    assert PLANTED not in server.log


@pytest.mark.parametrize(
    "options",
    [
        ("--nats-url", f"nats://service:{PASSWORD}@127.0.0.1:1"),
        ("--nats-url", f"nats://{PASSWORD}@127.0.0.1:1"),
        ("--nats-url", f"http://service:{PASSWORD}@127.0.0.1:1"),
        ("--nats-url", "NATS", "--nats-monitor-url", f"http://service:{PASSWORD}@127.0.0.1:1"),
        ("--nats-url", "NATS", "--nats-monitor-url", f"ftp://service:{PASSWORD}@127.0.0.1:1"),
    ],
)
def test_why_a_server_does_not_start_tells_no_password(
    options: tuple[str, ...], nats_server: NatsServer, serve: Any
) -> None:
    here = [nats_server.url if option == "NATS" else option for option in options]
    server = serve(*here, "--log-level", "debug", ready=False)

    assert server.wait() in (1, 2)
    assert "nats" in server.log.lower()
    assert PLANTED not in server.log
