"""The only place that knows what each call of the client sends."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from workflowstore.client import _fields, _messages
from workflowstore.client._selection import OrderBy, WorkflowFilter
from workflowstore.client._state import UNCHANGED, Consistency, HistoryEvent, WorkflowState, WorkflowView
from workflowstore.client._transfer import OnConflict, StoredDocument
from workflowstore.v1 import workflow_filter_pb2, workflow_state_pb2, workflow_store_pb2

_COUNTS: Final = range(1, 2**63)
"""0 means all to the server; a caller who computed 0 does not mean that."""


def save_request(
    state: WorkflowState, expected_revision: int | None, request_id: str | None, bucket: str
) -> workflow_store_pb2.SaveRequest:
    return workflow_store_pb2.SaveRequest(
        bucket=_fields.text(bucket, "bucket"),
        state=_whole_state(state, "state"),
        expected_revision=_revision(expected_revision),
        request_id=_request_id(request_id),
    )


def update_request(
    workflow_id: str,
    expected_revision: int | None,
    allow_missing: bool,
    view: WorkflowView,
    request_id: str | None,
    bucket: str,
) -> workflow_store_pb2.UpdateRequest:
    """The request of an Update that changes nothing yet."""
    return workflow_store_pb2.UpdateRequest(
        bucket=_fields.text(bucket, "bucket"),
        state=workflow_state_pb2.WorkflowState(workflow_id=_fields.text(workflow_id, "workflow_id")),
        expected_revision=_revision(expected_revision),
        allow_missing=_fields.flag(allow_missing, "allow_missing"),
        view=_messages.view_number(view, "view"),
        request_id=_request_id(request_id),
    )


def set_fields(
    request: workflow_store_pb2.UpdateRequest,
    run_id: Any,
    status: Any,
    input_: Any,
    result: Any,
    error: Any,
    history: Any,
    created_at: Any,
    updated_at: Any,
    labels: Any,
) -> None:
    """Have an Update set those of the fields that are not UNCHANGED."""
    fields = {
        "run_id": run_id,
        "status": status,
        "input": input_,
        "result": result,
        "error": error,
        "history": history,
        "created_at": created_at,
        "updated_at": updated_at,
        "labels": labels,
    }
    given = {name: value for name, value in fields.items() if value is not UNCHANGED}
    request.state.CopyFrom(_messages.state_to_message(WorkflowState(request.state.workflow_id, **given), "state"))
    request.update_mask.paths.extend([f"{name}_json" if name in ("input", "result") else name for name in given])


def add_and_remove(
    request: workflow_store_pb2.UpdateRequest,
    append_history: Iterable[HistoryEvent],
    set_labels: Mapping[str, str] | None,
    remove_labels: Iterable[str],
) -> None:
    """Have an Update change parts of the history and of the labels."""
    for i, event in enumerate(append_history):
        request.append_history.append(_messages.event_to_message(event, f"append_history[{i}]"))
    request.set_labels.update(_fields.labels({} if set_labels is None else set_labels, "set_labels"))
    request.remove_labels.extend(_fields.texts(remove_labels, "remove_labels"))


def load_request(
    workflow_id: str,
    view: WorkflowView,
    bucket: str,
    min_revision: int = 0,
    consistency: Consistency = Consistency.SESSION,
) -> workflow_store_pb2.LoadRequest:
    return workflow_store_pb2.LoadRequest(
        bucket=_fields.text(bucket, "bucket"),
        workflow_id=_fields.text(workflow_id, "workflow_id"),
        view=_messages.view_number(view, "view"),
        min_revision=_fields.integer(min_revision, "min_revision", _fields.UINT64),
        consistency=_messages.consistency_number(consistency, "consistency"),
    )


def delete_request(
    workflow_id: str, expected_revision: int | None, purge: bool, request_id: str | None, bucket: str
) -> workflow_store_pb2.DeleteRequest:
    return workflow_store_pb2.DeleteRequest(
        bucket=_fields.text(bucket, "bucket"),
        workflow_id=_fields.text(workflow_id, "workflow_id"),
        expected_revision=_revision(expected_revision),
        purge=purge,
        request_id=_request_id(request_id),
    )


def list_revisions_request(
    workflow_id: str, newest_first: bool, limit: int | None, view: WorkflowView, bucket: str
) -> workflow_store_pb2.ListRevisionsRequest:
    return workflow_store_pb2.ListRevisionsRequest(
        bucket=_fields.text(bucket, "bucket"),
        workflow_id=_fields.text(workflow_id, "workflow_id"),
        view=_messages.view_number(view, "view"),
        newest_first=_fields.flag(newest_first, "newest_first"),
        limit=0 if limit is None else _fields.integer(limit, "limit", _COUNTS),
    )


def list_request(
    wanted: WorkflowFilter | None,
    order_by: OrderBy,
    descending: bool,
    limit: int | None,
    view: WorkflowView,
    page_token: str,
    bucket: str,
    min_revision: int = 0,
    consistency: Consistency = Consistency.SESSION,
) -> workflow_store_pb2.ListRequest:
    return workflow_store_pb2.ListRequest(
        bucket=_fields.text(bucket, "bucket"),
        filter=_filter(wanted),
        order_by=_messages.order_number(order_by, "order_by"),
        descending=_fields.flag(descending, "descending"),
        limit=0 if limit is None else _fields.integer(limit, "limit", _COUNTS),
        view=_messages.view_number(view, "view"),
        page_token=_fields.text(page_token, "page_token"),
        min_revision=_fields.integer(min_revision, "min_revision", _fields.UINT64),
        consistency=_messages.consistency_number(consistency, "consistency"),
    )


def count_request(
    wanted: WorkflowFilter | None,
    by_status: bool,
    by_label: str | None,
    bucket: str,
    min_revision: int = 0,
    consistency: Consistency = Consistency.SESSION,
) -> workflow_store_pb2.CountRequest:
    if _fields.flag(by_status, "by_status") and by_label is not None:
        raise ValueError("by_label: cannot be given with by_status; count twice")
    request = workflow_store_pb2.CountRequest(
        bucket=_fields.text(bucket, "bucket"),
        filter=_filter(wanted),
        min_revision=_fields.integer(min_revision, "min_revision", _fields.UINT64),
        consistency=_messages.consistency_number(consistency, "consistency"),
    )
    if by_status:
        request.status = True
    elif by_label is not None:
        request.label = _fields.text(by_label, "by_label")
    return request


def watch_request(
    wanted: WorkflowFilter | None, after_revision: int | None, snapshot: bool, view: WorkflowView, bucket: str
) -> workflow_store_pb2.WatchRequest:
    request = workflow_store_pb2.WatchRequest(
        bucket=_fields.text(bucket, "bucket"), filter=_filter(wanted), view=_messages.view_number(view, "view")
    )
    if _fields.flag(snapshot, "snapshot"):
        if after_revision is not None:
            raise ValueError("after_revision: cannot be given with snapshot, which begins with what matches now")
        request.snapshot = True
    elif after_revision is not None:
        request.after_revision = _fields.integer(after_revision, "after_revision", _fields.UINT64)
    return request


def save_batch_request(
    states: Iterable[WorkflowState],
    expected_revisions: Mapping[str, int] | None,
    atomic: bool,
    request_id: str | None,
    bucket: str,
) -> workflow_store_pb2.SaveBatchRequest:
    messages = [_whole_state(state, f"states[{i}]") for i, state in enumerate(states)]
    expected = _revisions(expected_revisions, [message.workflow_id for message in messages])
    return workflow_store_pb2.SaveBatchRequest(
        bucket=_fields.text(bucket, "bucket"),
        items=[
            workflow_store_pb2.SaveBatchItem(state=message, expected_revision=expected.get(message.workflow_id))
            for message in messages
        ],
        atomic=_fields.flag(atomic, "atomic"),
        request_id=_request_id(request_id),
    )


def load_batch_request(
    workflow_ids: Iterable[str],
    view: WorkflowView,
    bucket: str,
    min_revision: int = 0,
    consistency: Consistency = Consistency.SESSION,
) -> workflow_store_pb2.LoadBatchRequest:
    return workflow_store_pb2.LoadBatchRequest(
        bucket=_fields.text(bucket, "bucket"),
        workflow_ids=_fields.texts(workflow_ids, "workflow_ids"),
        view=_messages.view_number(view, "view"),
        min_revision=_fields.integer(min_revision, "min_revision", _fields.UINT64),
        consistency=_messages.consistency_number(consistency, "consistency"),
    )


def delete_batch_request(
    workflow_ids: Iterable[str],
    expected_revisions: Mapping[str, int] | None,
    purge: bool,
    request_id: str | None,
    bucket: str,
) -> workflow_store_pb2.DeleteBatchRequest:
    ids = _fields.texts(workflow_ids, "workflow_ids")
    expected = _revisions(expected_revisions, ids)
    return workflow_store_pb2.DeleteBatchRequest(
        bucket=_fields.text(bucket, "bucket"),
        items=[
            workflow_store_pb2.DeleteBatchItem(workflow_id=name, expected_revision=expected.get(name)) for name in ids
        ],
        purge=_fields.flag(purge, "purge"),
        request_id=_request_id(request_id),
    )


def delete_matching_request(
    wanted: WorkflowFilter, limit: int, dry_run: bool, purge: bool, request_id: str | None, bucket: str
) -> workflow_store_pb2.DeleteBatchRequest:
    return workflow_store_pb2.DeleteBatchRequest(
        bucket=_fields.text(bucket, "bucket"),
        # None is refused: to delete all takes an empty filter, which nobody gives by mistake.
        filter=_messages.filter_to_message(wanted, "filter"),
        limit=_fields.integer(limit, "limit", range(1, 2**31)),
        dry_run=_fields.flag(dry_run, "dry_run"),
        purge=_fields.flag(purge, "purge"),
        request_id=_request_id(request_id),
    )


def export_request(wanted: WorkflowFilter | None, page_token: str, bucket: str) -> workflow_store_pb2.ExportRequest:
    return workflow_store_pb2.ExportRequest(
        bucket=_fields.text(bucket, "bucket"),
        filter=_filter(wanted),
        page_token=_fields.text(page_token, "page_token"),
    )


def import_request(
    documents: Iterable[StoredDocument], on_conflict: OnConflict, bucket: str
) -> workflow_store_pb2.ImportRequest:
    return workflow_store_pb2.ImportRequest(
        bucket=_fields.text(bucket, "bucket"),
        documents=[_document(document, f"documents[{i}]") for i, document in enumerate(documents)],
        on_conflict=_messages.on_conflict_number(on_conflict, "on_conflict"),
    )


def info_request(bucket: str) -> workflow_store_pb2.GetInfoRequest:
    return workflow_store_pb2.GetInfoRequest(bucket=_fields.text(bucket, "bucket"))


def _whole_state(state: Any, path: str) -> workflow_state_pb2.WorkflowState:
    if not isinstance(state, WorkflowState):
        raise TypeError(f"{path}: must be a WorkflowState, not {type(state).__name__}")
    if state.view != WorkflowView.FULL:
        raise ValueError(
            f"{path}: is a summary, and saving it would erase its input, result and history; "
            "load the workflow (view=WorkflowView.FULL), change that and save it"
        )
    return _messages.state_to_message(state, path)


def _document(document: Any, path: str) -> workflow_store_pb2.StoredDocument:
    if not isinstance(document, StoredDocument):
        raise TypeError(f"{path}: must be a StoredDocument, not {type(document).__name__}")
    if not isinstance(document.document, bytes):
        raise TypeError(f"{path}.document: must be bytes, not {type(document.document).__name__}")
    return workflow_store_pb2.StoredDocument(key=_fields.text(document.key, f"{path}.key"), document=document.document)


def _request_id(value: str | None) -> str:
    return uuid.uuid4().hex if value is None else _fields.text(value, "request_id")


def _revision(value: int | None) -> int | None:
    return None if value is None else _fields.integer(value, "expected_revision", _fields.UINT64)


def _revisions(expected: Mapping[str, int] | None, workflow_ids: Iterable[str]) -> dict[str, int]:
    if expected is None:
        return {}
    if not isinstance(expected, Mapping):
        raise TypeError(f"expected_revisions: must be a mapping or None, not {type(expected).__name__}")
    if strangers := sorted(set(expected).difference(workflow_ids)):
        raise ValueError(f"expected_revisions: {strangers[0]!r} is none of the workflows of this batch")
    return {
        name: _fields.integer(revision, f"expected_revisions[{name!r}]", _fields.UINT64)
        for name, revision in expected.items()
    }


def _filter(wanted: WorkflowFilter | None) -> workflow_filter_pb2.WorkflowFilter | None:
    return None if wanted is None else _messages.filter_to_message(wanted, "filter")
