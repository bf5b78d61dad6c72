"""The only place that knows whether the calls on one workflow can have happened one after the other.

That is linearizability (Herlihy and Wing, 1990): each call took effect at one moment between its start and its reply,
and found what those before it left. Revisions give the order, so a history in which every call knows its revision is
decided by one pass over it, sorted. Calls without one (deletes, reads that found nothing, writes of which nobody knows
what became of them) are tried wherever they fit, as in the search of Wing and Gong with Lowe's memory of the past.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from support.checker.history import Kind, Operation, Violation

UNSEEN: Final = ("?",)
"""Stands for all values that nobody has read."""

STEPS_MAX: Final = 300_000
"""Positions of the search before it gives up, which counts as a violation: nobody has shown that it was none."""


class _State(NamedTuple):
    """A workflow between two calls."""

    revision: int | None = 0
    """0 = there is none. None = of a write of which nobody has said the revision yet."""
    value: tuple[str, ...] = ()
    floor: int = 0
    """No write that comes has a revision up to this one."""

    @property
    def present(self) -> bool:
        return self.revision != 0


def linearizable(operations: Sequence[Operation]) -> Iterator[Violation]:
    """Check the calls on one workflow, which was not there at the start."""
    operations = [one for one in operations if not one.weak]
    revisions = _revisions(operations)
    search = _Search([_resolved(operation, revisions) for operation in operations])
    if not search.succeeds():
        yield Violation("linearizable", search.words())


def _revisions(operations: Sequence[Operation]) -> dict[str, int]:
    """The revision at which each token was written, from those who have read it there."""
    return {one.value[-1]: one.revision for one in operations if one.kind is Kind.READ and one.value and one.revision}


def _resolved(operation: Operation, revisions: dict[str, int]) -> Operation:
    if operation.token and operation.revision is None and operation.token in revisions:
        return replace(operation, revision=revisions[operation.token])
    return operation


def _place(operation: Operation) -> tuple[int, bool, float]:
    revision = operation.revision
    assert revision is not None, "placed by it"
    return revision, operation.kind is Kind.READ, _end(operation)


def _end(operation: Operation) -> float:
    return math.inf if operation.returned is None else operation.returned


class _At(NamedTuple):
    """Where a search is."""

    position: int
    """How many of the calls that know their revision have been placed."""
    taken: int
    """Which of those that do not, a bit each."""
    unknown: tuple[int, ...]
    """How many of each kind of those whose outcome is unknown."""
    state: _State


class _Search:
    """Looks for an order."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._placed = sorted((one for one in operations if one.revision), key=_place)
        loose = [one for one in operations if not one.revision]
        self._loose = sorted((one for one in loose if one.returned is not None), key=_end)
        self._seen = {token for one in operations if one.value for token in one.value}
        self._unknown = self._alike([one for one in loose if one.returned is None])
        # What each write has left, as those who have read it, or a later update of it, have found.
        self._left_by = {
            value[number - 1]: value[:number]
            for value in {one.value for one in operations if one.value}
            for number in range(1, len(value) + 1)
        }
        # The earliest reply among the placed ones from each position on.
        self._ends = [math.inf] * (len(self._placed) + 1)
        for position in range(len(self._placed) - 1, -1, -1):
            self._ends[position] = min(self._ends[position + 1], _end(self._placed[position]))
        self._longest = max((_end(one) - one.called for one in self._loose), default=0)
        self._all_taken = (1 << len(self._loose)) - 1
        self._tried: dict[tuple[int, int, _State], list[tuple[int, ...]]] = {}
        """What was needed of the unknown ones to get where."""
        self._steps = 0
        self._farthest = _At(0, 0, (), _State())

    def succeeds(self) -> bool:
        waiting = [_At(0, 0, (0,) * len(self._unknown), _State())]
        while waiting:
            at = waiting.pop()
            if self._was_tried(at):
                continue
            self._steps += 1
            if self._steps > STEPS_MAX:
                return False
            if (at.position, at.taken) > (self._farthest.position, self._farthest.taken):
                self._farthest = at
            if at.position == len(self._placed) and at.taken == self._all_taken:
                return True
            waiting.extend(self._next(at))
        return False

    def _was_tried(self, at: _At) -> bool:
        """Whether the search has been there, with no more of the unknown ones used up."""
        tried = self._tried.setdefault((at.position, at.taken, at.state), [])
        if any(all(one <= other for one, other in zip(used, at.unknown, strict=True)) for used in tried):
            return True
        tried.append(at.unknown)
        return False

    def words(self) -> str:
        """Say where it got stuck."""
        position, taken, _, state = self._farthest
        tried = f"given up after {STEPS_MAX} orders" if self._steps > STEPS_MAX else "no order explains them"
        lines = [f"{tried}: {position} of {len(self._placed)} calls placed at the most, and it was then {state}"]
        lines += [f"  before {one}" for one in self._placed[max(0, position - 4) : position]]
        lines += [f"  stuck  {one}" for one in self._placed[position : position + 1]]
        lines += [f"  after  {one}" for one in self._placed[position + 1 : position + 3]]
        left = [one for number, one in enumerate(self._loose) if not taken >> number & 1]
        return "\n".join(lines + [f"  loose  {one}" for one in left[:4]])

    def _next(self, at: _At) -> Iterator[_At]:
        """What may come next, the most promising last."""
        position, taken, unknown, state = at
        # Numbered by their replies: the first that is left has the earliest one.
        first = (~taken & (taken + 1)).bit_length() - 1
        # Nothing that was called after another's reply comes before it.
        end = min(self._ends[position], _end(self._loose[first]) if first < len(self._loose) else math.inf)
        placed = self._placed[position] if position < len(self._placed) else None
        fits = [
            (number, after)
            for number in self._not_taken(taken, first, end)
            if (after := self._applied(state, self._loose[number]))
        ]
        # What finds the workflow as it is and leaves it so may as well come now.
        if found := [number for number, after in fits if after == state]:
            yield _At(position, taken | 1 << found[0], unknown, state)
            return
        if placed is not None and placed.called <= end and self._applied(state, placed) == state:
            yield _At(position + 1, taken, unknown, state)
            return
        # What is unknown may have had no effect.
        for kind, alike in enumerate(self._unknown):
            used = unknown[kind]
            if used < len(alike) and alike[used].called <= end and not self._is_pointless(state, alike[used]):
                after = self._applied(state, alike[used])
                if after is not None:
                    yield _At(position, taken, (*unknown[:kind], used + 1, *unknown[kind + 1 :]), after)
        for number, after in fits:
            yield _At(position, taken | 1 << number, unknown, after)
        if placed is not None and placed.called <= end and (after := self._applied(state, placed)) is not None:
            yield _At(position + 1, taken, unknown, after)

    def _applied(self, state: _State, operation: Operation) -> _State | None:
        """Return what a call leaves, or None when it cannot have had its reply then, or was found to leave another."""
        after = _applied(state, operation)
        if after is None or not operation.token:
            return after
        if operation.token not in self._seen:
            # One value that nobody has read is like another.
            return after._replace(value=UNSEEN)
        return after if self._left_by[operation.token] == after.value else None

    def _not_taken(self, taken: int, first: int, end: float) -> Iterator[int]:
        """Which of the loose ones are left and were called by then."""
        for number in range(first, len(self._loose)):
            if _end(self._loose[number]) - self._longest > end:
                return
            if not taken >> number & 1 and self._loose[number].called <= end:
                yield number

    def _is_pointless(self, state: _State, operation: Operation) -> bool:
        """Whether what an unknown call would leave cannot be told from what is there."""
        if operation.kind is Kind.DELETE:
            return not state.present
        return operation.token not in self._seen and state.revision is None and operation.expected is None

    def _alike(self, unknown: Sequence[Operation]) -> list[list[Operation]]:
        """Gather what does the same and is seen by nobody: of those it is enough to try the first."""
        alike: dict[tuple[Kind, int | None, str], list[Operation]] = {}
        for one in sorted(unknown, key=lambda one: one.called):
            token = one.token if one.token in self._seen else ""
            alike.setdefault((one.kind, one.expected, token), []).append(one)
        return list(alike.values())


