"""The only place that knows the JSON form in which the command prints states and takes them.

    {"workflow_id": "order:42", "run_id": "", "status": "running", "input": ..., "result": ..., "error": "",
     "history": [{"id": 1, "type": "activity_started", "timestamp": ..., "activity_name": "", "input": ...,
                  "result": ..., "error": "", "signal_name": "", "signal_payload": ..., "duration_ns": 0}],
     "created_at": "2026-11-22T10:00:00.123456789Z", "updated_at": ..., "labels": {"team": "blue"},
     "revision": 17, "history_count": 1, "document_bytes": 916}

A summary leaves out `input`, `result` and `history`. To save, only `workflow_id` is needed; the last three are taken
and ignored. Inputs, results and payloads are any JSON; a time is RFC 3339 with up to nine digits of a second, or null.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from workflowstore import EventType, HistoryEvent, Timestamp, WorkflowState, WorkflowStatus, WorkflowView

OUTPUT_ONLY: Final = ("revision", "history_count", "document_bytes")
NOT_IN_SUMMARY: Final = ("input", "result", "history")

_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class FormError(Exception):
    """A document has not the form of a state; the text names the field and the way out."""


def to_json_form(state: WorkflowState) -> dict[str, Any]:
    """The JSON form of a state that was read."""
    form = {
        "workflow_id": state.workflow_id,
        "run_id": state.run_id,
        "status": state.status,
        "input": state.input,
        "result": state.result,
        "error": state.error,
        "history": [event_form(event) for event in state.history],
        "created_at": time_text(state.created_at),
        "updated_at": time_text(state.updated_at),
        "labels": dict(state.labels),
        "revision": state.revision,
        "history_count": state.history_count,
        "document_bytes": state.document_bytes,
    }
    if state.view is WorkflowView.SUMMARY:
        for name in NOT_IN_SUMMARY:
            del form[name]
    return form


def from_json_form(form: object) -> WorkflowState:
    """The state that a document describes, to be saved.

    Raises: FormError.
    """
    fields = _members(form, _STATE_FIELDS, "", OUTPUT_ONLY)
    if "workflow_id" not in fields:
        raise FormError("workflow_id: is missing; a state needs one")
    assert isinstance(form, dict)
    if any(name in form for name in OUTPUT_ONLY) and not any(name in form for name in NOT_IN_SUMMARY):
        raise FormError(
            "this is a summary, and saving it would erase its input, result and history; "
            "get whole states from `load` or `list --full`"
        )
    return WorkflowState(**fields)


def event_from_json_form(form: object) -> HistoryEvent:
    """The event that a document describes, to be appended to a history.

    Raises: FormError.
    """
    return HistoryEvent(**_members(form, _EVENT_FIELDS, ""))


def time_text(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with 0, 3, 6 or 9 digits of a second, as protobuf's JSON has it."""
    if moment is None:
        return None
    nanoseconds = moment.microsecond * 1000 + (moment.nanosecond if isinstance(moment, Timestamp) else 0)
    digits = f"{nanoseconds:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + (f".{digits}Z" if digits else "Z")


def event_form(event: HistoryEvent) -> dict[str, Any]:
    """The JSON form of an event that was read."""
    return {
        "id": event.id,
        "type": event.type,
        "timestamp": time_text(event.timestamp),
        "activity_name": event.activity_name,
        "input": event.input,
        "result": event.result,
        "error": event.error,
        "signal_name": event.signal_name,
        "signal_payload": event.signal_payload,
        "duration_ns": event.duration_ns,
    }


def _members(
    form: object, fields: Mapping[str, Callable[[Any, str], Any]], path: str, ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    if not isinstance(form, dict):
        raise FormError(f"{path[:-1]}: must be an object, not {_kind(form)}".removeprefix(": "))
    for name in form:
        if name not in fields and name not in ignored:
            close = difflib.get_close_matches(name, fields, 1)
            way_out = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(fields)}"
            raise FormError(f"{path}{name[:100]}: is no field; {way_out}")
    return {name: read(form[name], path + name) for name, read in fields.items() if name in form}


def _any(value: Any, _path: str) -> Any:
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise FormError(f"{path}: must be a text, not {_kind(value)}")
    return value


def _integer(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormError(f"{path}: must be a whole number, not {_kind(value)}")
    return value


def _choice(kind: type[WorkflowStatus | EventType]) -> Callable[[Any, str], Any]:
    def read(value: Any, path: str) -> Any:
        try:
            return kind(_text(value, path))
        except ValueError:
            choices = ", ".join(f'"{choice}"' for choice in kind)
            raise FormError(f'{path}: "{value[:100]}" is none of {choices}') from None

    return read


def _moment(value: Any, path: str) -> Timestamp | None:
    if value is None:
        return None
    parts = _RFC3339.fullmatch(_text(value, path))
    try:
        if parts is None:
            raise ValueError
        day, second, fraction, zone = parts.groups(default="")
        nanoseconds = int(fraction.ljust(9, "0"))
        moment = datetime.fromisoformat(f"{day}T{second}{zone.upper()}")
    except ValueError:
        raise FormError(
            f'{path}: "{value[:100]}" is no time; give one such as "2026-11-22T10:00:00.123456789Z", or null'
        ) from None
    return Timestamp.from_datetime(moment.replace(microsecond=nanoseconds // 1000), nanoseconds % 1000)


def _labels(value: Any, path: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise FormError(f"{path}: must be an object of texts, not {_kind(value)}")
    return {key: _text(label, f"{path}.{key}") for key, label in value.items()}


def _history(value: Any, path: str) -> tuple[HistoryEvent, ...]:
    if not isinstance(value, list):
        raise FormError(f"{path}: must be an array of events, not {_kind(value)}")
    return tuple(
        HistoryEvent(**_members(event, _EVENT_FIELDS, f"{path}[{index}].")) for index, event in enumerate(value)
    )


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "a text"
        case list():
            return "an array"
        case dict():
            return "an object"
    return "a number"


_EVENT_FIELDS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "id": _integer,
    "type": _choice(EventType),
    "timestamp": _moment,
    "activity_name": _text,
    "input": _any,
    "result": _any,
    "error": _text,
    "signal_name": _text,
    "signal_payload": _any,
    "duration_ns": _integer,
}

_STATE_FIELDS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "workflow_id": _text,
    "run_id": _text,
    "status": _choice(WorkflowStatus),
    "input": _any,
    "result": _any,
    "error": _text,
    "history": _history,
    "created_at": _moment,
    "updated_at": _moment,
    "labels": _labels,
}
