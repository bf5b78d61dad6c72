"""The only place that knows what a workflow state is to a caller."""

import dataclasses
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Final


class WorkflowStatus(StrEnum):
    """Where an execution stands. The values are the texts that are stored, and may be used in place of the members."""

    UNSPECIFIED = ""
    """No status. A stored status that is none of the others also reads as this one."""
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class EventType(StrEnum):
    """What a HistoryEvent tells. The values are the texts that are stored, and may be used in place of the members."""

    UNSPECIFIED = ""
    """No type. A stored type that is none of the others also reads as this one."""
    WORKFLOW_STARTED = "workflow_started"
    ACTIVITY_STARTED = "activity_started"
    ACTIVITY_COMPLETED = "activity_completed"
    ACTIVITY_FAILED = "activity_failed"
    SIGNAL_RECEIVED = "signal_received"
    TIMER_FIRED = "timer_fired"
    WORKFLOW_COMPLETED = "workflow_completed"
    WORKFLOW_FAILED = "workflow_failed"
    WORKFLOW_CANCELED = "workflow_canceled"


class Consistency(StrEnum):
    """How new the reply to a read has to be. It matters where a bucket has several replicas."""

    SESSION = "session"
    """It has every write that was acknowledged before the call, unless the leader of the replicas was cut off and does
    not know it yet. Even then it is not older than what this client was told before."""
    LINEARIZABLE = "linearizable"
    """It has every write that was acknowledged to anybody before the call, whatever happens. It costs one write to the
    bucket, which such reads share."""
    ANY_REPLICA = "any_replica"
    """It has whatever the replica has that happens to answer. Not for `list` and `count`."""


class WorkflowView(StrEnum):
    """How much of a state is read."""

    SUMMARY = "summary"
    """Everything but input, result and history. A summary cannot be saved: it would erase what it left out."""
    FULL = "full"
    """Everything."""


class Unchanged(Enum):
    """The type of UNCHANGED, which stands for a field that `update` leaves as it is."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """One thing that happened in a workflow execution. JSON values are as in WorkflowState."""

    id: int = 0
    """Sequence number within the history, chosen by the writer; by the server where `update` appends it, so leave it 0
    there. A signed integer of 64 bits."""
    type: EventType = EventType.UNSPECIFIED
    timestamp: datetime | None = None
    """When it happened: an aware datetime; read as a Timestamp. None is saved as 0001-01-01T00:00:00Z, "not known"."""
    activity_name: str = ""
    """For activity events."""
    input: Any = None
    """The activity's input, a JSON value."""
    result: Any = None
    """The activity's result, a JSON value."""
    error: str = ""
    """The error message, if the activity or the workflow failed."""
    signal_name: str = ""
    """For signal events."""
    signal_payload: Any = None
    """The signal's payload, a JSON value."""
    duration_ns: int = 0
    """The sleep's length in nanoseconds, for timer events. A signed integer of 64 bits (292 years either way)."""


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """The document of one workflow execution, stored whole under its workflow id.

    JSON values are None, bool, int, float, Decimal, str, list and dict with str keys. Integers are exact whatever
    their size. A number that a float cannot hold is read as a Decimal; any Decimal may be saved, and is written digit
    for digit.

    To change a state and save it, use `replace`, which also has the server stamp the time of the change.
    `dataclasses.replace` keeps the old `updated_at`, and a save stores the time that it is given.
    """

    workflow_id: str
    """Names the workflow within its bucket. 1 to 1,024 bytes of UTF-8, any character but NUL."""
    _: KW_ONLY
    run_id: str = ""
    """Names this execution of the workflow. At most 1,024 bytes of UTF-8."""
    status: WorkflowStatus = WorkflowStatus.UNSPECIFIED
    input: Any = None
    """The workflow's input, a JSON value."""
    result: Any = None
    """The workflow's result, a JSON value."""
    error: str = ""
    """The error message, if the workflow failed."""
    history: tuple[HistoryEvent, ...] = ()
    """What happened, oldest first."""
    created_at: datetime | None = None
    """When the workflow was created: an aware datetime; read as a Timestamp. None = the server's time of the save.
    0001-01-01T00:00:00Z, Go's zero time, means that the writer did not know."""
    updated_at: datetime | None = None
    """When the state last changed, under the rules of `created_at`."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """At most 64; keys of 1 to 128 bytes and values of at most 1,024 bytes of UTF-8."""
    revision: int = 0
    """Set by the service, ignored by a save: the revision at which this state was read or saved. Give it as
    `expected_revision` to change only what you have seen. 0 = never stored."""
    history_count: int = 0
    """Set by the service, ignored by a save: events in the stored history, in both views."""
    document_bytes: int = 0
    """Set by the service, ignored by a save: size of the stored document, in both views. 0 = not told, as after a
    save."""
    view: WorkflowView = WorkflowView.FULL
    """How much of the stored state this is. A SUMMARY is refused by a save."""

    def replace(self, **changes: Any) -> "WorkflowState":
        """A copy with these fields changed, and `updated_at=None` unless it is among them.

        With `updated_at=None` the server stamps the time of the save. `dataclasses.replace` would keep the time of the
        state that it started from.

        Raises:
            TypeError: A change names no field.
        """
        return dataclasses.replace(self, **{"updated_at": None, **changes})
