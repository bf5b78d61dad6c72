"""The only place that knows how many calls may run at once, and when one that takes too long is ended.

A call arrives, is worked on once its request has come, and sends its replies (docs/adr/0011).
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from workflowstore_server.model.errors import (
    CallTooLong,
    IdentityLimitReached,
    Outcome,
    ReaderStalled,
    ShuttingDown,
    StoreError,
    TooManyCalls,
)
from workflowstore_server.service.access import Caller, Lost, Permit

ARRIVALS_MAX: Final = 4096
"""Calls whose request has not come. Each costs some 20 KiB; those that come beyond it push out the oldest."""

REQUEST_SECONDS_MAX: Final = 30.0
"""How long a request may take to come once its call has begun: 9 MiB at 0.3 megabytes a second."""

PRESSED_SECONDS: Final = 1.0
"""How long a stream may wait for its reader when others need its place."""

UNREAD_BYTES_MAX: Final = 128 * 1024 * 1024
"""Bytes of messages that gRPC keeps for readers whose streams have ended. It lets go of them when the reader reads on,
cancels, or is gone; beyond it a stream keeps its place, so that no others come."""

SWEEP_SECONDS: Final = 0.5
"""How often it is looked for calls that take too long. A timer for each call would cost a hundredth of a Load."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How many calls run at once on one server, and for how long."""

    calls_max: int = 2048
    """Calls with one reply at once: half a second of work for a server. More would only make all of them later."""

    lists_max: int = 64
    """List, ListRevisions and Export at once. One that is not read has up to four chunks in memory, of 1 MiB or
    one state each."""

    watches_max: int = 4096
    """Watch at once. A thousand cost 20 MiB."""

    call_seconds_max: float = 60.0
    """How long a call with one reply may take, twice what the Python clients wait. Shorter deadlines of callers hold
    anyway."""

    stall_seconds_max: float = 30.0
    """How long a stream may wait for its reader to take one message."""


class Budget:
    """The places for one kind of call, apart from those of the others so that none takes theirs.

    A connection may have as many of them as it leaves free, so that those who have few get one however many there are
    who take all that they can. So may an identity, however many connections it has; and a bucket, so that calls which
    pile up before one do not keep away those to another.
    """

    __slots__ = ("_by_share", "limit", "name", "running")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.running: dict[Call, None] = {}
        """Those that have a place, the oldest first."""
        self._by_share: dict[str, int] = {}

    def add(self, call: "Call") -> None:
        """Give a call a place."""
        self.running[call] = None
        for share in call.shares:
            self._by_share[share] = self._by_share.get(share, 0) + 1

    def remove(self, call: "Call") -> None:
        """Take the place of a call back."""
        del self.running[call]
        for share in call.shares:
            count = self._by_share.pop(share) - 1
            if count:
                self._by_share[share] = count

    def count(self, share: str) -> int:
        """How many places a connection, an identity or a bucket has."""
        return self._by_share.get(share, 0)

    def has_room(self, shares: tuple[str, ...]) -> bool:
        """Whether there is a place for one more call of these."""
        left = self.limit - len(self.running)
        return left > 0 and all(self._by_share.get(share, 0) <= left for share in shares)

    def longest_waiting(self, shares: tuple[str, ...]) -> "Call | None":
        """The stream that waits longest for its reader, of these and of those that have as many or more."""
        own = [self.count(share) for share in shares]
        waiting = [
            call
            for call in self.running
            if call.sending_bytes and all(self._by_share[theirs] >= ours for theirs, ours in zip(call.shares, own))  # noqa: B905 (fewer are known before the request has come)
        ]
        return min(waiting, key=lambda call: call.since, default=None)


class Call:
    """One call on this server, as the context of whatever is done for it."""

    __slots__ = (
        "_calls",
        "_cancels",
        "_ended_by",
        "_place",
        "_task",
        "budget",
        "caller",
        "permit",
        "sending_bytes",
        "shares",
        "since",
        "unread_bytes",
        "writes",
    )

    def __init__(self, calls: "Calls", budget: Budget, peer: str, *, writes: bool = False) -> None:
        self._calls = calls
        self._place = calls.arriving
        self._task: asyncio.Task[object] | None = None
        self._ended_by: StoreError | None = None
        self._cancels = 0
        self.budget = budget
        self.shares: tuple[str, ...] = (peer,)
        """Whose share of the places it takes: its connection's, as gRPC names it, and, once it has begun, its bucket's
        and its identity's."""
        self.caller: Caller | None = None
        """Who makes it. None = nobody asks."""
        self.permit: Permit | None = None
        """What it may be answered with. None = nobody asks."""
        self.writes = writes
        self.since = 0.0
        """When it arrived, when it was begun, or when the message was ready that waits for its reader."""
        self.sending_bytes = 0
        """Bytes of the message that waits for its reader. 0 = none does."""
        self.unread_bytes = 0
        """The same once its stream has been ended for that."""

    def __enter__(self) -> None:
        """Arrive. Raises: ShuttingDown, TooManyCalls."""
        self._task = asyncio.current_task()
        self._calls.arrive(self)
        self.since = self._calls.now()
        self._place.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._place.remove(self)
        self._calls.leave()

    def begin(self, bucket_share: str | None = None) -> None:
        """Begin to work, with the request. Raises: TooManyCalls, IdentityLimitReached.

        `bucket_share` = what its bucket's share is counted under. None = it is the only bucket.
        """
        shares = self.shares if bucket_share is None else (*self.shares, bucket_share)
        if self.caller is not None:
            self._calls.check_limits(self.budget, self.caller)
            shares = (*shares, self.caller.share)
        self._calls.make_room(self.budget, shares)
        self._place.remove(self)
        self.shares, self._place = shares, self.budget
        self._place.add(self)
        self.since = self._calls.now()

    def move(self, place: Budget) -> None:
        """Be counted there from now on."""
        self._place.remove(self)
        self._place = place
        place.add(self)

    def sending(self, size_bytes: int) -> None:
        """A message of this size goes out."""
        self.since = self._calls.now()
        self.sending_bytes = size_bytes

    def sent(self) -> None:
        """Its reader has room for it. Raises: ShuttingDown, when streams are to end."""
        self.sending_bytes = 0
        if self._calls.streams_end:
            raise ShuttingDown

    def end(self, error: StoreError) -> None:
        """Cancel it, so that it fails with this."""
        assert self._task is not None, "entered"
        self._ended_by = error
        self._cancels += 1
        self._task.cancel()

    def failure(self, error: BaseException) -> BaseException:
        """What has ended it: the error itself, or, if that is our cancellation, what we have cancelled it for."""
        if self._ended_by is None or not isinstance(error, asyncio.CancelledError):
            return error
        assert self._task is not None, "entered"
        while self._cancels:
            self._cancels -= 1
            self._task.uncancel()
        return error if self._task.cancelling() else self._ended_by


