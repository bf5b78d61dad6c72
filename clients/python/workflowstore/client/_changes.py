"""The only place that knows what a caller is told of how workflows change."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from workflowstore.client._state import WorkflowState
from workflowstore.client.errors import MalformedEntry


class ChangeKind(StrEnum):
    """What a WorkflowChange tells."""

    SAVED = "saved"
    """The workflow was saved and matches. Also what a snapshot consists of."""
    DELETED = "deleted"
    """The workflow was deleted."""
    UNMATCHED = "unmatched"
    """The workflow was saved and does not match, though it did before. After `after_revision`, or after the watch has
    gone on by itself, it also comes for workflows that did not match before, as does DELETED."""
    MALFORMED = "malformed"
    """Somebody has stored a document that cannot be decoded. Told whatever the filter; only a `workflow_id_prefix`
    leaves out those of other ids."""
    SNAPSHOT_COMPLETE = "snapshot_complete"
    """All that matched at `revision` has been told. What follows has changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowChange:
    """One write to a workflow, or the end of a snapshot, as `watch` reads it."""

    kind: ChangeKind
    workflow_id: str = ""
    """Empty for a malformed document whose key stands for no workflow, and for the end of a snapshot."""
    revision: int
    """The revision of the write, or that of the snapshot. A later watch goes on after the revisions that `on_progress`
    is told, not after this one: an earlier change may come after it."""
    state: WorkflowState | None = None
    """The state, of SAVED and UNMATCHED."""
    malformed: MalformedEntry | None = None
    """The document that cannot be decoded, of MALFORMED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRevision:
    """One write to a workflow that the bucket still has."""

    revision: int
    stored_at: datetime | None
    """When the storage took it. A Timestamp."""
    state: WorkflowState | None = None
    """What was written. None = the workflow was deleted, or the document is malformed."""
    deleted: bool = False
    """Whether the workflow was deleted."""
    malformed: MalformedEntry | None = None
    """The document, if it cannot be decoded."""