def _applied(state: _State, operation: Operation) -> _State | None:
    """Return what a call leaves, or None when it cannot have had its reply then."""
    match operation.kind:
        case Kind.READ:
            return _read(state, operation)
        case Kind.DELETE:
            return _deleted(state, operation)
    if operation.revision is not None and operation.revision <= state.floor:
        return None
    if operation.kind is Kind.UPDATE and not state.present:
        return None
    if operation.expected is not None:
        bound = _bound(state, operation.expected)
        if bound is None:
            return None
        state = bound
    value = (*state.value, operation.token) if operation.kind is Kind.UPDATE else (operation.token,)
    floor = operation.revision if operation.revision is not None else state.floor
    return _State(operation.revision, value, floor)


def _bound(state: _State, revision: int) -> _State | None:
    """Return the state if it is at a revision, which it takes on if nobody has said its own."""
    if state.revision is None and revision > state.floor:
        return _State(revision, state.value, revision)
    return state if state.revision == revision else None


def _read(state: _State, operation: Operation) -> _State | None:
    assert operation.revision is not None, "a read has found something or nothing"
    bound = _bound(state, operation.revision)
    if bound is None or (operation.value is not None and operation.revision and operation.value != bound.value):
        return None
    return bound


def _deleted(state: _State, operation: Operation) -> _State | None:
    if operation.existed is not None and operation.existed is not state.present:
        return None
    if operation.expected is not None and state.present:
        bound = _bound(state, operation.expected)
        if bound is None:
            # One whose outcome is unknown may have been refused, and then has changed nothing.
            return None
        state = bound
    return _State(0, (), state.floor)
