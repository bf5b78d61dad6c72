"""The only place that knows what each call of the client sends and makes of the replies, whichever the transport."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, Final

from workflowstore.client import _fields, _messages
from workflowstore.client._results import ListChunk
from workflowstore.client._selection import OrderBy, WorkflowFilter
from workflowstore.client._state import WorkflowState, WorkflowView
from workflowstore.client.errors import MalformedDocumentError, MalformedEntry
from workflowstore.v1 import workflow_filter_pb2, workflow_store_pb2

TARGET_DEFAULT: Final = "127.0.0.1:50051"

_REPLY_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest reply that is accepted. A chunk of a List is one state and 1 MiB, and a state is less than the 64 MiB
that a NATS message may have at most. gRPC's own limit of 4 MiB would refuse what a server may well send."""

_RECONNECT_MS_MIN: Final = 100
_RECONNECT_MS_MAX: Final = 2000
"""Pauses between attempts to connect, so that a server that was restarted is found again within 2 s. gRPC's own grow to
2 minutes."""

CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _REPLY_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS_MIN),
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS_MAX),
)

_ENTRIES_KEPT_MAX: Final = 100
"""The most malformed entries that one error carries, so that a List takes bounded memory."""


def deadline(timeout: float | None) -> float | None:
    """What gRPC takes for a timeout in seconds, of which None and infinity mean none."""
    return None if timeout is None or math.isinf(timeout) else timeout


def save_request(state: WorkflowState, expected_revision: int | None, bucket: str) -> workflow_store_pb2.SaveRequest:
    if not isinstance(state, WorkflowState):
        raise TypeError(f"state: must be a WorkflowState, not {type(state).__name__}")
    if state.view != WorkflowView.FULL:
        raise ValueError(
            "state: is a summary, and saving it would erase its input, result and history; "
            "load the workflow (view=WorkflowView.FULL), change that and save it"
        )
    return workflow_store_pb2.SaveRequest(
        bucket=_fields.text(bucket, "bucket"),
        state=_messages.state_to_message(state, "state"),
        expected_revision=_revision(expected_revision),
    )


def saved_state(state: WorkflowState, reply: workflow_store_pb2.SaveResponse) -> WorkflowState:
    return dataclasses.replace(
        state,
        created_at=_messages.from_moment(reply, "created_at"),
        updated_at=_messages.from_moment(reply, "updated_at"),
        revision=reply.revision,
        history_count=len(state.history),
        document_bytes=0,
    )


def load_request(workflow_id: str, view: WorkflowView, bucket: str) -> workflow_store_pb2.LoadRequest:
    return workflow_store_pb2.LoadRequest(
        bucket=_fields.text(bucket, "bucket"),
        workflow_id=_fields.text(workflow_id, "workflow_id"),
        view=_messages.view_number(view, "view"),
    )


def loaded_state(reply: workflow_store_pb2.LoadResponse, view: WorkflowView) -> WorkflowState:
    return _messages.state_from_message(reply.state, WorkflowView(view))


def list_request(
    wanted: WorkflowFilter | None,
    order_by: OrderBy,
    descending: bool,
    limit: int | None,
    view: WorkflowView,
    page_token: str,
    bucket: str,
) -> workflow_store_pb2.ListRequest:
    return workflow_store_pb2.ListRequest(
        bucket=_fields.text(bucket, "bucket"),
        filter=_filter(wanted),
        order_by=_messages.order_number(order_by, "order_by"),
        descending=_fields.flag(descending, "descending"),
        # 0 means all to the server; a caller who computed 0 does not mean that.
        limit=0 if limit is None else _fields.integer(limit, "limit", range(1, 2**63)),
        view=_messages.view_number(view, "view"),
        page_token=_fields.text(page_token, "page_token"),
    )


def listed_states(reply: workflow_store_pb2.ListResponse, view: WorkflowView) -> Iterator[WorkflowState]:
    """The states of a chunk, each made when it is asked for."""
    return map(_messages.state_from_message, reply.states, repeat(WorkflowView(view)))


def list_chunk(reply: workflow_store_pb2.ListResponse, view: WorkflowView) -> ListChunk:
    return ListChunk(
        states=tuple(listed_states(reply, view)),
        malformed=tuple(_messages.malformed_from_message(reply)),
        next_page_token=reply.next_page_token,
        store_revision=reply.store_revision,
    )


class MalformedEntries:
    """Sees to it that the malformed entries of one List are not overlooked."""

    def __init__(self, on_malformed: Callable[[MalformedEntry], Any] | None) -> None:
        self._report = on_malformed or self._keep
        self._kept: list[MalformedEntry] = []
        self._count = 0

    def report(self, reply: workflow_store_pb2.ListResponse) -> None:
        for entry in _messages.malformed_from_message(reply):
            self._report(entry)

    def finish(self) -> None:
        """Called after the last state.

        Raises:
            MalformedDocumentError: There were malformed entries that nobody was told of.
        """
        if not self._kept:
            return
        first = self._kept[0]
        documents = "1 stored document" if self._count == 1 else f"{self._count} stored documents"
        raise MalformedDocumentError(
            f"{documents} cannot be decoded, the states of all others were read",
            code="DATA_LOSS",
            reason="ERROR_REASON_MALFORMED_DOCUMENT",
            metadata={"key": first.key, "revision": str(first.revision), "detail": first.reason},
            entries=self._kept,
            count=self._count,
        )

    def _keep(self, entry: MalformedEntry) -> None:
        self._count += 1
        if len(self._kept) < _ENTRIES_KEPT_MAX:
            self._kept.append(entry)


def count_request(
    wanted: WorkflowFilter | None, by_status: bool, by_label: str | None, bucket: str
) -> workflow_store_pb2.CountRequest:
    if _fields.flag(by_status, "by_status") and by_label is not None:
        raise ValueError("by_label: cannot be given with by_status; count twice")
    request = workflow_store_pb2.CountRequest(bucket=_fields.text(bucket, "bucket"), filter=_filter(wanted))
    if by_status:
        request.status = True
    elif by_label is not None:
        request.label = _fields.text(by_label, "by_label")
    return request


counted = _messages.count_from_message


def delete_request(
    workflow_id: str, expected_revision: int | None, purge: bool, bucket: str
) -> workflow_store_pb2.DeleteRequest:
    return workflow_store_pb2.DeleteRequest(
        bucket=_fields.text(bucket, "bucket"),
        workflow_id=_fields.text(workflow_id, "workflow_id"),
        expected_revision=_revision(expected_revision),
        purge=purge,
    )


def info_request(bucket: str) -> workflow_store_pb2.GetInfoRequest:
    return workflow_store_pb2.GetInfoRequest(bucket=_fields.text(bucket, "bucket"))


info = _messages.info_from_message


def _revision(value: int | None) -> int | None:
    return None if value is None else _fields.integer(value, "expected_revision", _fields.UINT64)


def _filter(wanted: WorkflowFilter | None) -> workflow_filter_pb2.WorkflowFilter | None:
    return None if wanted is None else _messages.filter_to_message(wanted, "filter")
