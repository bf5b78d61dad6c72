"""A state becomes a message and comes back as it was; what cannot be sent is refused by the name of its field."""

import copy
import dataclasses
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflowstore import (
    Durability,
    EventType,
    HistoryEvent,
    MalformedDocumentError,
    Timestamp,
    WorkflowState,
    WorkflowStatus,
    WorkflowView,
)
from workflowstore.client import _messages, _replies, _requests
from workflowstore.client._timestamp import from_unix
from workflowstore.v1 import workflow_state_pb2, workflow_store_pb2

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.builds(from_unix, st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999)) | st.datetimes(
    datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES | st.just(UTC)
)
EVENTS = st.builds(
    HistoryEvent,
    id=st.integers(-(2**63), 2**63 - 1),
    type=st.sampled_from(EventType),
    timestamp=st.none() | TIMES,
    activity_name=TEXTS,
    input=JSON,
    result=JSON,
    error=TEXTS,
    signal_name=TEXTS,
    signal_payload=JSON,
    duration_ns=st.integers(-(2**63), 2**63 - 1),
)
STATES = st.builds(
    WorkflowState,
    TEXTS,
    run_id=TEXTS,
    status=st.sampled_from(WorkflowStatus),
    input=JSON,
    result=JSON,
    error=TEXTS,
    history=st.lists(EVENTS, max_size=3).map(tuple),
    created_at=st.none() | TIMES,
    updated_at=st.none() | TIMES,
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


def there_and_back(state: WorkflowState) -> WorkflowState:
    message = _messages.state_to_message(state, "state")
    received = workflow_state_pb2.WorkflowState.FromString(message.SerializeToString())
    return _messages.state_from_message(received, WorkflowView.FULL)


@given(STATES)
def test_a_state_comes_back_as_it_was(state):
    assert there_and_back(state) == state


@given(STATES)
def test_a_state_survives_pickle_and_copy(state):
    for other in (pickle.loads(pickle.dumps(state)), copy.deepcopy(state), dataclasses.replace(state)):
        assert other == state


def test_a_message_comes_back_to_the_nanosecond():
    message = workflow_state_pb2.WorkflowState(workflow_id="w", revision=7, history_count=3, document_bytes=99)
    message.created_at.seconds = -62_135_596_800
    message.updated_at.FromJsonString("2026-01-02T03:04:05.123456789Z")
    message.history.add().timestamp.FromJsonString("2026-01-02T03:04:05.000000001Z")
    message.history[0].duration.FromNanoseconds(-1_000_000_001)
    state = _messages.state_from_message(message, WorkflowView.FULL)
    assert state.created_at == datetime(1, 1, 1, tzinfo=UTC)
    assert isinstance(state.updated_at, Timestamp)
    assert state.updated_at.nanosecond == 789
    assert state.history[0].duration_ns == -1_000_000_001
    assert (state.revision, state.history_count, state.document_bytes) == (7, 3, 99)
    for field in ("revision", "history_count", "document_bytes"):
        message.ClearField(field)
    assert _messages.state_to_message(state, "state") == message


@pytest.mark.parametrize(
    ("enum", "numbers", "field"),
    [
        (WorkflowStatus, workflow_state_pb2.WorkflowStatus, "status"),
        (EventType, workflow_state_pb2.EventType, "type"),
    ],
)
def test_every_member_of_an_enum_has_its_name_on_the_wire(enum, numbers, field):
    prefix = "WORKFLOW_STATUS_" if field == "status" else "EVENT_TYPE_"
    assert {prefix + member.name for member in enum} == set(numbers.keys())
    for member in enum:
        if field == "status":
            message = _messages.state_to_message(WorkflowState("w", status=member), "state")
        else:
            history = (HistoryEvent(type=member),)
            message = _messages.state_to_message(WorkflowState("w", history=history), "state").history[0]
        assert numbers.Name(getattr(message, field)) == prefix + member.name


def test_every_durability_is_read():
    for number in workflow_store_pb2.Durability.values():
        info = _replies.info(workflow_store_pb2.GetInfoResponse(durability=number))
        assert "DURABILITY_" + info.durability.name == workflow_store_pb2.Durability.Name(number)
    assert _replies.info(workflow_store_pb2.GetInfoResponse(durability=99)).durability == ""
    assert len(Durability) == 3


def test_numbers_of_a_newer_server_read_as_unspecified():
    message = workflow_state_pb2.WorkflowState(workflow_id="w", status=99)
    message.history.add().type = 99
    state = _messages.state_from_message(message, WorkflowView.FULL)
    assert state.status is WorkflowStatus.UNSPECIFIED
    assert state.history[0].type is EventType.UNSPECIFIED


def test_the_stored_texts_may_be_used_in_place_of_the_members():
    history = (HistoryEvent(type="timer_fired"),)
    state = there_and_back(WorkflowState("w", status="running", history=history))
    assert state.status is WorkflowStatus.RUNNING
    assert state.history[0].type is EventType.TIMER_FIRED


def test_replace_leaves_the_time_of_the_save_to_the_server():
    then = datetime(2026, 1, 1, tzinfo=UTC)
    state = WorkflowState("w", created_at=then, updated_at=then, revision=5)
    changed = state.replace(error="no stock")
    assert changed == WorkflowState("w", created_at=then, revision=5, error="no stock")
    assert state.replace(updated_at=then) == state
    assert dataclasses.replace(state, error="no stock").updated_at == then
    with pytest.raises(TypeError, match="eror"):
        state.replace(eror="")


def test_states_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        WorkflowState("w").error = "x"
    with pytest.raises(TypeError):
        WorkflowState("w", "run")


NAIVE = datetime(2026, 1, 1)
EARLY = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"workflow_id": 5}, TypeError, "state.workflow_id: must be a str, not int"),
        ({"workflow_id": "\ud800"}, ValueError, "state.workflow_id: '\\ud800' has a lone surrogate"),
        ({"run_id": None}, TypeError, "state.run_id: must be a str, not NoneType"),
        ({"status": "runing"}, ValueError, "state.status: must be one of '', 'running'"),
        ({"status": 1}, TypeError, "state.status: must be one of '', 'running'"),
        ({"input": {"a": float("nan")}}, ValueError, "state.input['a']: nan is not"),
        ({"result": [b""]}, TypeError, "state.result[0]: bytes is not"),
        ({"error": ValueError()}, TypeError, "state.error: must be a str, not ValueError"),
        ({"created_at": NAIVE}, ValueError, "state.created_at: 2026-01-01T00:00:00 has no time zone; give an aware"),
        ({"updated_at": EARLY}, ValueError, "state.updated_at: 0001-01-01T00:00:00+01:00 lies outside the years"),
        ({"updated_at": "now"}, TypeError, "state.updated_at: must be an aware datetime or None, not str"),
        ({"labels": {1: ""}}, TypeError, "state.labels: must be a str, not int"),
        ({"labels": {"a": 1}}, TypeError, "state.labels['a']: must be a str, not int"),
        ({"labels": ["a"]}, TypeError, "state.labels: must be a mapping, not list"),
        ({"history": None}, TypeError, "state.history: must be a tuple, not NoneType"),
        ({"history": ({},)}, TypeError, "state.history[0]: must be a HistoryEvent, not dict"),
        ({"history": (HistoryEvent(id=2**63),)}, ValueError, "state.history[0].id: must be in -9223372036854775808.."),
        ({"history": (HistoryEvent(id=True),)}, TypeError, "state.history[0].id: must be an int, not bool"),
        ({"history": (HistoryEvent(type="x"),)}, ValueError, "state.history[0].type: must be one of"),
        ({"history": (HistoryEvent(timestamp=NAIVE),)}, ValueError, "state.history[0].timestamp: 2026-01-01T00"),
        ({"history": (HistoryEvent(signal_payload={1: 1}),)}, TypeError, "state.history[0].signal_payload: the key 1"),
        ({"history": (HistoryEvent(duration_ns=2**63),)}, ValueError, "state.history[0].duration_ns: must be in"),
        ({"history": (HistoryEvent(duration_ns=0.5),)}, TypeError, "state.history[0].duration_ns: must be an int"),
        ({"view": WorkflowView.SUMMARY}, ValueError, "state: is a summary, and saving it would erase"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_the_name_of_its_field(change, error, message):
    with pytest.raises(error) as caught:
        _requests.save_request(dataclasses.replace(WorkflowState("w"), **change), None, None, "")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("request_of", "error", "message"),
    [
        (lambda: _requests.save_request({}, None, None, ""), TypeError, "state: must be a WorkflowState, not dict"),
        (
            lambda: _requests.save_request(WorkflowState("w"), -1, None, ""),
            ValueError,
            r"expected_revision: must be in 0\.\.",
        ),
        (
            lambda: _requests.save_request(WorkflowState("w"), "1", None, ""),
            TypeError,
            "expected_revision: must be an int",
        ),
        (lambda: _requests.save_request(WorkflowState("w"), None, None, 1), TypeError, "bucket: must be a str"),
        (lambda: _requests.load_request(None, WorkflowView.FULL, ""), TypeError, "workflow_id: must be a str"),
        (lambda: _requests.load_request("w", "half", ""), ValueError, "view: must be one of 'summary', 'full'"),
        (
            lambda: _requests.delete_request("w", 2**64, False, None, ""),
            ValueError,
            r"expected_revision: must be in 0\.\.",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_by_the_name_of_its_field(request_of, error, message):
    with pytest.raises(error, match=message):
        request_of()


def test_revision_0_is_not_an_absent_revision():
    assert not _requests.save_request(WorkflowState("w"), None, None, "").HasField("expected_revision")
    assert _requests.save_request(WorkflowState("w"), 0, None, "").HasField("expected_revision")


def test_a_document_beyond_pythons_numbers_is_an_error_that_says_which():
    message = workflow_state_pb2.WorkflowState(workflow_id="w", revision=3, input_json="[1e99999999999999999999]")
    with pytest.raises(MalformedDocumentError) as caught:
        _messages.state_from_message(message, WorkflowView.FULL)
    assert (caught.value.key, caught.value.revision) == ("w", 3)
    assert "beyond what Decimal can hold" in caught.value.detail
