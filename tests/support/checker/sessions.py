"""The only place that knows what one client is promised, whatever server and replica answers it."""

from bisect import bisect_right
from collections.abc import Iterator

from support.checker.history import History, Kind, Operation, Violation


def session(history: History) -> Iterator[Violation]:
    """Nobody is told what is older than what they were told before, of whatever workflow: they read their own writes,
    and never go back in time."""
    writes: dict[str, list[Operation]] = {}
    for write in sorted(history.writes(), key=lambda write: write.revision or 0):
        writes.setdefault(write.workflow_id, []).append(write)
    deletes = [one for one in history.operations if one.kind is Kind.DELETE and one.existed is not False]
    told: dict[str, int] = {}
    for one in sorted(history.operations, key=lambda one: (one.returned is None, one.returned)):
        if one.returned is None:
            return
        of_workflow = writes.get(one.workflow_id, [])
        # Calls of one client follow each other, but for the reads of one List.
        before = bisect_right(of_workflow, told.get(one.client, 0), key=lambda write: write.revision or 0)
        if one.kind is Kind.READ and before and one.called > (of_workflow[before - 1].returned or 0):
            newest = of_workflow[before - 1]
            missing = one.revision == 0 and not any(_explains(delete, newest) for delete in deletes)
            if missing or 0 < (one.revision or 0) < (newest.revision or 0):
                yield Violation("session", f"{one} came after {newest}, of which {one.client} could know")
        told[one.client] = max(told.get(one.client, 0), one.revision or 0)


def _explains(delete: Operation, write: Operation) -> bool:
    """Whether a delete may have come after a write."""
    return delete.workflow_id == write.workflow_id and (delete.returned is None or delete.returned > write.called)
