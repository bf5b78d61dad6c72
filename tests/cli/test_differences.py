"""What changed between two states is told in few lines, and nothing that changed is left out."""

from dataclasses import fields
from datetime import UTC, datetime

import pytest

from workflowstore import EventType, HistoryEvent, WorkflowState
from workflowstore_server.cli.differences import NOTHING, SHOWN_LINES_MAX, differences

MOMENT = datetime(2026, 11, 22, 10, tzinfo=UTC)
BEFORE = WorkflowState("a", created_at=MOMENT, updated_at=MOMENT, history=(HistoryEvent(id=1),))


def _changed(**changes) -> list[str]:
    return differences(BEFORE, BEFORE.replace(**changes))


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"status": "running"}, {"status": "completed"}, ["status: running -> completed"]),
        ({"status": ""}, {"status": "completed"}, ["status: - -> completed"]),
        ({"error": ""}, {"error": "no\x1b[31m\nstock"}, [r"error: - -> no\x1b[31m\nstock"]),
        ({"run_id": "r1"}, {"run_id": ""}, ["run id: r1 -> -"]),
        ({}, {"created_at": None}, ["created: 2026-11-22 10:00:00 -> -"]),
        ({"input": {"a": 1}}, {"input": {"a": 1.0}}, ['input: {"a":1} -> {"a":1.0}']),
        ({"result": None}, {"result": True}, ["result: - -> true"]),
        ({"result": 1}, {"result": True}, ["result: 1 -> true"]),
        (
            {"labels": {"a": "1", "b": "2", "c": "3"}},
            {"labels": {"b": "\x9b", "c": "3", "d": ""}},
            ["- label a=1", r"label b: 2 -> \x9b", "+ label d="],
        ),
        ({}, {}, [NOTHING]),
        ({}, {"updated_at": MOMENT.replace(year=2027)}, [NOTHING]),
    ],
)
def test_a_change_is_told(before, after, lines) -> None:
    state = BEFORE.replace(**before)
    assert differences(state, state.replace(**after)) == lines


def test_a_long_payload_is_told_by_its_lines() -> None:
    before = {f"key {number}": "x" * 10 for number in range(20)}
    [head, *lines] = differences(BEFORE.replace(input=before), BEFORE.replace(input=before | {"key 7": "\x9b"}))
    assert head == "input:"
    assert lines == [
        "  @@ -7,5 +7,5 @@",
        '     "key 5": "xxxxxxxxxx",',
        '     "key 6": "xxxxxxxxxx",',
        '  -  "key 7": "xxxxxxxxxx",',
        '  +  "key 7": "\\u009b",',
        '     "key 8": "xxxxxxxxxx",',
        '     "key 9": "xxxxxxxxxx",',
    ]


def test_a_difference_of_many_lines_is_cut_and_counted() -> None:
    lines = differences(BEFORE.replace(result=[0] * 500), BEFORE.replace(result=[1] * 500))
    assert len(lines) == SHOWN_LINES_MAX + 2
    assert lines[-1] == f"  ... {1 + 1000 + 2 - SHOWN_LINES_MAX} more lines"


def test_a_line_of_many_characters_is_cut_and_counted() -> None:
    lines = differences(BEFORE, BEFORE.replace(result="x" * 1000))
    assert lines[-1] == '  +"' + "x" * 198 + "... 803 more characters"


def test_payloads_too_long_to_be_compared_are_told_to_have_changed() -> None:
    [line] = differences(BEFORE, BEFORE.replace(input=list(range(5000))))
    assert line == "input: changed, 0 -> 23891 characters; too long to be compared here"


def test_appended_events_have_a_line_each() -> None:
    events = (
        HistoryEvent(id=2, type=EventType.ACTIVITY_FAILED, activity_name="charge", error="no\nfunds"),
        HistoryEvent(id=3, type=EventType.SIGNAL_RECEIVED, signal_name="go"),
    )
    assert _changed(history=BEFORE.history + events) == [
        "history: 2 events appended",
        r"  + #2 activity_failed charge error: no\nfunds",
        "  + #3 signal_received go",
    ]


def test_a_history_that_was_replaced_is_told_from_where_on() -> None:
    old = BEFORE.replace(history=(HistoryEvent(id=1), HistoryEvent(id=2, input=1)))
    assert differences(old, old.replace(history=(HistoryEvent(id=1), HistoryEvent(id=2, input=True)))) == [
        "history replaced: 2 events -> 2 events",
        "  - #2",
        "  + #2",
    ]
    assert _changed(history=()) == ["history replaced: 1 event -> 0 events", "  - #1"]


def test_many_events_are_counted() -> None:
    lines = _changed(history=BEFORE.history + tuple(HistoryEvent(id=number) for number in range(2, 102)))
    assert lines[0] == "history: 100 events appended"
    assert lines[-1] == f"  ... {100 - SHOWN_LINES_MAX} more events"


def test_without_a_state_before_the_fields_are_told_in_short() -> None:
    state = WorkflowState(
        "a", run_id="r", status="failed", error="no", labels={"b": "2", "a": "1"}, input="x" * 500, result=[1],
        history=(HistoryEvent(),),
    )  # fmt: skip
    assert differences(None, state) == [
        "run id: r",
        "status: failed",
        "error: no",
        "labels: a=1, b=2",
        'input: "' + "x" * 199 + "... 302 more characters",
        "result: [1]",
        "events: 1",
    ]
    assert differences(None, WorkflowState("a")) == []


def test_no_field_is_left_out() -> None:
    changed = {
        "run_id": "x", "status": "failed", "input": 1, "result": 1, "error": "x", "history": (), "created_at": None,
        "labels": {"a": "b"},
    }  # fmt: skip
    others = {"workflow_id", "updated_at", "revision", "history_count", "document_bytes", "view", "_"}
    assert {field.name for field in fields(WorkflowState)} - others == changed.keys()
    for name, value in changed.items():
        assert _changed(**{name: value}) != [NOTHING]
