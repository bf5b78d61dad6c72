"""The only place that knows how it is told whether a write that is made again was made before (docs/adr/0008)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from workflowstore_server.codec import rfc3339
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.errors import Outcome, StorageUnavailable, WriteForgotten
from workflowstore_server.store import Change
from workflowstore_server.store.jetstream import stream
from workflowstore_server.store.jetstream.bucket import Bucket
from workflowstore_server.store.jetstream.stream import Acknowledgement

PROBE_KEY: Final = "-"
"""Key to which it is asked whether an id was used. Nothing is stored there by that."""

PROBE_ATTEMPTS_MAX: Final = 16
PROBE_WAIT_SECONDS: Final = 0.05
"""Pause before it is asked again whether an id was used whose write is not complete."""


class Repeats:
    """Tells what became of earlier attempts at the writes to one bucket."""

    def __init__(self, bucket: Bucket, newest: Callable[[str], Awaitable[Change | None]]) -> None:
        """`newest` reads the last message of a key, no older than any acknowledged write."""
        self._bucket = bucket
        self._newest = newest

    async def earlier(self, write_id: str) -> Acknowledgement | None:
        """Ask whether something was written under this id, without writing anything.

        Raises: StorageUnavailable, with an unknown outcome: it may have been.
        """
        if not write_id:
            return None
        for _ in range(PROBE_ATTEMPTS_MAX):
            try:
                reply = await self._bucket.write(PROBE_KEY, b"", {stream.MESSAGE_ID: write_id, **stream.PROBE_HEADERS})
            except StorageUnavailable as error:
                raise StorageUnavailable(error.bucket, error.detail, Outcome.UNKNOWN) from error
            if reply.duplicate:
                return reply
            error_code = reply.error.err_code if reply.error is not None else 0
            if error_code == stream.ROLLUP_FAILED:
                return None
            if error_code != stream.DUPLICATE_IN_PROCESS:
                break
            await asyncio.sleep(PROBE_WAIT_SECONDS)
        raise StorageUnavailable(
            self._bucket.name, f"an earlier attempt cannot be looked up: {reply.error}", Outcome.UNKNOWN
        )

    async def settle(self, workflow_id: str, write_id: str, again_after: int) -> Acknowledgement | int | None:
        """Find out what became of the earlier attempts at a write that is made again.

        Returns what was said to the one that has written. If none has, the revision that the last message of the
        workflow must have for this attempt to be the first; None where the storage knows a write of an earlier attempt
        by itself.

        NATS forgets the id of what has been overwritten when it restarts. But whatever was the last message of the
        workflow when the first attempt was made, and still is, has not been overwritten by it.

        Raises: WriteForgotten, when that cannot be told; StorageUnavailable.
        """
        # The other way about, an attempt that is still on its way could come in between.
        newest = await self._newest(key_of(workflow_id))
        if earlier := await self.earlier(write_id):
            return earlier
        described = await self._bucket.describe()
        now_ns = rfc3339.parse(described.ts)
        first_attempt_ns = now_ns - described.config.duplicate_window
        if self._remembers_since(described, now_ns) < first_attempt_ns:
            return None
        if newest is None:
            return 0
        # A revision that the bucket has not come to is of another one.
        known = again_after if again_after <= described.state.last_seq else 0
        if newest.revision > known and rfc3339.parse(newest.stored_at) >= first_attempt_ns:
            raise WriteForgotten(self._bucket.name, workflow_id, newest.revision, Outcome.UNKNOWN)
        return newest.revision

    def _remembers_since(self, described: stream.StreamInfo, now_ns: int) -> int:
        """The time, by the storage's clock in nanoseconds, since when it has forgotten no id before its time.

        A leader knows the ids of all that it has stored itself. Who has only one copy to ask has to take the connection
        for it: while it lasts, the server has not been restarted.
        """
        cluster = described.cluster
        if described.config.num_replicas > 1:
            # NATS tells it since 2.12.
            return rfc3339.parse(cluster.leader_since) if cluster.leader_since else now_ns
        # One of several servers has the copy, and nobody tells whether that is the one of the connection.
        return now_ns - int(self._bucket.connected_seconds * 1e9) if not cluster.name else now_ns
