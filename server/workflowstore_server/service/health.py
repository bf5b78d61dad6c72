"""The only place that knows what the health service says beyond its standard: how far the index of each bucket is."""

from collections.abc import Mapping
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2

from workflowstore_server.index import Index
from workflowstore_server.model.state import IndexInfo
from workflowstore_server.service.access import Gate

TOLD_MAX: Final = 32
"""Buckets told of, those first whose index is not ready or furthest behind: clients take 8 KiB of metadata."""

METADATA_KEY: Final = "workflowstore-index"
"""Key in the trailing metadata of Check; one value a bucket."""


class HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]
    """The standard service, whose Check also tells of the indexes, in its trailing metadata.

    It answers everybody, for probes have no tokens. Of an index it tells those who may read in its bucket.
    """

    def __init__(self, indexes: Mapping[str, Index], gate: Gate | None) -> None:
        super().__init__()
        self._indexes = indexes
        self._gate = gate

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        buckets = self._indexes if self._gate is None else self._gate.buckets_of(context)
        infos = [(bucket, self._indexes[bucket].info()) for bucket in buckets]
        worst_first = sorted(infos, key=lambda item: (item[1].ready, -item[1].lag))
        context.set_trailing_metadata(
            tuple((METADATA_KEY, described(bucket, info)) for bucket, info in worst_first[:TOLD_MAX])
        )
        return await super().Check(request, context)


def described(bucket: str, info: IndexInfo) -> str:
    """The value for a bucket, such as `bucket=orders revision=17 lag=0 ready=true`."""
    return f"bucket={bucket} revision={info.revision} lag={info.lag} ready={str(info.ready).lower()}"
