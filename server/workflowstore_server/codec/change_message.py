"""The only place that knows how the messages of a Watch are written."""

from typing import Final

from workflowstore.v1 import workflow_store_pb2
from workflowstore_server.codec import message
from workflowstore_server.model.change import ChangeKind
from workflowstore_server.model.state import MalformedEntry, Summary

_KIND_VALUE: Final = {
    ChangeKind[name.removeprefix("CHANGE_KIND_")]: value
    for name, value in workflow_store_pb2.ChangeKind.items()
    if value != workflow_store_pb2.CHANGE_KIND_UNSPECIFIED
}


def _tag(field_number: int) -> bytes:
    # 2 = what follows has a length.
    return bytes([field_number << 3 | 2])


_CHANGES_TAG: Final = _tag(workflow_store_pb2.WatchResponse.CHANGES_FIELD_NUMBER)
_STATE_TAG: Final = _tag(workflow_store_pb2.WorkflowChange.STATE_FIELD_NUMBER)


def changes_field(
    kind: ChangeKind,
    workflow_id: str,
    revision: int,
    states_field: bytes = b"",
    malformed: MalformedEntry | None = None,
) -> bytes:
    """Return the field `changes` of a WatchResponse that has one change.

    Its state is given as the field `states` of a ListResponse, which the index has; nothing but the tag is another.
    """
    change = workflow_store_pb2.WorkflowChange(kind=_KIND_VALUE[kind], workflow_id=workflow_id, revision=revision)
    if malformed is not None:
        change.malformed.CopyFrom(message.encode_malformed(malformed))
    encoded = change.SerializeToString()
    if states_field:
        encoded += _STATE_TAG + states_field[1:]
    return _CHANGES_TAG + message.varint(len(encoded)) + encoded


def encode_message(changes: bytes, revision: int, created_at_ns: int, *, snapshot_complete: bool) -> bytes:
    """Return the bytes of a WatchResponse with changes that are ready for the wire."""
    rest = workflow_store_pb2.WatchResponse(
        revision=revision, snapshot_complete=snapshot_complete, bucket_created_at=message.timestamp(created_at_ns)
    )
    return changes + rest.SerializeToString()


def decode_summary(states_field: bytes) -> Summary:
    """Return the state in the field `states` of a ListResponse that has one."""
    state = workflow_store_pb2.ListResponse.FromString(states_field).states[0]
    return Summary(
        state.workflow_id,
        state.run_id,
        message.STATUS[state.status],
        state.error,
        message.timestamp_ns(state.created_at),
        message.timestamp_ns(state.updated_at),
        dict(state.labels),
        state.history_count,
    )
