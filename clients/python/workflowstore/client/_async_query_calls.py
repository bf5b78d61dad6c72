"""The only place that knows the calls over grpc.aio that find workflows, now and as they change."""

import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from workflowstore.client import _channel, _replies, _requests
from workflowstore.client._async_connection import AsyncConnection
from workflowstore.client._changes import WorkflowChange
from workflowstore.client._results import ListChunk, WorkflowCount
from workflowstore.client._resume import ListResumption, WatchResumption
from workflowstore.client._selection import OrderBy, WorkflowFilter
from workflowstore.client._state import Consistency, WorkflowState, WorkflowView
from workflowstore.client.errors import MalformedEntry, WorkflowStoreError
from workflowstore.v1.workflow_store_pb2 import ListRequest, ListResponse, WatchRequest


class AsyncQueryCalls(AsyncConnection):
    """How workflows are found."""

    def list(
        self,
        filter: WorkflowFilter | None = None,  # noqa: A002
        *,
        order_by: OrderBy = OrderBy.WORKFLOW_ID,
        descending: bool = False,
        limit: int | None = None,
        view: WorkflowView = WorkflowView.SUMMARY,
        page_token: str = "",
        on_malformed: Callable[[MalformedEntry], Any] | None = None,
        min_revision: int = 0,
        consistency: Consistency = Consistency.SESSION,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[WorkflowState, None]:
        """Reads all states that match, in the order asked for; those alike in it in the order of their workflow ids.

        It sees every write acknowledged before its first state is asked for. While workflows are written during the
        iteration, each state is the one before or the one after the write. Ordered by workflow id, no workflow that
        exists and matches throughout is missed, and none repeated. Ordered by created_at the same holds while writers
        keep `created_at` as it was. Ordered by updated_at, a workflow that is written meanwhile moves: ascending it
        may come a second time, in its new state; descending it may be missed.

        When the server fails or stops under way, the iteration goes on where it was, once the server or another one is
        there again: see `list_chunks`. Only an iteration that ends without an error has seen all. Leaving it early
        ends the call; a reader that stops reading stops the server's work.

        Args:
            filter: Which workflows. None = all.
            order_by: What the states are ordered by.
            descending: The other way round: the last id, or the latest time, first.
            limit: The most states to read, at least 1. None = all.
            view: How much of each state to read.
            page_token: Where to go on: the `next_page_token` of a chunk of `list_chunks`. Empty = at the beginning.
            on_malformed: Called for each stored document that cannot be decoded, see ListChunk.malformed. None = their
                number is raised as an error after the last state.
            min_revision: The reply is of this revision of the bucket or later. 0 = of the newest that this client was
                told, whatever server had told it: see the class.
            consistency: How new the reply has to be, see Consistency.
            bucket: See the class.
            timeout: The deadline in seconds of the whole iteration. None = none, whatever the client's.

        Raises:
            MalformedDocumentError: After the last state: documents could not be decoded, and there is no
                `on_malformed` to take them.
            WorkflowStoreError: The call failed, before or after some states.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        request = _requests.list_request(
            filter, order_by, descending, limit, view, page_token, self._bucket_or(bucket), min_revision, consistency
        )
        return self._states(request, view, _replies.MalformedEntries(on_malformed), timeout)

    def list_chunks(
        self,
        filter: WorkflowFilter | None = None,  # noqa: A002
        *,
        order_by: OrderBy = OrderBy.WORKFLOW_ID,
        descending: bool = False,
        limit: int | None = None,
        view: WorkflowView = WorkflowView.SUMMARY,
        page_token: str = "",
        min_revision: int = 0,
        consistency: Consistency = Consistency.SESSION,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[ListChunk, None]:
        """Reads what `list` reads, under the same promises, in chunks as the server sends them.

        Each chunk has the token by which a later call goes on after it, on any server of the bucket. That call takes
        the same bucket, filter and order; view and limit may differ. An iteration that ends at its `limit` has such a
        token in its last chunk if states are left.

        A call that breaks after a chunk, because the server is UNAVAILABLE, is made again from there, with pauses of
        0.1 to 2 seconds and those that the server asks for. Given up is what fails before its first chunk, or goes on
        failing for 30 seconds, or beyond the `timeout`. What is given up raises its last error: an UnavailableError
        also where the `timeout` would strike in a pause.

        Args:
            filter: See `list`, for this and what follows.
            order_by: What the states are ordered by.
            descending: The other way round.
            limit: The most states to read.
            view: How much of each state to read.
            page_token: Where to go on.
            min_revision: How new the reply has to be.
            consistency: How new the reply has to be.
            bucket: See the class.
            timeout: The deadline in seconds of the whole iteration.

        Raises:
            WorkflowStoreError: The call failed, before or after some chunks.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        request = _requests.list_request(
            filter, order_by, descending, limit, view, page_token, self._bucket_or(bucket), min_revision, consistency
        )
        return self._chunks(request, view, timeout)

    async def count(
        self,
        filter: WorkflowFilter | None = None,  # noqa: A002
        *,
        by_status: bool = False,
        by_label: str | None = None,
        min_revision: int = 0,
        consistency: Consistency = Consistency.SESSION,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> WorkflowCount:
        """Counts the workflows that match. It sees every write acknowledged before the call.

        Args:
            filter: Which workflows. None = all.
            by_status: Also count each status apart.
            by_label: Also count apart each value of the label with this key, 1 to 128 bytes of UTF-8. None = no label.
            min_revision: The reply is of this revision of the bucket or later. 0 = of the newest that this client was
                told, whatever server had told it: see the class.
            consistency: How new the reply has to be, see Consistency.
            bucket: See the class.
            timeout: See the class.

        Raises:
            WorkflowStoreError: The call failed.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent, or both `by_status` and `by_label` are given. Nothing was sent.
        """
        request = _requests.count_request(
            filter, by_status, by_label, self._bucket_or(bucket), min_revision, consistency
        )
        self._told.ask_no_less(request)
        with self._told.reading(request.bucket):
            async with self._calling(write=False) as stub:
                reply = await stub.Count(request, timeout=self._deadline(timeout))
        self._told.note(request.bucket, reply.store_revision)
        return _replies.counted(reply)

    def watch(
        self,
        filter: WorkflowFilter | None = None,  # noqa: A002
        *,
        after_revision: int | None = None,
        snapshot: bool = False,
        view: WorkflowView = WorkflowView.SUMMARY,
        on_progress: Callable[[int], Any] | None = None,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[WorkflowChange, None]:
        """Reads changes as they are made, in the order of their revisions, each once. It has no end of its own.

        It begins after `after_revision`, or with a snapshot, or else with what is written once the server has answered,
        which the first call of `on_progress` tells. Of a workflow that is written faster than it is watched, or was
        written while nobody watched, the bucket may have forgotten all but the newest revisions (see
        BucketInfo.history). What a `list` or `count` reflects goes up to its `store_revision`: a watch after that
        revision misses nothing.

        When the server fails or stops, or says that this reader is too slow, the iteration goes on where it was, with
        pauses of 0.1 to 2 seconds and those that the server asks for, until the `timeout`. Given up is only what the
        server has not answered for 30 seconds from the start. A snapshot that breaks before its end begins anew: its
        states may come again, and those that were deleted meanwhile do not. While the server's storage is away, nothing
        comes; it goes on by itself.

        Args:
            filter: Which workflows. None = all.
            after_revision: The revision after which to begin: one that `on_progress` was told, or the `store_revision`
                of a list or a count. 0 = with the oldest that the bucket has.
            snapshot: Begin with the workflows that match now, as SAVED, and a change of the kind SNAPSHOT_COMPLETE.
            view: How much of each state to read.
            on_progress: Called with a revision when everything up to it has been told and taken: when the iteration is
                asked for what comes after. A later watch goes on after it. Also called every few seconds while only
                what does not match is changed.
            bucket: See the class.
            timeout: The deadline in seconds of the whole iteration. None = none, whatever the client's.

        Raises:
            RevisionForgottenError: Changes after the revision to begin or to go on from may be forgotten. Begin anew
                with a snapshot.
            WatchTooSlowError: Changes piled up while a snapshot was read. Read faster, or watch less.
            MalformedDocumentError: This client cannot represent a state. A watch after its `revision` leaves it out.
            WorkflowStoreError: The call failed otherwise, before or after some changes.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent, or both `after_revision` and `snapshot` are given. Nothing was sent.
        """
        request = _requests.watch_request(filter, after_revision, snapshot, view, self._bucket_or(bucket))
        return self._changes(request, view, on_progress, timeout)

    async def _states(
        self, request: ListRequest, view: WorkflowView, malformed: _replies.MalformedEntries, timeout: float | None
    ) -> AsyncGenerator[WorkflowState, None]:
        async with aclosing(self._listed(request, timeout)) as replies:
            async for reply in replies:
                malformed.report(reply)
                for state in _replies.listed_states(reply, view):
                    yield state
        malformed.finish()

    async def _chunks(
        self, request: ListRequest, view: WorkflowView, timeout: float | None
    ) -> AsyncGenerator[ListChunk, None]:
        async with aclosing(self._listed(request, timeout)) as replies:
            async for reply in replies:
                yield _replies.list_chunk(reply, view)

    async def _listed(self, request: ListRequest, timeout: float | None) -> AsyncGenerator[ListResponse, None]:
        resumption = ListResumption(request, _channel.deadline(timeout), time.monotonic, random.random)
        async with aclosing(self._resumed(lambda stub: stub.List, resumption)) as replies:
            self._told.ask_no_less(request)
            with self._told.reading(request.bucket):
                async for reply in replies:
                    self._told.note(request.bucket, reply.store_revision)
                    yield reply

    async def _changes(
        self,
        request: WatchRequest,
        view: WorkflowView,
        on_progress: Callable[[int], Any] | None,
        timeout: float | None,
    ) -> AsyncGenerator[WorkflowChange, None]:
        resumption = WatchResumption(request, _channel.deadline(timeout), time.monotonic, random.random)
        told = None
        async with aclosing(self._resumed(lambda stub: stub.Watch, resumption)) as replies:
            async for reply in replies:
                self._told.note(request.bucket, reply.revision)
                for change in _replies.changes(reply, view):
                    yield change
                if on_progress is not None and resumption.revision is not None and resumption.revision != told:
                    told = resumption.revision
                    on_progress(told)
        raise WorkflowStoreError("the server has ended the watch without saying why", code="UNKNOWN")
