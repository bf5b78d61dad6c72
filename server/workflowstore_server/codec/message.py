"""The only place that knows how the protobuf messages of the API and the model stand for one another."""

from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from workflowstore.v1 import workflow_state_pb2, workflow_store_pb2
from workflowstore_server.model import state
from workflowstore_server.model.state import (
    BucketInfo,
    Durability,
    EventType,
    HistoryEvent,
    MalformedEntry,
    StoredState,
    WorkflowState,
    WorkflowStatus,
    WorkflowView,
)

NANOSECONDS: Final = 1_000_000_000

STATUS: Final = {
    value: WorkflowStatus[name.removeprefix("WORKFLOW_STATUS_")]
    for name, value in workflow_state_pb2.WorkflowStatus.items()
}
EVENT_TYPE: Final = {
    value: EventType[name.removeprefix("EVENT_TYPE_")] for name, value in workflow_state_pb2.EventType.items()
}
VIEW: Final = {
    workflow_state_pb2.WORKFLOW_VIEW_SUMMARY: WorkflowView.SUMMARY,
    workflow_state_pb2.WORKFLOW_VIEW_FULL: WorkflowView.FULL,
}
_STATUS_VALUE: Final = {status: value for value, status in STATUS.items()}
_EVENT_TYPE_VALUE: Final = {event_type: value for value, event_type in EVENT_TYPE.items()}
_DURABILITY_VALUE: Final = {
    Durability.UNKNOWN: workflow_store_pb2.DURABILITY_UNSPECIFIED,
    Durability.FSYNC_ALWAYS: workflow_store_pb2.DURABILITY_FSYNC_ALWAYS,
    Durability.FSYNC_INTERVAL: workflow_store_pb2.DURABILITY_FSYNC_INTERVAL,
}


def timestamp_ns(message: Timestamp) -> int:
    """Nanoseconds since 1970."""
    return message.seconds * NANOSECONDS + message.nanos


def timestamp(time_ns: int) -> Timestamp:
    """The message for nanoseconds since 1970."""
    seconds, nanos = divmod(time_ns, NANOSECONDS)
    return Timestamp(seconds=seconds, nanos=nanos)


def duration_ns(message: Duration) -> int:
    """Nanoseconds."""
    return message.seconds * NANOSECONDS + message.nanos


def _duration(nanoseconds: int) -> Duration:
    # Both parts have the sign of the whole.
    seconds, nanos = divmod(abs(nanoseconds), NANOSECONDS)
    sign = -1 if nanoseconds < 0 else 1
    return Duration(seconds=sign * seconds, nanos=sign * nanos)


def decode_state(message: workflow_state_pb2.WorkflowState, now_ns: int) -> WorkflowState:
    """Return the state of a request that was validated; the times that it leaves out are `now_ns`."""
    return WorkflowState(
        workflow_id=message.workflow_id,
        run_id=message.run_id,
        status=STATUS[message.status],
        input_json=message.input_json or None,
        result_json=message.result_json or None,
        error=message.error,
        history=tuple([_decode_event(event) for event in message.history]),
        created_at_ns=timestamp_ns(message.created_at) if message.HasField("created_at") else now_ns,
        updated_at_ns=timestamp_ns(message.updated_at) if message.HasField("updated_at") else now_ns,
        labels=dict(message.labels),
    )


def _decode_event(message: workflow_state_pb2.HistoryEvent) -> HistoryEvent:
    return HistoryEvent(
        id=message.id,
        type=EVENT_TYPE[message.type],
        timestamp_ns=timestamp_ns(message.timestamp) if message.HasField("timestamp") else state.ZERO_TIME_NS,
        activity_name=message.activity_name,
        input_json=message.input_json or None,
        result_json=message.result_json or None,
        error=message.error,
        signal_name=message.signal_name,
        signal_payload_json=message.signal_payload_json or None,
        duration_ns=duration_ns(message.duration) if message.HasField("duration") else 0,
    )


def encode_state(stored: StoredState, view: WorkflowView) -> workflow_state_pb2.WorkflowState:
    """Return the message for a stored state."""
    state = stored.state
    full = view is WorkflowView.FULL
    return workflow_state_pb2.WorkflowState(
        workflow_id=state.workflow_id,
        run_id=state.run_id,
        status=_STATUS_VALUE[state.status],
        input_json=(full and state.input_json) or "",
        result_json=(full and state.result_json) or "",
        error=state.error,
        history=[_encode_event(event) for event in state.history] if full else None,
        created_at=timestamp(state.created_at_ns),
        updated_at=timestamp(state.updated_at_ns),
        labels=state.labels,
        revision=stored.revision,
        history_count=len(state.history),
        document_bytes=stored.document_bytes,
    )


def _encode_event(event: HistoryEvent) -> workflow_state_pb2.HistoryEvent:
    return workflow_state_pb2.HistoryEvent(
        id=event.id,
        type=_EVENT_TYPE_VALUE[event.type],
        timestamp=timestamp(event.timestamp_ns),
        activity_name=event.activity_name,
        input_json=event.input_json or "",
        result_json=event.result_json or "",
        error=event.error,
        signal_name=event.signal_name,
        signal_payload_json=event.signal_payload_json or "",
        duration=_duration(event.duration_ns) if event.duration_ns else None,
    )


def encode_malformed(entry: MalformedEntry) -> workflow_store_pb2.MalformedEntry:
    """Return the message for a malformed entry."""
    return workflow_store_pb2.MalformedEntry(key=entry.key, revision=entry.revision, reason=entry.reason)


def encode_bucket(info: BucketInfo) -> workflow_store_pb2.BucketInfo:
    """Return the message for a bucket's description."""
    return workflow_store_pb2.BucketInfo(
        name=info.name,
        history=info.history,
        replicas=info.replicas,
        max_bytes=info.max_bytes,
        max_age_seconds=info.max_age_seconds,
        on_disk=info.on_disk,
        allow_direct=info.allow_direct,
        revisions=info.revisions,
        bytes=info.bytes,
    )


def encode_durability(durability: Durability) -> "workflow_store_pb2.Durability.ValueType":
    """Return the enum value for a durability."""
    return _DURABILITY_VALUE[durability]
