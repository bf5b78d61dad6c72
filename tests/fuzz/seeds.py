"""The only place that knows what fuzzing begins with: requests, tokens and documents with nothing wrong in them."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from fuzz.targets import SELECTION
from fuzz.world import METHODS
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore_server.codec import token
from workflowstore_server.model.selection import ListPosition

GOLDEN: Final = Path(__file__).parents[1] / "unit/golden/go_documents.json"

_EVENT: Final = state_pb.HistoryEvent(
    type=state_pb.EVENT_TYPE_SIGNAL_RECEIVED,
    timestamp=Timestamp(seconds=1),
    signal_payload_json='{"a":[1e2,"\\u00e9"]}',
)
_STATE: Final = state_pb.WorkflowState(
    workflow_id="wf-1",
    run_id="run-1",
    status=state_pb.WORKFLOW_STATUS_RUNNING,
    input_json='{"order":1}',
    history=[_EVENT],
    labels={"team": "ops"},
)
_FILTER: Final = WorkflowFilter(
    statuses=[state_pb.WORKFLOW_STATUS_RUNNING], workflow_id_prefix="wf", labels={"team": "ops"},
    created_after=Timestamp(seconds=0), updated_before=Timestamp(seconds=2**33),
)  # fmt: skip
_TOKEN: Final = token.encode(ListPosition(None, "wf-1"), SELECTION)
_DOCUMENT: Final = b'{"WorkflowID":"wf-1","Status":"running","Labels":{"team":"ops"}}'

_REQUESTS: Final[dict[str, list[Any]]] = {
    "Save": [pb.SaveRequest(state=_STATE, request_id="r", expected_revision=0)],
    "Update": [
        pb.UpdateRequest(
            state=state_pb.WorkflowState(workflow_id="wf-1", error="x", created_at=Timestamp(seconds=1)),
            update_mask=FieldMask(paths=["error", "created_at", "labels"]), append_history=[_EVENT],
            set_labels={"a": "b"}, remove_labels=["c"], allow_missing=True, request_id="r",
        )
    ],
    "Load": [pb.LoadRequest(workflow_id="wf-1", view=state_pb.WORKFLOW_VIEW_FULL)],
    "List": [
        pb.ListRequest(filter=_FILTER, order_by=pb.ORDER_BY_UPDATED_AT, limit=2),
        pb.ListRequest(page_token=_TOKEN),
    ],
    "Watch": [pb.WatchRequest(filter=_FILTER, snapshot=True), pb.WatchRequest(after_revision=1)],
    "Count": [pb.CountRequest(filter=_FILTER, label="team"), pb.CountRequest(status=True)],
    "Delete": [pb.DeleteRequest(workflow_id="wf-1", purge=True, request_id="r")],
    "ListRevisions": [pb.ListRevisionsRequest(workflow_id="wf-1", newest_first=True, limit=1)],
    "SaveBatch": [pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=_STATE)], atomic=True, request_id="r")],
    "LoadBatch": [pb.LoadBatchRequest(workflow_ids=["wf-1", "order:1"], view=state_pb.WORKFLOW_VIEW_FULL)],
    "DeleteBatch": [
        pb.DeleteBatchRequest(items=[pb.DeleteBatchItem(workflow_id="wf-1", expected_revision=1)]),
        pb.DeleteBatchRequest(filter=_FILTER, limit=2, request_id="r"),
    ],
    "Export": [pb.ExportRequest(filter=_FILTER), pb.ExportRequest(page_token=_TOKEN)],
    "Import": [
        pb.ImportRequest(
            documents=[pb.StoredDocument(key="wf-1", document=_DOCUMENT)], on_conflict=pb.ON_CONFLICT_OVERWRITE
        )
    ],
    "GetInfo": [pb.GetInfoRequest(bucket="")],
}  # fmt: skip


def documents() -> Iterator[bytes]:
    """Documents of wf-1 and others, as Go has read them."""
    for case in json.loads(GOLDEN.read_text("utf-8")):
        yield base64.b64decode(case.get("document_base64", "")) or case["document"].encode()


def requests() -> Iterator[bytes]:
    """One or two requests of each method, as `world.method_of` reads them."""
    for number, method in enumerate(METHODS):
        for request in _REQUESTS[method]:
            yield bytes([number]) + request.SerializeToString()


def of(target: str) -> list[bytes]:
    """What a target begins with."""
    match target:
        case "ids":
            return [b"wf-1", b"order:1", b"=b3JkZXI6MQ", b"a.b/c=d", "\u00e9\U0001f600".encode()]
        case "json_texts":
            return [b'{"a":[1,-0.5e+3,"\\ud83d\\ude00\\n",null,true]}', b"[" * 600, b'"\\\\\\""', b"1E400"]
        case "page_tokens":
            return [_TOKEN.encode(), base64.urlsafe_b64decode(_TOKEN + "==="), b"\x05\xc0\xa4wf-1\x92\x00\x00"]
        case "updates":
            return [_REQUESTS["Update"][0].SerializeToString()]
        case "filters":
            return [_FILTER.SerializeToString()]
        case "nesting":
            return [b"\x3e\x01", b"\xff" * 64]
        case "documents" | "foreign_documents":
            return list(documents())
    return list(requests())
