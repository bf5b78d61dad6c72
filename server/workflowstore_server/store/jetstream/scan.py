"""The only place that knows how a bucket is read from end to end, in one pass and without a consumer.

The pass reads messages in revision order by batched direct get (NATS ADR-31). What is written meanwhile moves ahead of
the pass and is met again there, so keys that were handed out already are recognised and left out.
"""

import asyncio
from array import array
from collections.abc import AsyncGenerator
from typing import Final

from workflowstore_server.model.errors import BucketConfiguration, StorageUnavailable
from workflowstore_server.store.jetstream.bucket import Bucket
from workflowstore_server.store.jetstream.stream import BATCH_SUBJECTS_MAX, Batch, Entry, StreamInfo

BATCH_MESSAGES_FIRST: Final = 256
BATCH_MESSAGES_MAX: Final = 4096
"""Messages in a batch: the first one is small, so that something is there at once, and each next one twice as large.
In a bucket of 1,000,000 a batch costs nats-server 2.15 about 25 ms beside its messages. Their bytes are bounded too,
and at most two batches are in memory."""

LOOKUP_KEYS_MAX: Final = 65_536
"""Keys that are compared without a break: about 3 ms of the event loop."""

REPLICA_WAIT_SECONDS: Final = 0.05
REPLICA_ATTEMPTS: Final = 100
"""How often, and after which pause, a replica is asked that lags behind what the leader had when the scan began."""


class Scan:
    """One pass over a bucket."""

    def __init__(self, bucket: Bucket, start: StreamInfo) -> None:
        self._bucket = bucket
        self._start = start
        # 64-bit hashes with the process's own secret key: 8 bytes a key keep the pass flat where the keys would not.
        self._seen = array("q")
        # The newest revision that an older message of its key was left out for.
        self._awaited = 0

    @property
    def store_revision(self) -> int:
        """The revision up to which the pass sees every write."""
        return self._start.state.last_seq

    async def batches(self) -> AsyncGenerator[list[Entry]]:
        """Yield the last message of every key, delete markers left out, in revision order.

        Raises: StorageUnavailable, BucketNotFound, BucketRecreated.
        """
        position, count = max(1, self._start.state.first_seq), BATCH_MESSAGES_FIRST
        reading = asyncio.create_task(self._read(position, count))
        try:
            while True:
                batch = await reading
                if batch.entries:
                    position = batch.entries[-1].revision + 1
                entries = await self._newest(batch.entries)
                at_end = not batch.pending and await self._is_end(batch, position)
                if not at_end:
                    count = min(2 * count, BATCH_MESSAGES_MAX)
                    reading = asyncio.create_task(self._read(position, count))
                yield await self._unseen(entries)
                if at_end:
                    break
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if (await self._bucket.describe()).created != self._start.created:
            raise StorageUnavailable(self._bucket.name, "the bucket was replaced during the scan")

    async def _read(self, position: int, count: int) -> Batch:
        return await self._bucket.next_messages(position, count)

    async def _is_end(self, batch: Batch, position: int) -> bool:
        """Whether nothing is left after a batch that says so."""
        if batch.entries and self._awaited >= position:
            # A message was left out for a later one, which was written after this batch was read.
            return False
        # The replica that answered may only be late.
        if self._start.config.num_replicas == 1 or position > self.store_revision:
            return True
        if await self._bucket.leader_next_message(position) is None:
            return True
        await asyncio.sleep(REPLICA_WAIT_SECONDS)
        return False

    async def _newest(self, entries: tuple[Entry, ...]) -> list[Entry]:
        """Leave out delete markers, and what a later message of the same key supersedes.

        With one revision a key on one replica a message that is there is the newest.
        """
        live = [entry for entry in entries if entry.document is not None]
        config = self._start.config
        if live and (config.max_msgs_per_subject != 1 or config.num_replicas > 1):
            keys = sorted({entry.key for entry in live})
            newest: dict[str, int] = {}
            for first in range(0, len(keys), BATCH_SUBJECTS_MAX):
                newest |= await self._newest_revisions(keys[first : first + BATCH_SUBJECTS_MAX])
            self._awaited = max(self._awaited, *newest.values(), 0)
            live = [entry for entry in live if newest.get(entry.key) == entry.revision]
        return live

    async def _newest_revisions(self, keys: list[str]) -> dict[str, int]:
        newest: dict[str, int] = {}
        for _ in range(REPLICA_ATTEMPTS):
            batch = await self._bucket.last_messages([key for key in keys if key not in newest], bulk=True)
            if batch.up_to < self.store_revision:
                await asyncio.sleep(REPLICA_WAIT_SECONDS)
                continue
            newest.update((entry.key, entry.revision) for entry in batch.entries)
            if not batch.pending:
                return newest
        raise StorageUnavailable(self._bucket.name, "the replicas lag behind the stream's leader")

    async def _unseen(self, entries: list[Entry]) -> list[Entry]:
        """Leave out what the pass has met before, at an older revision, and remember the rest."""
        hashes = [hash(entry.key) for entry in entries]
        # Only what was written after the pass began can be met twice.
        late = {
            key_hash for entry, key_hash in zip(entries, hashes, strict=True) if entry.revision > self.store_revision
        }
        repeated: set[int] = set()
        if late:
            for first in range(0, len(self._seen), LOOKUP_KEYS_MAX):
                repeated |= late.intersection(self._seen[first : first + LOOKUP_KEYS_MAX])
                await asyncio.sleep(0)
        self._seen.extend(hashes)
        return [entry for entry, key_hash in zip(entries, hashes, strict=True) if key_hash not in repeated]


def allow(bucket: Bucket, start: StreamInfo) -> None:
    """Refuse a bucket that cannot be scanned.

    Raises: BucketConfiguration.
    """
    if not start.config.allow_direct:
        remedy = f"nats stream edit {bucket.names.stream} --allow-direct"
        raise BucketConfiguration(bucket.name, "allow_direct=false", remedy)
