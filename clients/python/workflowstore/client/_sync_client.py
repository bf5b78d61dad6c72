"""The only place that knows the calls of the client over grpc. `make generate` writes it from _async_client.py."""

from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Self

import grpc

from workflowstore.client import _calls
from workflowstore.client._info import StoreInfo
from workflowstore.client._state import WorkflowState, WorkflowStatus, WorkflowView
from workflowstore.client._status import mapped_errors
from workflowstore.client.errors import MalformedEntry, WorkflowNotFoundError
from workflowstore.v1.workflow_store_pb2 import ListRequest
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
            timeout: The deadline in seconds of calls that give none. None = none. It does not bound `list`.

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
        *,
        statuses: Iterable[WorkflowStatus] = (),
        limit: int | None = None,
        view: WorkflowView = WorkflowView.SUMMARY,
        on_malformed: Callable[[MalformedEntry], Any] | None = None,
        bucket: str | None = None,
        timeout: float | None = None,
    ) -> Generator[WorkflowState, None, None]:
        """Reads all states that match, in the order in which they were last written, oldest first.

        It sees every write acknowledged before its first state is asked for. Only an iteration that ends without an
        error has seen all. Leaving it early ends the call; a reader that stops reading stops the server's work.

        Args:
            statuses: Only states with one of these. Empty = any.
            limit: The most states to read, at least 1. None = all.
            view: How much of each state to read.
            on_malformed: Called for each stored document that cannot be decoded, whatever `statuses` and `limit`.
                None = their number is raised as an error after the last state.
            bucket: See the class.
            timeout: The deadline in seconds of the whole iteration. None = none, whatever the client's.

        Raises:
            MalformedDocumentError: After the last state: documents could not be decoded, and there is no
                `on_malformed` to take them.
            WorkflowStoreError: The call failed, before or after some states.
        """
        request = _calls.list_request(statuses, limit, view, self._bucket if bucket is None else bucket)
        return self._list(request, _calls.ListReader(view, on_malformed), _calls.deadline(timeout))

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

    def _list(
        self, request: ListRequest, reader: _calls.ListReader, deadline: float | None
    ) -> Generator[WorkflowState, None, None]:
        call = self._stub.List(request, timeout=deadline)
        try:
            with mapped_errors(write=False):
                for chunk in call:
                    yield from reader.states(chunk)
        finally:
            call.cancel()  # ends the call when the iteration is left early, and else does nothing
        reader.finish()

    @property
    def _stub(self) -> WorkflowStoreStub:
        if self._closed:
            raise RuntimeError("the client is closed")
        return self._open_stub

    def _deadline(self, timeout: float | None) -> float | None:
        return _calls.deadline(self._timeout if timeout is None else timeout)
