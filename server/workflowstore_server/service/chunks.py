"""The only place that knows how the states of a List are filtered and packed into chunks."""

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from typing import Final

from workflowstore.v1.workflow_store_pb2 import ListResponse
from workflowstore_server.codec import message
from workflowstore_server.model.limits import CHUNK_BYTES_MAX, CHUNK_STATES_MAX
from workflowstore_server.model.state import MalformedEntry, WorkflowStatus, WorkflowView
from workflowstore_server.store import ScanBatch

MALFORMED_BYTES: Final = 512
"""What a malformed entry counts in a chunk: more than its key and its reason mostly have."""


async def chunks(
    batches: AsyncIterator[ScanBatch], statuses: Collection[WorkflowStatus], view: WorkflowView, limit: int
) -> AsyncGenerator[ListResponse]:
    """Yield chunks of what matches, at most `limit` states (0 = all), and at least one chunk.

    A chunk leaves when it is full or when the batch that it comes from ends, so nothing waits for more to be found.
    """
    remaining = limit or -1
    sent = False
    async for batch in batches:
        chunk, size = ListResponse(store_revision=batch.store_revision), 0
        for entry in batch.entries:
            if isinstance(entry, MalformedEntry):
                chunk.malformed.append(message.encode_malformed(entry))
                size += MALFORMED_BYTES
            elif not statuses or entry.state.status in statuses:
                state = message.encode_state(entry, view)
                state_bytes = state.ByteSize()
                if chunk.states and size + state_bytes > CHUNK_BYTES_MAX:
                    yield chunk
                    chunk, size, sent = ListResponse(store_revision=batch.store_revision), 0, True
                chunk.states.append(state)
                size += state_bytes
                remaining -= 1
            if remaining == 0 or len(chunk.states) + len(chunk.malformed) == CHUNK_STATES_MAX:
                yield chunk
                chunk, size, sent = ListResponse(store_revision=batch.store_revision), 0, True
            if remaining == 0:
                return
        if chunk.states or chunk.malformed:
            yield chunk
            sent = True
    if not sent:
        yield ListResponse(store_revision=batch.store_revision)
