"""The only place that knows how concurrent writes are gathered into few sends.

A write costs a system call, a wake-up of nats-py's sender and one of the NATS server; those that are sent together
share them (docs/adr/0005). Each is a message of its own all the same, stored and acknowledged by itself.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from nats.aio.msg import Msg

from workflowstore_server.store.jetstream.connection import Connection
from workflowstore_server.store.jetstream.link import NotSentError, Replies

GATHER_SECONDS: Final = 0.004
"""The longest that a write waits for those before it to be acknowledged. A lone write waits for nothing."""


class _Write(NamedTuple):
    future: "asyncio.Future[Replies]"
    subject: str
    document: bytes
    headers: Mapping[str, str] | None


class Writer:
    """Sends writes in the order in which they come: at once while none is unacknowledged, else together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Write] = deque()
        self._arrival = asyncio.Event()
        self._unacknowledged = 0
        self._all_acknowledged = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to send."""
        self._worker = asyncio.create_task(self._work(), name="writer")

    async def close(self) -> None:
        """Stop to send. What waits is not sent; what is sent still gets its reply."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._fail_waiting(NotSentError("the store is closed"))

    async def write(self, subject: str, document: bytes, headers: Mapping[str, str] | None) -> Msg:
        """Send a message and return the stream's reply to it.

        Raises: NotSentError, UnansweredError, NoRespondersError.
        """
        if self._worker is None or self._worker.done():
            raise NotSentError("the store is closed")
        future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(future, subject, document, headers))
        self._arrival.set()
        return (await future)[0]

    async def _work(self) -> None:
        while True:
            await self._arrival.wait()
            if self._unacknowledged:
                self._all_acknowledged.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._all_acknowledged.wait(), GATHER_SECONDS)
            self._arrival.clear()
            try:
                link = self._connection.link
            except NotSentError as error:
                self._fail_waiting(error)
                continue
            # Taken out one by one: a stop on the way leaves those waiting that were not sent.
            while self._waiting:
                write = self._waiting.popleft()
                # A caller that gave up before its write was sent has cancelled its future.
                if not write.future.done():
                    self._unacknowledged += 1
                    write.future.add_done_callback(self._acknowledge)
                    await link.post(*write)

    def _acknowledge(self, _: "asyncio.Future[Replies]") -> None:
        self._unacknowledged -= 1
        if not self._unacknowledged:
            self._all_acknowledged.set()

    def _fail_waiting(self, error: NotSentError) -> None:
        while self._waiting:
            write = self._waiting.popleft()
            if not write.future.done():
                write.future.set_exception(error)
