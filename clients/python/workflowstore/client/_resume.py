"""The only place that knows when a stream that broke goes on, and from where."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from typing import Final, Generic, TypeVar

from workflowstore.client.errors import (
    TlsError,
    TooManyCallsError,
    UnavailableError,
    WatchTooSlowError,
    WorkflowStoreError,
)
from workflowstore.v1.workflow_store_pb2 import (
    CHANGE_KIND_DELETED,
    ExportRequest,
    ExportResponse,
    ListRequest,
    ListResponse,
    WatchRequest,
    WatchResponse,
    WorkflowChange,
)

RESUME_SECONDS: Final = 30.0
"""How long a stream that broke is tried again without anything coming of it. A server that is restarted is back sooner.
A Watch that has once begun is tried for ever: its caller waits for what may come at any time."""

PAUSE_SECONDS_MIN: Final = 0.1
"""Pause before a stream that broke is tried again, which doubles with every failure until something comes of it."""

PAUSE_SECONDS_MAX: Final = 2.0

Request = TypeVar("Request", bound=ListRequest | ExportRequest | WatchRequest)
Reply = TypeVar("Reply", bound=ListResponse | ExportResponse | WatchResponse)
_PagedRequest = TypeVar("_PagedRequest", bound=ListRequest | ExportRequest)
_PagedReply = TypeVar("_PagedReply", bound=ListResponse | ExportResponse)


class Resumption(ABC, Generic[Request, Reply]):
    """Follows one stream over all the calls that it takes. Its kinds say after which errors it goes on, and where."""

    def __init__(
        self,
        request: Request,
        timeout: float | None,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """Begin now.

        Args:
            request: What is asked for.
            timeout: The deadline in seconds of all calls together. None = none.
            clock: Seconds on a clock that never goes back.
            random: A number from 0 to 1, so that many clients of one server do not come back at once.
        """
        self.complete = False
        """Whether everything asked for has come, so that it no longer matters how the call ends."""
        self._request = request
        self._clock = clock
        self._random = random
        self._deadline = math.inf if timeout is None else clock() + timeout
        self._pause = PAUSE_SECONDS_MIN
        self._give_up_at: float | None = None

    def request(self) -> Request:
        """What to send: all that has not come yet."""
        return deepcopy(self._request)

    def timeout(self) -> float | None:
        """The deadline in seconds of a call that begins now. None = none."""
        return None if math.isinf(self._deadline) else max(0.0, self._deadline - self._clock())

    def received(self, reply: Reply) -> Reply:
        """Take note of a reply, and return it as one of the whole stream."""
        self._pause = PAUSE_SECONDS_MIN
        self._give_up_at = None
        return reply

    @abstractmethod
    def pause_seconds(self, error: WorkflowStoreError) -> float | None:
        """How long to wait before the next call, after one that failed. None = there is none, the error stands."""

    def _next_pause(self, error: WorkflowStoreError, patience_seconds: float) -> float | None:
        now = self._clock()
        if self._give_up_at is None:
            self._give_up_at = now + patience_seconds
        pause = (error.retry_after_seconds or 0.0) + self._pause * (1 + self._random()) / 2
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        return pause if now + pause < min(self._give_up_at, self._deadline) else None


class PagedResumption(Resumption[_PagedRequest, _PagedReply]):
    """Follows an Export.

    It goes on when it breaks as UNAVAILABLE or CANCELLED after a chunk: after the last chunk, what was in which does
    not come again. One of which nothing has come is its caller's to repeat, unless the server has too many calls to
    begin it.
    """

    _store_revision: int | None = None
    _page_token: str | None = None

    def request(self) -> _PagedRequest:
        request = super().request()
        if self._page_token is not None:
            request.page_token = self._page_token
        return request

    def received(self, reply: _PagedReply) -> _PagedReply:
        """See above. The store revision becomes that of the first call, at which what came before was read."""
        if self._store_revision is None:
            self._store_revision = reply.store_revision
        reply.store_revision = self._store_revision
        self._page_token = reply.next_page_token
        self.complete = not self._page_token
        return super().received(reply)

    def pause_seconds(self, error: WorkflowStoreError) -> float | None:
        if not _passes(error):
            return None
        if self._store_revision is None and not isinstance(error, TooManyCallsError):
            return None
        return self._next_pause(error, RESUME_SECONDS)


class ListResumption(PagedResumption[ListRequest, ListResponse]):
    """Follows a List, which may have a limit, in the same manner."""

    _received = 0

    def request(self) -> ListRequest:
        request = super().request()
        if request.limit:
            request.limit -= self._received
        return request

    def received(self, reply: ListResponse) -> ListResponse:
        super().received(reply)
        self._received += len(reply.states)
        self.complete |= 0 < self._request.limit <= self._received
        return reply


class WatchResumption(Resumption[WatchRequest, WatchResponse]):
    """Follows a Watch.

    It goes on after the revision of its last message, when it breaks as UNAVAILABLE or CANCELLED, or because its reader
    was too slow. A snapshot that was not completed has no such revision: it begins anew when it breaks so, while a
    reader that was too slow for it would be so again.
    """

    _last: WatchResponse | None = None
    """The last message that has a revision to go on from."""
    _has_begun = False
    _has_got_on = False
    """Whether anything has come of the last call."""

    @property
    def revision(self) -> int | None:
        """The revision to go on from, of the last message. None = there is none yet."""
        return None if self._last is None else self._last.revision

    def request(self) -> WatchRequest:
        self._has_got_on = False
        request = super().request()
        if self._last is not None:
            request.after_revision = self._last.revision
            request.bucket_created_at.CopyFrom(self._last.bucket_created_at)
        return request

    def received(self, reply: WatchResponse) -> WatchResponse:
        """See above. Whatever was told before is left out."""
        told = self._request.after_revision if self._last is None else self._last.revision
        if reply.changes and reply.changes[0].revision <= told:
            new = [change for change in reply.changes if _is_new(change, told)]
            del reply.changes[:]
            reply.changes.extend(new)
        # 0 is also the revision of an empty bucket. Within a snapshot it tells that there is none to go on from.
        if reply.revision or reply.snapshot_complete or self._last is not None or not self._request.snapshot:
            self._last = WatchResponse(revision=reply.revision, bucket_created_at=reply.bucket_created_at)
        self._has_begun = self._has_got_on = True
        return super().received(reply)

    def pause_seconds(self, error: WorkflowStoreError) -> float | None:
        if isinstance(error, WatchTooSlowError):
            if self._last is None:
                return None
            if self._has_got_on:
                return 0.0
        elif not _passes(error):
            return None
        elif isinstance(error, TlsError) and not self._has_begun:
            return None  # what has never been right does not come right by waiting
        return self._next_pause(error, math.inf if self._has_begun else RESUME_SECONDS)


def _passes(error: WorkflowStoreError) -> bool:
    """Whether another call may succeed. CANCELLED is what gRPC says, without a reason, as a server stops."""
    cut_off = error.code == "CANCELLED" and error.reason is None
    return cut_off or isinstance(error, UnavailableError | TooManyCallsError)


def _is_new(change: WorkflowChange, told: int) -> bool:
    # What the bucket lost by its age is told as deleted at the revision that the bucket has by then, which may be one
    # that was told before.
    return change.revision > told or (change.revision == told and change.kind == CHANGE_KIND_DELETED)
