"""The only place that knows whether the calls on one workflow can have happened one after the other.

That is linearizability (Herlihy and Wing, 1990): each call took effect at one moment between its start and its reply,
and found what those before it left. Revisions give the order, so a history in which every call knows its revision is
decided by one pass over it, sorted. Calls without one (deletes, reads that found nothing, writes of which nobody knows
what became of them) are tried wherever they fit, as in the search of Wing and Gong with Lowe's memory of the past.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from support.checker.history import Kind, Operation, Violation

STEPS_MAX: Final = 300_000
"""Positions of the search before it gives up, which counts as a violation: nobody has shown that it was none."""


@dataclass(frozen=True, slots=True)
class _State:
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
    operations = [_resolved(operation, _revisions(operations)) for operation in operations]
    placed = sorted((one for one in operations if one.revision), key=_place)
    loose = sorted((one for one in operations if not one.revision), key=lambda one: one.called)
    search = _Search(placed, loose)
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


class _Search:
    """Looks for an order. `placed` have theirs; `loose` may be anywhere, or, if their outcome is unknown, nowhere."""

    def __init__(self, placed: Sequence[Operation], loose: Sequence[Operation]) -> None:
        self._placed = placed
        self._loose = loose
        # The earliest reply among the placed ones from each position on.
        self._ends = [math.inf] * (len(placed) + 1)
        for position in range(len(placed) - 1, -1, -1):
            self._ends[position] = min(self._ends[position + 1], _end(placed[position]))
        self._tried: set[tuple[int, int, _State]] = set()
        self._farthest = (0, 0, _State())

    def succeeds(self) -> bool:
        waiting = [(0, 0, _State())]
        while waiting:
            at = waiting.pop()
            if at in self._tried:
                continue
            self._tried.add(at)
            if len(self._tried) > STEPS_MAX:
                return False
            if at[0] > self._farthest[0] or (at[0] == self._farthest[0] and at[1].bit_count() > self._farthest[1]):
                self._farthest = (at[0], at[1].bit_count(), at[2])
            if self._is_end(at):
                return True
            waiting.extend(self._next(at))
        return False

    def words(self) -> str:
        """Say where it got stuck."""
        position, _, state = self._farthest
        lines = [f"no order explains these calls beyond {position} of {len(self._placed)}; it was then {state}"]
        if len(self._tried) > STEPS_MAX:
            lines = [f"given up after {STEPS_MAX} positions"]
        lines += [f"  before {one}" for one in self._placed[max(0, position - 4) : position]]
        lines += [f"  stuck  {one}" for one in self._placed[position : position + 1]]
        lines += [f"  after  {one}" for one in self._placed[position + 1 : position + 3]]
        around = self._placed[min(position, len(self._placed) - 1)] if self._placed else None
        lines += [
            f"  loose  {one}"
            for one in self._loose
            if around is None or (one.called < _end(around) and _end(one) > around.called - 1e9)
        ]
        return "\n".join(lines)

    def _is_end(self, at: tuple[int, int, _State]) -> bool:
        position, taken, _ = at
        return position == len(self._placed) and not any(
            one.returned is not None and not taken >> number & 1 for number, one in enumerate(self._loose)
        )

    def _next(self, at: tuple[int, int, _State]) -> Iterator[tuple[int, int, _State]]:
        """What may come next, the most promising last."""
        position, taken, state = at
        left = [(number, one) for number, one in enumerate(self._loose) if not taken >> number & 1]
        # Nothing that was called after another's reply comes before it.
        end = min(self._ends[position], min((_end(one) for _, one in left), default=math.inf))
        # Those whose outcome is unknown are tried last: they may have had no effect.
        for number, one in sorted(left, key=lambda pair: (pair[1].returned is not None, -pair[0])):
            if one.called <= end and (after := _applied(state, one)) is not None:
                yield position, taken | 1 << number, after
        if position < len(self._placed):
            one = self._placed[position]
            if one.called <= end and (after := _applied(state, one)) is not None:
                yield position + 1, taken, after


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
