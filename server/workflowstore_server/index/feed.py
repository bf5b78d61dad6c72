"""The only place that knows the recent changes of a bucket, which all who watch it share.

Who watches keeps nothing but a place in it. Who is slower than what it keeps has lost its place.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from workflowstore_server.index import changes
from workflowstore_server.index.written import Written
from workflowstore_server.model.errors import StoreError
from workflowstore_server.model.selection import WorkflowFilter

CHANGES_MAX: Final = 16_384
"""Changes that are kept, beyond the newest step: 2 s of the fastest that an index has followed."""

BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of documents, and of what goes with them, that are kept beyond the newest step. Once they have been sent in
both views they take up to three times as much."""

LOOKED_AT_ONCE: Final = 2048
"""Changes that are compared with filters without a pause: 1 to 2 ms of the event loop."""

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


class Place:
    """How far somebody who watches has come in the feed. It moves on while they wait and nothing concerns them."""

    __slots__ = ("known_from_revision", "number", "revision", "waiting", "wanted")

    def __init__(self, number: int, revision: int, wanted: WorkflowFilter, known_from_revision: int) -> None:
        self.number = number
        """Of the next step."""
        self.revision = revision
        """Everything up to it has been told or does not concern them."""
        self.wanted = wanted
        self.known_from_revision = known_from_revision
        """What a workflow was before a change is known of changes after this revision."""
        self.waiting: asyncio.Future[None] | None = None

    def knows_before(self, step: Step) -> bool:
        """Whether it is known what workflows were before a step."""
        return step.after_revision >= self.known_from_revision

    def wake(self) -> None:
        """End the waiting, if it has not ended."""
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)


class Feed:
    """The newest steps of one index, numbered, without a gap from a revision on."""

    def __init__(self, revision: int, resumable_revision: int = 0) -> None:
        self.revision = revision
        """Up to which changes are in it or were before it."""
        self.first_number = 0
        """Number of the oldest step."""
        self.start_revision = revision
        """Every change after this revision is in it."""
        self.resumable_revision = resumable_revision
        """Of what was found before this revision of the bucket, not everything is in it any more."""
        self._steps: deque[Step] = deque()
        self._changes = 0
        self._size_bytes = 0
        self._ended_by: EndedBy | None = None
        self._waiting: dict[tuple[Hashable, int], set[Place]] = {}
        """Those who wait, all of them at the newest step: together who watches for the same."""

    def restart(self, revision: int) -> None:
        """Forget the steps: nobody watches, and the index is at this revision.

        What was found at this very revision stays: who comes back to it has not been told.
        """
        while self._steps and not (self._steps[0].found and self._steps[0].until_revision == revision):
            self._drop_oldest()
        self.start_revision = self.revision = revision

    def add(self, written: Sequence[Written], until_revision: int, *, found: bool = False) -> None:
        """Add a step. Who waits is not told before `tell`."""
        step = Step(self.revision, until_revision, written, found, sum(one.size_bytes for one in written))
        self._steps.append(step)
        self._changes += len(written)
        self._size_bytes += step.size_bytes
        self.revision = until_revision
        while len(self._steps) > 1 and (
            self._changes - len(step.written) > CHANGES_MAX or self._size_bytes - step.size_bytes > BYTES_MAX
        ):
            self._drop_oldest()

    async def tell(self) -> None:
        """Wake those who wait and whom the newest step concerns, and let the others' places move on.

        Looked at here, once for all who watch for the same, a change costs next to nothing to those whom it does not
        concern: a thousand who wake up to find nothing took 5 ms.
        """
        number, step = self.first_number + len(self._steps) - 1, self._steps[-1]
        looked_at = 0
        for places in list(self._waiting.values()):
            one = next(iter(places), None)
            if one is None:
                continue
            before_is_known = one.knows_before(step)
            concerned = step.found or any(
                written.kind(one.wanted, before_is_known=before_is_known) for written in step.written
            )
            for place in list(places):
                if concerned:
                    place.wake()
                elif place.number == number:
                    place.number, place.revision = number + 1, step.until_revision
            looked_at += len(step.written)
            if looked_at >= LOOKED_AT_ONCE:
                looked_at = 0
                await changes.give_way()

    def end(self, ended_by: EndedBy) -> None:
        """Let every watch end, with an error that is made for it. Later ends change nothing."""
        if self._ended_by is None:
            self._ended_by = ended_by
        for places in self._waiting.values():
            for place in places:
                place.wake()

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

    def found_at(self, revision: int) -> bool:
        """Whether something that was found at this revision is in it."""
        index = bisect_right(self._steps, (revision, False), key=lambda step: (step.until_revision, step.found))
        return index < len(self._steps) and self._steps[index].until_revision == revision

    def step(self, number: int) -> Step | None:
        """Return a step that has not been dropped, None when it is still to come."""
        index = number - self.first_number
        return self._steps[index] if index < len(self._steps) else None

    async def news(self, place: Place, seconds: float) -> None:
        """Wait until a step concerns who is at this place, or the watches end, but not longer than so many seconds."""
        if self._ended_by is not None or self.first_number + len(self._steps) > place.number:
            return
        loop = asyncio.get_running_loop()
        place.waiting = loop.create_future()
        timer = loop.call_later(max(0.0, seconds), place.wake)
        key = (place.wanted.key, place.known_from_revision)
        self._waiting.setdefault(key, set()).add(place)
        try:
            await place.waiting
        finally:
            timer.cancel()
            self._waiting[key].discard(place)
            if not self._waiting[key]:
                del self._waiting[key]

    def _drop_oldest(self) -> None:
        step = self._steps.popleft()
        self.first_number += 1
        self._changes -= len(step.written)
        self._size_bytes -= step.size_bytes
        self.start_revision = step.until_revision
        if step.found:
            self.resumable_revision = step.until_revision + 1
