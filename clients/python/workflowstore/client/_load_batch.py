"""The only place that knows when all states of a batch have come, however many replies they take."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from workflowstore.client import _messages
from workflowstore.client._state import WorkflowState, WorkflowView
from workflowstore.client._status import item_error
from workflowstore.client.errors import MalformedDocumentError, WorkflowStoreError
from workflowstore.v1 import error_reason_pb2, workflow_store_pb2

LoadedItem: TypeAlias = WorkflowState | WorkflowStoreError | None


class LoadedBatch:
    """Follows one LoadBatch over all the calls that it takes: what had no room in a reply is asked for again."""

    def __init__(
        self, request: workflow_store_pb2.LoadBatchRequest, timeout: float | None, clock: Callable[[], float]
    ) -> None:
        """Begin now.

        Args:
            request: What is asked for.
            timeout: The deadline in seconds of all calls together. None = none.
            clock: Seconds on a clock that never goes back.
        """
        self.items: list[LoadedItem] = [None] * len(request.workflow_ids)
        """What has come, in the order of the request."""
        self.complete = False
        self._request = request
        self._places: Sequence[int] = range(len(request.workflow_ids))
        self._clock = clock
        self._deadline = None if timeout is None else clock() + timeout

    def request(self) -> workflow_store_pb2.LoadBatchRequest:
        """What to send: all that has not come yet."""
        ids = self._request.workflow_ids
        return workflow_store_pb2.LoadBatchRequest(
            bucket=self._request.bucket,
            view=self._request.view,
            min_revision=self._request.min_revision,
            consistency=self._request.consistency,
            workflow_ids=[ids[place] for place in self._places],
        )

    def timeout(self) -> float | None:
        """The deadline in seconds of a call that begins now. None = none."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def received(self, reply: workflow_store_pb2.LoadBatchResponse, view: WorkflowView) -> None:
        """Take note of a reply.

        A reply has room for one state at least, so that each call gets on. Where one does not, the errors stand.
        """
        left_out = []
        for place, result in zip(self._places, reply.results, strict=True):
            self.items[place] = _item(result, view)
            if result.error.reason == error_reason_pb2.ERROR_REASON_REPLY_TOO_LARGE:
                left_out.append(place)
        self.complete = not left_out or len(left_out) == len(self._places)
        self._places = left_out


def _item(result: workflow_store_pb2.LoadBatchResult, view: WorkflowView) -> LoadedItem:
    if result.error.reason == error_reason_pb2.ERROR_REASON_WORKFLOW_NOT_FOUND:
        return None
    if result.HasField("error"):
        return item_error(result.error, write=False)
    try:
        return _messages.state_from_message(result.state, WorkflowView(view))
    except MalformedDocumentError as error:
        return error
