"""The only place that knows how NATS is asked over one connection, and which reply belongs to which request."""

import asyncio
import itertools
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from workflowstore_server.store import figures
from workflowstore_server.store.figures import NatsFigures

READS_MAX: Final = 4
BULK_READS_MAX: Final = 4
"""Reads under way at once on one connection, of single keys and of many. A reply has up to 2 MiB and one document of
up to 4 MiB, so at most 48 MiB can wait for this process at the NATS server, which closes a connection at 64 MiB
(`max_pending`). They are counted apart, because a bulk read takes as long as a hundred single ones."""


LATE_SECONDS: Final = 0.1
"""How late a timer may fire before it is taken for a sign that this process stood still. The reply may have come
meanwhile and lie in the socket, which is read after the timers: it is given as long again."""


class NotSentError(Exception):
    """The request did not leave this process: whatever it asked for has not happened and will not."""


class NotPermittedError(NotSentError):
    """NATS does not permit to ask for it: it has not happened and will not."""


class UnansweredError(Exception):
    """The request left and no reply came: what it asked for may have happened."""


class NoRespondersError(Exception):
    """Nobody listens on the subject: what was asked for has not happened. No such stream, or it has no leader."""


Replies = list[Msg]

_FAILURES: Final[dict[type[Exception], str]] = {
    UnansweredError: figures.UNANSWERED,
    NoRespondersError: figures.NO_RESPONDERS,
}


@contextmanager
def _sending() -> Iterator[None]:
    """Around what nats-py sends: how it fails depends on how far it is in finding that its connection is gone.

    Raises: NotSentError, UnansweredError.
    """
    try:
        yield
    except (nats.errors.OutboundBufferLimitError, nats.errors.ConnectionClosedError) as error:
        raise NotSentError("not connected to NATS") from error
    except (OSError, RuntimeError, AttributeError) as error:
        # Of a transport that is closed, or is there no more. Some of it may have left.
        raise UnansweredError("the connection to NATS was lost") from error


class _Waiter:
    """The replies to one request, up to the one that ends them."""

    __slots__ = ("_began", "_figures", "_future", "_kind", "_many", "_messages", "subject")

    def __init__(self, future: "asyncio.Future[Replies]", subject: str, counted: NatsFigures, *, many: bool) -> None:
        self.subject = subject
        self._future = future
        self._kind = _kind_of(subject)
        self._figures = counted
        self._many = many
        self._messages: Replies = []
        self._began = time.monotonic()

    def receive(self, message: Msg) -> None:
        status = message.headers.get("Status") if message.headers else None
        if status == "503":
            self.fail(NoRespondersError())
            return
        self._messages.append(message)
        # A batch ends with a status message without data: 204 (end of batch) or an error.
        if not (self._many and status is None) and not self._future.done():
            self._future.set_result(self._messages)
            self._figures.answered[self._kind].add(time.monotonic() - self._began)

    def fail(self, error: Exception) -> None:
        # A caller that gave up has cancelled its future.
        if not self._future.done():
            self._future.set_exception(error)
            self._figures.failed[self._kind, _FAILURES.get(type(error), figures.NOT_SENT)] += 1

    def expire(self) -> None:
        self.fail(UnansweredError("NATS did not answer in time"))


