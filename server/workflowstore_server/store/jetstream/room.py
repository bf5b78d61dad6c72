"""The only place that knows whether a bucket has room for what is written to it."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from workflowstore_server.model.state import Room
from workflowstore_server.store.jetstream import stream
from workflowstore_server.store.jetstream.stream import ApiError, StreamInfo

REFUSED_SECONDS: Final = 10.0
"""How long a bucket counts as full after NATS has refused a write because of a limit, unless it takes one sooner. NATS
does not tell when there is room again; who writes on keeps it known, and who has stopped is not kept away for ever."""

LOW_SHARE: Final = 0.9
"""Of its `max_bytes`: a bucket that has more is nearly full. The usual mark of such alarms."""


class BucketRoom:
    """What is known of the room for one bucket, by its disk, its limit and what NATS has said to writes."""

    def __init__(self, disk: Callable[[], Room]) -> None:
        """`disk` tells of the disk that the bucket lies on, as far as that is known."""
        self._disk = disk
        self._refusal = ""
        self._refused_at = 0.0

    def refusal(self, document: bytes) -> ApiError | None:
        """Why a message is not even sent. One without a document takes little room, and makes some if it deletes."""
        room = self._disk()
        if not room.full or not (document or room.frozen):
            return None
        return ApiError(err_code=stream.FROZEN if room.frozen else stream.DISK_RESERVED, description=room.full)

    def hear(self, document: bytes, error: ApiError | None) -> None:
        """Take note of what NATS has said to a write."""
        if error is None:
            if document:
                self._refusal = ""
        elif error.is_storage_full():
            self._refusal, self._refused_at = str(error), time.monotonic()

    def room(self, described: StreamInfo) -> Room:
        """What is known now, of a bucket that was last described so."""
        room, max_bytes = self._disk(), described.config.max_bytes
        if not room.full and self._refusal and time.monotonic() - self._refused_at < REFUSED_SECONDS:
            return replace(room, full=f"NATS refuses writes to it: {self._refusal}")
        if not room.low and max_bytes > 0 and described.state.bytes > LOW_SHARE * max_bytes:
            return replace(room, low=f"it has more than {LOW_SHARE:.0%} of its max_bytes {max_bytes}")
        return room
