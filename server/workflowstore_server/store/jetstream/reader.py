"""The only place that knows how the last messages of keys are read: gathered, from whichever replica, and new enough.

A request of its own is more than a third of the work for a Load (docs/adr/0003). A lone read leaves at once; reads that
arrive while a request is under way share the next one, and what makes sure that its answer is new enough.

Where there are several replicas each request asks for the barrier's key too. So it is never without an answer, and one
that finds nothing else tells all the same how far its replica has come.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Sequence
from itertools import islice
from typing import Final, NamedTuple

from workflowstore_server.codec.key import BARRIER_KEY
from workflowstore_server.model import current_call
from workflowstore_server.model.errors import StorageUnavailable
from workflowstore_server.model.state import Consistency
from workflowstore_server.store import Change
from workflowstore_server.store.jetstream.bucket import Bucket
from workflowstore_server.store.jetstream.freshness import Freshness, pauses
from workflowstore_server.store.jetstream.stream import BATCH_SUBJECTS_MAX, Batch

READS_MAX: Final = 256
"""Reads that share one request: a quarter of the keys that NATS takes, which keeps it small with the longest keys."""

GATHER_SECONDS: Final = 0.002
"""How long reads are gathered once they have begun to arrive faster than they are answered."""

BULK_KEYS_MAX: Final = BATCH_SUBJECTS_MAX - 1
"""Keys in one request of a bulk read, beside the barrier's."""


REQUEST_BYTES_KEPT: Final = 8192
"""Bytes of a request that are for other than the keys asked for: the barrier's key, and what is asked of them."""


class _Answer(NamedTuple):
    change: Change | None
    up_to: int
    """How far the replica had come that says so. 0 = it does not tell."""
    anchor: int
    """The revision that the reads of this request have to be of, or later, if it was the first for them."""


class _Read(NamedTuple):
    key: str
    future: "asyncio.Future[_Answer]"
    anchored: bool
    """Whether it knows already of which revision its answer has to be."""


class LastMessageReader:
    """Reads the last messages of keys from one bucket, for one consistency."""

    def __init__(self, bucket: Bucket, freshness: Freshness, consistency: Consistency) -> None:
        self._bucket = bucket
        self._freshness = freshness
        self._consistency = consistency
        self._waiting: deque[_Read] = deque()
        self._arrival = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to serve reads."""
        self._worker = asyncio.create_task(self._work(), name=f"last message reader, {self._consistency.value}")

    async def close(self) -> None:
        """Stop to serve reads; those that still wait are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for read in self._waiting:
            read.future.cancel()

    async def read(self, key: str, min_revision: int = 0) -> Change | None:
        """Return the last message of a key, as new as the consistency says, and of `min_revision` or later.

        Raises: RevisionNotReached, StorageUnavailable, BucketNotFound, BucketRecreated.
        """
        at_least: int | None = None
        marked = False
        for pause in pauses():
            answer = await self._ask(key, anchored=at_least is not None)
            if at_least is None:
                at_least = max(answer.anchor, min_revision)
            if await self._freshness.proves(answer.up_to, at_least):
                return answer.change
            if not answer.up_to and not marked:
                await self._freshness.barrier()
                marked = True
            else:
                await asyncio.sleep(pause)
        raise await self._freshness.failure(at_least or 0, min_revision)

    async def _ask(self, key: str, *, anchored: bool) -> _Answer:
        if self._worker is None or self._worker.done():
            raise StorageUnavailable(self._bucket.name, "the store is closed")
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Read(key, future, anchored))
        self._arrival.set()
        # Many calls share the request, so each sees in its trace how long it waits for it.
        with current_call.span("nats read", self._bucket.name):
            return await future

    async def _work(self) -> None:
        while True:
            if self._waiting:
                await asyncio.sleep(GATHER_SECONDS)
            else:
                self._arrival.clear()
                await self._arrival.wait()
            waiting = [read.key for read in islice(self._waiting, READS_MAX)]
            reads = [self._waiting.popleft() for _ in range(_fitting(self._bucket, waiting))]
            try:
                await self._answer(reads)
            except Exception as error:
                # It is for every one of the callers to handle.
                for read in _unanswered(reads):
                    read.future.set_exception(error)
            finally:
                # Without an answer and without a failure it was the worker that was cancelled.
                for read in _unanswered(reads):
                    read.future.cancel()

    async def _answer(self, reads: list[_Read]) -> None:
        anchor, batch = await self._first(reads)
        while True:
            found = {entry.key: entry for entry in batch.entries}
            for read in _unanswered(reads):
                # What is not found may be what the reply had no room for.
                if read.key in found or not batch.pending:
                    read.future.set_result(_Answer(found.get(read.key), batch.up_to, anchor))
            remaining = _unanswered(reads)
            if not remaining:
                return
            batch = await self._ask_bucket(remaining)

    async def _first(self, reads: list[_Read]) -> tuple[int, Batch]:
        if all(read.anchored for read in reads):
            return 0, await self._ask_bucket(reads)
        anchoring = self._freshness.anchor(self._consistency)
        if self._consistency is Consistency.LINEARIZABLE:
            # Whoever is asked before the barrier is written does not have it.
            return await anchoring, await self._ask_bucket(reads)
        return await asyncio.gather(anchoring, self._ask_bucket(reads))

    async def _ask_bucket(self, reads: list[_Read]) -> Batch:
        return await _last_messages(self._bucket, self._freshness, {read.key for read in reads})


async def last_in_parts(
    bucket: Bucket, freshness: Freshness, keys: Collection[str], at_least: int
) -> AsyncGenerator[dict[str, Change]]:
    """Yield the last messages of many keys in parts of a bounded size; see `StateStore.last_in_parts`."""
    freshness.require_direct()
    left = sorted(keys)
    while left:
        count = _fitting(bucket, left[:BULK_KEYS_MAX])
        missing, left = set(left[:count]), left[count:]
        late = pauses()
        marked = False
        while missing:
            batch = await _last_messages(bucket, freshness, missing, bulk=True)
            if freshness.replicated and batch.up_to < at_least:
                if not batch.up_to and not marked:
                    await freshness.barrier()
                    marked = True
                elif (pause := next(late, None)) is not None:
                    await asyncio.sleep(pause)
                else:
                    raise await freshness.failure(at_least, 0)
                continue
            part = {entry.key: entry for entry in batch.entries if entry.key in missing}
            if part:
                yield part
            if not batch.pending:
                break
            missing -= part.keys()


async def _last_messages(bucket: Bucket, freshness: Freshness, keys: set[str], *, bulk: bool = False) -> Batch:
    asked = {*keys, BARRIER_KEY} if freshness.replicated else keys
    return await bucket.last_messages(sorted(asked), bulk=bulk)


def _fitting(bucket: Bucket, keys: Sequence[str]) -> int:
    """How many of the keys, but at least one, NATS takes in one request."""
    room = bucket.max_payload_bytes - REQUEST_BYTES_KEPT
    for count, key in enumerate(keys):
        # In quotes, and with a comma.
        room -= len(bucket.names.subject(key).encode()) + 3
        if room < 0 and count:
            return count
    return len(keys)


def _unanswered(reads: list[_Read]) -> list[_Read]:
    # A caller that gave up has cancelled its future.
    return [read for read in reads if not read.future.done()]
