"""The only place that knows what one change of the bucket is to those who watch it.

What is made of a change is made when the first of them asks for it, and then kept for the others.
"""

from collections.abc import Callable, Iterable
from typing import Final

from workflowstore.v1.workflow_state_pb2 import WorkflowState as WorkflowStateMessage
from workflowstore_server.codec import aside, change_message, document, message
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import schema
from workflowstore_server.index.changes import MALFORMED, Was
from workflowstore_server.index.schema import Entry, Malformed, Marker, Workflow
from workflowstore_server.model.change import ChangeKind
from workflowstore_server.model.selection import WorkflowFilter
from workflowstore_server.model.state import MalformedEntry, StoredState, Summary, WorkflowView
from workflowstore_server.store import Change

ToldBefore = Callable[[WorkflowFilter], bool]
"""Whether those who watch with a filter may have been told of the workflow as it was before."""

OVERHEAD_BYTES: Final = 1024
"""What a change takes beyond its document, roughly."""


class Written:
    """One write to a key, or what became of the key without one."""

    __slots__ = ("_change", "_entry", "_fields", "_row", "_told_before", "revision", "workflow_id")

    def __init__(
        self, change: Change, told_before: ToldBefore, entry: Entry | None = None, revision: int | None = None
    ) -> None:
        self.revision = change.revision if revision is None else revision
        """Of the write; of the bucket when it was found, where there was none."""
        self.workflow_id = schema.id_of(change.key)
        self._change = change
        self._told_before = told_before
        self._entry = entry
        self._row: _Row | None = None
        self._fields: dict[tuple[ChangeKind, WorkflowView], bytes] = {}

    @property
    def size_bytes(self) -> int:
        """What it takes of memory, roughly."""
        return len(self._change.document or b"") + OVERHEAD_BYTES

    @property
    def is_long(self) -> bool:
        """Whether it takes long to make of it what is sent."""
        return aside.is_long_document(self._change.document or b"")

    def kind(self, wanted: WorkflowFilter, *, before_is_known: bool = True) -> ChangeKind | None:
        """Return what it is to those who watch with a filter, None when it is nothing to them.

        `before_is_known` = they had been told of everything that came before, and of nothing that came later.
        """
        if not wanted.may_tell_of(self.workflow_id):
            return None
        entry = self._made()
        if isinstance(entry, Malformed):
            return ChangeKind.MALFORMED
        if isinstance(entry, Workflow):
            if self._row is None:
                self._row = _Row(entry.row[-1])
            if self._row.matches(wanted):
                return ChangeKind.SAVED
        elif self.workflow_id is None:
            return None
        if before_is_known and not self._told_before(wanted):
            return None
        return ChangeKind.DELETED if isinstance(entry, Marker) else ChangeKind.UNMATCHED

    def told(self, wanted: WorkflowFilter) -> bool:
        """Whether those who watch with a filter are told of it as of something that is there."""
        return self.kind(wanted) in {ChangeKind.SAVED, ChangeKind.MALFORMED}

    def changes_field(self, kind: ChangeKind, view: WorkflowView) -> bytes:
        """Return the field `changes` of a WatchResponse for it."""
        field = self._fields.get((kind, view))
        if field is None:
            field = self._fields[kind, view] = self._encode(kind, view)
        return field

    def _made(self) -> Entry:
        if self._entry is None:
            self._entry = schema.entry_of(self._change)
        return self._entry

    def _encode(self, kind: ChangeKind, view: WorkflowView) -> bytes:
        entry, change = self._made(), self._change
        id_ = self.workflow_id or ""
        if isinstance(entry, Malformed):
            return change_message.changes_field(kind, id_, self.revision, malformed=MalformedEntry(*entry.row[:3]))
        if not isinstance(entry, Workflow) or change.document is None:
            return change_message.changes_field(kind, id_, self.revision)
        states_field = entry.row[-1]
        if view is WorkflowView.FULL:
            stored = StoredState(document.decode(change.document, change.key), change.revision, len(change.document))
            states_field = message.states_field([message.encode_state(stored, WorkflowView.FULL)])
        return change_message.changes_field(kind, id_, self.revision, states_field)


class _Row:
    """What a workflow is or was, as its row in the index says."""

    __slots__ = ("_decoded", "_summary")

    def __init__(self, summary: bytes) -> None:
        self._summary = summary
        self._decoded: Summary | None = None

    def matches(self, wanted: WorkflowFilter) -> bool:
        if self._decoded is None:
            self._decoded = change_message.decode_summary(self._summary)
        return wanted.matches(self._decoded)


async def read(change: Change) -> StoredState | MalformedEntry:
    """Return what a document is."""
    assert change.document is not None, "it is no delete marker"
    is_long = aside.is_long_document(change.document)
    return await aside.run(is_long, document.entry_of, change.key, change.revision, change.document)


async def full(stored: StoredState) -> WorkflowStateMessage:
    """Return the message for a state, all of it."""
    return await aside.run(aside.is_long_state(stored.state), message.encode_state, stored, WorkflowView.FULL)


def of_batch(changes: Iterable[Change], entries: Iterable[Entry] = (), was: Was | None = None) -> list[Written]:
    """Return what changes are to those who watch, in their order.

    `entries` are what stands in the index for the last ones, as far as that has been made; `was` is what the workflows
    were before them, None = it is not known.
    """
    made = {entry.row[1]: entry for entry in entries}
    newest: dict[str, Written] = {}
    batch = []
    for change in changes:
        earlier = newest.get(change.key)
        told_before = earlier.told if earlier is not None else _told_before(schema.id_of(change.key), was)
        written = newest[change.key] = Written(change, told_before, made.get(change.revision))
        batch.append(written)
    return batch


def of_losses(was: Was, back: Iterable[Change], revision: int) -> list[Written]:
    """Return what it is to those who watch when workflows are found to be gone, or older states of them to be back.

    `was` is what they were before, `revision` that of the bucket then.
    """
    returned = [Written(change, _told_before(schema.id_of(change.key), was), revision=revision) for change in back]
    ids = {written.workflow_id for written in returned}
    gone = [Written(Change(key_of(id_), revision, None), _told_before(id_, was)) for id_ in was if id_ not in ids]
    return gone + returned


def _told_before(id_: str | None, was: Was | None) -> ToldBefore:
    if was is None:
        return _perhaps
    if id_ is None or id_ not in was:
        return _never
    # Of a document that could not be decoded everybody was told.
    return _perhaps if was[id_] == MALFORMED else _Row(was[id_]).matches


def _perhaps(wanted: WorkflowFilter) -> bool:
    del wanted
    return True


def _never(wanted: WorkflowFilter) -> bool:
    del wanted
    return False
