"""The promises of workflowstore_server.codec.document."""

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.strategies import json_texts, states
from workflowstore_server.codec import rfc3339
from workflowstore_server.codec.document import UndecodableDocument, decode, encode
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.limits import JSON_DEPTH_MAX
from workflowstore_server.model.state import (
    TIME_NS_MAX,
    ZERO_TIME_NS,
    EventType,
    HistoryEvent,
    WorkflowState,
    WorkflowStatus,
)

RUNNING_DOCUMENT = (
    r'{"WorkflowID":"wf-1","RunID":"run-1","Status":"running","Input":{"a":"\u003cx\u003e\u0026\u2028","b":1},'
    r'"Result":null,"Error":"","History":[{"ID":1,"Type":"workflow_started",'
    r'"Timestamp":"2026-04-22T04:21:23.123456789+01:00","ActivityName":"","Input":"x","Result":null,"Error":"",'
    r'"SignalName":"","SignalPayload":null,"Duration":1500000000}],'
    r'"CreatedAt":"2026-04-22T04:21:23.123456789+01:00","UpdatedAt":"2026-04-22T03:21:23.123456789Z"}'
)
RUNNING = WorkflowState(
    workflow_id="wf-1",
    run_id="run-1",
    status=WorkflowStatus.RUNNING,
    input_json=r'{"a":"\u003cx\u003e\u0026\u2028","b":1}',
    history=(
        HistoryEvent(
            id=1,
            type=EventType.WORKFLOW_STARTED,
            timestamp_ns=1_776_828_083_123_456_789,
            input_json='"x"',
            duration_ns=1_500_000_000,
        ),
    ),
    created_at_ns=1_776_828_083_123_456_789,
    updated_at_ns=1_776_828_083_123_456_789,
)
FAILED_DOCUMENT = (
    '{"WorkflowID":"wf-1","RunID":"run-1","Status":"failed","Input":null,"Result":null,"Error":"context canceled",'
    '"History":null,"CreatedAt":"0001-01-01T00:00:00Z","UpdatedAt":"2026-04-22T04:00:00.12Z"}'
)
FAILED = WorkflowState(
    workflow_id="wf-1",
    run_id="run-1",
    status=WorkflowStatus.FAILED,
    error="context canceled",
    updated_at_ns=1_776_830_400_120_000_000,
)
LABELLED = replace(FAILED, labels={"team": "ops", "": "é"})
LABELLED_DOCUMENT = FAILED_DOCUMENT.removesuffix("}") + ',"Labels":{"team":"ops","":"é"}}'


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def document(members: str) -> bytes:
    """The document of wf-1 with `members`. What is no UTF-8 stands as a surrogate."""
    return f'{{"WorkflowID":"wf-1",{members}}}'.encode("utf-8", "surrogateescape")


BLANK = WorkflowState("wf-1")


def with_event(**fields) -> WorkflowState:
    return replace(BLANK, history=(HistoryEvent(**fields),))


