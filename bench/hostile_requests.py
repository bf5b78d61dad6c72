"""The only place that knows which requests and documents cost a server the most for their size."""

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from google.protobuf.field_mask_pb2 import FieldMask

from bench import documents
from workflowstore.v1 import workflow_filter_pb2 as filter_pb
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.codec import document, message
from workflowstore_server.codec.message import varint

MIB: Final = 1024 * 1024
RECEIVED_BYTES_MAX: Final = 9 * MIB - 1024
"""Nearly as much as a server receives."""


class Case(NamedTuple):
    """One request as it goes over the wire."""

    name: str
    method: str
    request: bytes


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def _state(**fields: object) -> bytes:
    return pb.SaveRequest(state=state_pb.WorkflowState(workflow_id="hostile", **fields)).SerializeToString()  # type: ignore[arg-type]


def _many(number: int, content: bytes = b"", size: int = RECEIVED_BYTES_MAX) -> bytes:
    """A field that is repeated until the request has a size."""
    one = _field(number, content)
    return one * (size // len(one))


def _saved_events(size: int, content: bytes = b"") -> bytes:
    events = _many(state_pb.WorkflowState.HISTORY_FIELD_NUMBER, content, size)
    return _field(pb.SaveRequest.STATE_FIELD_NUMBER, _field(1, b"hostile") + events)


def full_history(count: int) -> state_pb.WorkflowState:
    """A state with as many events as measured states have two of."""
    state = documents.state(1)
    event = state.history[1]
    event.input_json = '{"a":1}'
    state.workflow_id = "hostile"
    del state.history[:]
    state.history.extend([event] * count)
    return state


def requests() -> Iterator[Case]:
    """Requests that are refused, and the largest that are not."""
    yield Case("JSON text nested 4 Mi levels", "Save", _state(input_json="[" * (4 * MIB - 1024)))
    yield Case("JSON text of 500 levels, 4,000 times", "Save", _state(input_json=_nested(500, 4000)))
    yield Case("number of 1 Mi digits", "Save", _state(input_json="9" * MIB))
    yield Case("number of 8 Mi digits", "Save", _state(input_json="9" * (8 * MIB)))
    yield Case("string of 600,000 escapes", "Save", _state(input_json='"' + "\\u00e9" * 600_000 + '"'))
    yield Case("string of 2 Mi quotes", "Save", _state(input_json='"' + '\\"' * (2 * MIB - 1024) + '"'))
    yield Case("labels of 1 MiB (70,000)", "Save", _state(labels={f"{n:07d}": "v" for n in range(70_000)}))
    yield Case("labels of 8 MiB (600,000)", "Save", _state(labels={f"{n:07d}": "v" for n in range(600_000)}))
    yield Case("id of 1 MiB", "Save", _state(run_id="r" * MIB))
    yield Case("largest history that is stored (15,000 events)", "Save", _saved(full_history(15_000)))
    yield Case("empty events of 1 MiB (500,000)", "Save", _saved_events(MIB))
    yield Case("empty events of 9 MiB (4,700,000)", "Save", _saved_events(RECEIVED_BYTES_MAX - 64))
    yield Case("empty events of 128 KiB (65,000)", "Save", _saved_events(128 * 1024 - 64))
    yield Case("empty events of 8 KiB (4,000)", "Save", _saved_events(8 * 1024 - 64))
    yield Case("most events that are stored (27,000)", "Save", _saved_events(54_000))
    yield Case("65,000 labels", "Save", _state(labels={f"{n:07d}": "" for n in range(65_000)}))
    yield Case("1,300,000 quotes beside 501 levels", "Save", _state(input_json=_quoted(1_300_000)))
    yield Case("60,000 events with invalid JSON", "Save", _saved_events(60_000 * 5, _field(5, b"x")))
    yield Case("100,000 events with invalid JSON", "Save", _saved_events(100_000 * 5, _field(5, b"x")))
    yield Case("one event of 4,700,000 parts", "Save", _saved_events_merged())
    yield Case("state in 4,700,000 parts", "Save", _many(pb.SaveRequest.STATE_FIELD_NUMBER, b""))
    yield Case("1,000 statuses", "List", pb.ListRequest(filter=_statuses(1000)).SerializeToString())
    statuses = _statuses(RECEIVED_BYTES_MAX - 64)
    yield Case("9 Mi statuses", "Count", pb.CountRequest(filter=statuses).SerializeToString())
    yield Case("filter with 10,000 labels", "List", _filtered(10_000))
    yield Case("filter with 600,000 labels", "List", _filtered(600_000))
    yield Case("page token of 1 MiB", "List", pb.ListRequest(page_token="A" * MIB).SerializeToString())
    yield Case("mask of 100,000 paths", "Update", _masked([f"path{n}" for n in range(100_000)]))
    yield Case("mask of 4,700,000 empty paths", "Update", _field(3, _many(1, b"", RECEIVED_BYTES_MAX - 64)))
    yield Case("100,000 events appended", "Update", _appended(100_000))
    yield Case("1,000,000 keys removed", "Update", _removed(1_000_000))
    yield Case("batch of 1,000 saves", "SaveBatch", _batch([documents.state(n) for n in range(1000)]))
    yield Case("largest batch of saves (2 x 4 MiB)", "SaveBatch", _batch(_large_states()))
    yield Case("batch of 1,000 saves of 8 KiB of events", "SaveBatch", _batch(_states_of_events(1000, 27)))
    yield Case("batch of 8 MiB of empty events", "SaveBatch", _empty_events_batch())
    yield Case("4,700,000 empty saves", "SaveBatch", _many(pb.SaveBatchRequest.ITEMS_FIELD_NUMBER, b""))
    yield Case("batch of 1,000 loads of long ids", "LoadBatch", _long_ids())
    yield Case(
        "4,700,000 empty loads",
        "LoadBatch",
        _many(pb.LoadBatchRequest.WORKFLOW_IDS_FIELD_NUMBER, b""),
    )
    yield Case("import of 1,000 documents of 8 KiB", "Import", _imported(1000, 8000))
    yield Case("3,100,000 unknown fields", "Load", b"\xf8\x7f\x00" * (RECEIVED_BYTES_MAX // 3))


def stored() -> Iterator[tuple[str, bytes]]:
    """Documents that another writer puts, as large as a NATS server takes them."""
    head = '{"WorkflowID":"hostile"'
    yield "plain, 8 MiB", f'{head},"Input":"{"x" * (8 * MIB - 1024)}"}}'.encode()
    yield "history as Go writes it, 4 MiB", _stored_history(15_000)
    yield "2,000,000 empty events", f'{head},"History":[{",".join(["{}"] * 2_000_000)}]}}'.encode()
    yield "2,000,000 empty events, history", f'{head},"history":[{",".join(["{}"] * 2_000_000)}]}}'.encode()
    yield "500 levels, 8,000 times", f'{head},"Input":{_nested(500, 8000)}}}'.encode()
    yield "8 Mi levels", f'{head},"Input":{"[" * (8 * MIB - 1024)}'.encode()
    yield "1,000,000 unknown fields", (head + ',"a":0' * 1_000_000 + "}").encode()
    yield "400,000 labels", f'{head},"Labels":{json.dumps({f"{n:08d}": "" for n in range(400_000)})}}}'.encode()
    yield "900,000 escapes", (head + ',"Error":"' + "\\u00e9" * 900_000 + '"}').encode()
    yield "900,000 lone surrogates", (head + ',"Error":"' + "\\ud800" * 900_000 + '"}').encode()


def _nested(levels: int, times: int) -> str:
    return "[" + ",".join(["[" * (levels - 1) + "]" * (levels - 1)] * times) + "]"


def _quoted(count: int) -> str:
    return "[" + ",".join(['""'] * count + ["[]"] * 600) + "]"


def _saved(state: state_pb.WorkflowState) -> bytes:
    return pb.SaveRequest(state=state).SerializeToString()


def _saved_events_merged() -> bytes:
    event = _many(state_pb.HistoryEvent.TIMESTAMP_FIELD_NUMBER, b"", RECEIVED_BYTES_MAX - 64)
    state = _field(state_pb.WorkflowState.HISTORY_FIELD_NUMBER, event)
    return _field(pb.SaveRequest.STATE_FIELD_NUMBER, _field(1, b"hostile") + state)


def _statuses(count: int) -> filter_pb.WorkflowFilter:
    return filter_pb.WorkflowFilter(statuses=[state_pb.WORKFLOW_STATUS_RUNNING] * count)


def _filtered(labels: int) -> bytes:
    wanted = filter_pb.WorkflowFilter(labels={f"{n:07d}": "" for n in range(labels)})
    return pb.ListRequest(filter=wanted).SerializeToString()


def _masked(paths: list[str]) -> bytes:
    state = state_pb.WorkflowState(workflow_id="hostile")
    return pb.UpdateRequest(state=state, update_mask=FieldMask(paths=paths)).SerializeToString()


def _appended(count: int) -> bytes:
    event = state_pb.HistoryEvent(type=state_pb.EVENT_TYPE_TIMER_FIRED)
    state = state_pb.WorkflowState(workflow_id="appended")
    return pb.UpdateRequest(state=state, append_history=[event] * count, allow_missing=True).SerializeToString()


def _removed(count: int) -> bytes:
    state = state_pb.WorkflowState(workflow_id="hostile")
    return pb.UpdateRequest(state=state, remove_labels=[str(n) for n in range(count)]).SerializeToString()


def _batch(states: list[state_pb.WorkflowState]) -> bytes:
    return pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=state) for state in states]).SerializeToString()


