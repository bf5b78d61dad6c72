"""The JSON form of a state: it round-trips to the digit and the nanosecond, and is checked to the last field."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflowstore import EventType, HistoryEvent, Timestamp, WorkflowState, WorkflowStatus, WorkflowView
from workflowstore.client._json import from_json, to_json
from workflowstore_server.cli.state_json import FormError, from_json_form, time_text, to_json_form

MOMENT = Timestamp.from_datetime(datetime(2026, 11, 22, 10, 0, 0, 123456, UTC), 789)
FULL = WorkflowState(
    "order:42",
    run_id="r",
    status=WorkflowStatus.RUNNING,
    input={"n": 2**70, "d": Decimal("1e400"), "f": 0.1},
    result=[None, True],
    error="e",
    history=(
        HistoryEvent(
            id=-1,
            type=EventType.TIMER_FIRED,
            timestamp=MOMENT,
            activity_name="a",
            input=1,
            result="x",
            error="e",
            signal_name="s",
            signal_payload={},
            duration_ns=2**62,
        ),
    ),
    created_at=MOMENT,
    updated_at=MOMENT,
    labels={"k": "v"},
    revision=17,
    history_count=1,
    document_bytes=916,
)

payloads = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=8,
)
moments = st.none() | st.builds(Timestamp.from_datetime, st.datetimes(timezones=st.just(UTC)), st.integers(0, 999))


def test_the_form_is_this() -> None:
    assert json.loads(to_json(to_json_form(FULL), "state")) == {
        "workflow_id": "order:42",
        "run_id": "r",
        "status": "running",
        "input": {"n": 2**70, "d": float("inf"), "f": 0.1},
        "result": [None, True],
        "error": "e",
        "history": [
            {
                "id": -1,
                "type": "timer_fired",
                "timestamp": "2026-11-22T10:00:00.123456789Z",
                "activity_name": "a",
                "input": 1,
                "result": "x",
                "error": "e",
                "signal_name": "s",
                "signal_payload": {},
                "duration_ns": 2**62,
            }
        ],
        "created_at": "2026-11-22T10:00:00.123456789Z",
        "updated_at": "2026-11-22T10:00:00.123456789Z",
        "labels": {"k": "v"},
        "revision": 17,
        "history_count": 1,
        "document_bytes": 916,
    }


def test_a_summary_leaves_out_what_was_not_read() -> None:
    summary = WorkflowState("a", view=WorkflowView.SUMMARY)
    assert to_json_form(WorkflowState("a")).keys() - to_json_form(summary).keys() == {"input", "result", "history"}


@given(payloads, payloads, moments, moments, st.dictionaries(st.text(), st.text()), st.text())
def test_what_is_printed_is_read_back(first, second, created_at, updated_at, labels, text) -> None:
    event = HistoryEvent(timestamp=created_at, input=first, signal_payload=second, error=text)
    state = WorkflowState(
        text, input=first, result=second, created_at=created_at, updated_at=updated_at, labels=labels, history=(event,)
    )
    assert from_json_form(from_json(to_json(to_json_form(state), "state"))) == state


def test_what_the_service_sets_is_taken_and_ignored() -> None:
    state = from_json_form(to_json_form(FULL))
    assert (state.revision, state.history_count, state.document_bytes) == (0, 0, 0)


def test_only_the_id_is_needed() -> None:
    assert from_json_form({"workflow_id": "a"}) == WorkflowState("a")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T10:00:00Z", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22t10:00:00.5z", datetime(2026, 11, 22, 10, 0, 0, 500_000, UTC)),
        ("2026-11-22T10:00:00-07:30", datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=-7.5)))),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999999Z", Timestamp.from_datetime(datetime.max.replace(tzinfo=UTC), 999)),
        (None, None),
    ],
)
def test_times_are_rfc_3339(text, moment) -> None:
    assert from_json_form({"workflow_id": "a", "created_at": text}).created_at == moment


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, ""), (500_000_000, ".500"), (1_000, ".000001"), (120, ".000000120"), (999_999_999, ".999999999")],
)
def test_times_are_printed_with_the_digits_they_need(nanoseconds, text) -> None:
    moment = Timestamp.from_datetime(datetime(1, 1, 1, 0, 0, 0, nanoseconds // 1000, UTC), nanoseconds % 1000)
    assert time_text(moment) == f"0001-01-01T00:00:00{text}Z"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ([], "must be an object, not an array"),
        ("a", "must be an object, not a text"),
        (None, "must be an object, not null"),
        ({}, "workflow_id: is missing"),
        ({"workflow_id": 1}, "workflow_id: must be a text, not a number"),
        ({"workflow_id": None}, "workflow_id: must be a text, not null"),
        ({"workflow_id": "a", "statsu": "running"}, "statsu: is no field; did you mean status?"),
        ({"workflow_id": "a", "zzz": 1}, "zzz: is no field; the fields are workflow_id, run_id,"),
        ({"workflow_id": "a", "status": "runing"}, 'status: "runing" is none of "", "running"'),
        ({"workflow_id": "a", "status": False}, "status: must be a text, not false"),
        ({"workflow_id": "a", "labels": ["x"]}, "labels: must be an object of texts, not an array"),
        ({"workflow_id": "a", "labels": {"k": {}}}, "labels.k: must be a text, not an object"),
        ({"workflow_id": "a", "history": {}}, "history: must be an array of events, not an object"),
        ({"workflow_id": "a", "history": [{}, 1]}, "history[1]: must be an object, not a number"),
        ({"workflow_id": "a", "history": [{"id": "1"}]}, "history[0].id: must be a whole number, not a text"),
        ({"workflow_id": "a", "history": [{"id": True}]}, "history[0].id: must be a whole number, not true"),
        ({"workflow_id": "a", "history": [{"typ": ""}]}, "history[0].typ: is no field; did you mean type?"),
        ({"workflow_id": "a", "history": [{"type": "x"}]}, 'history[0].type: "x" is none of'),
        ({"workflow_id": "a", "created_at": "yesterday"}, 'created_at: "yesterday" is no time; give one such as'),
        ({"workflow_id": "a", "created_at": "2026-02-30T00:00:00Z"}, "is no time"),
        ({"workflow_id": "a", "created_at": "2026-01-01T00:00:00"}, "is no time"),
        ({"workflow_id": "a", "created_at": "2026-01-01T00:00:00.0123456789Z"}, "is no time"),
        ({"workflow_id": "a", "updated_at": 1}, "updated_at: must be a text, not a number"),
        ({"workflow_id": "a", "revision": 3}, "this is a summary"),
    ],
)
def test_what_has_not_the_form_is_refused_by_field(form, words) -> None:
    with pytest.raises(FormError) as caught:
        from_json_form(form)
    assert words in str(caught.value)
