"""The only place that knows the calls of the client over grpc. `make generate` writes it from _async_client.py."""

import random
import time
from collections.abc import Callable, Generator
from contextlib import closing
from types import TracebackType
from typing import Any, Self

import grpc

from workflowstore.client import _calls
from workflowstore.client._info import StoreInfo
from workflowstore.client._results import ListChunk, WorkflowCount
from workflowstore.client._resume import Resumption
from workflowstore.client._selection import OrderBy, WorkflowFilter
from workflowstore.client._state import WorkflowState, WorkflowView
from workflowstore.client._status import mapped_errors
from workflowstore.client.errors import MalformedEntry, WorkflowNotFoundError, WorkflowStoreError
from workflowstore.v1.workflow_store_pb2 import ListRequest, ListResponse
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub


class Client:
    """Calls a workflowstore server.

        with Client("127.0.0.1:50051") as client:
            state = client.save(WorkflowState("order:42", status=WorkflowStatus.RUNNING))
            state = client.save(state.replace(error="no stock"), expected_revision=state.revision)

    Every method takes a `bucket` (None = the client's) and a `timeout` in seconds (None = the client's, math.inf =
    none), and raises a WorkflowStoreError when the call fails: see `workflowstore.client.errors` for the classes. What
    cannot be sent is a TypeError or a ValueError that names the field.

    One client serves any number of threads at once.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        channel: grpc.Channel | None = None,
        bucket: str = "",
        timeout: float | None = 30.0,
    ) -> None:
        """Connects at the first call.

        Args:
            target: Where the server is, as gRPC names it, without encryption. None = 127.0.0.1:50051. This version
                makes no channels with TLS: give one as `channel`.
            channel: A channel to use instead. It remains its owner's to close.
            bucket: The bucket of calls that name none. Empty = the server's first.
            timeout: The deadline in seconds of calls that give none. None = none. It does not bound `list` and
                `list_chunks`.

        Raises:
            TypeError: Both `target` and `channel` were given.
        """
        if target is not None and channel is not None:
            raise TypeError("give a target or a channel, not both")
        self._owned_channel = None
        if channel is None:
            channel = grpc.insecure_channel(target or _calls.TARGET_DEFAULT, options=_calls.CHANNEL_OPTIONS)
            self._owned_channel = channel
        self._open_stub = WorkflowStoreStub(channel)
        self._closed = False
        self._bucket = bucket
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel, which ends the calls under way, unless it was given. May be called again."""
        self._closed = True
        if self._owned_channel is not None:
            self._owned_channel.close()

    def save(
        self,
        state: WorkflowState,
        *,
        expected_revision: int | None = None,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> WorkflowState:
        """Writes the whole state over whatever is stored under its id, and waits until it is on disk.

        Args:
            state: What to store. Its times are stored as they are; None = the server's time of the save.
            expected_revision: None = the last writer wins. 0 = the workflow must not exist. n = the stored state must
                be at revision n.
            bucket: See the class.
            timeout: See the class. When it strikes, the outcome is unknown.

        Returns:
            The state as stored, with its revision and times.

        Raises:
            AlreadyExistsError: `expected_revision` is 0 and the workflow exists.
            RevisionMismatchError: The workflow is not at `expected_revision`.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the write.
            TypeError: A field is of the wrong type; the error names it. Nothing was sent.
            ValueError: A field cannot be sent, or the state is a summary; the error names it. Nothing was sent.
        """
        request = _calls.save_request(state, expected_revision, self._bucket if bucket is None else bucket)
        with mapped_errors(write=True):
            reply = self._stub.Save(request, timeout=self._deadline(timeout))
        return _calls.saved_state(state, reply)

    def load(
        self,
        workflow_id: str,
        *,
        view: WorkflowView = WorkflowView.FULL,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> WorkflowState | None:
        """Reads one state. It sees every write acknowledged before the call.

        Returns:
            The state, or None when there is no such workflow.

        Raises:
            MalformedDocumentError: The stored document cannot be decoded.
            WorkflowStoreError: The call failed otherwise.
        """
        request = _calls.load_request(workflow_id, view, self._bucket if bucket is None else bucket)
        try:
            with mapped_errors(write=False):
                reply = self._stub.Load(request, timeout=self._deadline(timeout))
        except WorkflowNotFoundError:
            return None
        return _calls.loaded_state(reply, view)

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
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> Generator[WorkflowState, None, None]:
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
            bucket: See the class.
            timeout: The deadline in seconds of the whole iteration. None = none, whatever the client's.

        Raises:
            MalformedDocumentError: After the last state: documents could not be decoded, and there is no
                `on_malformed` to take them.
            WorkflowStoreError: The call failed, before or after some states.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        bucket = self._bucket if bucket is None else bucket
        request = _calls.list_request(filter, order_by, descending, limit, view, page_token, bucket)
        return self._states(request, view, _calls.MalformedEntries(on_malformed), timeout)

    def list_chunks(
        self,
        filter: WorkflowFilter | None = None,  # noqa: A002
        *,
        order_by: OrderBy = OrderBy.WORKFLOW_ID,
        descending: bool = False,
        limit: int | None = None,
        view: WorkflowView = WorkflowView.SUMMARY,
        page_token: str = "",
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> Generator[ListChunk, None, None]:
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
            bucket: See the class.
            timeout: The deadline in seconds of the whole iteration.

        Raises:
            WorkflowStoreError: The call failed, before or after some chunks.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent; the error names it. Nothing was sent.
        """
        bucket = self._bucket if bucket is None else bucket
        request = _calls.list_request(filter, order_by, descending, limit, view, page_token, bucket)
        return self._chunks(request, view, timeout)

    def count(
        self,
        filter: WorkflowFilter | None = None,  # noqa: A002
        *,
        by_status: bool = False,
        by_label: str | None = None,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> WorkflowCount:
        """Counts the workflows that match. It sees every write acknowledged before the call.

        Args:
            filter: Which workflows. None = all.
            by_status: Also count each status apart.
            by_label: Also count apart each value of the label with this key, 1 to 128 bytes of UTF-8. None = no label.
            bucket: See the class.
            timeout: See the class.

        Raises:
            WorkflowStoreError: The call failed.
            TypeError: An argument is of the wrong type; the error names it. Nothing was sent.
            ValueError: An argument cannot be sent, or both `by_status` and `by_label` are given. Nothing was sent.
        """
        request = _calls.count_request(filter, by_status, by_label, self._bucket if bucket is None else bucket)
        with mapped_errors(write=False):
            reply = self._stub.Count(request, timeout=self._deadline(timeout))
        return _calls.counted(reply)

    def delete(
        self,
        workflow_id: str,
        *,
        expected_revision: int | None = None,
        purge: bool = False,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Removes a workflow. Deleting what does not exist succeeds.

        Args:
            workflow_id: The workflow.
            expected_revision: None = whatever the revision. n = the stored state must be at revision n.
            purge: Also remove the old revisions that the bucket keeps of this workflow, for good.
            bucket: See the class.
            timeout: See the class. When it strikes, the outcome is unknown.

        Returns:
            Whether the workflow existed.

        Raises:
            RevisionMismatchError: The workflow is not at `expected_revision`.
            WorkflowStoreError: The call failed otherwise; `outcome` tells what became of the removal.
        """
        request = _calls.delete_request(
            workflow_id, expected_revision, purge, self._bucket if bucket is None else bucket
        )
        with mapped_errors(write=True):
            reply = self._stub.Delete(request, timeout=self._deadline(timeout))
        return reply.existed

    def info(self, *, bucket: str | None = None, timeout: float | None = None) -> StoreInfo:
        """What the server is, how the bucket is configured and how durable a write to it is.

        Raises:
            WorkflowStoreError: The call failed.
        """
        request = _calls.info_request(self._bucket if bucket is None else bucket)
        with mapped_errors(write=False):
            reply = self._stub.GetInfo(request, timeout=self._deadline(timeout))
        return _calls.info(reply)

    def _states(
        self, request: ListRequest, view: WorkflowView, malformed: _calls.MalformedEntries, timeout: float | None
    ) -> Generator[WorkflowState, None, None]:
        with closing(self._replies(request, timeout)) as replies:
            for reply in replies:
                malformed.report(reply)
                yield from _calls.listed_states(reply, view)
        malformed.finish()

    def _chunks(
        self, request: ListRequest, view: WorkflowView, timeout: float | None
    ) -> Generator[ListChunk, None, None]:
        with closing(self._replies(request, timeout)) as replies:
            for reply in replies:
                yield _calls.list_chunk(reply, view)

    def _replies(self, request: ListRequest, timeout: float | None) -> Generator[ListResponse, None, None]:
        resumption = Resumption(request, _calls.deadline(timeout), time.monotonic, random.random)
        stub = self._stub
        while True:
            call = stub.List(resumption.request(), timeout=resumption.timeout())
            try:
                with mapped_errors(write=False):
                    for reply in call:
                        yield resumption.received(reply)
                return
            except WorkflowStoreError as error:
                if resumption.complete:
                    return
                pause_seconds = resumption.pause_seconds(error)
                if pause_seconds is None:
                    raise
            finally:
                call.cancel()  # ends the call when the iteration is left early, and else does nothing
            time.sleep(pause_seconds)
            if self._closed:
                raise WorkflowStoreError("the client was closed during the call", code="CANCELLED")

    @property
    def _stub(self) -> WorkflowStoreStub:
        if self._closed:
            raise RuntimeError("the client is closed")
        return self._open_stub

    def _deadline(self, timeout: float | None) -> float | None:
        return _calls.deadline(self._timeout if timeout is None else timeout)
