"""The only place that knows how the difference between two states is told to people."""

import difflib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from workflowstore_server.cli.output import time_shown
from workflowstore_server.cli.text import shown, shown_json

if TYPE_CHECKING:
    from workflowstore import HistoryEvent, WorkflowState

SHORT_CHARACTERS_MAX: Final = 60
"""A payload up to this length is shown in one line, and so is its change to another one."""

PAYLOAD_CHARACTERS_MAX: Final = 200
"""A longer payload that is shown whole is cut here."""

COMPARED_LINES_MAX: Final = 2000
"""Longer payloads are not compared line by line: the time that it takes grows with the square of their lines."""

SHOWN_LINES_MAX: Final = 40
"""Lines that are shown of one difference, and events of one history. The others are counted."""

CONTEXT_LINES: Final = 2
"""Lines around each change of a payload, to tell where it is."""

NOTHING: Final = "nothing changed but the time of the update"


def differences(before: "WorkflowState | None", after: "WorkflowState") -> list[str]:
    """What changed between two states of a workflow, a line each, harmless to a terminal.

    Lines that begin with + or - (after their indentation) are added or removed.

    Args:
        before: The earlier state. None = there is none to compare with: the fields are told in short.
        after: The later state.
    """
    if before is None:
        return _in_short(after)
    lines = [
        *_text("run id", before.run_id, after.run_id),
        *_text("status", before.status, after.status),
        *_text("error", before.error, after.error),
        *_text("created", time_shown(before.created_at), time_shown(after.created_at)),
        *_labels(before, after),
        *_payload("input", before.input, after.input),
        *_payload("result", before.result, after.result),
        *_history(before.history, after.history),
    ]
    return lines or [NOTHING]


def _in_short(state: "WorkflowState") -> list[str]:
    fields = [
        ("run id", shown(state.run_id)),
        ("status", state.status),
        ("error", shown(state.error)),
        ("labels", shown(", ".join(f"{key}={value}" for key, value in sorted(state.labels.items())))),
        ("input", _cut(_compact(state.input))),
        ("result", _cut(_compact(state.result))),
        ("events", str(len(state.history)) if state.history else ""),
    ]
    return [f"{name}: {value}" for name, value in fields if value]


def _text(name: str, before: str, after: str) -> Iterator[str]:
    if before != after:
        yield f"{name}: {shown(before) or '-'} -> {shown(after) or '-'}"


def _labels(before: "WorkflowState", after: "WorkflowState") -> Iterator[str]:
    for key in sorted(before.labels.keys() | after.labels.keys()):
        old, new = before.labels.get(key), after.labels.get(key)
        if old is None:
            yield f"+ label {shown(f'{key}={new}')}"
        elif new is None:
            yield f"- label {shown(f'{key}={old}')}"
        elif old != new:
            yield f"label {shown(key)}: {shown(old) or '-'} -> {shown(new) or '-'}"


def _payload(name: str, before: Any, after: Any) -> Iterator[str]:
    old, new = _compact(before), _compact(after)
    if old == new:
        return
    if len(old) <= SHORT_CHARACTERS_MAX and len(new) <= SHORT_CHARACTERS_MAX:
        yield f"{name}: {old or '-'} -> {new or '-'}"
        return
    old_lines, new_lines = _lines(old), _lines(new)
    if max(len(old_lines), len(new_lines)) > COMPARED_LINES_MAX:
        yield f"{name}: changed, {len(old)} -> {len(new)} characters; too long to be compared here"
        return
    yield f"{name}:"
    changes = difflib.unified_diff(old_lines, new_lines, n=CONTEXT_LINES, lineterm="")
    # Without the two lines that name the files.
    yield from _first([f"  {_cut(line)}" for line in itertools.islice(changes, 2, None)], "lines")


def _history(before: "Sequence[HistoryEvent]", after: "Sequence[HistoryEvent]") -> Iterator[str]:
    old, new = _forms(before), _forms(after)
    if old == new:
        return
    if new[: len(old)] != old:
        yield f"history replaced: {_events(len(old))} -> {_events(len(new))}"
        kept = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
        yield from _first([f"  - {_event(event)}" for event in before[kept:]], "events")
    else:
        kept = len(old)
        yield f"history: {_events(len(new) - len(old))} appended"
    yield from _first([f"  + {_event(event)}" for event in after[kept:]], "events")


def _forms(history: "Iterable[HistoryEvent]") -> list[str]:
    """The events as texts, which tell 1 from 1.0 and from true."""
    from workflowstore.client._json import to_json
    from workflowstore_server.cli.state_json import event_form

    return [to_json(event_form(event), "event") for event in history]


def _event(event: "HistoryEvent") -> str:
    words = [f"#{event.id}", event.type, event.activity_name, event.signal_name]
    if event.error:
        words += ["error:", event.error]
    return _cut(shown(" ".join(word for word in words if word)))


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _compact(value: Any) -> str:
    from workflowstore.client._json import to_json

    return shown_json(to_json(value, "payload"))


def _lines(text: str) -> list[str]:
    import msgspec

    return msgspec.json.format(text, indent=2).splitlines() if text else []


def _first(lines: list[str], what: str) -> list[str]:
    rest = len(lines) - SHOWN_LINES_MAX
    return [*lines[:SHOWN_LINES_MAX], f"  ... {rest} more {what}"] if rest > 0 else lines


def _cut(text: str) -> str:
    rest = len(text) - PAYLOAD_CHARACTERS_MAX
    return f"{text[:PAYLOAD_CHARACTERS_MAX]}... {rest} more characters" if rest > 0 else text
