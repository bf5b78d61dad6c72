"""Traces of whole servers: a caller's goes on to NATS and to the index; without being asked nothing is imported."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from support.nats_server import NatsServer
from support.service_process import ENVIRONMENT
from support.statuses import failure
from support.waiting import until
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb

from .conftest import calling  # type: ignore[import-not-found]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SERVICE = "workflowstore.v1.WorkflowStore"


class Collector:
    """Takes traces as OTLP over HTTP, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.bodies = b""
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    collector.take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, body: bytes) -> None:
        self.bodies += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            self.services.add(attributes["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def of(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace by their names."""
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace_id}

    async def has(self, trace_id: str, *names: str) -> dict[str, Span]:
        async def found() -> dict[str, Span] | None:
            spans = self.of(trace_id)
            return spans if spans.keys() >= set(names) else None

        spans = await until(found)
        assert spans is not None
        return spans

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    """Has the servers of the test send traces, soon."""
    monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setitem(ENVIRONMENT, "OTEL_BSP_SCHEDULE_DELAY", "50")


def _parent(trace_id: str = TRACE, flags: str = "01") -> tuple[tuple[str, str], ...]:
    return (("traceparent", f"00-{trace_id}-{PARENT}-{flags}"),)


def _save(workflow_id: str) -> pb.SaveRequest:
    return pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=workflow_id, error="hunter2"))


@pytest.mark.usefixtures("traced")
async def test_the_trace_of_a_save_goes_on_to_nats_and_to_the_index(serve: Any, collector: Collector) -> None:
    async with calling(serve().address) as caller:
        await until(caller.serving)
        await caller.stub.Save(_save("order-42"), metadata=_parent())
        await caller.revisions()

        spans = await collector.has(TRACE, f"{SERVICE}/Save", "nats publish", "index apply")

    call, publish, apply = (spans[name] for name in (f"{SERVICE}/Save", "nats publish", "index apply"))
    assert call.parent_span_id.hex() == PARENT
    assert call.kind == Span.SPAN_KIND_SERVER
    assert publish.parent_span_id == call.span_id
    assert apply.parent_span_id == publish.span_id
    assert collector.services == {"workflowstore"}
    assert b"order-42" not in collector.bodies
    assert b"hunter2" not in collector.bodies


@pytest.mark.usefixtures("traced")
async def test_a_load_that_shares_its_request_and_a_failure_are_seen(serve: Any, collector: Collector) -> None:
    async with calling(serve().address) as caller:
        await until(caller.serving)
        found = await failure(caller.stub.Load(pb.LoadRequest(workflow_id="none"), metadata=_parent()))
        spans = await collector.has(TRACE, f"{SERVICE}/Load", "nats read")

    call = spans[f"{SERVICE}/Load"]
    assert {pair.key: pair.value.int_value for pair in call.attributes}["rpc.grpc.status_code"] == 5
    assert call.status.code == Status.STATUS_CODE_UNSET, "that there is no workflow is no error of the server's"
    assert spans["nats read"].parent_span_id == call.span_id
    assert found.request_info.request_id == TRACE


@pytest.mark.usefixtures("traced")
async def test_what_its_caller_does_not_sample_is_not_traced_and_leaves_no_header(
    serve: Any, collector: Collector, nats_server: NatsServer
) -> None:
    other = "a" * 32
    server = serve("--nats-url", nats_server.url)
    async with calling(server.address) as caller:
        await until(caller.serving)
        await caller.stub.Save(_save("a"), metadata=_parent(other, "00"))
        await caller.stub.Save(_save("b"), metadata=_parent())
        await collector.has(TRACE, f"{SERVICE}/Save")

    assert not collector.of(other)
    async with await nats.connect(nats_server.url) as client:
        bucket = await client.jetstream().key_value("beluga_workflows")
        # Who reads the bucket otherwise sees the documents as ever.
        assert (await bucket.get("b")).value.startswith(b'{"')
        messages = [await client.jetstream().get_msg("KV_beluga_workflows", seq) for seq in (1, 2)]
    assert [(message.headers or {}).get("traceparent", "")[:35] for message in messages] == ["", f"00-{TRACE}"]


@pytest.mark.usefixtures("traced")
async def test_headers_that_others_have_written_do_no_harm(
    serve: Any, collector: Collector, nats_server: NatsServer
) -> None:
    server = serve("--nats-url", nats_server.url)
    async with calling(server.address) as caller, await nats.connect(nats_server.url) as client:
        await until(caller.serving)
        for number, header in enumerate(("", "x" * 1000, "00-0-0-01", f"00-{'0' * 32}-{'0' * 16}-01")):
            subject = f"$KV.beluga_workflows.w{number}"
            await client.jetstream().publish(subject, b"{}", headers={"traceparent": header})
        await caller.stub.Save(_save("a"), metadata=_parent())
        assert await caller.revisions() == {"a": 5}
        spans = await collector.has(TRACE, "index apply")

    assert len([span for span in collector.spans if span.name == "index apply"]) == 1, spans.keys()


async def test_opentelemetry_is_imported_when_traces_are_asked_for_and_not_before(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in its place where it is not installed, and notes who asks for it."""
    asked = tmp_path / "asked"
    program = f"open({str(asked)!r}, 'w'); raise ModuleNotFoundError(name='opentelemetry')"
    (tmp_path / "opentelemetry.py").write_text(program)
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path))
    server = serve("--metrics-listen", "127.0.0.1:0")
    async with calling(server.address) as caller:
        await caller.save("a")
    assert not asked.exists()
    server.kill()

    monkeypatch.setitem(ENVIRONMENT, "OTEL_TRACES_EXPORTER", "otlp")
    server = serve()
    async with calling(server.address) as caller:
        await caller.save("a")
    assert asked.exists()
    assert 'pip install "workflowstore[otel]"' in server.log


@pytest.mark.usefixtures("traced")
async def test_a_collector_that_is_away_costs_no_call_and_no_stop(serve: Any, collector: Collector) -> None:
    collector.close()
    server = serve()
    async with calling(server.address) as caller:
        for _ in range(3):
            await caller.stub.Save(_save("a"), metadata=_parent())
        assert (await failure(caller.stub.Load(pb.LoadRequest(workflow_id="b")))).code is grpc.StatusCode.NOT_FOUND
    server.process.terminate()

    assert server.wait() == 0
