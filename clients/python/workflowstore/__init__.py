"""The only place that knows which names users of the client may rely on.

    import workflowstore as ws

    with ws.Client("127.0.0.1:50051") as client:
        state = client.save(ws.WorkflowState("order:42", status=ws.WorkflowStatus.RUNNING, input={"items": 3}))
        for summary in client.list(ws.WorkflowFilter(statuses=[ws.WorkflowStatus.RUNNING])):
            print(summary.workflow_id, summary.updated_at)

`AsyncClient` has the same methods for asyncio. The generated messages and stubs are in `workflowstore.v1`.
"""

from workflowstore.client._async_client import AsyncClient
from workflowstore.client._changes import ChangeKind, WorkflowChange, WorkflowRevision
from workflowstore.client._info import BucketInfo, Durability, IndexInfo, RetentionInfo, RoomInfo, StoreInfo
from workflowstore.client._results import CountGroup, DeletedBatch, ListChunk, WorkflowCount
from workflowstore.client._selection import OrderBy, WorkflowFilter
from workflowstore.client._state import (
    UNCHANGED,
    Consistency,
    EventType,
    HistoryEvent,
    Unchanged,
    WorkflowState,
    WorkflowStatus,
    WorkflowView,
)
from workflowstore.client._sync_client import Client
from workflowstore.client._timestamp import Timestamp
from workflowstore.client._tls import Tls
from workflowstore.client._transfer import ExportChunk, ImportOutcome, ImportResult, OnConflict, StoredDocument
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
    OutcomeUnknownError,
    PermissionDeniedError,
    ReplyTooLargeError,
    RevisionForgottenError,
    RevisionMismatchError,
    RevisionNotReachedError,
    StateTooLargeError,
    StorageFullError,
    TlsError,
    TooManyCallsError,
    UnauthenticatedError,
    UnavailableError,
    WatchTooSlowError,
    WorkflowNotFoundError,
    WorkflowStoreError,
    WriteForgottenError,
)

__all__ = [
    "UNCHANGED",
    "AlreadyExistsError",
    "AsyncClient",
    "BucketConfigurationError",
    "BucketInfo",
    "BucketNotFoundError",
    "ChangeKind",
    "Client",
    "Consistency",
    "ContendedError",
    "CountGroup",
    "DeadlineExceededError",
    "DeletedBatch",
    "Durability",
    "EventType",
    "ExportChunk",
    "FieldViolation",
    "HistoryEvent",
    "ImportOutcome",
    "ImportResult",
    "IndexInfo",
    "InternalError",
    "InvalidRequestError",
    "ListChunk",
    "MalformedDocumentError",
    "MalformedEntry",
    "OnConflict",
    "OrderBy",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "ReplyTooLargeError",
    "RetentionInfo",
    "RevisionForgottenError",
    "RevisionMismatchError",
    "RevisionNotReachedError",
    "RoomInfo",
    "StateTooLargeError",
    "StorageFullError",
    "StoreInfo",
    "StoredDocument",
    "Timestamp",
    "Tls",
    "TlsError",
    "TooManyCallsError",
    "UnauthenticatedError",
    "UnavailableError",
    "Unchanged",
    "WatchTooSlowError",
    "WorkflowChange",
    "WorkflowCount",
    "WorkflowFilter",
    "WorkflowNotFoundError",
    "WorkflowRevision",
    "WorkflowState",
    "WorkflowStatus",
    "WorkflowStoreError",
    "WorkflowView",
    "WriteForgottenError",
]
