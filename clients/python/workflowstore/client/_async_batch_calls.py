"""The only place that knows the calls over grpc.aio that are about many workflows at once."""

import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from workflowstore.client import _channel, _replies, _requests
from workflowstore.client._async_connection import AsyncConnection
from workflowstore.client._load_batch import LoadedBatch, LoadedItem
from workflowstore.client._results import DeletedBatch
from workflowstore.client._resume import PagedResumption
from workflowstore.client._selection import WorkflowFilter
from workflowstore.client._state import Consistency, WorkflowState, WorkflowView
from workflowstore.client._transfer import ExportChunk, ImportResult, OnConflict, StoredDocument
from workflowstore.client.errors import WorkflowStoreError
from workflowstore.v1.workflow_store_pb2 import ExportRequest, ExportResponse


class AsyncBatchCalls(AsyncConnection):
    """What can be done with many workflows at once.

    What fails for one item only is returned in its place, as the exception that a call for it alone would raise.
    """

    async def save_batch(
        self,
        states: Sequence[WorkflowState],
        *,
        expected_revisions: Mapping[str, int] | None = None,
        atomic: bool = False,
        request_id: str | None = None,
        resent: bool = False,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> list[WorkflowState | WorkflowStoreError]:
        """Writes 1 to 1,000 states, of different workflows and at most 8 MiB in all, each as `save` does.

        Args:
            states: What to store.
            expected_revisions: What `save` calls `expected_revision`, by workflow id, for those that have one.
            atomic: All are saved or none, and nobody sees a part of them. The bucket must allow it, see
                BucketInfo.allow_atomic. What fails for one of them is raised.
            request_id: See the class.
            resent: See the class.
            bucket: See the class.
            timeout: See the class. When it strikes, the outcome is unknown.

        Returns:
            Each state as stored, or why it was not, in the order of `states`.

        Raises:
            BucketConfigurationError: The bucket does not allow an atomic batch. Nothing was written.
            OutcomeUnknownError: The call failed, and states may be stored nevertheless.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the writes.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        states = list(states)
        request = _requests.save_batch_request(states, expected_revisions, atomic, request_id, self._bucket_or(bucket))
        self._told.tell(request, resent=resent)
        async with self._calling(write=True) as stub:
            reply = await stub.SaveBatch(request, timeout=self._deadline(timeout))
        self._told.note(request.bucket, max((result.revision for result in reply.results), default=0))
        return _replies.saved_batch(states, reply)

    async def load_batch(
        self,
        workflow_ids: Sequence[str],
        *,
        view: WorkflowView = WorkflowView.FULL,
        min_revision: int = 0,
        consistency: Consistency = Consistency.SESSION,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> list[LoadedItem]:
        """Reads the states of 1 to 1,000 different workflows. It sees every write acknowledged before the call.

        States that have no room in one reply are asked for again, until all have come.

        Args:
            workflow_ids: The workflows.
            view: How much of each state to read.
            min_revision: The reply is of this revision of the bucket or later. 0 = of the newest that this client was
                told, whatever server had told it: see the class.
            consistency: How new the reply has to be, see Consistency.
            bucket: See the class.
            timeout: See the class. It bounds all that is asked together.

        Returns:
            Each state, None when there is no such workflow, or why it cannot be read, in the order of `workflow_ids`.

        Raises:
            RevisionNotReachedError: The bucket has not come to the revision that the reply was to be of.
            WorkflowStoreError: The call failed otherwise.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        request = _requests.load_batch_request(workflow_ids, view, self._bucket_or(bucket), min_revision, consistency)
        self._told.ask_no_less(request)
        batch = LoadedBatch(request, self._deadline(timeout), time.monotonic)
        while not batch.complete:
            with self._told.reading(request.bucket):
                async with self._calling(write=False) as stub:
                    reply = await stub.LoadBatch(batch.request(), timeout=batch.timeout())
            self._told.note(request.bucket, max((result.state.revision for result in reply.results), default=0))
            batch.received(reply, view)
        return batch.items

    async def delete_batch(
        self,
        workflow_ids: Sequence[str],
        *,
        expected_revisions: Mapping[str, int] | None = None,
        purge: bool = False,
        request_id: str | None = None,
        resent: bool = False,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> list[bool | WorkflowStoreError]:
        """Removes 1 to 1,000 different workflows, each as `delete` does.

        Args:
            workflow_ids: The workflows.
            expected_revisions: What `delete` calls `expected_revision`, by workflow id, for those that have one.
            purge: Also remove the old revisions that the bucket keeps of these workflows, for good.
            request_id: See the class.
            resent: See the class.
            bucket: See the class.
            timeout: See the class. When it strikes, the outcome is unknown.

        Returns:
            Whether each existed, or why it was not removed, in the order of `workflow_ids`.

        Raises:
            OutcomeUnknownError: The call failed, and workflows may be removed nevertheless.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the removals.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        request = _requests.delete_batch_request(
            workflow_ids, expected_revisions, purge, request_id, self._bucket_or(bucket)
        )
        self._told.tell(request, resent=resent)
        async with self._calling(write=True) as stub:
            reply = await stub.DeleteBatch(request, timeout=self._deadline(timeout))
        self._told.note(request.bucket, max((result.revision for result in reply.results), default=0))
        return _replies.deleted_batch(reply)

    async def delete_matching(
        self,
        filter: WorkflowFilter,  # noqa: A002
        *,
        limit: int,
        dry_run: bool = False,
        purge: bool = False,
        request_id: str | None = None,
        resent: bool = False,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> DeletedBatch:
        """Removes the workflows that match, the first by workflow id.

        One that matched and was changed before it could be removed is left, and has an error. Whether to call again,
        the result's `remaining_count` tells.

        Args:
            filter: Which workflows. An empty one matches all.
            limit: The most workflows to remove, 1 to 1,000.
            dry_run: Tell which would be removed, and remove none.
            purge: Also remove the old revisions that the bucket keeps of these workflows, for good.
            request_id: See the class.
            resent: See the class.
            bucket: See the class.
            timeout: See the class. When it strikes, the outcome is unknown.

        Raises:
            OutcomeUnknownError: The call failed, and workflows may be removed nevertheless.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the removals.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        request = _requests.delete_matching_request(filter, limit, dry_run, purge, request_id, self._bucket_or(bucket))
        self._told.tell(request, resent=resent)
        async with self._calling(write=not dry_run) as stub:
            reply = await stub.DeleteBatch(request, timeout=self._deadline(timeout))
        self._told.note(request.bucket, max((result.revision for result in reply.results), default=0))
        return _replies.deleted_matching(reply)

    def export(
        self,
        filter: WorkflowFilter | None = None,  # noqa: A002
        *,
        page_token: str = "",
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[ExportChunk, None]:
        """Reads the stored documents of all workflows that match, byte for byte, and those that cannot be decoded.

        They come by workflow id, and under the promises of a `list` in that order. It goes on by itself when it breaks,
        as `list_chunks` does.

        Args:
            filter: Which workflows. None = all. Documents that cannot be decoded come whatever the filter; only a
                `workflow_id_prefix` leaves out those of other ids.
            page_token: Where to go on: the `next_page_token` of a chunk. Empty = at the beginning.
            bucket: See the class.
            timeout: The deadline in seconds of the whole iteration. None = none, whatever the client's.

        Raises:
            WorkflowStoreError: The call failed, before or after some chunks.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        request = _requests.export_request(filter, page_token, self._bucket_or(bucket))
        return self._documents(request, timeout)

    async def import_documents(
        self,
        documents: Sequence[StoredDocument],
        *,
        on_conflict: OnConflict = OnConflict.FAIL,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> list[ImportResult]:
        """Stores 1 to 1,000 documents byte for byte, under different keys and at most 8 MiB in all.

        A document that is stored already is left alone and is no conflict, so that the call may be repeated.

        Args:
            documents: What to store.
            on_conflict: What to do where another document is stored under the key.
            bucket: See the class.
            timeout: See the class. When it strikes, the outcome is unknown.

        Returns:
            What became of each document, in the order of `documents`.

        Raises:
            OutcomeUnknownError: The call failed, and documents may be stored nevertheless.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the writes.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        request = _requests.import_request(documents, on_conflict, self._bucket_or(bucket))
        async with self._calling(write=True) as stub:
            reply = await stub.Import(request, timeout=self._deadline(timeout))
        self._told.note(request.bucket, max((result.revision for result in reply.results), default=0))
        return _replies.imported(reply)

    async def _documents(self, request: ExportRequest, timeout: float | None) -> AsyncGenerator[ExportChunk, None]:
        resumption: PagedResumption[ExportRequest, ExportResponse]
        resumption = PagedResumption(request, _channel.deadline(timeout), time.monotonic, random.random)
        async with aclosing(self._resumed(lambda stub: stub.Export, resumption)) as replies:
            async for reply in replies:
                self._told.note(request.bucket, reply.store_revision)
                yield _replies.export_chunk(reply)
