"""The only place that knows what a history of calls must look like if the service has kept its promises.

Each validator is a promise of docs/guarantees.md. tests/faults/test_checker.py shows that each of them finds a store
that breaks it.
"""

import pickle
import tempfile
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
    """Fail with everything that is wrong with a history, which is then kept in a file."""
    found = [str(violation) for violation in violations(history)]
    if found:
        with tempfile.NamedTemporaryFile(prefix="history-", suffix=".pickle", delete=False) as file:
            pickle.dump(history, file)
        raise AssertionError("\n".join([f"{len(found)} violations in the history in {file.name}", *found[:20]]))