READ = [
    # Absent and null.
    ('"Extra":1', BLANK),
    ('"RunID":null,"Status":null,"Error":null,"CreatedAt":null,"UpdatedAt":null', BLANK),
    ('"Input":null,"Result": null ,"History":null,"Labels":null', BLANK),
    ('"History":[],"Labels":{}', BLANK),
    ('"History":[null]', with_event()),
    ('"History":[{"ID":null,"Timestamp":null,"SignalPayload":null,"Attempt":2}]', with_event()),
    # Names.
    ('"runid":"r","STATUS":"failed"', replace(BLANK, run_id="r", status=WorkflowStatus.FAILED)),
    ('"\u017ftatu\u017f":"failed"', replace(BLANK, status=WorkflowStatus.FAILED)),
    (r'"RUN\u0049D":"r"', replace(BLANK, run_id="r")),
    ('"Run\u0131D":"r"', BLANK),
    ('"WORKFLOWID":"x","Wor\u212aflowID":"wf-1"', BLANK),
    ('"labels":{"a":"b"}', replace(BLANK, labels={"a": "b"})),
    ('"history":[{"id":7,"TYPE":"timer_fired"}]', with_event(id=7, type=EventType.TIMER_FIRED)),
    # The last one counts, in whatever spelling; null leaves what is no payload.
    ('"Error":"1","error":"2","Error":"3"', replace(BLANK, error="3")),
    ('"Error":"1","Error":"3","error":"2"', replace(BLANK, error="2")),
    ('"Error":"1","error":null', replace(BLANK, error="1")),
    ('"Input":1,"input":null', BLANK),
    ('"History":[{"ID":1,"id":2}]', with_event(id=2)),
    # Words that are not ours.
    ('"Status":"paused"', replace(BLANK, other_status="paused")),
    ('"Status":"Running"', replace(BLANK, other_status="Running")),
    ('"History":[{"Type":"slept"}]', with_event(other_type="slept")),
    # Times.
    ('"CreatedAt":"0001-01-01T00:00:00Z"', BLANK),
    ('"CreatedAt":"0001-01-01T00:00:00.000000001Z"', replace(BLANK, created_at_ns=ZERO_TIME_NS + 1)),
    ('"UpdatedAt":"9999-12-31T23:59:59.999999999Z"', replace(BLANK, updated_at_ns=TIME_NS_MAX)),
    ('"UpdatedAt":"1970-01-01T00:30:00+00:30"', replace(BLANK, updated_at_ns=0)),
    # Integers.
    ('"History":[{"ID":9223372036854775807}]', with_event(id=2**63 - 1)),
    ('"History":[{"Duration":-9223372036854775808}]', with_event(duration_ns=-(2**63))),
    ('"History":[{"ID":-0}]', with_event()),
    # Payloads are kept byte for byte.
    ('"Input": { "a" : 1e2 } ', replace(BLANK, input_json='{ "a" : 1e2 }')),
    ('"Input":9007199254740993', replace(BLANK, input_json="9007199254740993")),
    ('"Input":1e400', replace(BLANK, input_json="1e400")),
    (r'"Result":"\\ud800\/\u0041é😀"', replace(BLANK, result_json=r'"\\ud800\/\u0041é😀"')),
    ('"Input":{"a":1,"a":2}', replace(BLANK, input_json='{"a":1,"a":2}')),
    (f'"Input":{nested(500)}', replace(BLANK, input_json=nested(500))),
    (f'"History":[{{"SignalPayload":{nested(500)}}}]', with_event(signal_payload_json=nested(500))),
    (f'"x":1,"History":[{{"SignalPayload":{nested(500)}}}]', with_event(signal_payload_json=nested(500))),
    # As many parts as there may be.
    (f'"History":[{",".join(["{}"] * 65_536)}]', replace(BLANK, history=(HistoryEvent(),) * 65_536)),
    (
        f'"Labels":{json.dumps({str(n): "," for n in range(4096)})}',
        replace(BLANK, labels={str(n): "," for n in range(4096)}),
    ),
    # What is no character reads U+FFFD: each byte, each half of a surrogate pair.
    ('"Error":"a\udcffb"', replace(BLANK, error="a\ufffdb")),
    ('"Error":"\udce2\udc82"', replace(BLANK, error="\ufffd\ufffd")),
    ('"Error":"\udced\udca0\udc80é"', replace(BLANK, error="\ufffd\ufffd\ufffdé")),
    ('"Input":["\udcff"]', replace(BLANK, input_json='["\ufffd"]')),
    (r'"Error":"\ud800"', replace(BLANK, error="\ufffd")),
    (r'"Error":"\ud83d\uD83D\uDE00\\ud83d"', replace(BLANK, error="\ufffd😀\\ud83d")),
    (r'"Input":"\\\ud800\n\ud83d\ude00"', replace(BLANK, input_json='"\\\\\ufffd\\n\\ud83d\\ude00"')),
    ('"\udcffError":"x"', BLANK),
]

