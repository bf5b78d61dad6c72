"""The only place that knows the stored document of a workflow state.

It is what Go's encoding/json writes for Beluga AI's untagged structs (lookatitude/beluga-ai, workflow/state.go), and is
read as leniently, and as strictly, as encoding/json (v1) reads it. `Labels` is the only field of our own; Go skips it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from workflowstore_server.codec import go_json, json_text, rfc3339
from workflowstore_server.codec.key import key_of, workflow_id_of
from workflowstore_server.model.limits import (
    HISTORY_EVENTS_MAX,
    INT64_MAX,
    INT64_MIN,
    JSON_DEPTH_MAX,
    STORED_LABELS_MAX,
)
from workflowstore_server.model.state import (
    EventType,
    HistoryEvent,
    MalformedEntry,
    StoredState,
    Summary,
    WorkflowState,
    WorkflowStatus,
)


class UndecodableDocument(ValueError):
    """The bytes are not the document of the workflow. Its text is the reason: the field and what is wrong with it."""


_Int64 = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]
_NULL: Final = msgspec.Raw(b"null")
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Go's HistoryEvent. What is missing has Go's zero value."""

    ID: _Int64 = 0
    Type: str = ""
    Timestamp: str = _ZERO_TIME
    ActivityName: str = ""
    Input: msgspec.Raw = _NULL
    Result: msgspec.Raw = _NULL
    Error: str = ""
    SignalName: str = ""
    SignalPayload: msgspec.Raw = _NULL
    Duration: _Int64 = 0