def _large_states() -> list[state_pb.WorkflowState]:
    text = '"' + "x" * (4 * MIB - 66 * 1024) + '"'
    return [state_pb.WorkflowState(workflow_id=f"large-{n}", input_json=text) for n in range(2)]


def _states_of_events(states: int, events: int) -> list[state_pb.WorkflowState]:
    made = []
    for number in range(states):
        state = full_history(events)
        state.workflow_id = f"batch-{number}"
        made.append(state)
    return made


def _empty_events_batch() -> bytes:
    items = []
    for number in range(1000):
        events = _field(state_pb.WorkflowState.HISTORY_FIELD_NUMBER, b"") * 4150
        item = _field(1, f"batch-{number}".encode()) + events
        items.append(_field(pb.SaveBatchRequest.ITEMS_FIELD_NUMBER, _field(1, item)))
    return b"".join(items)


def _long_ids() -> bytes:
    ids = [f"{number:04d}" + "\u00e9" * 510 for number in range(1000)]
    return pb.LoadBatchRequest(workflow_ids=ids).SerializeToString()


def _imported(count: int, size: int) -> bytes:
    content = b"x" * size
    made = [pb.StoredDocument(key=f"import-{number}", document=content) for number in range(count)]
    return pb.ImportRequest(documents=made).SerializeToString()


def _stored_history(events: int) -> bytes:
    return document.encode(message.decode_state(full_history(events), 0))
