"""The only place that knows the recent changes of a bucket, which all who watch it share.

Who watches keeps nothing but a place in it. Who is slower than what it keeps has lost its place.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from workflowstore_server.index.written import Written
from workflowstore_server.model.errors import StoreError

CHANGES_MAX: Final = 16_384
"""Changes that are kept, beyond the newest step: 2 s of the fastest that an index has followed."""

BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of documents, and of what goes with them, that are kept beyond the newest step. Once they have been sent in
both views they take up to three times as much."""

EndedBy = Callable[[int | None], StoreError]
"""Makes the error that a watch ends with, of the revision after which it can go on (None = it cannot)."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was applied to the index at once."""

    after_revision: int
    until_revision: int
    """Everything after the one revision, up to the other, is in it, as far as the bucket had it still."""
    written: Sequence[Written]
    found: bool
    """Whether these were found, without a message that told of them. Then both revisions are that of the index."""
    size_bytes: int


class Feed:
    """The newest steps of one index, numbered, without a gap from a revision on."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        """Up to which changes are in it or were before it."""
        self.first_number = 0
        """Number of the oldest step."""
        self.start_revision = revision
        """Every change after this revision is in it."""
        self.resumable_revision = 0
        """Of what was found before this revision of the bucket, not everything is in it any more."""
        self._steps: deque[Step] = deque()
        self._changes = 0
        self._size_bytes = 0
        self._ended_by: EndedBy | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    def restart(self, revision: int) -> None:
        """Forget all steps: nobody watches, and the index is at this revision."""
        self.first_number += len(self._steps)
        self._steps.clear()
        self._changes = self._size_bytes = 0
        self.start_revision = self.revision = revision

    def publish(self, written: Sequence[Written], until_revision: int, *, found: bool = False) -> None:
        """Add a step, and wake those who wait for it."""
        step = Step(self.revision, until_revision, written, found, sum(one.size_bytes for one in written))
        self._steps.append(step)
        self._changes += len(written)
        self._size_bytes += step.size_bytes
        self.revision = until_revision
        while len(self._steps) > 1 and (
            self._changes - len(step.written) > CHANGES_MAX or self._size_bytes - step.size_bytes > BYTES_MAX
        ):
            self._drop_oldest()
        self._wake()

    def end(self, ended_by: EndedBy) -> None:
        """Let every watch end, with an error that is made for it. Later ends change nothing."""
        if self._ended_by is None:
            self._ended_by = ended_by
        self._wake()

    def check(self, resume_revision: int | None) -> None:
        """Raises: what the watches end with, if they do."""
        if self._ended_by is not None:
            raise self._ended_by(resume_revision)

    def place_after(self, revision: int) -> int | None:
        """Return the number of the step with the first change after a revision, None when some are missing.

        What was found at that very revision comes after it.
        """
        if revision < self.start_revision:
            return None
        place = bisect_right(self._steps, (revision, False), key=lambda step: (step.until_revision, step.found))
        return self.first_number + place

    def step(self, number: int) -> Step | None:
        """Return a step that has not been dropped, None when it is still to come."""
        index = number - self.first_number
        return self._steps[index] if index < len(self._steps) else None

    async def news(self, number: int, seconds: float) -> None:
        """Wait until there is a step with this number or the watches end, but not longer than so many seconds."""
        if self._ended_by is not None or self.first_number + len(self._steps) > number:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await asyncio.wait([waiting], timeout=max(0.0, seconds))
        finally:
            self._waiting.discard(waiting)

    def _drop_oldest(self) -> None:
        step = self._steps.popleft()
        self.first_number += 1
        self._changes -= len(step.written)
        self._size_bytes -= step.size_bytes
        self.start_revision = step.until_revision
        if step.found:
            self.resumable_revision = step.until_revision + 1

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for one in waiting:
            if not one.done():
                one.set_result(None)
