"""Which calls on one workflow can have happened one after the other, and which cannot."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.checker.history import Kind, Operation
from support.checker.linearizable import linearizable


def save(called: int, returned: int | None, revision: int | None, token: str = "", **more: Any) -> Operation:
    return Operation(Kind.SAVE, "w", called, returned, revision, token or f"t{revision}", **more)


def update(called: int, returned: int | None, revision: int | None, token: str = "") -> Operation:
    return Operation(Kind.UPDATE, "w", called, returned, revision, token or f"t{revision}")


def read(called: int, returned: int, revision: int, *tokens: str) -> Operation:
    return Operation(Kind.READ, "w", called, returned, revision, value=tokens or None)


def delete(called: int, returned: int | None, existed: bool | None, expected: int | None = None) -> Operation:
    return Operation(Kind.DELETE, "w", called, returned, existed=existed, expected=expected)


POSSIBLE = {
    "nothing": [],
    "a read of what was saved": [save(0, 1, 5), read(2, 3, 5, "t5")],
    "reads during a save find the old and the new": [save(0, 1, 5), save(2, 9, 7), read(3, 4, 5), read(5, 6, 7)],
    "saves at once in either order": [save(0, 9, 7), save(1, 8, 5), read(10, 11, 7, "t7")],
    "an update keeps what was there": [save(0, 1, 5), update(2, 3, 6), read(4, 5, 6, "t5", "t6")],
    "an unknown save was applied": [save(0, None, None, "u"), read(5, 6, 5, "u")],
    "an unknown save was applied late": [save(0, None, None, "u"), read(1, 2, 0), read(5, 6, 5, "u")],
    "an unknown save was not applied": [save(0, None, None, "u"), read(5, 6, 0)],
    "an unknown save was overwritten": [save(0, None, None, "u"), save(2, 3, 8), read(5, 6, 8, "t8")],
    "somebody was refused for an unknown save": [save(0, 1, 5), save(2, None, None, "u"), read(3, 4, 6)],
    "an unknown update is in a later one": [
        save(0, 1, 5), update(2, None, None, "u"), update(3, 4, 9), read(5, 6, 9, "t5", "u", "t9"),
    ],
    "an unknown delete explains that nothing is there": [save(0, 1, 5), delete(2, None, None), read(3, 4, 0)],
    "an unknown delete was not applied": [save(0, 1, 5), delete(2, None, None), read(3, 4, 5)],
    "deleted and made again": [save(0, 1, 5), delete(2, 3, True), save(4, 5, 9, expected=0), read(6, 7, 9)],
    "two deletes at once, of which one found it": [save(0, 1, 5), delete(2, 9, False), delete(3, 8, True)],
    "a save on the condition of an unknown one": [
        save(0, None, None, "u"), save(2, 3, 9, expected=6), read(4, 5, 9, "t9"),
    ],
}  # fmt: skip

IMPOSSIBLE = {
    "a lost save": [save(0, 1, 5), read(2, 3, 0)],
    "an older state after a newer one": [save(0, 1, 5), save(0, 1, 7), read(2, 3, 7), read(4, 5, 5)],
    "an older state after a newer save": [save(0, 1, 5), save(2, 3, 7), read(4, 5, 5)],
    "a read of the future": [read(0, 1, 5), save(2, 3, 5)],
    "a value that another revision has": [save(0, 1, 5), read(2, 3, 5, "other")],
    "a lost update": [save(0, 1, 5), update(2, 3, 6), update(2, 3, 7), read(4, 5, 7, "t5", "t7")],
    "an update of what is not there": [update(0, 1, 5)],
    "two saves on the same condition": [save(0, 1, 5), save(2, 3, 6, expected=5), save(2, 3, 7, expected=5)],
    "two that each made it": [save(0, 1, 5, expected=0), save(0, 1, 6, expected=0)],
    "a delete that did nothing": [save(0, 1, 5), delete(2, 3, True), read(4, 5, 5)],
    "a delete that found nothing where something was": [save(0, 1, 5), delete(2, 3, False)],
    "two deletes that found the same": [save(0, 1, 5), delete(2, 3, True), delete(2, 3, True)],
    "what was deleted is back": [save(0, 1, 5), delete(2, 3, True), read(4, 5, 0), read(6, 7, 5)],
    "an unknown save applied before its call": [read(0, 1, 5, "u"), save(2, None, None, "u")],
    "an unknown save that comes and goes": [
        save(0, None, None, "u"), read(1, 2, 5, "u"), read(3, 4, 0), read(5, 6, 5, "u"),
    ],
    "a delete on a condition that did not hold": [save(0, 1, 5), save(2, 3, 7), delete(4, 5, True, expected=5)],
}  # fmt: skip


@pytest.mark.parametrize("operations", POSSIBLE.values(), ids=POSSIBLE)
def test_what_can_have_happened_passes(operations: list[Operation]) -> None:
    assert not list(linearizable(operations))


@pytest.mark.parametrize("operations", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_have_happened_is_found(operations: list[Operation]) -> None:
    assert list(linearizable(operations))


@given(st.lists(st.tuples(st.sampled_from("sucdrx"), st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_what_has_happened_one_after_the_other_passes_however_long_the_calls_took(
    calls: list[tuple[str, int, int]],
) -> None:
    # Each call takes effect at its own moment, and was under way for some time before and after.
    operations: list[Operation] = []
    revision, value = 0, ()
    for number, (kind, before, after) in enumerate(calls):
        called, returned, made, token = number * 10 - before, number * 10 + after, number + 1, f"t{number + 1}"
        if kind == "s":
            operations.append(save(called, returned, made))
            revision, value = made, (token,)
        elif kind == "u" and revision:
            operations.append(update(called, returned, made))
            revision, value = made, (*value, token)
        elif kind == "c":
            operations.append(save(called, returned, made, expected=revision))
            revision, value = made, (token,)
        elif kind == "d":
            operations.append(delete(called, returned, revision != 0))
            revision, value = 0, ()
        elif kind == "x":
            operations.append(save(called, None, None, token))
            if number % 2:
                revision, value = made, (token,)
        else:
            operations.append(read(called, returned, revision, *value))
    assert not list(linearizable(operations))
