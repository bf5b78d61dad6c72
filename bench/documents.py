"""The only place that knows what the measured workflow states look like: orders of about 780 bytes of stored JSON."""

from datetime import UTC, datetime
from typing import Final

from workflowstore.v1 import workflow_state_pb2 as pb
from workflowstore_server.codec import document, message

IDS: Final = 2_000
"""Workflows that Saves and Loads go round; each round of a measurement writes them over several times."""

_CREATED_NS: Final = int(datetime(2026, 3, 1, 9, 30, tzinfo=UTC).timestamp()) * 1_000_000_000 + 123_456_789
SPACING_NS: Final = 1_000_000_000
"""From the creation of one workflow to that of the next."""

_INPUT: Final = (
    '{"order":%d,"customer":"c-81f2","currency":"EUR","items":[{"sku":"KB-104","quantity":1,"cents":8990},'
    '{"sku":"MS-077","quantity":2,"cents":2450}]}'
)


def id_of(number: int) -> str:
    """The id of a workflow."""
    return f"order-{number:08d}"


def state(number: int) -> pb.WorkflowState:
    """The state of a workflow, as a client sends it."""
    created_ns = _CREATED_NS + number * SPACING_NS
    created, happened = message.timestamp(created_ns), message.timestamp(created_ns + 41_000_000)
    return pb.WorkflowState(
        workflow_id=id_of(number),
        run_id=f"run-{number:08d}",
        status=_status(number),
        input_json=_INPUT % number,
        history=[
            pb.HistoryEvent(id=1, type=pb.EVENT_TYPE_WORKFLOW_STARTED, timestamp=created),
            pb.HistoryEvent(id=2, type=pb.EVENT_TYPE_ACTIVITY_STARTED, timestamp=happened, activity_name="reserve"),
        ],
        created_at=created,
        updated_at=happened,
        labels={"customer": f"c-{number * 7919 % 1000:03d}", "region": "eu"},
    )


def summary(number: int) -> bytes:
    """What a List sends of `state(number)`, written as the bucket's revision `number` + 1."""
    summary = state(number)
    events = len(summary.history)
    for name in ("input_json", "result_json", "history"):
        summary.ClearField(name)
    summary.revision, summary.history_count, summary.document_bytes = number + 1, events, len(stored(number))
    return summary.SerializeToString()


def _status(number: int) -> pb.WorkflowStatus.ValueType:
    """One in a hundred has failed, one in ten runs, in no regular order; the others are completed."""
    lot = number * 2654435761 % 2**32 // 2**16 % 100
    if lot == 0:
        return pb.WORKFLOW_STATUS_FAILED
    return pb.WORKFLOW_STATUS_RUNNING if lot < 11 else pb.WORKFLOW_STATUS_COMPLETED


def stored(number: int) -> bytes:
    """The document that a server stores for `state(number)`."""
    return document.encode(message.decode_state(state(number), 0))
