"""The only place that knows what each RPC does: validate, decode, call, encode, reply."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1 import workflow_store_pb2_grpc
from workflowstore_server.codec import aside, change_message, message, token
from workflowstore_server.codec.write_id import write_id
from workflowstore_server.index import Index, WatchStart, exporting
from workflowstore_server.model.errors import StoreError
from workflowstore_server.model.patch import StatePatch
from workflowstore_server.model.selection import Selection
from workflowstore_server.model.state import Consistency, Durability, WorkflowState, WorkflowView
from workflowstore_server.service import access, attempts, batches, revisions, status, validation
from workflowstore_server.store import Deleted, Draft, Saved, StateStore
from workflowstore_server.store.update import Updater

Context = grpc.aio.ServicerContext[Any, Any]

OF_THE_WHOLE_BUCKET: Final = {
    "bucket": ("revisions", "bytes"),
    "index": ("workflow_count", "malformed_count"),
    "retention": ("deleted_count", "compacted_count"),
    "room": ("low", "disk_free_bytes", "disk_reserve_bytes"),
}
"""What GetInfo tells of workflows that the caller may know nothing of."""

_T = TypeVar("_T")


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
        self._updaters = {bucket: Updater(store) for bucket, store in stores.items()}
        self._about = about
        self._time_ns = time_ns

    async def Save(self, request: pb.SaveRequest, context: Context) -> pb.SaveResponse:  # noqa: N802
        state = await _read(request, self._state_to_save)
        id_ = write_id("Save", request.request_id, state.workflow_id)
        again_after = attempts.again_after(request, context)
        saved = await self._store(request.bucket).save(state, _expected(request), id_, again_after)
        return message.encode_saved(saved.revision, saved.state)

    async def Update(self, request: pb.UpdateRequest, context: Context) -> pb.UpdateResponse:  # noqa: N802
        now_ns = self._time_ns()
        patch = await _read(request, self._patch, now_ns)
        view = message.VIEW.get(request.view, WorkflowView.FULL)
        workflow_id = request.state.workflow_id
        missing = WorkflowState(workflow_id, created_at_ns=now_ns)
        id_ = write_id("Update", request.request_id, workflow_id)
        updater = self._updaters[request.bucket or self._default]
        again_after = attempts.again_after(request, context)
        saved = await updater.update(patch, missing, _expected(request), id_, again_after, create=request.allow_missing)
        is_long = saved.state is not None and aside.is_long_state(saved.state)
        return await aside.run(is_long, message.encode_updated, saved.revision, saved.state, saved.document_bytes, view)

    async def Load(self, request: pb.LoadRequest, context: Context) -> pb.LoadResponse:  # noqa: N802
        validation.check_load(request, self._stores)
        view = message.VIEW.get(request.view, WorkflowView.FULL)
        store, consistency = self._store(request.bucket), _consistency(request)
        stored = await store.load(request.workflow_id, request.min_revision, consistency)
        state = await aside.run(aside.is_long_state(stored.state), message.encode_state, stored, view)
        return pb.LoadResponse(state=state)

    # In bytes, as they go over the wire: the index has the states so.
    async def List(  # type: ignore[override]  # noqa: N802
        self, request: pb.ListRequest, context: Context
    ) -> AsyncGenerator[bytes]:
        validation.check_list(request, self._stores)
        selection = message.decode_selection(request, request.bucket or self._default)
        after = validation.position(request.page_token, selection)
        view = message.VIEW.get(request.view, WorkflowView.SUMMARY)
        await self._store(request.bucket).anchor(request.min_revision, _consistency(request))
        # A token is that of what was asked for, so that it also goes on once its caller may see more or less.
        confined = replace(selection, filter=access.confined(selection.filter))
        chunks = self._index(request.bucket).chunks(confined, view, request.limit, after)
        async with aclosing(chunks):
            async for chunk in chunks:
                next_page_token = token.encode(chunk.position, selection) if chunk.position is not None else ""
                yield message.encode_chunk(chunk.states, chunk.malformed, chunk.store_revision, next_page_token)

    # In bytes, as List is.
    async def Watch(  # type: ignore[override]  # noqa: N802
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncGenerator[bytes]:
        validation.check_watch(request, self._stores)
        wanted, start = access.confined(message.decode_filter(request.filter)), _watch_start(request)
        view = message.VIEW.get(request.view, WorkflowView.SUMMARY)
        async with aclosing(self._index(request.bucket).watch(wanted, view, start)) as messages:
            async for told in messages:
                yield change_message.encode_message(
                    told.changes, told.revision, told.created_at_ns, snapshot_complete=told.snapshot_complete
                )

    async def Count(self, request: pb.CountRequest, context: Context) -> pb.CountResponse:  # noqa: N802
        validation.check_count(request, self._stores)
        wanted = access.confined(message.decode_filter(request.filter))
        group_by = message.decode_group_by(request)
        await self._store(request.bucket).anchor(request.min_revision, _consistency(request))
        counted = await self._index(request.bucket).count(wanted, group_by, request.label)
        return message.encode_count(counted)

    async def Delete(self, request: pb.DeleteRequest, context: Context) -> pb.DeleteResponse:  # noqa: N802
        validation.check_delete(request, self._stores)
        id_ = write_id("Delete", request.request_id, request.workflow_id)
        store = self._store(request.bucket)
        again_after = attempts.again_after(request, context)
        deleted = await store.delete(
            request.workflow_id, _expected(request), purge=request.purge, write_id=id_, again_after=again_after
        )
        return pb.DeleteResponse(existed=deleted.existed, revision=deleted.revision)

    async def ListRevisions(  # noqa: N802
        self, request: pb.ListRevisionsRequest, context: Context
    ) -> AsyncGenerator[pb.ListRevisionsResponse]:
        validation.check_list_revisions(request, self._stores)
        view = message.VIEW.get(request.view, WorkflowView.FULL)
        store = self._store(request.bucket)
        found = revisions.chunks(
            store, request.workflow_id, view, newest_first=request.newest_first, limit=request.limit
        )
        async with aclosing(found):
            async for chunk in found:
                yield pb.ListRevisionsResponse(revisions=chunk)

    async def SaveBatch(self, request: pb.SaveBatchRequest, context: Context) -> pb.SaveBatchResponse:  # noqa: N802
        drafts = await _read(request, self._drafts, attempts.again_after(request, context))
        results = await batches.save(
            self._store(request.bucket), drafts, atomic=request.atomic, repeatable=bool(request.request_id)
        )
        return pb.SaveBatchResponse(results=[_saved_result(result) for result in results])

    async def LoadBatch(self, request: pb.LoadBatchRequest, context: Context) -> pb.LoadBatchResponse:  # noqa: N802
        validation.check_load_batch(request, self._stores)
        view = message.VIEW.get(request.view, WorkflowView.FULL)
        store = self._store(request.bucket)
        at_least = await store.anchor(request.min_revision, _consistency(request))
        results = await batches.load(store, request.workflow_ids, view, at_least)
        return pb.LoadBatchResponse(results=results)

    async def DeleteBatch(self, request: pb.DeleteBatchRequest, context: Context) -> pb.DeleteBatchResponse:  # noqa: N802
        validation.check_delete_batch(request, self._stores)
        store, index = self._store(request.bucket), self._index(request.bucket)
        if not request.HasField("filter"):
            results = await batches.delete(store, request, attempts.again_after(request, context))
            return pb.DeleteBatchResponse(results=[_deleted_result(*result) for result in results])
        wanted = access.confined(message.decode_filter(request.filter))
        if request.dry_run:
            found = await batches.matching(index, store.bucket, wanted, request.limit)
            results = [(workflow_id, Deleted(existed=True)) for workflow_id, _ in found]
        else:
            results = await batches.delete_matching(
                store, index, wanted, request.limit, access.own(request.request_id), purge=request.purge
            )
        left = await index.count(wanted)
        return pb.DeleteBatchResponse(
            results=[_deleted_result(*result) for result in results], remaining_count=left.count
        )

    async def Export(  # noqa: N802
        self, request: pb.ExportRequest, context: Context
    ) -> AsyncGenerator[pb.ExportResponse]:
        validation.check_export(request, self._stores)
        selection = Selection(request.bucket or self._default, message.decode_filter(request.filter))
        after = validation.position(request.page_token, selection)
        confined = replace(selection, filter=access.confined(selection.filter))
        chunks = exporting.documents(self._index(request.bucket), confined, after)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield pb.ExportResponse(
                    documents=[
                        pb.StoredDocument(key=change.key, revision=change.revision, document=change.document or b"")
                        for change in chunk.changes
                    ],
                    next_page_token=token.encode(chunk.position, selection) if chunk.position is not None else "",
                    store_revision=chunk.store_revision,
                )

    async def Import(self, request: pb.ImportRequest, context: Context) -> pb.ImportResponse:  # noqa: N802
        await _read(request, validation.check_import, self._stores)
        results = await batches.import_documents(self._store(request.bucket), request.documents, request.on_conflict)
        return pb.ImportResponse(results=results)

    async def GetInfo(self, request: pb.GetInfoRequest, context: Context) -> pb.GetInfoResponse:  # noqa: N802
        validation.check_get_info(request, self._stores)
        store, index = self._store(request.bucket), self._index(request.bucket)
        info = await store.info()
        about = self._about()
        reply = pb.GetInfoResponse(
            server_version=about.server_version,
            nats_server_version=about.nats_server_version,
            nats_embedded=about.nats_embedded,
            durability=message.encode_durability(about.durability),
            buckets=access.visible(self._stores),
            bucket=message.encode_bucket(info),
            store_revision=info.store_revision,
            document_bytes_max=store.document_bytes_max,
            room=message.encode_room(store.room),
            index=message.encode_index(index.info(info.store_revision)),
            retention=message.encode_retention(index.janitor.info()),
        )
        if not access.sees_all_of_the_bucket():
            for part, fields in OF_THE_WHOLE_BUCKET.items():
                for field in fields:
                    getattr(reply, part).ClearField(field)
        return reply

    def _state_to_save(self, request: pb.SaveRequest) -> WorkflowState:
        validation.check_save(request, self._stores)
        return message.decode_state(request.state, self._time_ns())

    def _patch(self, request: pb.UpdateRequest, now_ns: int) -> StatePatch:
        validation.check_update(request, self._stores)
        return message.decode_patch(request, now_ns)

    def _drafts(self, request: pb.SaveBatchRequest, again_after: int | None) -> list[Draft]:
        validation.check_save_batch(request, self._stores)
        now_ns = self._time_ns()
        method = "SaveBatch atomic" if request.atomic else "SaveBatch"
        return [
            Draft(
                message.decode_state(item.state, now_ns),
                _expected(item),
                write_id(method, request.request_id, item.state.workflow_id),
                again_after,
            )
            for item in request.items
        ]

    def _store(self, bucket: str) -> StateStore:
        return self._stores[bucket or self._default]

    def _index(self, bucket: str) -> Index:
        return self._indexes[bucket or self._default]


async def _read(request: Message, read: Callable[..., _T], *more: Any) -> _T:
    """Validate a request, and make of it what the store takes; not in the event loop if it is long."""
    return await aside.run(aside.is_long_message(request.ByteSize()), read, request, *more)


def _expected(
    request: pb.SaveRequest | pb.UpdateRequest | pb.DeleteRequest | pb.SaveBatchItem | pb.DeleteBatchItem,
) -> int | None:
    return request.expected_revision if request.HasField("expected_revision") else None


def _consistency(request: pb.LoadRequest | pb.LoadBatchRequest | pb.ListRequest | pb.CountRequest) -> Consistency:
    return message.CONSISTENCY.get(request.consistency, Consistency.SESSION)


def _saved_result(result: Saved | StoreError) -> pb.SaveBatchResult:
    if isinstance(result, StoreError):
        return pb.SaveBatchResult(error=status.item_error_of(result))
    saved = message.encode_saved(result.revision, result.state)
    return pb.SaveBatchResult(
        revision=saved.revision,
        created_at=saved.created_at if saved.HasField("created_at") else None,
        updated_at=saved.updated_at if saved.HasField("updated_at") else None,
    )


def _deleted_result(workflow_id: str, result: Deleted | StoreError) -> pb.DeleteBatchResult:
    if isinstance(result, StoreError):
        return pb.DeleteBatchResult(workflow_id=workflow_id, error=status.item_error_of(result))
    return pb.DeleteBatchResult(workflow_id=workflow_id, existed=result.existed, revision=result.revision)


def _watch_start(request: pb.WatchRequest) -> WatchStart:
    if request.WhichOneof("start") != "after_revision":
        return WatchStart(snapshot=request.snapshot)
    made = message.timestamp_ns(request.bucket_created_at) if request.HasField("bucket_created_at") else None
    return WatchStart(request.after_revision, made)
