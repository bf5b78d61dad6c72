"""The only place that knows when a List that broke goes on, and from where."""

import math
from collections.abc import Callable
from typing import Final

from workflowstore.client.errors import UnavailableError, WorkflowStoreError
from workflowstore.v1.workflow_store_pb2 import ListRequest, ListResponse

RESUME_SECONDS: Final = 30.0
"""How long a broken List is tried again without a chunk coming of it. A server that is restarted is back sooner."""

PAUSE_SECONDS_MIN: Final = 0.1
"""Pause before a List that broke is tried again, which doubles with every failure until a chunk comes."""

PAUSE_SECONDS_MAX: Final = 2.0


class Resumption:
    """Follows one List over all the calls that it takes.

    It goes on when it breaks as UNAVAILABLE after a chunk: after the last chunk, whose states and malformed entries do
    not come again. A List of which nothing has come is its caller's to repeat.
    """

    def __init__(
        self,
        request: ListRequest,
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
        self._page_token = request.page_token
        self._limit = request.limit
        self._store_revision: int | None = None
        self._pause = PAUSE_SECONDS_MIN
        self._give_up_at: float | None = None

    def request(self) -> ListRequest:
        """What to send: all that has not come yet."""
        request = ListRequest()
        request.CopyFrom(self._request)
        request.page_token = self._page_token
        request.limit = self._limit
        return request

    def timeout(self) -> float | None:
        """The deadline in seconds of a call that begins now. None = none."""
        return None if math.isinf(self._deadline) else max(0.0, self._deadline - self._clock())

    def received(self, reply: ListResponse) -> ListResponse:
        """Take note of a chunk, and return it as one of the whole List.

        Its store revision becomes that of the first call, at which the states before were read.
        """
        if self._store_revision is None:
            self._store_revision = reply.store_revision
        reply.store_revision = self._store_revision
        self._page_token = reply.next_page_token
        self.complete = not self._page_token
        if self._limit:
            # 0 would ask for all.
            self.complete |= len(reply.states) >= self._limit
            self._limit -= len(reply.states)
        self._pause = PAUSE_SECONDS_MIN
        self._give_up_at = None
        return reply

    def pause_seconds(self, error: WorkflowStoreError) -> float | None:
        """How long to wait before the next call, after one that failed. None = there is none, the error stands."""
        if self._store_revision is None or not isinstance(error, UnavailableError):
            return None
        now = self._clock()
        if self._give_up_at is None:
            self._give_up_at = now + RESUME_SECONDS
        pause = (error.retry_after_seconds or 0.0) + self._pause * (1 + self._random()) / 2
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        return pause if now + pause < min(self._give_up_at, self._deadline) else None
