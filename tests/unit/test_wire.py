"""The fields of a message are counted before it is decoded, as a decoder would meet them."""

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.codec import wire
from workflowstore_server.codec.message import varint

SAVE = wire.shape_of(pb.SaveRequest.DESCRIPTOR)
BATCH = wire.shape_of(pb.SaveBatchRequest.DESCRIPTOR)
STATE = state_pb.WorkflowState(
    workflow_id="wf-1",
    history=[state_pb.HistoryEvent(id=1, activity_name="a"), state_pb.HistoryEvent()],
    labels={"a": "b", "c": "d"},
)
STATE_FIELDS = 5


def part(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields_in(data: bytes, shape: wire.Shape) -> int:
    return next(count for count in range(100_000) if not wire.has_more_fields(data, shape, count))


@pytest.mark.parametrize(
    ("message", "count"),
    [
        (pb.SaveRequest(), 0),
        (pb.SaveRequest(bucket="b", expected_revision=2**63), 2),
        (pb.SaveRequest(state=STATE), 1 + STATE_FIELDS),
        (pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=STATE)] * 3), 3 * (2 + STATE_FIELDS)),
        (pb.LoadBatchRequest(workflow_ids=[""] * 7), 7),
        (pb.UpdateRequest(update_mask={"paths": ["a", "b"]}, append_history=[STATE.history[0]]), 1 + 2 + 1),
    ],
)
def test_fields_are_counted_where_something_repeats(message: Message, count: int) -> None:
    assert fields_in(message.SerializeToString(), wire.shape_of(message.DESCRIPTOR)) == count


def elements(message: Message) -> int:
    """What was made of a message: its elements, and those of what it has."""
    count = 0
    for field, value in message.ListFields():
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        values = list(value) if field.is_repeated and not is_map else [None] * len(value) if is_map else [value]
        count += len(values)
        if field.name in {"items", "state"}:
            count += sum(elements(one) for one in values)
    return count


WHOLE = pb.SaveBatchRequest(items=[pb.SaveBatchItem(state=STATE), pb.SaveBatchItem()]).SerializeToString()


@given(st.binary() | st.tuples(st.integers(0, len(WHOLE)), st.binary(max_size=4)).map(
    lambda damage: WHOLE[: damage[0]] + damage[1] + WHOLE[damage[0] :]
))  # fmt: skip
def test_what_is_made_of_a_message_is_never_more_than_was_counted(data: bytes) -> None:
    count = fields_in(data, BATCH)
    try:
        request = pb.SaveBatchRequest.FromString(data)
    except DecodeError:
        return
    assert elements(request) <= count


def test_an_end_that_is_none_hides_nothing_before_it() -> None:
    state = part(pb.SaveRequest.STATE_FIELD_NUMBER, part(state_pb.WorkflowState.HISTORY_FIELD_NUMBER, b"") * 100)

    assert wire.has_more_fields(state + b"\xff", SAVE, 100)
    assert wire.has_more_fields(state[:1] + b"\x7f" + state[2:], SAVE, 50)


def test_a_tag_of_more_bytes_than_it_needs_is_read() -> None:
    tag = state_pb.WorkflowState.HISTORY_FIELD_NUMBER << 3 | 2
    events = bytes([tag | 0x80, 0x80, 0x00, 0x00]) * 100
    state = part(pb.SaveRequest.STATE_FIELD_NUMBER, events)

    assert len(pb.SaveRequest.FromString(state).state.history) == 100
    assert wire.has_more_fields(state, SAVE, 100)


def test_fields_of_a_group_are_counted() -> None:
    group = (
        bytes([100 << 3 & 0x7F | 3 | 0x80, 100 >> 4]) + b"\x08\x01" * 50 + bytes([100 << 3 & 0x7F | 4 | 0x80, 100 >> 4])
    )

    pb.SaveRequest.FromString(group)
    assert wire.has_more_fields(group, SAVE, 50)


@pytest.mark.parametrize("lead", [b"", b"\x0a", b"\x08"])
def test_a_number_without_an_end_is_read_no_further_than_a_decoder_does(lead: bytes) -> None:
    # Read on, four megabytes of it take an hour.
    endless = lead + b"\xff" * 2**22

    assert not wire.has_more_fields(endless, SAVE, 65_536)
    with pytest.raises(DecodeError):
        pb.SaveRequest.FromString(endless)


def test_the_leading_text_of_a_message_is_its_bucket_where_encoders_put_it() -> None:
    for request in (pb.SaveRequest(bucket="one", state=STATE), pb.GetInfoRequest(bucket="b\u00e9")):
        assert wire.leading_text(request.SerializeToString(), 1) == request.bucket
    for data in (b"", b"\x0a", b"\xff" * 20, pb.SaveRequest(state=STATE).SerializeToString(), b"\x08\x01"):
        assert wire.leading_text(data, 1) == ""
    assert wire.leading_text(b"\x0a\x05ab", 1) == "ab"
