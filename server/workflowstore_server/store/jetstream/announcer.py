"""The only place that knows how a bucket tells that something was written to it, without being asked again and again.

One consumer, which sends the headers of every new message and waits for no acknowledgement. What it says is a hint: who
hears it asks the stream.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.msg import Msg

from workflowstore_server.model.errors import StoreError
from workflowstore_server.store.jetstream.bucket import Bucket
from workflowstore_server.store.jetstream.link import NotSentError, UnansweredError

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 2
"""How often a consumer without news says that it is there."""

SILENCE_SECONDS_MAX: Final = 3 * HEARTBEAT_SECONDS
"""A consumer that has said nothing for so long is gone, with the server that had it."""

IDLE_SECONDS: Final = 15
"""After so long without a listener the NATS server removes the consumer."""

CHECK_SECONDS: Final = 0.1
"""How often it is looked whether the connection is still the one that the consumer sends to."""

RETRY_SECONDS: Final = 1.0


@asynccontextmanager
async def announced(bucket: Bucket, tell: Callable[[], None]) -> AsyncIterator[None]:
    """Call `tell` after every write while the block runs; see StateStore.announced."""
    announcing = asyncio.create_task(_announce(bucket, tell), name=f"announcer of {bucket.name}")
    try:
        yield
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)


async def _announce(bucket: Bucket, tell: Callable[[], None]) -> None:
    failure = ""
    while True:
        try:
            await _listen(bucket, tell)
            failure = ""
        except (NotSentError, UnansweredError, StoreError) as error:
            # The index looks for itself once a second, too.
            if repr(error) != failure:
                log.debug("bucket %s does not announce its writes: %r", bucket.name, error)
            failure = repr(error)
            await asyncio.sleep(RETRY_SECONDS if bucket.session is not None else CHECK_SECONDS)
        except Exception:
            log.exception("bucket %s does not announce its writes for now: an internal error", bucket.name)
            await asyncio.sleep(RETRY_SECONDS)


async def _listen(bucket: Bucket, tell: Callable[[], None]) -> None:
    """Listen until the connection is lost or the consumer is silent for too long."""
    heard = time.monotonic()

    def receive(message: Msg) -> None:
        nonlocal heard
        heard = time.monotonic()
        if not (message.headers and message.headers.get("Status")):
            tell()

    session = bucket.session
    async with bucket.link.listening(receive) as subject:
        consumer = await bucket.add_announcer(subject, HEARTBEAT_SECONDS, IDLE_SECONDS)
        try:
            # For what was written before.
            tell()
            # A connection has no event for its end.
            while bucket.session == session and time.monotonic() - heard < SILENCE_SECONDS_MAX:  # noqa: ASYNC110
                await asyncio.sleep(CHECK_SECONDS)
        finally:
            await bucket.remove_consumer(consumer)
