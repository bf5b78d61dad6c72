"""The only place that knows what is fuzzed without a server: targets that take any bytes and fail on mistakes alone."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from google.protobuf.message import DecodeError

from workflowstore.v1 import workflow_filter_pb2 as filter_pb
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.codec import document, json_text, key, message, token
from workflowstore_server.index import schema
from workflowstore_server.model.errors import InvalidRequest
from workflowstore_server.model.limits import INT64_MAX, INT64_MIN, JSON_DEPTH_MAX
from workflowstore_server.model.selection import ListPosition, Selection
from workflowstore_server.model.state import (
    TIME_NS_MAX,
    ZERO_TIME_NS,
    HistoryEvent,
    MalformedEntry,
    StoredState,
    WorkflowState,
    WorkflowView,
)
from workflowstore_server.service import status, validation
from workflowstore_server.store import Change

BUCKET: Final = "fuzzed"
SELECTION: Final = Selection(BUCKET)
_SELECTION_DIGEST: Final = base64.urlsafe_b64decode(token.encode(ListPosition(), SELECTION) + "===")[2:12]
"""With the two bytes that msgpack writes before it."""

STATES: Final = (
    WorkflowState("wf-1"),
    WorkflowState("order:1", run_id="r", history=(HistoryEvent(id=INT64_MAX),), labels={"a": "b"}, created_at_ns=0),
    WorkflowState("\u00e9", other_status="paused", labels={str(n): "" for n in range(64)}, updated_at_ns=TIME_NS_MAX),
)


def ids(data: bytes) -> None:
    """Every id has one key, and every key that is read is the one that is written."""
    text = data.decode("utf-8", "replace")
    made = key.key_of(text)
    assert key.is_storable(made)
    assert key.workflow_id_of(made) == text
    try:
        id_ = key.workflow_id_of(text)
    except ValueError:
        return
    assert key.key_of(id_) == text


def json_texts(data: bytes) -> None:
    """A text is taken if Python's own reader takes it, and if it is not too deep."""
    text = data.decode("utf-8", "replace")
    problem = json_text.problem_of(text)
    if not text or (problem is not None and "levels deep" in problem):
        return
    assert (problem is None) == _python_reads(text), problem
    assert problem is None or len(problem) < 100, "a reason tells positions, never contents"


def _python_reads(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse, parse_int=str, parse_float=str, object_pairs_hook=list)
        json.dumps(value, ensure_ascii=False).encode()  # fails for a lone surrogate
    except ValueError:
        return False
    return True


def page_tokens(data: bytes) -> None:
    """A token is a position or refused: as it comes, as its bytes, and as what follows the digest of the List."""
    forged = bytes([0x90 | data[0] & 15, 1]) + _SELECTION_DIGEST + data[1:] if data else data
    for text in (data.decode("utf-8", "replace"), *(_base64(part) for part in (data, forged))):
        try:
            position = token.decode(text, SELECTION)
        except token.WrongToken:
            continue
        assert ZERO_TIME_NS <= position.time_ns <= TIME_NS_MAX
        assert token.decode(token.encode(position, SELECTION), SELECTION) == position


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def updates(data: bytes) -> None:
    """An update is refused or changes what its mask names, and what comes out can be stored and read."""
    try:
        request = pb.UpdateRequest.FromString(data)
    except DecodeError:
        return
    try:
        validation.check_update(request, (BUCKET,))
        patch = message.decode_patch(request, 0)
        for state in STATES:
            changed = patch.applied_to(state)
            assert document.decode(document.encode(changed), key.key_of(state.workflow_id)) == _normal(changed)
            if "labels" not in request.update_mask.paths:
                assert set(changed.labels) <= {*state.labels, *request.set_labels} - set(request.remove_labels)
    except InvalidRequest as error:
        _told(error)


def filters(data: bytes) -> None:
    """A filter is refused or can be asked of any state, and its List has tokens of its own."""
    try:
        wanted = filter_pb.WorkflowFilter.FromString(data)
    except DecodeError:
        return
    request = pb.ListRequest(bucket=BUCKET, filter=wanted)
    try:
        validation.check_list(request, (BUCKET,))
    except InvalidRequest as error:
        _told(error)
        return
    selection = message.decode_selection(request, BUCKET)
    hash(selection.filter.key)
    for state in STATES:
        selection.filter.matches(state)
        position = ListPosition(None, state.workflow_id, state.created_at_ns)
        assert token.decode(token.encode(position, selection), selection) == position


def _told(error: InvalidRequest) -> None:
    told = status.status_of(error)
    assert error.violations
    assert told.ByteSize() < 8 * 1024, "it travels in the trailers"


def documents(data: bytes) -> None:
    """A stored document is a state or malformed, to all who read it alike, and is stored again as it was read."""
    entry = document.entry_of("wf-1", 7, data)
    summary = document.summary_of("wf-1", 7, data)
    row = schema.entry_of(Change("wf-1", 7, data, stored_at="2026-01-01T00:00:00Z"))
    if isinstance(entry, MalformedEntry):
        assert summary == entry
        assert isinstance(row, schema.Malformed)
        assert len(entry.reason) < 1000, "it travels in a status"
        return
    assert isinstance(row, schema.Workflow)
    assert not isinstance(summary, MalformedEntry)
    state = entry.state
    assert (summary.labels, summary.history_count) == (state.labels, len(state.history))
    assert document.decode(document.encode(state), "wf-1") == state
    full = message.encode_state(entry, WorkflowView.FULL)
    if len(state.labels) == len(full.labels):
        assert message.encode_summary(summary, 7, len(data)) == _summary_of(entry)
    told = state_pb.WorkflowState.FromString(full.SerializeToString())
    again = message.decode_state(told, 0)
    assert _without_other_words(_normal(state)) == _normal(again)
    assert all(INT64_MIN <= event.id <= INT64_MAX for event in state.history)


def _summary_of(entry: StoredState) -> bytes:
    return message.encode_state(entry, WorkflowView.SUMMARY).SerializeToString(deterministic=True)


def _normal(state: WorkflowState) -> WorkflowState:
    """With payloads as they are read: null is none, and whitespace around is left out."""

    def payload(text: str | None) -> str | None:
        stripped = (text or "").strip(" \t\r\n")
        return None if stripped in {"", "null"} else stripped

    return replace(
        state,
        input_json=payload(state.input_json),
        result_json=payload(state.result_json),
        history=tuple(
            replace(
                event,
                input_json=payload(event.input_json),
                result_json=payload(event.result_json),
                signal_payload_json=payload(event.signal_payload_json),
            )
            for event in state.history
        ),
    )


def _without_other_words(state: WorkflowState) -> WorkflowState:
    """With no words of others for statuses and types: the API has none for them."""
    history = tuple(replace(event, other_type="") for event in state.history)
    return replace(state, other_status="", history=history)


def nesting(data: bytes) -> None:
    """Nesting is told for what it is, also where no stack would suffice. Each byte is how often a bracket comes."""
    brackets = "".join("[{"[n % 2] * (8 * byte) for n, byte in enumerate(data[:64]))
    assert not json_text.is_deeper_than(brackets, len(brackets))
    problem = json_text.problem_of(brackets)
    assert (problem is None) == (not brackets)
    assert (len(brackets) > JSON_DEPTH_MAX) == (problem is not None and "levels deep" in problem)


TARGETS: Final[dict[str, Callable[[bytes], Any]]] = {
    "ids": ids,
    "json_texts": json_texts,
    "page_tokens": page_tokens,
    "updates": updates,
    "filters": filters,
    "documents": documents,
    "nesting": nesting,
}
