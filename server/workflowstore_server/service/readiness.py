"""The only place that knows when calls can succeed and when there is room for writes, and tells health and the log."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from workflowstore_server.index import Index
from workflowstore_server.model.errors import BucketConfiguration, IndexBehind, StoreError
from workflowstore_server.model.state import Room
from workflowstore_server.service.server import Service

log = logging.getLogger(__name__)

READINESS_SECONDS: Final = 0.1
"""How often the indexes are looked at, to tell the health service whether calls can succeed."""


async def tell_readiness(service: Service, indexes: Mapping[str, Index], words_of: Callable[[StoreError], str]) -> None:
    """Tell the health service whether calls can succeed: the followers ask their buckets again and again.

    An index that is built anew later on, or has no room to be written, costs lists and counts, not the health of the
    others. A bucket that does not allow to be indexed serves all other calls for ever.
    """
    serving, writing, told = False, False, ""
    rooms: dict[str, Room] = {}
    while True:
        followers = [index.follower for index in indexes.values()]
        allowed = [follower for follower in followers if not isinstance(follower.trouble, BucketConfiguration)]
        troubles = [follower.trouble for follower in allowed if follower.trouble is not None]
        was_ready = all(follower.was_ready for follower in allowed)
        trouble = next((error for error in troubles if not (was_ready and isinstance(error, IndexBehind))), None)
        ready = trouble is None and was_ready
        if trouble is not None and words_of(trouble) != told:
            told = words_of(trouble)
            log.error("calls cannot succeed: %s", told)
        if ready and told:
            told = ""
            log.info("calls can succeed again")
        rooms = {bucket: _tell_room(bucket, rooms.get(bucket), index.store.room) for bucket, index in indexes.items()}
        room = not any(room.full for room in rooms.values())
        if (ready, room) != (serving, writing):
            serving, writing = ready, room
            await service.set_serving(serving=serving, writing=writing)
        await asyncio.sleep(READINESS_SECONDS)


def _tell_room(bucket: str, known: Room | None, room: Room) -> Room:
    """Tell the log what has changed about the room for a bucket."""
    full, low = (known.full, known.low) if known is not None else ("", "")
    if room.full and room.full != full:
        log.error("bucket %s is full and takes no writes: %s; make room, and it does", bucket, room.full)
    elif full and not room.full:
        log.info("bucket %s takes writes again", bucket)
    if room.low and room.low != low and not room.full:
        log.warning("bucket %s will be full soon: %s", bucket, room.low)
    return room
