"""The only place that knows what a history of calls must look like if the service has kept its promises.

Each validator is a promise of docs/guarantees.md. tests/faults/test_checker.py shows that each of them finds a store
that breaks it.
"""

from collections.abc import Iterator

from support.checker import lists, sessions, watches, writes
from support.checker.history import History, Violation
from support.checker.linearizable import linearizable


def violations(history: History) -> Iterator[Violation]:
    """Whatever is wrong with a history."""
    for operations in history.by_workflow().values():
        yield from linearizable(operations)
    for validator in (
        *(writes.grows, writes.once, writes.made, writes.truthful),
        *(lists.fresh, lists.each_once, sessions.session),
        *(watches.ordered, watches.unique, watches.bookmarkable, watches.resumable, watches.reliable),
        *(watches.complete, watches.filtered),
    ):
        yield from validator(history)


def check(history: History) -> None:
    """Fail with everything that is wrong with a history."""
    found = [str(violation) for violation in violations(history)]
    assert not found, "\n".join([f"{len(found)} violations", *found[:20]])
