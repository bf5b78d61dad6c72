"""The only place that knows what each call of the client makes of the replies, whichever the transport."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final

from workflowstore.client import _messages
from workflowstore.client._changes import ChangeKind, WorkflowChange, WorkflowRevision
from workflowstore.client._info import BucketInfo, Durability, IndexInfo, RetentionInfo, RoomInfo, StoreInfo
from workflowstore.client._results import CountGroup, DeletedBatch, ListChunk, WorkflowCount
from workflowstore.client._state import WorkflowState, WorkflowStatus, WorkflowView
from workflowstore.client._status import item_error
from workflowstore.client._transfer import ExportChunk, ImportOutcome, ImportResult, StoredDocument
from workflowstore.client.errors import MalformedDocumentError, MalformedEntry, WorkflowStoreError
from workflowstore.v1 import workflow_store_pb2

_ENTRIES_KEPT_MAX: Final = 100
"""The most malformed entries that one error carries, so that a List takes bounded memory."""

_DURABILITIES: Final = {
    workflow_store_pb2.DURABILITY_FSYNC_ALWAYS: Durability.FSYNC_ALWAYS,
    workflow_store_pb2.DURABILITY_FSYNC_INTERVAL: Durability.FSYNC_INTERVAL,
}
_CHANGE_KINDS: Final = {
    workflow_store_pb2.CHANGE_KIND_SAVED: ChangeKind.SAVED,
    workflow_store_pb2.CHANGE_KIND_DELETED: ChangeKind.DELETED,
    workflow_store_pb2.CHANGE_KIND_UNMATCHED: ChangeKind.UNMATCHED,
    workflow_store_pb2.CHANGE_KIND_MALFORMED: ChangeKind.MALFORMED,
}
_IMPORT_OUTCOMES: Final = {
    workflow_store_pb2.IMPORT_OUTCOME_WRITTEN: ImportOutcome.WRITTEN,
    workflow_store_pb2.IMPORT_OUTCOME_UNCHANGED: ImportOutcome.UNCHANGED,
    workflow_store_pb2.IMPORT_OUTCOME_SKIPPED: ImportOutcome.SKIPPED,
}


def saved_state(
    state: WorkflowState, reply: workflow_store_pb2.SaveResponse | workflow_store_pb2.SaveBatchResult
) -> WorkflowState:
    return dataclasses.replace(
        state,
        created_at=_messages.from_moment(reply, "created_at"),
        updated_at=_messages.from_moment(reply, "updated_at"),
        revision=reply.revision,
        history_count=len(state.history),
        document_bytes=0,
    )


def updated_state(workflow_id: str, reply: workflow_store_pb2.UpdateResponse, view: WorkflowView) -> WorkflowState:
    if not reply.HasField("state"):
        return WorkflowState(workflow_id, revision=reply.revision, view=WorkflowView.SUMMARY)
    return _messages.state_from_message(reply.state, WorkflowView(view))


def loaded_state(reply: workflow_store_pb2.LoadResponse, view: WorkflowView) -> WorkflowState:
    return _messages.state_from_message(reply.state, WorkflowView(view))


def listed_states(reply: workflow_store_pb2.ListResponse, view: WorkflowView) -> Iterator[WorkflowState]:
    """The states of a chunk, each made when it is asked for."""
    return map(_messages.state_from_message, reply.states, repeat(WorkflowView(view)))


def list_chunk(reply: workflow_store_pb2.ListResponse, view: WorkflowView) -> ListChunk:
    return ListChunk(
        states=tuple(listed_states(reply, view)),
        malformed=tuple([_malformed(entry) for entry in reply.malformed]),
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
        for entry in reply.malformed:
            self._report(_malformed(entry))

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


def counted(reply: workflow_store_pb2.CountResponse) -> WorkflowCount:
    return WorkflowCount(
        count=reply.count,
        groups=tuple([CountGroup(key=_group_key(group), count=group.count) for group in reply.groups]),
        omitted_groups=reply.omitted_groups,
        malformed_count=reply.malformed_count,
        store_revision=reply.store_revision,
    )


def changes(reply: workflow_store_pb2.WatchResponse, view: WorkflowView) -> Iterator[WorkflowChange]:
    """The changes of a message, each made when it is asked for.

    Raises:
        WorkflowStoreError: A change is of a kind that this version does not know. To leave it out would hide it.
    """
    for change in reply.changes:
        if change.kind not in _CHANGE_KINDS:
            words = f"a change is of the kind {change.kind}, which this client does not know; use a newer one"
            raise WorkflowStoreError(words, code="UNIMPLEMENTED", metadata={"revision": str(change.revision)})
        yield WorkflowChange(
            kind=_CHANGE_KINDS[change.kind],
            workflow_id=change.workflow_id,
            revision=change.revision,
            state=_messages.state_from_message(change.state, WorkflowView(view)) if change.HasField("state") else None,
            malformed=_malformed(change.malformed) if change.HasField("malformed") else None,
        )
    if reply.snapshot_complete:
        yield WorkflowChange(kind=ChangeKind.SNAPSHOT_COMPLETE, revision=reply.revision)


def revision(message: workflow_store_pb2.WorkflowRevision, view: WorkflowView) -> WorkflowRevision:
    return WorkflowRevision(
        revision=message.revision,
        stored_at=_messages.from_moment(message, "stored_at"),
        state=_messages.state_from_message(message.state, WorkflowView(view)) if message.HasField("state") else None,
        deleted=message.deleted,
        malformed=_malformed(message.malformed) if message.HasField("malformed") else None,
    )


def saved_batch(
    states: Sequence[WorkflowState], reply: workflow_store_pb2.SaveBatchResponse
) -> list[WorkflowState | WorkflowStoreError]:
    return [
        item_error(result.error, write=True) if result.HasField("error") else saved_state(state, result)
        for state, result in zip(states, reply.results, strict=True)
    ]


def deleted_batch(reply: workflow_store_pb2.DeleteBatchResponse) -> list[bool | WorkflowStoreError]:
    return [
        item_error(result.error, write=True) if result.HasField("error") else result.existed for result in reply.results
    ]


def deleted_matching(reply: workflow_store_pb2.DeleteBatchResponse) -> DeletedBatch:
    return DeletedBatch(
        workflow_ids=tuple([result.workflow_id for result in reply.results if result.existed]),
        errors={
            result.workflow_id: item_error(result.error, write=True)
            for result in reply.results
            if result.HasField("error")
        },
        remaining_count=reply.remaining_count,
    )


def export_chunk(reply: workflow_store_pb2.ExportResponse) -> ExportChunk:
    return ExportChunk(
        documents=tuple([StoredDocument(key=d.key, revision=d.revision, document=d.document) for d in reply.documents]),
        next_page_token=reply.next_page_token,
        store_revision=reply.store_revision,
    )


def imported(reply: workflow_store_pb2.ImportResponse) -> list[ImportResult]:
    return [
        ImportResult(
            outcome=_IMPORT_OUTCOMES.get(result.outcome, ImportOutcome.NONE),
            revision=result.revision,
            error=item_error(result.error, write=True) if result.HasField("error") else None,
        )
        for result in reply.results
    ]


def info(reply: workflow_store_pb2.GetInfoResponse) -> StoreInfo:
    bucket, index, retention, room = reply.bucket, reply.index, reply.retention, reply.room
    return StoreInfo(
        server_version=reply.server_version,
        nats_server_version=reply.nats_server_version,
        nats_embedded=reply.nats_embedded,
        durability=_DURABILITIES.get(reply.durability, Durability.UNSPECIFIED),
        buckets=tuple(reply.buckets),
        bucket=BucketInfo(
            name=bucket.name,
            history=bucket.history,
            replicas=bucket.replicas,
            max_bytes=bucket.max_bytes,
            max_age_seconds=bucket.max_age_seconds,
            on_disk=bucket.on_disk,
            allow_direct=bucket.allow_direct,
            revisions=bucket.revisions,
            bytes=bucket.bytes,
            allow_atomic=bucket.allow_atomic,
            request_id_seconds=bucket.request_id_seconds,
        ),
        store_revision=reply.store_revision,
        document_bytes_max=reply.document_bytes_max,
        index=IndexInfo(
            revision=index.revision,
            lag=index.lag,
            ready=index.ready,
            workflow_count=index.workflow_count,
            malformed_count=index.malformed_count,
            on_disk=index.on_disk,
        ),
        retention=RetentionInfo(
            rules={_messages.status_of(rule.status): rule.after_seconds for rule in retention.rules},
            delete_marker_seconds=retention.delete_marker_seconds,
            deleted_count=retention.deleted_count,
            compacted_count=retention.compacted_count,
        ),
        room=RoomInfo(
            full=room.full,
            low=room.low,
            disk_free_bytes=room.disk_free_bytes if room.HasField("disk_free_bytes") else None,
            disk_reserve_bytes=room.disk_reserve_bytes,
        ),
    )


def _group_key(message: workflow_store_pb2.CountGroup) -> WorkflowStatus | str | None:
    match message.WhichOneof("key"):
        case "status":
            return _messages.status_of(message.status)
        case "label_value":
            return message.label_value
        case _:
            return None


def _malformed(message: workflow_store_pb2.MalformedEntry) -> MalformedEntry:
    return MalformedEntry(message.key, message.revision, message.reason)
