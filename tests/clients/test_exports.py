"""What users of the client may rely on; a change of these lists is a change of the public API."""

import inspect
import subprocess
import sys

import pytest

import workflowstore

EXPORTS = [
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
    "UNCHANGED",
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

METHODS = {
    "close": "()",
    "count": "(filter, *, by_status, by_label, min_revision, consistency, bucket, timeout)",
    "delete": "(workflow_id, *, expected_revision, purge, request_id, resent, bucket, timeout)",
    "delete_batch": "(workflow_ids, *, expected_revisions, purge, request_id, resent, bucket, timeout)",
    "delete_matching": "(filter, *, limit, dry_run, purge, request_id, resent, bucket, timeout)",
    "export": "(filter, *, page_token, bucket, timeout)",
    "import_documents": "(documents, *, on_conflict, bucket, timeout)",
    "info": "(*, bucket, timeout)",
    "list": (
        "(filter, *, order_by, descending, limit, view, page_token, on_malformed, min_revision, consistency, "
        "bucket, timeout)"
    ),
    "list_chunks": (
        "(filter, *, order_by, descending, limit, view, page_token, min_revision, consistency, bucket, timeout)"
    ),
    "list_revisions": "(workflow_id, *, newest_first, limit, view, bucket, timeout)",
    "load": "(workflow_id, *, view, min_revision, consistency, bucket, timeout)",
    "load_batch": "(workflow_ids, *, view, min_revision, consistency, bucket, timeout)",
    "save": "(state, *, expected_revision, request_id, resent, bucket, timeout)",
    "save_batch": "(states, *, expected_revisions, atomic, request_id, resent, bucket, timeout)",
    "update": (
        "(workflow_id, *, run_id, status, input, result, error, history, created_at, updated_at, "
        "labels, append_history, set_labels, remove_labels, expected_revision, allow_missing, view, request_id, "
        "resent, bucket, timeout)"
    ),
    "watch": "(filter, *, after_revision, snapshot, view, on_progress, bucket, timeout)",
}


def test_the_package_exports_exactly_these_names():
    assert sorted(workflowstore.__all__) == EXPORTS
    assert all(getattr(workflowstore, name) is not None for name in EXPORTS)


def without_types(function) -> str:
    signature = inspect.signature(function)
    bare = [
        parameter.replace(annotation=parameter.empty, default=parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return str(inspect.Signature(bare))


@pytest.mark.parametrize("client", [workflowstore.Client, workflowstore.AsyncClient])
def test_both_clients_have_exactly_these_methods(client):
    public = {name: member for name, member in inspect.getmembers(client) if not name.startswith("_")}
    assert {name: without_types(member) for name, member in public.items()} == METHODS


def test_both_clients_take_the_same_defaults():
    for name in [*METHODS, "__init__"]:
        parameters = [
            [(p.name, p.kind, p.default) for p in inspect.signature(getattr(client, name)).parameters.values()]
            for client in (workflowstore.Client, workflowstore.AsyncClient)
        ]
        assert parameters[0] == parameters[1]


def test_the_stubs_import_from_the_versioned_package():
    from workflowstore.v1 import workflow_store_pb2, workflow_store_pb2_grpc

    assert workflow_store_pb2.SaveRequest
    assert workflow_store_pb2_grpc.WorkflowStoreStub


def test_importing_the_client_imports_nothing_of_the_server():
    program = "import workflowstore, sys; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    roots = {module.partition(".")[0] for module in modules}
    assert not roots & {"workflowstore_server", "nats", "msgspec", "grpc_status", "click", "rich"}
