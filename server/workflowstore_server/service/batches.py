"""The only place that knows how a batch is made of single calls, each with a result or an error of its own."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.codec import aside, document, message
from workflowstore_server.codec.key import key_of, workflow_id_of
from workflowstore_server.codec.write_id import write_id
from workflowstore_server.index import Index
from workflowstore_server.model.errors import (
    BucketRecreated,
    Contended,
    MalformedDocument,
    Outcome,
    ReplyTooLarge,
    RevisionMismatch,
    StorageUnavailable,
    StoreError,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from workflowstore_server.model.limits import REPLY_BYTES_MAX
from workflowstore_server.model.selection import Selection, WorkflowFilter
from workflowstore_server.model.state import MalformedEntry, WorkflowView
from workflowstore_server.service import status
from workflowstore_server.store import Change, Deleted, Draft, Saved, StateStore

IMPORT_ATTEMPTS_MAX: Final = 8
"""Attempts at one document of an import. Each failure means that somebody else has written under its key meanwhile."""

BEGUN_AT_ONCE: Final = 64
"""Calls of a batch that begin in one turn of the event loop: each writes its document then."""

_T = TypeVar("_T")


async def each(calls: Iterable[Awaitable[_T]], *, repeatable: bool) -> list[_T | StoreError]:
    """Make calls at once, and return their results and failures in order.

    `repeatable` tells that what has succeeded is not done again when all of it is asked for again. Then a failure that
    passes fails the whole, for the client's gRPC to send it again: it sees no items.

    Raises: what nobody foresaw; if repeatable, StorageUnavailable and BucketRecreated.
    """
    begun = (_after(number // BEGUN_AT_ONCE, call) for number, call in enumerate(calls))
    found = await asyncio.gather(*begun, return_exceptions=True)
    for result in found:
        if isinstance(result, BaseException) and not isinstance(result, StoreError):
            raise result
        if repeatable and isinstance(result, StorageUnavailable):
            raise StorageUnavailable(result.bucket, result.detail, Outcome.UNKNOWN)
        if repeatable and isinstance(result, BucketRecreated):
            raise result
    return found  # type: ignore[return-value]


async def _after(turns: int, call: Awaitable[_T]) -> _T:
    for _ in range(turns):
        await asyncio.sleep(0)
    return await call


async def save(
    store: StateStore, drafts: Sequence[Draft], *, atomic: bool, repeatable: bool
) -> list[Saved | StoreError]:
    """Save states, apart from one another or all or none."""
    if atomic:
        return list(await store.save_together(drafts))
    return await each((store.save(*draft) for draft in drafts), repeatable=repeatable)


async def delete(
    store: StateStore, request: pb.DeleteBatchRequest, again_after: int | None
) -> list[tuple[str, Deleted | StoreError]]:
    """Delete the workflows that a request names."""
    deleted = await each(
        (
            store.delete(
                item.workflow_id,
                item.expected_revision if item.HasField("expected_revision") else None,
                purge=request.purge,
                write_id=write_id("DeleteBatch item", request.request_id, item.workflow_id),
                again_after=again_after,
            )
            for item in request.items
        ),
        repeatable=bool(request.request_id),
    )
    return list(zip((item.workflow_id for item in request.items), deleted, strict=True))


async def load(
    store: StateStore, workflow_ids: Sequence[str], view: WorkflowView, at_least: int
) -> list[pb.LoadBatchResult]:
    """Read states as of a revision or later until the reply is full; the others are told to have no room."""
    ids = {key_of(workflow_id): workflow_id for workflow_id in workflow_ids}
    found: dict[str, pb.LoadBatchResult] = {}
    size, full = 0, False
    async with aclosing(store.last_in_parts(ids, at_least)) as parts:
        async for part in parts:
            for key, change in part.items():
                is_long = aside.is_long_document(change.document or b"")
                result = await aside.run(is_long, _loaded, store.bucket, ids[key], change, view)
                result_bytes = result.ByteSize()
                if size and size + result_bytes > REPLY_BYTES_MAX:
                    full, result = True, _no_room(store.bucket, ids[key], result_bytes)
                else:
                    size += result_bytes
                found[ids[key]] = result
            if full:
                break
    for workflow_id in workflow_ids:
        if workflow_id not in found:
            found[workflow_id] = (
                _no_room(store.bucket, workflow_id, 0)
                if full
                else _not_loaded(WorkflowNotFound(store.bucket, workflow_id))
            )
    return [found[workflow_id] for workflow_id in workflow_ids]


async def delete_matching(
    store: StateStore, index: Index, wanted: WorkflowFilter, limit: int, request_id: str, *, purge: bool
) -> list[tuple[str, Deleted | StoreError]]:
    """Delete what matches, the first by workflow id, each only if it is still as it matched.

    With a request id no more than `limit` are deleted by all attempts together: each deletion is written under a number
    up to the limit, and under each number only one can be. An earlier attempt is known by its number 0, which is always
    used first, and before the others.
    """
    ids = [write_id("DeleteBatch", request_id, str(number)) for number in range(limit)]
    earlier = [await store.written(ids[0])] if request_id else []
    if earlier and earlier[0] is not None:
        earlier += await asyncio.gather(*[store.written(id_) for id_ in ids[1:]])
    used = {number: change for number, change in enumerate(earlier) if change is not None}
    results: list[tuple[str, Deleted | StoreError]] = [
        (_id_of(change.key), Deleted(True, change.revision, repeated=True)) for change in used.values()
    ]
    free = [id_ for number, id_ in enumerate(ids) if number not in used]
    if not free:
        return results
    candidates = await matching(index, store.bucket, wanted, len(free))

    async def delete(candidate: tuple[str, int], id_: str) -> Deleted:
        workflow_id, revision = candidate
        deleted = await store.delete(workflow_id, revision, purge=purge, write_id=id_)
        if deleted.repeated:
            # An attempt at the same request that runs at the same time has used the number for another workflow.
            raise Contended(store.bucket, workflow_id, 1)
        return deleted

    async def delete_all(candidates: Sequence[tuple[str, int]], ids: Sequence[str]) -> list[Deleted | StoreError]:
        pairs = zip(candidates, ids, strict=False)
        return await each((delete(candidate, id_) for candidate, id_ in pairs), repeatable=bool(request_id))

    while candidates:
        candidate, *candidates = candidates
        (result,) = await delete_all([candidate], free[:1])
        results.append((candidate[0], result))
        if isinstance(result, Deleted):
            break
    deleted = await delete_all(candidates, free[1:])
    results += [(workflow_id, result) for (workflow_id, _), result in zip(candidates, deleted, strict=False)]
    return results


async def matching(index: Index, bucket: str, wanted: WorkflowFilter, limit: int) -> list[tuple[str, int]]:
    """Return the first workflows by id that match, with their revisions."""
    found: list[tuple[str, int]] = []
    async with aclosing(index.chunks(Selection(bucket, wanted), WorkflowView.SUMMARY, limit)) as chunks:
        async for chunk in chunks:
            found += [(state.workflow_id, state.revision) for state in pb.ListResponse.FromString(chunk.states).states]
    return found


async def import_documents(
    store: StateStore, documents: Sequence[pb.StoredDocument], on_conflict: "pb.OnConflict.ValueType"
) -> list[pb.ImportResult]:
    """Store documents, each unless it is there already, or another one is and that is a conflict."""
    stored = await store.last([item.key for item in documents], (await store.position()).last_revision)
    imports = (_import(store, item, stored.get(item.key), on_conflict) for item in documents)
    results = await each(imports, repeatable=True)
    return [
        pb.ImportResult(error=status.item_error_of(result)) if isinstance(result, StoreError) else result
        for result in results
    ]


async def _import(
    store: StateStore, item: pb.StoredDocument, stored: Change | None, on_conflict: "pb.OnConflict.ValueType"
) -> pb.ImportResult:
    for _ in range(IMPORT_ATTEMPTS_MAX):
        revision = stored.revision if stored is not None else 0
        if stored is not None and stored.document is not None:
            if stored.document == item.document:
                return pb.ImportResult(outcome=pb.IMPORT_OUTCOME_UNCHANGED, revision=revision)
            if on_conflict == pb.ON_CONFLICT_SKIP:
                return pb.ImportResult(outcome=pb.IMPORT_OUTCOME_SKIPPED, revision=revision)
            if on_conflict != pb.ON_CONFLICT_OVERWRITE:
                raise WorkflowAlreadyExists(store.bucket, _id_of(item.key), revision)
        try:
            revision = await store.put(item.key, item.document, revision)
            return pb.ImportResult(outcome=pb.IMPORT_OUTCOME_WRITTEN, revision=revision)
        except RevisionMismatch:
            found = await store.last([item.key], (await store.position()).last_revision)
            stored = found.get(item.key)
    raise Contended(store.bucket, _id_of(item.key), IMPORT_ATTEMPTS_MAX)


def _loaded(bucket: str, workflow_id: str, change: Change, view: WorkflowView) -> pb.LoadBatchResult:
    if change.document is None:
        return _not_loaded(WorkflowNotFound(bucket, workflow_id))
    entry = document.entry_of(change.key, change.revision, change.document)
    if isinstance(entry, MalformedEntry):
        return _not_loaded(MalformedDocument(bucket, entry.key, entry.revision, entry.reason))
    return pb.LoadBatchResult(state=message.encode_state(entry, view))


def _no_room(bucket: str, workflow_id: str, size_bytes: int) -> pb.LoadBatchResult:
    return _not_loaded(ReplyTooLarge(bucket, workflow_id, size_bytes, REPLY_BYTES_MAX))


def _not_loaded(error: StoreError) -> pb.LoadBatchResult:
    return pb.LoadBatchResult(error=status.item_error_of(error))


def _id_of(key: str) -> str:
    """The workflow that a key stands for, or the key where it stands for none."""
    try:
        return workflow_id_of(key)
    except ValueError:
        return key