class Link:
    """Requests over one NATS connection, with one inbox. Requests in flight fail at once when the connection does."""

    def __init__(self, client: Client, request_timeout_seconds: float, counted: NatsFigures) -> None:
        self._client = client
        self._timeout = request_timeout_seconds
        self._figures = counted
        self._prefix = f"{client.new_inbox()}."
        self._tokens = itertools.count()
        self._waiters: dict[str, _Waiter] = {}
        self._receivers: weakref.WeakSet[asyncio.Task[object]] = weakref.WeakSet()
        """The tasks in which nats-py hands over what has arrived."""
        self.reads = asyncio.Semaphore(READS_MAX)
        """Held by whoever reads a document."""
        self.bulk_reads = asyncio.Semaphore(BULK_READS_MAX)
        """Held by whoever reads many."""

        self._opened_at = asyncio.get_running_loop().time()
        self._reconnects = client.stats["reconnects"]

    async def open(self) -> None:
        """Listen on the inbox.

        Raises: NotSentError, UnansweredError.
        """
        # No limits on what waits here: nats-py drops what is beyond them without a word to the reader. What can be
        # waiting is bounded by what our own requests in flight asked for.
        with _sending():
            self._subscription = await self._client.subscribe(
                f"{self._prefix}*", cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0
            )

    async def close(self) -> None:
        """Stop listening; the connection stays as it is."""
        self.fail_all("this server closed its connection to NATS")
        await self._unsubscribe(self._subscription)

    async def _unsubscribe(self, subscription: Subscription) -> None:
        # What is gone with its connection need not be told.
        with suppress(NotSentError, UnansweredError), _sending():
            if self._client.is_connected:
                await subscription.unsubscribe()

    @property
    def max_payload_bytes(self) -> int:
        """The most bytes, headers included, that the NATS server takes in one message."""
        return self._client.max_payload

    @property
    def session(self) -> tuple[str, int]:
        """The same for as long as the connection has not been made anew, by us or by nats-py."""
        return self._prefix, self._client.stats["reconnects"]

    @property
    def seconds(self) -> float:
        """How long it has lasted for sure. 0 = the client has connected anew by itself, nobody knows when."""
        same = self._client.stats["reconnects"] == self._reconnects
        return asyncio.get_running_loop().time() - self._opened_at if same else 0.0

    @property
    def server_version(self) -> str:
        """Version of the NATS server."""
        version = self._client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    async def request(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> Msg:
        """Send a request and return its one reply.

        Raises: NotSentError, UnansweredError, NoRespondersError.
        """
        future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        await self.post(future, subject, payload, headers)
        return (await future)[0]

    async def send(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Send a message that nobody replies to.

        Raises: NotSentError, UnansweredError.
        """
        # nats-py would keep it until its reconnect.
        if not self._client.is_connected:
            raise NotSentError("not connected to NATS")
        with _sending():
            await self._client.publish(subject, payload, headers=headers)  # type: ignore[arg-type]

    @asynccontextmanager
    async def listening(self, receive: Callable[[Msg], None]) -> AsyncIterator[str]:
        """Hand over what arrives at a subject of its own, which is given, while the block runs.

        Raises: NotSentError, UnansweredError.
        """
        subject = self._client.new_inbox()

        async def hand_over(message: Msg) -> None:
            self._note_receiver()
            receive(message)

        if not self._client.is_connected:
            raise NotSentError("not connected to NATS")
        with _sending():
            subscription = await self._client.subscribe(
                subject, cb=hand_over, pending_msgs_limit=0, pending_bytes_limit=0
            )
        try:
            yield subject
        finally:
            await self._unsubscribe(subscription)

    async def request_many(self, subject: str, payload: bytes, timeout_seconds: float | None = None) -> Replies:
        """Send a request and return its replies; the last one is the status message that ended them.

        They are waited for as long as `timeout_seconds` says. None = as long as for those of any other request.

        Raises: NotSentError, UnansweredError, NoRespondersError.
        """
        future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        await self.post(future, subject, payload, many=True, timeout_seconds=timeout_seconds)
        return await future

    async def post(
        self,
        future: "asyncio.Future[Replies]",
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        many: bool = False,
        timeout_seconds: float | None = None,
    ) -> None:
        """Send a request whose replies, or whose failure, `future` gets; see `request`."""
        token = str(next(self._tokens))
        waiter = self._waiters[token] = _Waiter(future, subject, self._figures, many=many)
        loop = future.get_loop()
        due = loop.time() + (timeout_seconds or self._timeout)

        def expire() -> None:
            if loop.time() < due + LATE_SECONDS:
                waiter.expire()
            else:
                loop.call_later(LATE_SECONDS, waiter.expire)

        timer = loop.call_at(due, expire)

        def forget(_: "asyncio.Future[Replies]") -> None:
            timer.cancel()
            del self._waiters[token]

        future.add_done_callback(forget)
        # nats-py would keep it until its reconnect.
        if not self._client.is_connected:
            waiter.fail(NotSentError("not connected to NATS"))
            return
        try:
            with _sending():
                await self._client.publish(subject, payload, reply=self._prefix + token, headers=headers)  # type: ignore[arg-type]
        except Exception as error:
            waiter.fail(error)

    async def _receive(self, message: Msg) -> None:
        self._note_receiver()
        # A reply that comes after its request was given up has no waiter any more.
        if waiter := self._waiters.get(message.subject[len(self._prefix) :]):
            waiter.receive(message)

    def lost(self) -> None:
        """Fail every request in flight, and end what nats-py leaves when it fails at closing."""
        self.fail_all("the connection to NATS was lost")
        for receiver in self._receivers:
            if receiver is not asyncio.current_task():
                receiver.cancel()

    def refuse(self, subject: str) -> str:
        """Fail the requests to a subject that NATS has refused, and return it as they wrote it.

        nats-py tells it in small letters. Until NATS said so nobody would answer.
        """
        for waiter in [waiter for waiter in self._waiters.values() if waiter.subject.lower() == subject]:
            subject = waiter.subject
            waiter.fail(NotPermittedError(f"NATS does not permit this server to publish to {subject}"))
        return subject

    def _note_receiver(self) -> None:
        if task := asyncio.current_task():
            self._receivers.add(task)

    def fail_all(self, detail: str) -> None:
        """Fail every request in flight."""
        for waiter in self._waiters.values():
            waiter.fail(UnansweredError(detail))


def _kind_of(subject: str) -> str:
    if not subject.startswith("$JS."):
        return figures.PUBLISH
    return figures.DIRECT_GET if ".DIRECT.GET." in subject else figures.API
