"""The only place that knows what must hold of a List beside the reads that it consists of."""

from collections.abc import Iterator

from support.checker.history import History, Violation


def fresh(history: History) -> Iterator[Violation]:
    """A List reflects every write that was acknowledged before it began: its store revision says so."""
    ended = sorted(
        (write.returned, write.revision) for write in history.writes() if write.returned is not None and write.revision
    )
    newest, at = 0, 0
    strong = [listed for listed in history.listed if not listed.weak]
    for listed in sorted(strong, key=lambda one: one.called):
        while at < len(ended) and ended[at][0] < listed.called:
            newest = max(newest, ended[at][1])
            at += 1
        if listed.store_revision < newest:
            yield Violation("fresh", f"a List up to {listed.store_revision} began after {newest} was acknowledged")


def each_once(history: History) -> Iterator[Violation]:
    """A List has each workflow once, in the order of ids, also over the servers and calls that it took."""
    for listed in history.listed:
        if list(listed.ids) != sorted(set(listed.ids)):
            yield Violation("each_once", f"a List up to {listed.store_revision} has {listed.ids}")
