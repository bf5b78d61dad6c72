"""The only place that knows how it is made sure that an answer about a bucket is not older than it may be.

A bucket with one copy has no other answer than the newest. With more copies any of them may lag behind, and one that
was the leader a moment ago may not know yet that it is no longer. What no clock and no leader has to be trusted for
(docs/adr/0012): a copy that has come to a revision has everything up to it, so an answer that names how far its copy
had come proves itself; and a write that is acknowledged comes after every write that was acknowledged before it.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from workflowstore_server.codec.key import BARRIER_KEY
from workflowstore_server.model.errors import BucketConfiguration, RevisionNotReached, StorageUnavailable, StoreError
from workflowstore_server.model.state import Consistency
from workflowstore_server.store.jetstream import stream
from workflowstore_server.store.jetstream.bucket import Bucket
from workflowstore_server.store.jetstream.stream import StreamInfo

log = logging.getLogger(__name__)

PAUSE_SECONDS_MIN: Final = 0.001
"""Pause before a copy that lags behind is asked again: as long as it takes to hear of a write in a healthy cluster. It
doubles each time."""

PAUSE_SECONDS_MAX: Final = 0.05

LATE_ATTEMPTS_MAX: Final = 40
"""How often a copy that lags behind is asked: for 1.8 s of pauses in all, well within a caller's patience."""


class Freshness:
    """Tells how new an answer about one bucket has to be."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._turn = asyncio.Lock()
        self._begun = 0
        self._ended: tuple[int, int | StoreError] = (0, 0)
        """The number of the barrier that ended last, and its revision or its failure."""

    @property
    def replicated(self) -> bool:
        """Whether there is more than one copy that could answer."""
        return self._bucket.described.config.num_replicas > 1

    @property
    def provable(self) -> bool:
        """Whether a barrier can tell more than the first answer does."""
        return self.replicated and self._bucket.described.config.allow_direct

    async def anchor(self, consistency: Consistency, min_revision: int = 0) -> int:
        """Return the revision that an answer must be of, or of a later one. 0 = any answer will do.

        Raises: RevisionNotReached, BucketConfiguration, StorageUnavailable.
        """
        if not self.replicated or consistency is Consistency.ANY_REPLICA:
            if min_revision > self._bucket.floor_revision:
                await self.position(min_revision)
            return min_revision
        if consistency is Consistency.LINEARIZABLE:
            self.require_direct()
            return max(await self.barrier(), min_revision)
        return (await self.position(min_revision)).state.last_seq

    def require_direct(self) -> None:
        """Raises: BucketConfiguration, unless the bucket allows direct reads."""
        if not self._bucket.described.config.allow_direct:
            remedy = f"nats stream edit {self._bucket.names.stream} --allow-direct"
            raise BucketConfiguration(self._bucket.name, "allow_direct=false", remedy)

    async def position(self, min_revision: int = 0) -> StreamInfo:
        """Return where the bucket stands by the word of its leader, once that is not behind what is known here.

        Raises: RevisionNotReached, BucketNotFound, BucketRecreated, StorageUnavailable.
        """
        for pause in pauses():
            at_least = max(self._bucket.floor_revision, min_revision) if self.replicated else min_revision
            described = await self._bucket.describe()
            if described.state.last_seq >= at_least:
                return described
            if not self.replicated:
                break
            await asyncio.sleep(pause)
        raise await self.failure(at_least, min_revision)

    async def proves(self, up_to: int, at_least: int) -> bool:
        """Whether an answer of a copy that had come `up_to` a revision is as new as it must be. 0 = it does not say.

        Raises: RevisionNotReached, when there is no newer answer to wait for.
        """
        if up_to >= at_least:
            return True
        if not self.replicated and at_least > self._bucket.floor_revision:
            await self.position(at_least)
        return not self.replicated

    async def barrier(self) -> int:
        """Write what says nothing and return its revision: whatever was acknowledged before the call comes before it.

        All who come while one is being written share the next one. It is a delete marker under a key that no workflow
        has, which readers of a bucket pass over, and takes the place of the one before it.

        Raises: StorageUnavailable, BucketNotFound, BucketRecreated.
        """
        number = self._begun + 1
        async with self._turn:
            if self._ended[0] < number:
                self._begun += 1
                try:
                    result: int | StoreError = await self._write()
                except StoreError as error:
                    result = error
                self._ended = (self._begun, result)
        _, ended = self._ended
        if isinstance(ended, StoreError):
            raise ended
        return ended

    async def failure(self, at_least: int, min_revision: int) -> StoreError:
        """Return why there was no answer as new as it must be. A barrier tells lagging from being gone for good."""
        newest = await self.barrier() if self.replicated else self._bucket.floor_revision
        if newest >= at_least:
            return StorageUnavailable(self._bucket.name, "the replica that answers lags behind the stream's leader")
        self._bucket.fall_back(newest)
        if newest < min_revision:
            return RevisionNotReached(self._bucket.name, min_revision, newest)
        return StorageUnavailable(self._bucket.name, f"the bucket is back at revision {newest}, and was at {at_least}")

    async def _write(self) -> int:
        try:
            acknowledgement = await self._bucket.write(BARRIER_KEY, b"", stream.DELETE_HEADERS)
        except StorageUnavailable as error:
            # To those who read it does not matter whether it was written.
            raise StorageUnavailable(error.bucket, error.detail) from error
        if acknowledgement.error is not None:
            raise StorageUnavailable(self._bucket.name, f"no barrier can be written: {acknowledgement.error}")
        return acknowledgement.seq


def pauses() -> Iterator[float]:
    """The pauses after which a copy that lags behind is asked again, until it is given up."""
    for attempt in range(LATE_ATTEMPTS_MAX):
        yield min(PAUSE_SECONDS_MIN * 2.0**attempt, PAUSE_SECONDS_MAX)
