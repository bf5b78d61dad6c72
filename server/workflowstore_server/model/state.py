"""The only place that knows what a workflow state is."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

ZERO_TIME_NS: Final = -62_135_596_800_000_000_000
"""0001-01-01T00:00:00Z in nanoseconds since 1970: Go's zero time, which stands for "not known"."""

TIME_NS_MAX: Final = 253_402_300_799_999_999_999
"""9999-12-31T23:59:59.999999999Z, the last instant of google.protobuf.Timestamp. `ZERO_TIME_NS` is its first."""


class WorkflowStatus(enum.Enum):
    """Where an execution stands. The value is the stored text."""

    UNSPECIFIED = ""
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class EventType(enum.Enum):
    """What a history event tells. The value is the stored text."""

    UNSPECIFIED = ""
    WORKFLOW_STARTED = "workflow_started"
    ACTIVITY_STARTED = "activity_started"
    ACTIVITY_COMPLETED = "activity_completed"
    ACTIVITY_FAILED = "activity_failed"
    SIGNAL_RECEIVED = "signal_received"
    TIMER_FIRED = "timer_fired"
    WORKFLOW_COMPLETED = "workflow_completed"
    WORKFLOW_FAILED = "workflow_failed"
    WORKFLOW_CANCELED = "workflow_canceled"


class WorkflowView(enum.Enum):
    """How much of a state a reply carries."""

    SUMMARY = "summary"
    FULL = "full"


class Consistency(enum.Enum):
    """How new the answer to a read has to be, where a bucket has several copies."""

    SESSION = "session"
    """As new as the stream's leader says, and never older than what this server has seen."""
    LINEARIZABLE = "linearizable"
    """It has every write that was acknowledged to anybody before the read began."""
    ANY_REPLICA = "any_replica"
    """As new as the copy that happens to answer."""


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One thing that happened. Times are nanoseconds since 1970, durations nanoseconds, payloads JSON text or None."""

    id: int = 0
    type: EventType = EventType.UNSPECIFIED
    timestamp_ns: int = ZERO_TIME_NS
    activity_name: str = ""
    input_json: str | None = None
    result_json: str | None = None
    error: str = ""
    signal_name: str = ""
    signal_payload_json: str | None = None
    duration_ns: int = 0
    other_type: str = ""
    """A stored type that is none of the others, with the type UNSPECIFIED: an Update leaves it as it is."""


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """The document of one workflow execution. Times are nanoseconds since 1970, payloads JSON text or None (null)."""

    workflow_id: str
    run_id: str = ""
    status: WorkflowStatus = WorkflowStatus.UNSPECIFIED
    input_json: str | None = None
    result_json: str | None = None
    error: str = ""
    history: tuple[HistoryEvent, ...] = ()
    created_at_ns: int = ZERO_TIME_NS
    updated_at_ns: int = ZERO_TIME_NS
    labels: Mapping[str, str] = field(default_factory=dict)
    other_status: str = ""
    """A stored status that is none of the others, with the status UNSPECIFIED: an Update leaves it as it is."""


class Summary(NamedTuple):
    """What the SUMMARY view shows of a document. A tuple, because the index makes one for each write."""

    workflow_id: str
    run_id: str
    status: WorkflowStatus
    error: str
    created_at_ns: int
    updated_at_ns: int
    labels: Mapping[str, str]
    history_count: int


@dataclass(frozen=True, slots=True)
class StoredState:
    """A state as a store holds it: at a revision, in a document of so many bytes."""

    state: WorkflowState
    revision: int
    document_bytes: int


@dataclass(frozen=True, slots=True)
class MalformedEntry:
    """A stored document that cannot be decoded: where it lies and why."""

    key: str
    revision: int
    reason: str


class Durability(enum.Enum):
    """What the storage does before it acknowledges a write."""

    UNKNOWN = "unknown"
    FSYNC_ALWAYS = "fsync always"
    FSYNC_INTERVAL = "fsync at intervals"


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """How a bucket is configured and how full it is. Sizes are bytes; 0 in a limit means none."""

    name: str
    history: int
    replicas: int
    max_bytes: int
    max_age_seconds: float
    on_disk: bool
    allow_direct: bool
    allow_atomic: bool
    request_id_seconds: float
    revisions: int
    bytes: int
    store_revision: int


@dataclass(frozen=True, slots=True)
class Room:
    """Whether there is room for what is written. The texts are for callers, and have no figures that change."""

    full: str = ""
    """Why what stores a state is refused. Empty = it is taken."""
    frozen: bool = False
    """Whether delete markers are refused as well, which make room and take little of it themselves."""
    low: str = ""
    """What will be full soon. Empty = nothing that is known of."""
    disk_free_bytes: int | None = None
    """What is left of the disk. None = it is somebody else's."""
    disk_reserve_bytes: int = 0
    """What has to be left of it."""


@dataclass(frozen=True, slots=True)
class RetentionInfo:
    """What a server removes from a bucket by itself, and has removed since it started."""

    rules: Mapping[WorkflowStatus, float]
    """How many seconds after their last update workflows of a status are deleted."""
    delete_marker_seconds: float
    """How old delete markers become. 0 = they stay."""
    deleted_count: int
    compacted_count: int


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """How far the index of a bucket is, and how much is in it."""

    revision: int
    lag: int
    """Revisions of the bucket that it does not reflect yet."""
    ready: bool
    """Whether it has caught up since it was opened or built."""
    workflow_count: int
    malformed_count: int
    on_disk: bool
