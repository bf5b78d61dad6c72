"""The only place that knows what must hold of what a watcher is told: one promise each (etcd's words for them)."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

from support.checker.history import History, Kind, Operation, Told, Violation, Watched


def ordered(history: History) -> Iterator[Violation]:
    """Changes come in the order of their revisions."""
    for watched in history.watched:
        changes = [told for told in watched.told if told.workflow_id]
        for before, after in pairwise(changes):
            if after.revision < before.revision:
                yield Violation("ordered", f"{after} came after {before}")


def unique(history: History) -> Iterator[Violation]:
    """No change comes twice."""
    for watched in history.watched:
        seen: set[int] = set()
        for told in watched.told:
            if told.workflow_id and told.revision in seen:
                yield Violation("unique", f"{told} came twice")
            if told.workflow_id:
                seen.add(told.revision)


def bookmarkable(history: History) -> Iterator[Violation]:
    """After the word that all up to a revision has been told, no change up to it comes."""
    for watched in history.watched:
        revision = watched.after
        for told in watched.told:
            if told.workflow_id and told.revision <= revision:
                yield Violation("bookmarkable", f"{told} came after all up to {revision} was told")
            elif not told.workflow_id:
                revision = max(revision, told.revision)


def resumable(history: History) -> Iterator[Violation]:
    """A call that goes on after a revision begins right there: it tells nothing that is older."""
    for watched in history.watched:
        resumed = None
        for told in watched.told:
            if told.resumed:
                resumed = told.revision
            elif resumed is not None and told.workflow_id and told.revision <= resumed:
                yield Violation("resumable", f"{told} came to one who went on after {resumed}")


def reliable(history: History) -> Iterator[Violation]:
    """Nothing is left out: by the word that all up to a revision has been told, the watcher has been told of each
    acknowledged write up to it, or of a later one to that workflow, or there is a later one by then that is told later
    (the bucket keeps the newest alone)."""
    operations = history.by_workflow()
    for watched in history.watched:
        changes: dict[str, list[int]] = {}
        for told in watched.told:
            if told.workflow_id:
                changes.setdefault(told.workflow_id, []).append(told.revision)
        bookmarks = sorted((told for told in watched.told if not told.workflow_id), key=lambda told: told.revision)
        for write in history.writes():
            revision = write.revision or 0
            following = bisect_left(bookmarks, revision, key=lambda told: told.revision)
            wanted = revision > watched.after and write.workflow_id.startswith(watched.prefix)
            if not wanted or following == len(bookmarks):
                continue
            bookmark = bookmarks[following]
            told_of = sorted(changes.get(write.workflow_id, []))
            at = bisect_left(told_of, revision)
            is_told = at < len(told_of) and told_of[at] <= bookmark.revision
            if not is_told and not any(_overwrites(one, write, bookmark) for one in operations[write.workflow_id]):
                yield Violation("reliable", f"{_name(watched)} was not told of {write} by {bookmark}")


def _overwrites(operation: Operation, write: Operation, bookmark: Told) -> bool:
    """Whether an operation may have overwritten a write before a bookmark was made, and be told after it."""
    if operation.kind is Kind.READ or operation.called > bookmark.received:
        return False
    if operation.revision is not None:
        return operation.revision > bookmark.revision
    return operation.returned is None or operation.returned > write.called


def complete(history: History) -> Iterator[Violation]:
    """Who has been told everything up to the last List knows what is in it, but for what has been written since."""
    if not history.listed:
        return
    last = history.listed[-1]
    there = {
        one.workflow_id: one.revision
        for one in history.operations
        if one.kind is Kind.READ and one.called == last.called and one.revision
    }
    for watched in history.watched:
        if watched.after or watched.revision < last.store_revision:
            continue
        later = {told.workflow_id for told in watched.told if told.revision > last.store_revision}
        # A List of full states takes what has been written meanwhile.
        later |= {id_ for id_, revision in there.items() if revision > last.store_revision}
        known = {id_: revision for id_, revision in watched.known().items() if id_ not in later}
        expected = {id_: at for id_, at in there.items() if id_.startswith(watched.prefix) and id_ not in later}
        if known != expected:
            yield Violation("complete", f"{_name(watched)} knows {known}, and there is {expected}")


def filtered(history: History) -> Iterator[Violation]:
    """Only what was asked for comes."""
    for watched in history.watched:
        for told in watched.told:
            if told.workflow_id and not told.workflow_id.startswith(watched.prefix):
                yield Violation("filtered", f"{told} came to one who asked for {watched.prefix!r}")


def _name(watched: Watched) -> str:
    return f"who watched {watched.prefix!r} from {watched.after} to {watched.revision}"