REFUSED = [
    (b"", "empty"),
    (b" ", "not valid JSON: Input data was truncated"),
    (b"[]", "document: not an object"),
    (b'"wf-1"', "document: not an object"),
    (b"\xef\xbb\xbf{}", "not valid JSON: invalid character (byte 0)"),
    (b"{} {}", "not valid JSON: trailing characters (byte 4)"),
    (b"{}\0", "not valid JSON: trailing characters (byte 3)"),
    (b'{"WorkflowID":"wf-1"', "not valid JSON: Input data was truncated"),
    (b'{"WorkflowID":"wf-1",}', "not valid JSON: trailing comma in object (byte 21)"),
    (b'{"WorkflowID":"wf-1"\xff}', "not valid JSON: expected ',' or '}' (byte 20)"),
    (b"[" * 1_000_000, "nested more than 503 levels deep"),
    (document('"Input":NaN'), "not valid JSON: invalid character (byte 29)"),
    (document('"Extra":-Infinity'), "not valid JSON: invalid character (byte 30)"),
    (document('"Input":"\n"'), "not valid JSON: invalid character (byte 30)"),
    (document(f'"Input":{nested(501)}'), "Input: nested more than 500 levels deep"),
    (document(f'"input":{nested(501)}'), "Input: nested more than 500 levels deep"),
    (document(f'"History":[{{"Result":{nested(501)}}}]'), "History[0].Result: nested more than 500 levels deep"),
    (document(f'"history":[{{"Result":{nested(501)}}}]'), "nested more than 503 levels deep"),
    (document('"RunID":5'), "RunID: not a string"),
    (document('"Status":{}'), "Status: not a string"),
    (document('"Error":1e400'), "Error: a number out of range"),
    (document('"error":["secret"]'), "Error: not a string"),
    (document('"Error":1,"Error":"last"'), "Error: not a string"),
    (document('"History":{}'), "History: not an array"),
    (document('"History":[1]'), "History[0]: not an object"),
    (document('"History":[{},{},{},{"ID":1.0}]'), "History[3].ID: not an integer of 64 bits"),
    (document('"History":[{"ID":1e2}]'), "History[0].ID: not an integer of 64 bits"),
    (document('"History":[{"ID":"1"}]'), "History[0].ID: not an integer of 64 bits"),
    (document('"History":[{"ID":true}]'), "History[0].ID: not an integer of 64 bits"),
    (document('"History":[{"ID":9223372036854775808}]'), "History[0].ID: not an integer of 64 bits"),
    (document('"History":[{"Duration":-9223372036854775809}]'), "History[0].Duration: not an integer of 64 bits"),
    (document(f'"History":[{{"Duration":-{"1" * 5000}}}]'), "History[0].Duration: a number out of range"),
    (document('"History":[{"Type":1}]'), "History[0].Type: not a string"),
    (document('"CreatedAt":"yesterday"'), "CreatedAt: not an RFC 3339 time"),
    (document('"CreatedAt":1776828083'), "CreatedAt: not a string"),
    (document('"UpdatedAt":"2026-02-29T00:00:00Z"'), "UpdatedAt: not a day of the calendar"),
    (document('"History":[{},{"Timestamp":""}]'), "History[1].Timestamp: not an RFC 3339 time"),
    (
        document('"UpdatedAt":"9999-12-31T23:59:59-01:00"'),
        "UpdatedAt: not within 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z",
    ),
    (document(f'"History":[{",".join(["{}"] * 65_537)}]'), "History: more than 65536"),
    (document(f'"history":[{",".join(["{}"] * 65_537)}]'), "History: more than 65536"),
    (document(f'"Labels":{json.dumps({str(n): "" for n in range(4097)})}'), "Labels: more than 4096"),
    (document(f'"labels":{json.dumps({str(n): "" for n in range(4097)})}'), "Labels: more than 4096"),
    (document(f'"Labels":{json.dumps({f"{n:020d}": "" for n in range(4097)})}'), "Labels: more than 4096"),
    (document('"Labels":["a"]'), "Labels: not an object"),
    (document('"Labels":{"a":1}'), "Labels[...]: not a string"),
    (document('"Labels":{"a":null}'), "Labels[...]: not a string"),
    (b"null", "WorkflowID: '', but the key stands for 'wf-1'"),
    (b"{}", "WorkflowID: '', but the key stands for 'wf-1'"),
    (b'{"WorkflowID":"wf-2"}', "WorkflowID: 'wf-2', but the key stands for 'wf-1'"),
]


@pytest.mark.parametrize(
    ("written", "state"), [(RUNNING_DOCUMENT, RUNNING), (FAILED_DOCUMENT, FAILED), (LABELLED_DOCUMENT, LABELLED)]
)
def test_the_documents_of_go_are_read(written, state):
    assert decode(written.encode(), "wf-1") == state


