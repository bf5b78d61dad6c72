"""The only place that knows what must hold of all writes together, whatever workflow they are of."""

from collections.abc import Iterator

from support.checker.history import History, Kind, Violation


def grows(history: History) -> Iterator[Violation]:
    """A write that began after another's acknowledgement has the larger revision: revisions order the whole bucket."""
    writes = [(write, write.returned, write.revision) for write in history.writes() if write.revision is not None]
    ended = sorted(writes, key=lambda one: one[1] or 0)
    newest, at = None, 0
    for write, _, revision in sorted(writes, key=lambda one: one[0].called):
        while at < len(ended) and (ended[at][1] or 0) < write.called:
            if newest is None or (ended[at][2] or 0) > (newest.revision or 0):
                newest = ended[at][0]
            at += 1
        if newest is not None and (revision or 0) <= (newest.revision or 0):
            yield Violation("grows", f"{write} began after {newest} had ended")


def once(history: History) -> Iterator[Violation]:
    """A write is applied once: at one revision, and it is in no value twice."""
    found: dict[str, set[int]] = {}
    for operation in history.operations:
        if operation.token and operation.revision:
            found.setdefault(operation.token, set()).add(operation.revision)
        if operation.kind is Kind.READ and operation.value and operation.revision:
            found.setdefault(operation.value[-1], set()).add(operation.revision)
            if len(set(operation.value)) < len(operation.value):
                yield Violation("once", f"{operation} has a write twice")
    for watched in history.watched:
        for told in watched.told:
            if told.value:
                found.setdefault(told.value[-1], set()).add(told.revision)
    for token, revisions in found.items():
        if len(revisions) > 1:
            yield Violation("once", f"{token} was written at the revisions {sorted(revisions)}")


def made(history: History) -> Iterator[Violation]:
    """Whatever is read was written by somebody who was not told that it was not applied."""
    written = {operation.token for operation in history.operations if operation.token}
    read = [(one.value, str(one)) for one in history.operations if one.kind is Kind.READ and one.value]
    read += [(told.value, str(told)) for watched in history.watched for told in watched.told if told.value]
    for value, words in read:
        for token in value:
            if token in history.refused:
                yield Violation("made", f"{token} was refused, and is in {words}")
            elif token not in written:
                yield Violation("made", f"nobody wrote {token}, which is in {words}")


def truthful(history: History) -> Iterator[Violation]:
    """At one revision everybody finds the same workflow and the same value."""
    found: dict[int, tuple[str, tuple[str, ...]]] = {}
    read = [(one.revision, one.workflow_id, one.value) for one in history.operations if one.kind is Kind.READ]
    read += [(told.revision, told.workflow_id, told.value) for watched in history.watched for told in watched.told]
    for revision, workflow_id, value in read:
        if not revision or value is None:
            continue
        first = found.setdefault(revision, (workflow_id, value))
        if first != (workflow_id, value):
            yield Violation("truthful", f"revision {revision} is both {first} and {(workflow_id, value)}")
