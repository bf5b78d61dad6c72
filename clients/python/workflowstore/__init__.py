"""The only place that knows which names users of the client may rely on.

    import workflowstore as ws

    with ws.Client("127.0.0.1:50051") as client:
        state = client.save(ws.WorkflowState("order:42", status=ws.WorkflowStatus.RUNNING, input={"items": 3}))
        for summary in client.list(ws.WorkflowFilter(statuses=[ws.WorkflowStatus.RUNNING])):
            print(summary.workflow_id, summary.updated_at)

`AsyncClient` has the same methods for asyncio. The generated messages and stubs are in `workflowstore.v1`.
"""

from workflowstore.client._async_client import AsyncClient
from workflowstore.client._info import BucketInfo, Durability, IndexInfo, StoreInfo
from workflowstore.client._results import CountGroup, ListChunk, WorkflowCount
from workflowstore.client._selection import OrderBy, WorkflowFilter
from workflowstore.client._state import EventType, HistoryEvent, WorkflowState, WorkflowStatus, WorkflowView
from workflowstore.client._sync_client import Client
from workflowstore.client._timestamp import Timestamp
from workflowstore.client.errors import (
    AlreadyExistsError,
    BucketConfigurationError,
    BucketNotFoundError,
    ContendedError,
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    InvalidRequestError,
    MalformedDocumentError,
    MalformedEntry,
    RevisionMismatchError,
    StateTooLargeError,
    StorageFullError,
    UnavailableError,
    WorkflowNotFoundError,
    WorkflowStoreError,
)

__all__ = [
    "AlreadyExistsError",
    "AsyncClient",
    "BucketConfigurationError",
    "BucketInfo",
    "BucketNotFoundError",
    "Client",
    "ContendedError",
    "CountGroup",
    "DeadlineExceededError",
    "Durability",
    "EventType",
    "FieldViolation",
    "HistoryEvent",
    "IndexInfo",
    "InternalError",
    "InvalidRequestError",
    "ListChunk",
    "MalformedDocumentError",
    "MalformedEntry",
    "OrderBy",
    "RevisionMismatchError",
    "StateTooLargeError",
    "StorageFullError",
    "StoreInfo",
    "Timestamp",
    "UnavailableError",
    "WorkflowCount",
    "WorkflowFilter",
    "WorkflowNotFoundError",
    "WorkflowState",
    "WorkflowStatus",
    "WorkflowStoreError",
    "WorkflowView",
]
