"""Metrics of whole servers: what they tell is what the document lists, and follows what happens."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.nats_server import NatsServer
from support.service_process import ENVIRONMENT, SECONDS_MAX, ServiceProcess
from support.waiting import until
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.service import metrics_server
from workflowstore_server.service.metrics import FAMILIES
from workflowstore_server.service.metrics_server import MetricsServer

from .conftest import calling  # type: ignore[import-not-found]

ROOT = Path(__file__).parents[2]
FREE = ("--metrics-listen", "127.0.0.1:0")
OF_HISTOGRAMS = {"le"}


class Scrape:
    """What one look at the metrics has shown."""

    def __init__(self, server: ServiceProcess) -> None:
        url = re.search(r"metrics are at (http://\S+)", server.log)
        assert url is not None, server.log
        with urllib.request.urlopen(url[1], timeout=SECONDS_MAX) as response:
            self.families: list[Metric] = list(text_string_to_metric_families(response.read().decode()))

    def __call__(self, name: str, **labels: str) -> float:
        """The value of the one sample with these labels, among others."""
        (found,) = [
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return found

    def has(self, name: str, **labels: str) -> bool:
        return any(
            sample.name == name and labels.items() <= sample.labels.items()
            for family in self.families
            for sample in family.samples
        )


def _name_of(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


async def _shows(server: ServiceProcess, condition: Callable[[Scrape], bool]) -> Scrape:
    async def shown() -> Scrape | None:
        scrape = Scrape(server)
        return scrape if condition(scrape) else None

    found = await until(shown)
    assert found is not None
    return found


async def test_a_server_tells_every_metric_that_the_document_lists_and_no_other(serve: Any) -> None:
    server = serve(*FREE, "--retention", "completed=30d")
    async with calling(server.address) as caller:
        await caller.save("a")
        await caller.revisions()

    scrape = await _shows(server, lambda scrape: scrape.has("workflowstore_nats_server_memory_bytes"))

    told = {_name_of(family): (family.type, _labels(family.samples)) for family in scrape.families}
    assert told == {family.name: (family.kind, set(family.labels)) for family in FAMILIES}


def _labels(samples: Iterable[Any]) -> set[str]:
    (found,) = {frozenset(sample.labels) - OF_HISTOGRAMS for sample in samples}
    return set(found)


def test_the_document_lists_every_metric() -> None:
    table = (ROOT / "docs/metrics.md").read_text().partition("## The names\n")[2].partition("## ")[0]
    rows = [row.split(" | ") for row in re.findall(r"^\| (`.*) \|$", table, re.MULTILINE)]
    assert [
        (name.strip("`"), kind, tuple(re.findall(r"`(\w+)`", labels)), words) for name, kind, labels, words in rows
    ] == [tuple(family) for family in FAMILIES]


async def test_calls_are_counted_by_method_and_code_and_streams_while_they_are_open(serve: Any) -> None:
    server = serve(*FREE)
    async with calling(server.address) as caller:
        for workflow_id in ("a", "b"):
            await caller.save(workflow_id)
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.stub.Load(pb.LoadRequest(workflow_id="none"))
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.save("")
        await caller.revisions()
        watch = caller.stub.Watch(pb.WatchRequest(snapshot=True))
        await watch.read()
        # What is refused is told to its caller first.
        handled = "grpc_server_handled_total"
        open_ = await _shows(
            server,
            lambda scrape: (
                scrape.has(handled, grpc_method="Load", grpc_code="NotFound")
                and scrape("grpc_server_handling_seconds_count", grpc_method="Save") == 3
            ),
        )
        watch.cancel()
        ended = {"grpc_method": "Watch", "grpc_code": "Canceled"}
        closed = await _shows(
            server,
            lambda scrape: scrape.has(handled, **ended) and scrape("workflowstore_calls_running", kind="watches") == 0,
        )

    assert open_(handled, grpc_method="Save", grpc_code="OK", grpc_type="unary") == 2
    assert open_(handled, grpc_method="Save", grpc_code="InvalidArgument") == 1
    assert open_(handled, grpc_method="Load", grpc_code="NotFound") == 1
    assert open_(handled, grpc_method="List", grpc_code="OK", grpc_type="server_stream") == 1
    assert open_("grpc_server_handling_seconds_count", grpc_method="Save") == 3
    assert open_("grpc_server_msg_sent_total", grpc_method="List") >= 1
    assert open_("grpc_server_started_total", grpc_method="Watch") == 1
    assert open_("workflowstore_calls_running", kind="watches") == 1
    assert open_("workflowstore_index_watchers", bucket="beluga_workflows") == 1
    assert open_("workflowstore_nats_request_seconds_count", kind="publish") >= 2
    assert closed(handled, grpc_method="Watch", grpc_code="Canceled") == 1
    assert closed("workflowstore_calls_running", kind="watches") == 0


async def test_each_bucket_has_figures_of_its_own_malformed_entries_included(
    serve: Any, nats_server: NatsServer
) -> None:
    server = serve(*FREE, "--nats-url", nats_server.url, "--bucket", "orders", "--bucket", "other")
    client = await nats.connect(nats_server.url)
    async with calling(server.address) as caller:
        await caller.save("a")
        await client.jetstream().publish("$KV.orders.bad", b"{")
        await client.close()
        await caller.revisions()
        scrape = await _shows(server, lambda scrape: scrape("workflowstore_bucket_messages", bucket="orders") == 2)

    for name, orders, other in (
        ("bucket_revision", 2, 0), ("index_revision", 2, 0), ("index_lag", 0, 0), ("index_ready", 1, 1),
        ("index_workflows", 1, 0), ("index_malformed_entries", 1, 0), ("index_builds_total", 1, 1),
    ):  # fmt: skip
        assert scrape(f"workflowstore_{name}", bucket="orders") == orders, name
        assert scrape(f"workflowstore_{name}", bucket="other") == other, name
    assert scrape("workflowstore_build_info", nats="external", nats_server_version="2.15.1") == 1
    assert not scrape.has("workflowstore_embedded_running")
    assert not scrape.has("workflowstore_nats_server_healthy")


async def test_an_outage_of_nats_shows(serve: Any, nats_server: NatsServer) -> None:
    server = serve(*FREE, "--nats-url", nats_server.url)
    async with calling(server.address) as caller:
        await caller.save("a")
        nats_server.kill()
        lost = await _shows(
            server,
            # An index without news looks at its bucket once a second.
            lambda scrape: (
                scrape("workflowstore_nats_connect_failures_total") > 0
                and scrape("workflowstore_index_rounds_failed_total") > 0
            ),
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.save("a")
        nats_server.start()
        found = await _shows(server, lambda scrape: scrape("workflowstore_nats_connected") == 1)

    assert lost("workflowstore_nats_connected") == 0
    assert found("workflowstore_nats_reconnects_total") == 1
    assert found("grpc_server_handled_total", grpc_method="Save", grpc_code="Unavailable") == 1


async def test_what_the_embedded_server_says_of_itself_is_told_and_so_is_its_restart(serve: Any) -> None:
    server = serve(*FREE, "--data-bytes-max", "1073741824")
    healthy = await _shows(server, lambda scrape: scrape.has("workflowstore_nats_server_healthy"))
    os.kill(server.nats_server_pids[-1], signal.SIGKILL)
    restarted = await _shows(server, lambda scrape: scrape("workflowstore_embedded_restarts_total") == 1)

    assert healthy("workflowstore_nats_server_healthy") == 1
    assert healthy("workflowstore_nats_server_storage_limit_bytes") == 1073741824
    assert healthy("workflowstore_data_directory_free_bytes") > 0
    assert healthy("workflowstore_embedded_restarts_total") == 0
    assert restarted("workflowstore_embedded_running") == 1


async def test_what_is_deleted_by_age_is_counted(serve: Any) -> None:
    first = serve()
    async with calling(first.address) as caller:
        await caller.save("old", status=2, updated_at=Timestamp(seconds=1_000_000_000))
    first.signal(signal.SIGTERM)
    assert first.wait() == 0

    server = serve(*FREE, "--retention", "completed=30d,failed=30d")
    deleted = "workflowstore_retention_deleted_total"
    scrape = await _shows(server, lambda scrape: scrape(deleted, status="completed") == 1)

    assert scrape(deleted, status="failed") == 0


def test_a_port_that_is_taken_is_told_with_the_flag_that_names_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = subprocess.run(
            [sys.executable, "-m", "workflowstore_server", "serve", "--listen", "127.0.0.1:0", "--metrics-listen",
             address, "--data-dir", str(tmp_path / "data")],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
        )  # fmt: skip

    assert ended.returncode == 1
    assert f"cannot listen on {address} for metrics" in ended.stderr
    assert "--metrics-listen" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_who_says_nothing_does_not_keep_prometheus_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server._Handler, "timeout", 0.2)
    server = MetricsServer("127.0.0.1:0", CollectorRegistry())
    host, _, port = server.address.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(metrics_server.SCRAPES_MAX + 1)]
    try:
        for connection in silent:
            connection.settimeout(SECONDS_MAX)
            # It is closed from the other side: at once what is one too many, the others after their time.
            assert connection.recv(1) == b""
        with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=SECONDS_MAX) as response:
            assert response.status == 200
    finally:
        for connection in silent:
            connection.close()
        server.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_address_of_ipv6_will_do() -> None:
    server = MetricsServer("[::1]:0", CollectorRegistry())
    try:
        with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=SECONDS_MAX) as response:
            assert response.status == 200
    finally:
        server.close()
