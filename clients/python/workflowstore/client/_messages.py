"""The only place that knows how the values of the client become protobuf messages, or the other way round."""

from collections.abc import Collection
from typing import Any, Final, TypeVar

from workflowstore.client import _fields
from workflowstore.client._json import from_json, to_json
from workflowstore.client._selection import OrderBy, WorkflowFilter
from workflowstore.client._state import (
    Consistency,
    EventType,
    HistoryEvent,
    WorkflowState,
    WorkflowStatus,
    WorkflowView,
)
from workflowstore.client._timestamp import Timestamp, from_unix
from workflowstore.client._transfer import OnConflict
from workflowstore.client.errors import MalformedDocumentError
from workflowstore.v1 import workflow_filter_pb2, workflow_state_pb2, workflow_store_pb2

_Number = TypeVar("_Number")

_STATUS_NUMBERS: Final = {
    WorkflowStatus.UNSPECIFIED: workflow_state_pb2.WORKFLOW_STATUS_UNSPECIFIED,
    WorkflowStatus.RUNNING: workflow_state_pb2.WORKFLOW_STATUS_RUNNING,
    WorkflowStatus.COMPLETED: workflow_state_pb2.WORKFLOW_STATUS_COMPLETED,
    WorkflowStatus.FAILED: workflow_state_pb2.WORKFLOW_STATUS_FAILED,
    WorkflowStatus.CANCELED: workflow_state_pb2.WORKFLOW_STATUS_CANCELED,
}
_EVENT_TYPE_NUMBERS: Final = {
    EventType.UNSPECIFIED: workflow_state_pb2.EVENT_TYPE_UNSPECIFIED,
    EventType.WORKFLOW_STARTED: workflow_state_pb2.EVENT_TYPE_WORKFLOW_STARTED,
    EventType.ACTIVITY_STARTED: workflow_state_pb2.EVENT_TYPE_ACTIVITY_STARTED,
    EventType.ACTIVITY_COMPLETED: workflow_state_pb2.EVENT_TYPE_ACTIVITY_COMPLETED,
    EventType.ACTIVITY_FAILED: workflow_state_pb2.EVENT_TYPE_ACTIVITY_FAILED,
    EventType.SIGNAL_RECEIVED: workflow_state_pb2.EVENT_TYPE_SIGNAL_RECEIVED,
    EventType.TIMER_FIRED: workflow_state_pb2.EVENT_TYPE_TIMER_FIRED,
    EventType.WORKFLOW_COMPLETED: workflow_state_pb2.EVENT_TYPE_WORKFLOW_COMPLETED,
    EventType.WORKFLOW_FAILED: workflow_state_pb2.EVENT_TYPE_WORKFLOW_FAILED,
    EventType.WORKFLOW_CANCELED: workflow_state_pb2.EVENT_TYPE_WORKFLOW_CANCELED,
}
_VIEW_NUMBERS: Final = {
    WorkflowView.SUMMARY: workflow_state_pb2.WORKFLOW_VIEW_SUMMARY,
    WorkflowView.FULL: workflow_state_pb2.WORKFLOW_VIEW_FULL,
}
_CONSISTENCY_NUMBERS: Final = {
    Consistency.SESSION: workflow_store_pb2.CONSISTENCY_UNSPECIFIED,
    Consistency.LINEARIZABLE: workflow_store_pb2.CONSISTENCY_LINEARIZABLE,
    Consistency.ANY_REPLICA: workflow_store_pb2.CONSISTENCY_ANY_REPLICA,
}
_ORDER_NUMBERS: Final = {
    OrderBy.WORKFLOW_ID: workflow_store_pb2.ORDER_BY_WORKFLOW_ID,
    OrderBy.CREATED_AT: workflow_store_pb2.ORDER_BY_CREATED_AT,
    OrderBy.UPDATED_AT: workflow_store_pb2.ORDER_BY_UPDATED_AT,
}
_ON_CONFLICT_NUMBERS: Final = {
    OnConflict.FAIL: workflow_store_pb2.ON_CONFLICT_FAIL,
    OnConflict.SKIP: workflow_store_pb2.ON_CONFLICT_SKIP,
    OnConflict.OVERWRITE: workflow_store_pb2.ON_CONFLICT_OVERWRITE,
}
_STATUSES: Final = {number: status for status, number in _STATUS_NUMBERS.items()}
_EVENT_TYPES: Final = {number: event_type for event_type, number in _EVENT_TYPE_NUMBERS.items()}