class Calls:
    """The calls of a server."""

    def __init__(self, options: CallOptions) -> None:
        self._options = options
        self.unary = Budget("calls", options.calls_max)
        self.lists = Budget("lists", options.lists_max)
        self.watches = Budget("watches", options.watches_max)
        self.now = asyncio.get_running_loop().time
        self.idle = asyncio.Event()
        """Set while none is there."""
        self.idle.set()
        self.streams_end = False
        """Whether streams end after the message that they are sending."""
        self.arrived = 0
        """Calls that have arrived, those that were refused included."""
        self.arriving = Budget("arrivals", ARRIVALS_MAX)
        """Those whose request has not come."""
        self._given_up = Budget("given up", options.lists_max + options.watches_max)
        """Streams that have been ended because nobody reads them, and have not noticed yet."""
        self._unread_bytes = 0
        self._closed = False

    @property
    def unread_bytes(self) -> int:
        """Bytes of messages that gRPC keeps for readers whose streams have ended."""
        return self._unread_bytes

    def close(self) -> None:
        """Let no more begin."""
        self._closed = True

    def arrive(self, call: Call) -> None:
        """Let a call arrive. Raises: ShuttingDown, TooManyCalls."""
        self.arrived += 1
        if self._closed:
            raise ShuttingDown
        # Its request need not be read to be refused.
        self.make_room(call.budget, call.shares)
        if len(self.arriving.running) >= ARRIVALS_MAX:
            next(iter(self.arriving.running)).end(TooManyCalls("arrivals", ARRIVALS_MAX))
        self.idle.clear()

    def leave(self) -> None:
        """Take note that a call is gone."""
        if not (self.unary.running or self.arriving.running or self.lists.running or self.watches.running):
            self.idle.set()

    def end_lost(self, lost: Lost) -> None:
        """End the streams that may not go on."""
        for call in (*self.lists.running, *self.watches.running):
            if call.permit is not None and (error := lost(call.permit)) is not None:
                call.end(error)

    def check_limits(self, budget: Budget, caller: Caller) -> None:
        """Let an identity begin no more than it may. Raises: IdentityLimitReached."""
        limits, share = caller.limits, caller.share
        if budget is self.unary:
            kind, limit, count = "calls", limits.calls_max, budget.count(share)
        else:
            count = self.lists.count(share) + self.watches.count(share)
            kind, limit = "streams", limits.streams_max
        if limit is not None and count >= limit:
            raise IdentityLimitReached(caller.identity, kind, limit)

    def make_room(self, budget: Budget, shares: tuple[str, ...]) -> None:
        """Find a place for a call, if need be that of the stream that waits longest for its reader.

        Raises: TooManyCalls.
        """
        if budget.has_room(shares):
            return
        longest = budget.longest_waiting(shares)
        if longest is None or not self._give_up(longest, PRESSED_SECONDS):
            raise TooManyCalls(budget.name, budget.limit)

    def told(self, call: Call) -> None:
        """Take note that a call has got its status, or that its client is gone."""
        self._unread_bytes -= call.unread_bytes

    async def watch_over(self) -> None:
        """End what takes too long, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._end_old(self.arriving.running, REQUEST_SECONDS_MAX, Outcome.NOT_APPLIED)
            self._end_old(self.unary.running, self._options.call_seconds_max, Outcome.UNKNOWN)
            for budget in (self.lists, self.watches):
                for call in list(budget.running):
                    if call.sending_bytes:
                        self._give_up(call, self._options.stall_seconds_max)

    def _end_old(self, calls: dict[Call, None], seconds: float, outcome: Outcome) -> None:
        now = self.now()
        # One that was ended and is still there is so again: what was done for it may have swallowed that.
        for call in calls:
            if now - call.since < seconds:
                return
            call.end(CallTooLong(seconds, outcome if call.writes else None))

    def _give_up(self, call: Call, seconds: float) -> bool:
        """End a stream that has waited so long for its reader, and say whether it had."""
        stalled_seconds = self.now() - call.since
        if stalled_seconds < seconds or self._unread_bytes + call.sending_bytes > UNREAD_BYTES_MAX:
            return False
        # Its place is free at once, while its status waits behind the message.
        call.move(self._given_up)
        call.unread_bytes = call.sending_bytes
        self._unread_bytes += call.unread_bytes
        call.end(ReaderStalled(round(stalled_seconds)))
        return True
