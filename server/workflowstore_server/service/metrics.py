"""The only place that knows the names of the metrics, and where each is read when it is asked for.

The names are golden: docs/metrics.md has the same table, and the dashboard and the alerts in deploy/ use no others.
Those of calls are the ones of go-grpc-prometheus, so that dashboards which people have fit.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from workflowstore_server.embedded.server import EmbeddedServer
from workflowstore_server.index import Index
from workflowstore_server.model.durations import BOUNDS_SECONDS, Durations
from workflowstore_server.service.observed import Observed
from workflowstore_server.service.servicer import About
from workflowstore_server.store.figures import FAILURES, KINDS, Fill, NatsFigures


class Family(NamedTuple):
    """One metric."""

    name: str
    kind: str
    """counter, gauge or histogram."""
    labels: tuple[str, ...]
    meaning: str


_CALL: Final = ("grpc_type", "grpc_service", "grpc_method")
_BUCKET: Final = ("bucket",)

FAMILIES: Final = (
    Family("workflowstore_build_info", "gauge", ("version", "nats_server_version", "nats"),
           "1; its labels say what runs. nats is embedded or external."),
    Family("grpc_server_started_total", "counter", _CALL, "Calls that have arrived."),
    Family("grpc_server_handled_total", "counter", (*_CALL, "grpc_code"), "Calls that have ended."),
    Family("grpc_server_msg_sent_total", "counter", _CALL, "Messages of streams that were sent."),
    Family("grpc_server_handling_seconds", "histogram", _CALL, "How long calls took, from arrival to end."),
    Family("workflowstore_calls_running", "gauge", ("kind",), "Calls and open streams that have a place."),
    Family("workflowstore_calls_limit", "gauge", ("kind",), "Places for them."),
    Family("workflowstore_unread_bytes", "gauge", (), "Bytes kept for readers whose streams have ended."),
    Family("workflowstore_nats_connected", "gauge", (), "1 while there is a connection to NATS."),
    Family("workflowstore_nats_reconnects_total", "counter", (), "Connections to NATS that replaced a lost one."),
    Family("workflowstore_nats_connect_failures_total", "counter", (), "Attempts to replace it that have failed."),
    Family("workflowstore_nats_request_seconds", "histogram", ("kind",), "How long answered requests to NATS took."),
    Family("workflowstore_nats_requests_failed_total", "counter", ("kind", "failure"),
           "Requests to NATS without an answer."),
    Family("workflowstore_nats_server_healthy", "gauge", (),
           "1 = the embedded nats-server says it is well; 0 = it says otherwise or nothing."),
    Family("workflowstore_nats_server_memory_bytes", "gauge", (), "Memory of the embedded nats-server."),
    Family("workflowstore_nats_server_storage_bytes", "gauge", (), "What its buckets take on disk."),
    Family("workflowstore_nats_server_storage_limit_bytes", "gauge", (), "What they may take (--data-bytes-max)."),
    Family("workflowstore_nats_server_connections", "gauge", (), "Connections to it."),
    Family("workflowstore_nats_server_slow_consumers_total", "counter", (),
           "Connections that it has closed because they did not read."),
    Family("workflowstore_embedded_running", "gauge", (), "1 while the process of the embedded nats-server is there."),
    Family("workflowstore_embedded_restarts_total", "counter", (), "Starts of it after the first."),
    Family("workflowstore_data_directory_free_bytes", "gauge", (), "Free space on the disk of --data-dir."),
    Family("workflowstore_data_directory_size_bytes", "gauge", (), "Size of that disk."),
    Family("workflowstore_bucket_revision", "gauge", _BUCKET, "Newest revision of the bucket."),
    Family("workflowstore_bucket_messages", "gauge", _BUCKET, "Messages in the bucket."),
    Family("workflowstore_bucket_bytes", "gauge", _BUCKET, "Bytes of the bucket."),
    Family("workflowstore_bucket_limit_bytes", "gauge", _BUCKET, "Bytes that it may have; 0 = no limit of its own."),
    Family("workflowstore_index_revision", "gauge", _BUCKET, "Revision up to which the index reflects the bucket."),
    Family("workflowstore_index_lag", "gauge", _BUCKET, "Revisions that the index is behind the bucket."),
    Family("workflowstore_index_ready", "gauge", _BUCKET, "1 while the index can answer."),
    Family("workflowstore_index_round_age_seconds", "gauge", _BUCKET,
           "Time since the index was last known to be up to date."),
    Family("workflowstore_index_rounds_total", "counter", _BUCKET, "Rounds of the index that have succeeded."),
    Family("workflowstore_index_rounds_failed_total", "counter", _BUCKET, "Rounds of the index that have failed."),
    Family("workflowstore_index_builds_total", "counter", _BUCKET, "Times that the index was built from nothing."),
    Family("workflowstore_index_workflows", "gauge", _BUCKET, "Workflows in the index."),
    Family("workflowstore_index_malformed_entries", "gauge", _BUCKET, "Documents that cannot be decoded."),
    Family("workflowstore_index_delete_markers", "gauge", _BUCKET, "Delete markers in the bucket."),
    Family("workflowstore_index_watchers", "gauge", _BUCKET, "Watches that follow the bucket."),
    Family("workflowstore_retention_deleted_total", "counter", ("bucket", "status"), "Workflows deleted by age."),
    Family("workflowstore_retention_delete_markers_removed_total", "counter", _BUCKET, "Delete markers removed."),
    Family("workflowstore_retention_passes_failed_total", "counter", _BUCKET,
           "Passes of the retention that have failed."),
    Family("process_cpu_seconds_total", "counter", (), "Processor time of this process."),
    Family("process_resident_memory_bytes", "gauge", (), "Its resident memory."),
    Family("process_virtual_memory_bytes", "gauge", (), "Its virtual memory."),
    Family("process_open_fds", "gauge", (), "Files and connections that it has open."),
    Family("process_max_fds", "gauge", (), "How many it may open."),
    Family("process_start_time_seconds", "gauge", (), "When it was started, since 1970."),
)  # fmt: skip
"""Every metric there is. Those of the process come from prometheus-client, on Linux."""

_FAMILY: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}

_CODE_NAMES: Final = {"OK": "OK", "CANCELLED": "Canceled"}
"""Those that are not spelled as the others are."""

_Sample = tuple[str, tuple[str, ...], float | Durations]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures are."""

    about: Callable[[], About]
    observed: Observed
    nats: NatsFigures
    fills: Callable[[], Mapping[str, Fill]]
    """How full the buckets are."""
    indexes: Mapping[str, Index]
    embedded: EmbeddedServer | None
    data_directory: Path | None
    """None = nothing is kept there."""