class _Document(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Go's WorkflowState with our labels. What is missing has Go's zero value."""

    WorkflowID: str = ""
    RunID: str = ""
    Status: str = ""
    Input: msgspec.Raw = _NULL
    Result: msgspec.Raw = _NULL
    Error: str = ""
    History: list[_Event] | None = None
    CreatedAt: str = _ZERO_TIME
    UpdatedAt: str = _ZERO_TIME
    Labels: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET


LONG_BYTES: Final = 64 * 1024
"""Bytes of a document from which on its parts are counted before they are made: in C, which no other thread interrupts,
two million take a quarter of a second."""

_Made = TypeVar("_Made", WorkflowState, Summary)

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(_Document)
_COUNTS_MAX: Final = {"History": HISTORY_EVENTS_MAX, "Labels": STORED_LABELS_MAX}
_STATUSES: Final = {status.value: status for status in WorkflowStatus}
_EVENT_TYPES: Final = {type_.value: type_ for type_ in EventType}


def encode(state: WorkflowState) -> bytes:
    """Returns the document of `state`. Payloads go in byte for byte, but for whitespace around them."""
    return _ENCODER.encode(
        _Document(
            state.workflow_id,
            state.run_id,
            state.other_status or state.status.value,
            _raw_of(state.input_json),
            _raw_of(state.result_json),
            state.error,
            [_document_event_of(event) for event in state.history] or None,
            rfc3339.format(state.created_at_ns),
            rfc3339.format(state.updated_at_ns),
            dict(state.labels) if state.labels else msgspec.UNSET,
        )
    )


def decode(data: bytes, key: str) -> WorkflowState:
    """Returns the state in the document `data` that lies under `key`.

    Raises:
        UndecodableDocument: Go would not read it, a payload is nested more than `JSON_DEPTH_MAX` levels deep, a time is
            none that the API can tell, a label is not a string, or the document belongs under another key.
    """
    return _made(data, key, _state_of)


def entry_of(key: str, revision: int, data: bytes) -> StoredState | MalformedEntry:
    """Returns what a store holds under `key` at `revision`: a state, or where and why there is none to be read."""
    try:
        return StoredState(decode(data, key), revision, len(data))
    except UndecodableDocument as error:
        return MalformedEntry(key, revision, str(error))


def summary_of(key: str, revision: int, data: bytes) -> Summary | MalformedEntry:
    """Returns the summary of what `entry_of` returns, in two thirds of its time: the history is checked, not made."""
    try:
        return _made(data, key, _summary_of)
    except UndecodableDocument as error:
        return MalformedEntry(key, revision, str(error))


def _made(data: bytes, key: str, make: Callable[[_Document], _Made]) -> _Made:
    try:
        if len(data) > LONG_BYTES:
            for name, value in go_json.members(data, _DOCUMENT_NAMES):
                _check_elements(name, value)
        made = make(_checked(_DECODER.decode(data)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # It is not written exactly as Go writes; the second reading also finds the reason when there is no reading it.
        made = _read_leniently(data, make)
    if key_of(made.workflow_id) != key:
        raise UndecodableDocument(_mismatch(made.workflow_id, key))
    return made


def _check_elements(field: str, value: str) -> None:
    count_max = _COUNTS_MAX.get(field)
    if count_max is not None and json_text.has_more_elements(value, count_max):
        raise UndecodableDocument(f"{field}: more than {count_max}")


def _checked(document: _Document) -> _Document:
    for field, count_max in _COUNTS_MAX.items():
        if len(getattr(document, field) or ()) > count_max:
            raise UndecodableDocument(f"{field}: more than {count_max}")
    return document


def _raw_of(payload: str | None) -> msgspec.Raw:
    return msgspec.Raw(payload) if payload else _NULL


def _document_event_of(event: HistoryEvent) -> _Event:
    return _Event(
        event.id,
        event.other_type or event.type.value,
        rfc3339.format(event.timestamp_ns),
        event.activity_name,
        _raw_of(event.input_json),
        _raw_of(event.result_json),
        event.error,
        event.signal_name,
        _raw_of(event.signal_payload_json),
        event.duration_ns,
    )


def _state_of(document: _Document) -> WorkflowState:
    return WorkflowState(
        document.WorkflowID,
        document.RunID,
        _STATUSES.get(document.Status, WorkflowStatus.UNSPECIFIED),
        _payload_of("Input", document.Input),
        _payload_of("Result", document.Result),
        document.Error,
        _history_of(document.History) if document.History else (),
        _time_of("CreatedAt", document.CreatedAt),
        _time_of("UpdatedAt", document.UpdatedAt),
        document.Labels or {},
        "" if document.Status in _STATUSES else document.Status,
    )


def _summary_of(document: _Document) -> Summary:
    _payload_of("Input", document.Input)
    _payload_of("Result", document.Result)
    history = document.History or ()
    for number, event in enumerate(history):
        try:
            _check_event(event)
        except UndecodableDocument as error:
            raise UndecodableDocument(f"History[{number}].{error}") from None
    return Summary(
        document.WorkflowID,
        document.RunID,
        _STATUSES.get(document.Status, WorkflowStatus.UNSPECIFIED),
        document.Error,
        _time_of("CreatedAt", document.CreatedAt),
        _time_of("UpdatedAt", document.UpdatedAt),
        document.Labels or {},
        len(history),
    )


def _check_event(event: _Event) -> None:
    """Raises what `_event_of` would, in the same order of fields."""
    _time_of("Timestamp", event.Timestamp)
    if event.Input != _NULL:
        _payload_of("Input", event.Input)
    if event.Result != _NULL:
        _payload_of("Result", event.Result)
    if event.SignalPayload != _NULL:
        _payload_of("SignalPayload", event.SignalPayload)


def _history_of(events: list[_Event]) -> tuple[HistoryEvent, ...]:
    history: list[HistoryEvent] = []
    try:
        for event in events:
            history.append(_event_of(event))
    except UndecodableDocument as error:
        raise UndecodableDocument(f"History[{len(history)}].{error}") from None
    return tuple(history)


def _event_of(event: _Event) -> HistoryEvent:
    return HistoryEvent(
        event.ID,
        _EVENT_TYPES.get(event.Type, EventType.UNSPECIFIED),
        _time_of("Timestamp", event.Timestamp),
        event.ActivityName,
        _payload_of("Input", event.Input),
        _payload_of("Result", event.Result),
        event.Error,
        event.SignalName,
        _payload_of("SignalPayload", event.SignalPayload),
        event.Duration,
        "" if event.Type in _EVENT_TYPES else event.Type,
    )


def _payload_of(field: str, raw: msgspec.Raw) -> str | None:
    if raw == _NULL:
        return None
    text = str(raw, "utf-8")  # msgspec has checked the syntax, not the UTF-8.
    if json_text.is_deeper_than(text, JSON_DEPTH_MAX):
        raise UndecodableDocument(f"{field}: {json_text.too_deep()}")
    return text


def _time_of(field: str, text: str) -> int:
    try:
        return rfc3339.parse(text)
    except ValueError as error:
        raise UndecodableDocument(f"{field}: {error}") from None


def _mismatch(workflow_id: str, key: str) -> str:
    try:
        expected = workflow_id_of(key)
    except ValueError as error:
        return f"the key {key[:100]!r} stands for no workflow: {error}"
    return f"WorkflowID: {workflow_id[:100]!r}, but the key stands for {expected[:100]!r}"


_DOCUMENT_NAMES: Final = go_json.folded_names(_Document.__struct_fields__)
_EVENT_NAMES: Final = go_json.folded_names(_Event.__struct_fields__)

_NULLABLE: Final = frozenset({"Input", "Result", "SignalPayload", "History", "Labels"})
"""Fields that null empties. It leaves the others as they were."""

_DOCUMENT_LEVELS: Final = 3
"""The document, its history and an event: the levels around a payload."""

_MISTAKE: Final = re.compile(r"(?:Expected `(?P<kind>\w+))?.*?(?: - at `\$\.?(?P<path>.+)`)?")
_MISTAKES: Final = {
    "int": "not an integer of 64 bits",
    "str": "not a string",
    "array": "not an array",
    "object": "not an object",
}


def _read_leniently(data: bytes, make: Callable[[_Document], _Made]) -> _Made:
    """Reads as Go does, by rewriting the document as Go would have written it."""
    text = go_json.text_of(data)
    problem = json_text.problem_of(text, JSON_DEPTH_MAX + _DOCUMENT_LEVELS) if text else "empty"
    if problem is not None:
        raise UndecodableDocument(problem)
    try:
        return make(_checked(_DECODER.decode(_exact(text.strip(), _DOCUMENT_NAMES))))
    except msgspec.ValidationError as error:
        raise UndecodableDocument(_reason_of(error)) from None
    except RecursionError:
        raise UndecodableDocument(json_text.too_deep()) from None


def _exact(text: str, names: Mapping[str, str]) -> str:
    """Returns the object `text` with the fields of `names`, exactly spelt. What is no object stays, to be refused."""
    if text == "null":
        return "{}"
    if not text.startswith("{"):
        return text
    members = []
    for name, value in go_json.members(text, names):
        if value == "null" and name not in _NULLABLE:
            continue
        _check_elements(name, value)
        if name == "History" and value.startswith("["):
            value = "[" + ",".join(_exact(event, _EVENT_NAMES) for event in go_json.elements(value)) + "]"
        # Each of several with one name, so that each is checked; the decoder keeps the last, as Go does.
        members.append(f'"{name}":{value}')
    return "{" + ",".join(members) + "}"


def _reason_of(error: msgspec.ValidationError) -> str:
    mistake = _MISTAKE.fullmatch(str(error))
    assert mistake is not None
    return f"{mistake['path'] or 'document'}: {_MISTAKES.get(mistake['kind'], 'a number out of range')}"
