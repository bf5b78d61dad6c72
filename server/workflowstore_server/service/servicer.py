"""The only place that knows what each RPC does: validate, decode, call, encode, reply."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc

from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1 import workflow_store_pb2_grpc
from workflowstore_server.codec import message, token
from workflowstore_server.index import Index
from workflowstore_server.model.state import Durability, WorkflowView
from workflowstore_server.service import validation
from workflowstore_server.store import StateStore

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What a server knows of itself beyond its buckets."""

    server_version: str
    nats_server_version: str
    nats_embedded: bool
    durability: Durability


class Servicer(workflow_store_pb2_grpc.WorkflowStoreServicer):
    """The service over one store and one index a bucket. The first store is meant by an empty bucket name."""

    def __init__(
        self,
        stores: Mapping[str, StateStore],
        indexes: Mapping[str, Index],
        about: Callable[[], About],
        time_ns: Callable[[], int],
    ) -> None:
        self._stores = stores
        self._indexes = indexes
        self._default = next(iter(stores))
        self._about = about
        self._time_ns = time_ns

    async def Save(self, request: pb.SaveRequest, context: Context) -> pb.SaveResponse:  # noqa: N802
        validation.check_save(request, self._stores)
        state = message.decode_state(request.state, self._time_ns())
        expected_revision = request.expected_revision if request.HasField("expected_revision") else None
        revision = await self._store(request.bucket).save(state, expected_revision)
        return pb.SaveResponse(
            revision=revision,
            created_at=message.timestamp(state.created_at_ns),
            updated_at=message.timestamp(state.updated_at_ns),
        )

    async def Load(self, request: pb.LoadRequest, context: Context) -> pb.LoadResponse:  # noqa: N802
        validation.check_load(request, self._stores)
        view = message.VIEW.get(request.view, WorkflowView.FULL)
        stored = await self._store(request.bucket).load(request.workflow_id)
        return pb.LoadResponse(state=message.encode_state(stored, view))

    # In bytes, as they go over the wire: the index has the states so.
    async def List(  # type: ignore[override]  # noqa: N802
        self, request: pb.ListRequest, context: Context
    ) -> AsyncGenerator[bytes]:
        validation.check_list(request, self._stores)
        selection = message.decode_selection(request, request.bucket or self._default)
        after = validation.position(request, selection)
        view = message.VIEW.get(request.view, WorkflowView.SUMMARY)
        chunks = self._index(request.bucket).chunks(selection, view, request.limit, after)
        async with aclosing(chunks):
            async for chunk in chunks:
                next_page_token = token.encode(chunk.position, selection) if chunk.position is not None else ""
                yield message.encode_chunk(chunk.states, chunk.malformed, chunk.store_revision, next_page_token)

    async def Count(self, request: pb.CountRequest, context: Context) -> pb.CountResponse:  # noqa: N802
        validation.check_count(request, self._stores)
        wanted, group_by = message.decode_filter(request.filter), message.decode_group_by(request)
        counted = await self._index(request.bucket).count(wanted, group_by, request.label)
        return message.encode_count(counted)

    async def Delete(self, request: pb.DeleteRequest, context: Context) -> pb.DeleteResponse:  # noqa: N802
        validation.check_delete(request, self._stores)
        expected_revision = request.expected_revision if request.HasField("expected_revision") else None
        store = self._store(request.bucket)
        existed = await store.delete(request.workflow_id, expected_revision, purge=request.purge)
        return pb.DeleteResponse(existed=existed)

    async def GetInfo(self, request: pb.GetInfoRequest, context: Context) -> pb.GetInfoResponse:  # noqa: N802
        validation.check_get_info(request, self._stores)
        store = self._store(request.bucket)
        info = await store.info()
        about = self._about()
        return pb.GetInfoResponse(
            server_version=about.server_version,
            nats_server_version=about.nats_server_version,
            nats_embedded=about.nats_embedded,
            durability=message.encode_durability(about.durability),
            buckets=list(self._stores),
            bucket=message.encode_bucket(info),
            store_revision=info.store_revision,
            document_bytes_max=store.document_bytes_max,
            index=message.encode_index(self._index(request.bucket).info(info.store_revision)),
        )

    def _store(self, bucket: str) -> StateStore:
        return self._stores[bucket or self._default]

    def _index(self, bucket: str) -> Index:
        return self._indexes[bucket or self._default]