def registry(sources: Sources) -> CollectorRegistry:
    """What is asked for the metrics."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    made.register(_Figures(sources))
    return made


class _Figures(Collector):
    """Reads the figures when it is asked, in the thread that asks, while the event loop goes on counting."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Nothing: whoever registers it need not collect first to learn the names."""
        return ()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        found = {
            family.name: _FAMILY[family.kind](family.name, family.meaning, labels=family.labels)
            for family in FAMILIES
            if not family.name.startswith("process_")
        }
        for name, labels, value in chain(self._all_calls(), self._nats(), self._disk(), self._buckets()):
            if isinstance(value, Durations):
                counts = list(accumulate(value.counts))
                bounds = [*(str(bound) for bound in BOUNDS_SECONDS), "+Inf"]
                found[name].add_metric(labels, list(zip(bounds, counts, strict=True)), value.sum_seconds)
            else:
                found[name].add_metric(labels, value)
        yield from found.values()

    def _all_calls(self) -> Iterator[_Sample]:
        about, calls = self._sources.about(), self._sources.observed.running
        nats = "embedded" if about.nats_embedded else "external"
        yield "workflowstore_build_info", (about.server_version, about.nats_server_version, nats), 1
        for method in self._sources.observed.methods:
            labels = "server_stream" if method.streams else "unary", method.service, method.name
            yield "grpc_server_started_total", labels, method.started
            # Others are added meanwhile.
            for code, count in dict(method.ended).items():
                yield "grpc_server_handled_total", (*labels, _code_name(code.name)), count
            yield "grpc_server_handling_seconds", labels, method.durations
            if method.streams:
                yield "grpc_server_msg_sent_total", labels, method.messages_sent
        for budget in (calls.arriving, calls.unary, calls.lists, calls.watches):
            yield "workflowstore_calls_running", (budget.name,), len(budget.running)
            yield "workflowstore_calls_limit", (budget.name,), budget.limit
        yield "workflowstore_unread_bytes", (), calls.unread_bytes

    def _nats(self) -> Iterator[_Sample]:
        nats = self._sources.nats
        yield "workflowstore_nats_connected", (), nats.connected
        yield "workflowstore_nats_reconnects_total", (), max(0, nats.connections_made - 1)
        yield "workflowstore_nats_connect_failures_total", (), nats.attempts_failed
        for kind in KINDS:
            yield "workflowstore_nats_request_seconds", (kind,), nats.answered[kind]
            for failure in FAILURES:
                yield "workflowstore_nats_requests_failed_total", (kind, failure), nats.failed[kind, failure]
        if nats.healthy is not None:
            yield "workflowstore_nats_server_healthy", (), nats.healthy
        if (server := nats.server) is not None:
            yield "workflowstore_nats_server_memory_bytes", (), server.memory_bytes
            yield "workflowstore_nats_server_storage_bytes", (), server.storage_bytes
            yield "workflowstore_nats_server_storage_limit_bytes", (), server.storage_bytes_max
            yield "workflowstore_nats_server_connections", (), server.connections
            yield "workflowstore_nats_server_slow_consumers_total", (), server.slow_consumers

    def _disk(self) -> Iterator[_Sample]:
        if (embedded := self._sources.embedded) is not None:
            yield "workflowstore_embedded_running", (), embedded.running
            yield "workflowstore_embedded_restarts_total", (), max(0, embedded.starts - 1)
        if (directory := self._sources.data_directory) is not None:
            usage = shutil.disk_usage(directory)
            yield "workflowstore_data_directory_free_bytes", (), usage.free
            yield "workflowstore_data_directory_size_bytes", (), usage.total

    def _buckets(self) -> Iterator[_Sample]:
        for bucket, fill in self._sources.fills().items():
            yield "workflowstore_bucket_messages", (bucket,), fill.messages
            yield "workflowstore_bucket_bytes", (bucket,), fill.bytes
            yield "workflowstore_bucket_limit_bytes", (bucket,), fill.bytes_max
        for bucket, index in self._sources.indexes.items():
            follower, info, retention = index.follower, index.info(), index.janitor.info()
            yield "workflowstore_bucket_revision", (bucket,), follower.store_revision
            yield "workflowstore_index_revision", (bucket,), info.revision
            yield "workflowstore_index_lag", (bucket,), info.lag
            yield "workflowstore_index_ready", (bucket,), info.ready
            yield "workflowstore_index_round_age_seconds", (bucket,), time.monotonic() - follower.round_ended_at
            yield "workflowstore_index_rounds_total", (bucket,), follower.rounds_made
            yield "workflowstore_index_rounds_failed_total", (bucket,), follower.rounds_failed
            yield "workflowstore_index_builds_total", (bucket,), follower.builds_made
            yield "workflowstore_index_workflows", (bucket,), info.workflow_count
            yield "workflowstore_index_malformed_entries", (bucket,), info.malformed_count
            yield "workflowstore_index_delete_markers", (bucket,), follower.meta.markers
            yield "workflowstore_index_watchers", (bucket,), follower.watchers
            yield "workflowstore_retention_passes_failed_total", (bucket,), index.janitor.passes_failed
            yield (
                "workflowstore_retention_delete_markers_removed_total", (bucket,), retention.compacted_count,
            )  # fmt: skip
            for status, count in index.janitor.deleted.items():
                yield "workflowstore_retention_deleted_total", (bucket, status.value.lower()), count


def _code_name(name: str) -> str:
    """The name of a code as Go, and so go-grpc-prometheus, spells it: NotFound, Canceled, OK."""
    return _CODE_NAMES.get(name) or "".join(word.capitalize() for word in name.split("_"))