def test_a_document_is_written_byte_for_byte_as_go_writes_it_in_utc():
    assert encode(FAILED).decode() == FAILED_DOCUMENT
    assert encode(RUNNING).decode() == RUNNING_DOCUMENT.replace("T04:21:23.123456789+01:00", "T03:21:23.123456789Z")


def test_labels_come_last_and_only_where_there_are_any():
    assert encode(LABELLED).decode() == LABELLED_DOCUMENT
    assert b"Labels" not in encode(FAILED)


@pytest.mark.parametrize(("members", "state"), READ, ids=[members[:60] for members, _ in READ])
def test_a_document_is_read_as_leniently_as_go_reads_it(members, state):
    assert decode(document(members), "wf-1") == state


@pytest.mark.parametrize(("data", "reason"), REFUSED, ids=[str(data[:60]) for data, _ in REFUSED])
def test_an_undecodable_document_is_refused_with_a_reason_that_names_the_field(data, reason):
    with pytest.raises(UndecodableDocument) as refused:
        decode(data, "wf-1")
    assert str(refused.value) == reason


@pytest.mark.parametrize("levels", [900, 1100, 5000, 1_000_000])
def test_nesting_beyond_any_stack_is_refused_like_any_other(levels):
    with pytest.raises(UndecodableDocument, match=r"nested more than 50[03] levels deep$"):
        decode(document(f'"Input":{nested(levels)}'), "wf-1")


def test_the_reason_of_a_wrong_id_is_bounded():
    data = json.dumps({"WorkflowID": "a" * 1000}).encode()
    with pytest.raises(UndecodableDocument, match=rf"^WorkflowID: '{'a' * 100}', but .* '{'b' * 100}'$"):
        decode(data, "b" * 1000)


def test_a_key_that_no_workflow_has_is_told():
    with pytest.raises(
        UndecodableDocument, match=r"^the key '=eA' stands for no workflow: not the key that its id has$"
    ):
        decode(b'{"WorkflowID":"x"}', "=eA")


@pytest.mark.parametrize("text", ["", "null", " null\n"])
def test_a_payload_of_null_in_any_spelling_is_none(text):
    written = encode(replace(FAILED, input_json=text))
    assert decode(written, "wf-1") == FAILED


@given(states)
def test_every_state_comes_back(state):
    assert decode(encode(state), key_of(state.workflow_id)) == state


@given(states)
def test_what_is_written_is_the_document_that_python_would_write(state):
    written = json.loads(encode(state))
    assert list(written)[:9] == list(json.loads(FAILED_DOCUMENT))
    assert (written["WorkflowID"], written["Error"]) == (state.workflow_id, state.error)
    assert written["Input"] == json.loads(state.input_json or "null")
    assert written["CreatedAt"] == rfc3339.format(state.created_at_ns)
    assert [event["Duration"] for event in written["History"] or []] == [event.duration_ns for event in state.history]


@given(states, st.data())
def test_the_spelling_and_order_of_names_do_not_matter(state, data):
    written = json.loads(encode(state), parse_float=str)
    shuffled = data.draw(st.permutations([(name, value) for name, value in written.items() if name != "History"]))
    respelt = {data.draw(st.sampled_from([name, name.lower(), name.upper()])): value for name, value in shuffled}
    read = decode(json.dumps(respelt).encode(), key_of(state.workflow_id))
    assert (read.workflow_id, read.status, read.created_at_ns) == (
        state.workflow_id,
        state.status,
        state.created_at_ns,
    )
    assert (read.error, read.labels) == (state.error, state.labels)


MUTATIONS = st.sampled_from([*b'{}[]",:\\0-.eun \xff\xe2\x00\x1f', *range(0, 256, 17)])


@given(st.sampled_from([RUNNING_DOCUMENT, FAILED_DOCUMENT, LABELLED_DOCUMENT]), st.data())
def test_a_damaged_document_is_read_or_refused_and_nothing_else(written, data):
    damaged = bytearray(written.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 3))] = bytes(data.draw(st.lists(MUTATIONS, max_size=3)))
    try:
        state = decode(bytes(damaged), "wf-1")
    except UndecodableDocument:
        return
    assert decode(encode(state), "wf-1") == state


