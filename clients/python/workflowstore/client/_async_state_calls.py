"""The only place that knows the calls over grpc.aio that are about one workflow."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Any

from workflowstore.client import _channel, _replies, _requests
from workflowstore.client._async_connection import AsyncConnection
from workflowstore.client._changes import WorkflowRevision
from workflowstore.client._state import (
    UNCHANGED,
    Consistency,
    HistoryEvent,
    Unchanged,
    WorkflowState,
    WorkflowStatus,
    WorkflowView,
)
from workflowstore.client.errors import WorkflowNotFoundError
from workflowstore.v1.workflow_store_pb2 import ListRevisionsRequest


class AsyncStateCalls(AsyncConnection):
    """What can be done with one workflow."""

    async def save(
        self,
        state: WorkflowState,
        *,
        expected_revision: int | None = None,
        request_id: str | None = None,
        resent: bool = False,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> WorkflowState:
        """Writes the whole state over whatever is stored under its id, and waits until it is on disk.

        Args:
            state: What to store. Its times are stored as they are; None = the server's time of the save.
            expected_revision: None = the last writer wins. 0 = the workflow must not exist. n = the stored state must
                be at revision n.
            request_id: See the class.
            resent: See the class.
            bucket: See the class.
            timeout: See the class. When it strikes, the outcome is unknown.

        Returns:
            The state as stored, with its revision and times. The times are None when the call had been applied by an
            earlier attempt and what it stored has been overwritten since.

        Raises:
            AlreadyExistsError: `expected_revision` is 0 and the workflow exists.
            RevisionMismatchError: The workflow is not at `expected_revision`.
            OutcomeUnknownError: The call failed, and the state may be stored nevertheless.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the write.
            TypeError: A field is of the wrong type; the error names it. Nothing was sent.
            ValueError: A field cannot be sent, or the state is a summary; the error names it. Nothing was sent.
        """
        request = _requests.save_request(state, expected_revision, request_id, self._bucket_or(bucket))
        self._told.tell(request, resent=resent)
        async with self._calling(write=True) as stub:
            reply = await stub.Save(request, timeout=self._deadline(timeout))
        self._told.note(request.bucket, reply.revision)
        return _replies.saved_state(state, reply)

    async def update(
        self,
        workflow_id: str,
        *,
        run_id: str | Unchanged = UNCHANGED,
        status: WorkflowStatus | Unchanged = UNCHANGED,
        input: Any = UNCHANGED,  # noqa: A002
        result: Any = UNCHANGED,
        error: str | Unchanged = UNCHANGED,
        history: Sequence[HistoryEvent] | Unchanged = UNCHANGED,
        created_at: datetime | Unchanged | None = UNCHANGED,
        updated_at: datetime | Unchanged | None = UNCHANGED,
        labels: Mapping[str, str] | Unchanged = UNCHANGED,
        append_history: Sequence[HistoryEvent] = (),
        set_labels: Mapping[str, str] | None = None,
        remove_labels: Sequence[str] = (),
        expected_revision: int | None = None,
        allow_missing: bool = False,
        view: WorkflowView = WorkflowView.FULL,
        request_id: str | None = None,
        resent: bool = False,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> WorkflowState:
        """Changes parts of a stored state on the server, and waits until it is on disk. What is not given stays.

        The server reads, changes and writes, and does it again when somebody else has written in between, so that no
        change is lost. A field of WorkflowState that is given, `run_id` to `labels`, is replaced as a whole; for a
        time, None means the server's, as UNCHANGED does for `updated_at`. `append_history` goes to the end of the
        history, with ids continued by the server (leave them 0) and its time where `timestamp` is None; `set_labels`
        are added or replaced, and the keys in `remove_labels` removed. `expected_revision` is as in `save`, 0 only
        with `allow_missing`, which makes the workflow, from an empty state, when it does not exist.

        Returns:
            The updated state, in the `view` asked for. When the call had been applied by an earlier attempt and what it
            stored has been overwritten since, only its id and revision are known: the rest is empty, the view SUMMARY.

        Raises:
            WorkflowNotFoundError: There is no such workflow, and it was not to be made.
            AlreadyExistsError: `expected_revision` is 0 and the workflow exists.
            RevisionMismatchError: The workflow is not at `expected_revision`.
            MalformedDocumentError: The stored document cannot be decoded.
            OutcomeUnknownError: The call failed, and the change may be stored nevertheless.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the write.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        bucket = self._bucket_or(bucket)
        request = _requests.update_request(workflow_id, expected_revision, allow_missing, view, request_id, bucket)
        _requests.set_fields(request, run_id, status, input, result, error, history, created_at, updated_at, labels)
        _requests.add_and_remove(request, append_history, set_labels, remove_labels)
        self._told.tell(request, resent=resent)
        async with self._calling(write=True) as stub:
            reply = await stub.Update(request, timeout=self._deadline(timeout))
        self._told.note(bucket, reply.revision)
        return _replies.updated_state(workflow_id, reply, view)

    async def load(
        self,
        workflow_id: str,
        *,
        view: WorkflowView = WorkflowView.FULL,
        min_revision: int = 0,
        consistency: Consistency = Consistency.SESSION,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> WorkflowState | None:
        """Reads one state. It sees every write acknowledged before the call.

        Args:
            workflow_id: The workflow.
            view: How much of the state to read.
            min_revision: The reply is of this revision of the bucket or later. 0 = of the newest that this client was
                told, whatever server had told it: see the class.
            consistency: How new the reply has to be, see Consistency.
            bucket: See the class.
            timeout: See the class.

        Returns:
            The state, or None when there is no such workflow.

        Raises:
            MalformedDocumentError: The stored document cannot be decoded.
            RevisionNotReachedError: The bucket has not come to the revision that the reply was to be of.
            WorkflowStoreError: The call failed otherwise.
        """
        request = _requests.load_request(workflow_id, view, self._bucket_or(bucket), min_revision, consistency)
        self._told.ask_no_less(request)
        try:
            with self._told.reading(request.bucket):
                async with self._calling(write=False) as stub:
                    reply = await stub.Load(request, timeout=self._deadline(timeout))
        except WorkflowNotFoundError:
            return None
        self._told.note(request.bucket, reply.state.revision)
        return _replies.loaded_state(reply, view)

    async def delete(
        self,
        workflow_id: str,
        *,
        expected_revision: int | None = None,
        purge: bool = False,
        request_id: str | None = None,
        resent: bool = False,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Removes a workflow. Deleting what does not exist succeeds.

        Args:
            workflow_id: The workflow.
            expected_revision: None = whatever the revision. n = the stored state must be at revision n.
            purge: Also remove the old revisions that the bucket keeps of this workflow, for good.
            request_id: See the class.
            resent: See the class.
            bucket: See the class.
            timeout: See the class. When it strikes, the outcome is unknown.

        Returns:
            Whether the workflow existed.

        Raises:
            RevisionMismatchError: The workflow is not at `expected_revision`.
            OutcomeUnknownError: The call failed, and the workflow may be removed nevertheless.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the removal.
        """
        request = _requests.delete_request(workflow_id, expected_revision, purge, request_id, self._bucket_or(bucket))
        self._told.tell(request, resent=resent)
        async with self._calling(write=True) as stub:
            reply = await stub.Delete(request, timeout=self._deadline(timeout))
        self._told.note(request.bucket, reply.revision)
        return reply.existed

    def list_revisions(
        self,
        workflow_id: str,
        *,
        newest_first: bool = False,
        limit: int | None = None,
        view: WorkflowView = WorkflowView.FULL,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[WorkflowRevision, None]:
        """Reads the revisions that the bucket keeps of a workflow (see BucketInfo.history), deletions included.

        An iteration that breaks does not go on by itself.

        Args:
            workflow_id: The workflow.
            newest_first: The newest first. False = the oldest first.
            limit: The most revisions to read, at least 1. None = all that are kept.
            view: How much of each state to read.
            bucket: See the class.
            timeout: The deadline in seconds of the whole iteration. None = none, whatever the client's.

        Raises:
            WorkflowNotFoundError: No revision of it is kept.
            WorkflowStoreError: The call failed otherwise, before or after some revisions.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        request = _requests.list_revisions_request(workflow_id, newest_first, limit, view, self._bucket_or(bucket))
        return self._revisions(request, view, timeout)

    async def _revisions(
        self, request: ListRevisionsRequest, view: WorkflowView, timeout: float | None
    ) -> AsyncGenerator[WorkflowRevision, None]:
        async with self._calling(write=False) as stub:
            call = stub.ListRevisions(request, timeout=_channel.deadline(timeout))
            try:
                async for reply in call:
                    for message in reply.revisions:
                        self._told.note(request.bucket, message.revision)
                        yield _replies.revision(message, view)
            finally:
                call.cancel()  # ends the call when the iteration is left early, and else does nothing