def status_number(status: Any, path: str) -> workflow_state_pb2.WorkflowStatus.ValueType:
    return _number(_STATUS_NUMBERS, status, path)


def view_number(view: Any, path: str) -> workflow_state_pb2.WorkflowView.ValueType:
    return _number(_VIEW_NUMBERS, view, path)


def consistency_number(consistency: Any, path: str) -> workflow_store_pb2.Consistency.ValueType:
    return _number(_CONSISTENCY_NUMBERS, consistency, path)


def order_number(order_by: Any, path: str) -> workflow_store_pb2.OrderBy.ValueType:
    return _number(_ORDER_NUMBERS, order_by, path)


def on_conflict_number(on_conflict: Any, path: str) -> workflow_store_pb2.OnConflict.ValueType:
    return _number(_ON_CONFLICT_NUMBERS, on_conflict, path)


def status_of(number: workflow_state_pb2.WorkflowStatus.ValueType) -> WorkflowStatus:
    return _STATUSES.get(number, WorkflowStatus.UNSPECIFIED)


def filter_to_message(wanted: Any, path: str) -> workflow_filter_pb2.WorkflowFilter:
    """The message of a filter.

    Raises:
        TypeError: A field is of the wrong type; the error names it.
        ValueError: A field has a value that cannot be sent; the error names it.
    """
    if not isinstance(wanted, WorkflowFilter):
        raise TypeError(f"{path}: must be a WorkflowFilter or None, not {type(wanted).__name__}")
    statuses: Any = wanted.statuses
    # Not any iterable: an iterator would be empty in the next call, and ask for any status.
    if not isinstance(statuses, Collection) or isinstance(statuses, str):
        words = f"such as [WorkflowStatus.RUNNING], not {type(statuses).__name__}"
        raise TypeError(f"{path}.statuses: must be a collection, {words}")
    return workflow_filter_pb2.WorkflowFilter(
        statuses=[status_number(status, f"{path}.statuses[{i}]") for i, status in enumerate(statuses)],
        workflow_id_prefix=_fields.text(wanted.workflow_id_prefix, f"{path}.workflow_id_prefix"),
        run_id=_fields.text(wanted.run_id, f"{path}.run_id"),
        labels=_fields.labels(wanted.labels, f"{path}.labels"),
        created_after=_fields.moment(wanted.created_after, f"{path}.created_after"),
        created_before=_fields.moment(wanted.created_before, f"{path}.created_before"),
        updated_after=_fields.moment(wanted.updated_after, f"{path}.updated_after"),
        updated_before=_fields.moment(wanted.updated_before, f"{path}.updated_before"),
    )


def state_to_message(state: WorkflowState, path: str) -> workflow_state_pb2.WorkflowState:
    """The message of a state. What only the service sets is left out.

    Raises:
        TypeError: A field is of the wrong type; the error names it.
        ValueError: A field has a value that cannot be sent; the error names it.
    """
    if not isinstance(state.history, tuple | list):
        raise TypeError(f"{path}.history: must be a tuple, not {type(state.history).__name__}")
    return workflow_state_pb2.WorkflowState(
        workflow_id=_fields.text(state.workflow_id, f"{path}.workflow_id"),
        run_id=_fields.text(state.run_id, f"{path}.run_id"),
        status=status_number(state.status, f"{path}.status"),
        input_json=to_json(state.input, f"{path}.input"),
        result_json=to_json(state.result, f"{path}.result"),
        error=_fields.text(state.error, f"{path}.error"),
        history=[event_to_message(event, f"{path}.history[{i}]") for i, event in enumerate(state.history)],
        created_at=_fields.moment(state.created_at, f"{path}.created_at"),
        updated_at=_fields.moment(state.updated_at, f"{path}.updated_at"),
        labels=_fields.labels(state.labels, f"{path}.labels"),
    )