@given(st.binary() | json_texts.map(str.encode))
def test_other_bytes_are_refused(data):
    with pytest.raises(UndecodableDocument):
        decode(data, "wf-1")


def test_a_caller_deep_in_the_stack_gets_an_answer():
    def answer(frames: int) -> WorkflowState | str:
        if frames:
            return answer(frames - 1)
        try:
            return decode(document(f'"x":1,"Input":{nested(JSON_DEPTH_MAX)}'), "wf-1")
        except UndecodableDocument as error:
            return str(error)

    frames_used = 0
    frame = sys._getframe()
    while frame := frame.f_back:
        frames_used += 1
    # Where Python counts C calls as frames (3.11) there is room for so many levels only from some point on.
    state = replace(BLANK, input_json=nested(JSON_DEPTH_MAX))
    for frames_left in range(50, JSON_DEPTH_MAX + 50):
        told = answer(sys.getrecursionlimit() - frames_used - frames_left)
        assert told == state or str(told).endswith("levels deep")


GO_CASES = json.loads((Path(__file__).parent / "golden/go_documents.json").read_text("utf-8"))
"""Documents, and what Go makes of them; see golden/generate.go."""

NOT_AS_GO = {
    "duplicate history merges in Go": "Go reads the second array into the elements of the first one",
    "duplicate with a bad time first": "of several times only the last is looked at",
    "payload 1e400": "a number is text to us, and a float64 to Go",
    "payload 501 levels": "JSON_DEPTH_MAX is 500, Go's bound 10,000",
    "unknown field of 600 levels": "JSON_DEPTH_MAX is 500, Go's bound 10,000",
    "time 2026-04-22T04:00:00\\u005a": "Go does not unescape the string of a time",
    # https://go.dev/issue/54580; Go itself writes none of these.
    "time 2026-04-22T4:00:00Z": "Go's strict RFC 3339 is switched off",
    "time 2026-04-22T04:00:00,5Z": "Go's strict RFC 3339 is switched off",
    "time 2026-04-22T04:00:00+00:60": "Go's strict RFC 3339 is switched off",
    # A google.protobuf.Timestamp cannot hold the first four, nor Python's datetime the year of the last one.
    "time 0000-01-01T00:00:00Z": "out of the API's range",
    "time 0000-12-31T23:59:59Z": "out of the API's range",
    "time 0001-01-01T00:30:00+01:00": "out of the API's range",
    "time 9999-12-31T23:59:59-01:00": "out of the API's range",
    "time 0000-12-31T23:30:00-01:00": "the year 0, at an offset that leads into the year 1",
}


STATUSES = {status.value for status in WorkflowStatus}
EVENT_TYPES = {event_type.value for event_type in EventType}


def as_go_sees(written: str):
    """What Go would read from `written`: numbers in payloads are float64, instants are the same at any offset."""
    seen = json.loads(written, parse_int=float)
    seen["History"] = seen["History"] or []
    for part, name in [(seen, "CreatedAt"), (seen, "UpdatedAt"), *((event, "Timestamp") for event in seen["History"])]:
        part[name] = rfc3339.parse(part[name])
    # The API has no word for another status or event type.
    if seen["Status"] not in STATUSES:
        seen["Status"] = ""
    for event in seen["History"]:
        if event["Type"] not in EVENT_TYPES:
            event["Type"] = ""
    return seen


def agrees_with_go(case) -> bool:
    data = base64.b64decode(case.get("document_base64", "")) or case["document"].encode()
    written_by_go = case["go"]
    key = key_of(json.loads(written_by_go)["WorkflowID"]) if written_by_go else "wf-1"
    try:
        state = decode(data, key)
    except UndecodableDocument:
        return written_by_go is None
    if written_by_go is None:
        return False
    try:
        return as_go_sees(encode(state).decode()) == as_go_sees(written_by_go)
    except ValueError:
        return False


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in GO_CASES])
def test_a_document_read_and_saved_unchanged_differs_in_nothing_that_go_would_notice(case):
    # Also where they are listed to disagree: the list must not grow old.
    assert agrees_with_go(case) == (case["name"] not in NOT_AS_GO)


def test_go_has_read_every_listed_difference():
    assert NOT_AS_GO.keys() <= {case["name"] for case in GO_CASES}
