"""The only place that knows in which order and portions the revisions of a workflow are replied."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.codec import aside, document, message, rfc3339
from workflowstore_server.model.errors import WorkflowNotFound
from workflowstore_server.model.limits import CHUNK_BYTES_MAX
from workflowstore_server.model.state import WorkflowView
from workflowstore_server.store import Change, StateStore


async def chunks(
    store: StateStore, workflow_id: str, view: WorkflowView, *, newest_first: bool, limit: int
) -> AsyncGenerator[list[pb.WorkflowRevision]]:
    """Yield the revisions that the bucket keeps, at most `limit` of them (0 = all).

    Raises: WorkflowNotFound when it keeps none.
    """
    portion: list[pb.WorkflowRevision] = []
    size = found = 0
    order = _newest_first if newest_first else _oldest_first
    async with aclosing(order(store, workflow_id)) as changes:
        async for change in changes:
            is_long = aside.is_long_document(change.document or b"")
            revision = await aside.run(is_long, _encoded, change, view)
            revision_bytes = revision.ByteSize()
            if portion and size + revision_bytes > CHUNK_BYTES_MAX:
                yield portion
                portion, size = [], 0
            portion.append(revision)
            size += revision_bytes
            found += 1
            if found == limit:
                break
    if not portion:
        raise WorkflowNotFound(store.bucket, workflow_id)
    yield portion


async def _oldest_first(store: StateStore, workflow_id: str) -> AsyncGenerator[Change]:
    async with aclosing(store.revisions(workflow_id)) as changes:
        async for change in changes:
            yield change


async def _newest_first(store: StateStore, workflow_id: str) -> AsyncGenerator[Change]:
    """Turn round what the bucket hands out. Documents are kept while they are few bytes, and else read again."""
    changes: list[Change] = []
    size = 0
    async with aclosing(store.revisions(workflow_id)) as found:
        async for change in found:
            size += len(change.document or b"")
            changes.append(change if size <= CHUNK_BYTES_MAX else change._replace(document=b""))
    for change in reversed(changes):
        if change.document == b"":
            again = await store.revision(workflow_id, change.revision)
            if again is not None:
                yield again
        else:
            yield change


def _encoded(change: Change, view: WorkflowView) -> pb.WorkflowRevision:
    entry = None
    if change.document is not None:
        entry = document.entry_of(change.key, change.revision, change.document)
    return message.encode_revision(change.revision, rfc3339.parse(change.stored_at), entry, view)