def state_from_message(message: workflow_state_pb2.WorkflowState, view: WorkflowView) -> WorkflowState:
    """The state that a reply carries.

    Raises:
        MalformedDocumentError: It has a number or a time that Python's types cannot hold.
    """
    try:
        return WorkflowState(
            message.workflow_id,
            run_id=message.run_id,
            status=status_of(message.status),
            input=from_json(message.input_json),
            result=from_json(message.result_json),
            error=message.error,
            history=tuple([_event_from_message(event) for event in message.history]),
            created_at=from_moment(message, "created_at"),
            updated_at=from_moment(message, "updated_at"),
            labels=dict(message.labels),
            revision=message.revision,
            history_count=message.history_count,
            document_bytes=message.document_bytes,
            view=view,
        )
    except (ValueError, OverflowError) as error:
        raise MalformedDocumentError(
            "this client cannot represent the stored document",
            code="DATA_LOSS",
            metadata={"key": message.workflow_id, "revision": str(message.revision), "detail": str(error)},
        ) from error


def from_moment(message: Any, field: str) -> Timestamp | None:
    """The Timestamp of a field of `message`, None when it is absent."""
    if not message.HasField(field):
        return None
    timestamp = getattr(message, field)
    return from_unix(timestamp.seconds, timestamp.nanos)


def event_to_message(event: Any, path: str) -> workflow_state_pb2.HistoryEvent:
    if not isinstance(event, HistoryEvent):
        raise TypeError(f"{path}: must be a HistoryEvent, not {type(event).__name__}")
    return workflow_state_pb2.HistoryEvent(
        id=_fields.integer(event.id, f"{path}.id", _fields.INT64),
        type=_number(_EVENT_TYPE_NUMBERS, event.type, f"{path}.type"),
        timestamp=_fields.moment(event.timestamp, f"{path}.timestamp"),
        activity_name=_fields.text(event.activity_name, f"{path}.activity_name"),
        input_json=to_json(event.input, f"{path}.input"),
        result_json=to_json(event.result, f"{path}.result"),
        error=_fields.text(event.error, f"{path}.error"),
        signal_name=_fields.text(event.signal_name, f"{path}.signal_name"),
        signal_payload_json=to_json(event.signal_payload, f"{path}.signal_payload"),
        duration=_fields.duration(event.duration_ns, f"{path}.duration_ns"),
    )


def _event_from_message(message: workflow_state_pb2.HistoryEvent) -> HistoryEvent:
    return HistoryEvent(
        id=message.id,
        type=_EVENT_TYPES.get(message.type, EventType.UNSPECIFIED),
        timestamp=from_moment(message, "timestamp"),
        activity_name=message.activity_name,
        input=from_json(message.input_json),
        result=from_json(message.result_json),
        error=message.error,
        signal_name=message.signal_name,
        signal_payload=from_json(message.signal_payload_json),
        duration_ns=message.duration.seconds * 1_000_000_000 + message.duration.nanos,
    )


def _number(numbers: dict[Any, _Number], value: Any, path: str) -> _Number:
    # The members of a StrEnum are equal to their texts, so the texts are found as well.
    if not isinstance(value, str):
        raise TypeError(f"{path}: must be one of {_choices(numbers)}, not a {type(value).__name__}")
    try:
        return numbers[value]
    except KeyError:
        raise ValueError(f"{path}: must be one of {_choices(numbers)}, not {value!r}") from None


def _choices(numbers: dict[Any, _Number]) -> str:
    return ", ".join(repr(str(choice)) for choice in numbers)
