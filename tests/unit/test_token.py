"""A page token carries a position, belongs to one List, and no text is taken for one that it is not."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.strategies import times_ns, workflow_ids
from workflowstore_server.codec import token
from workflowstore_server.model.selection import ListPosition, OrderBy, Selection, WorkflowFilter
from workflowstore_server.model.state import WorkflowStatus

SELECTION = Selection("b")
OTHERS = [
    Selection("c"),
    Selection("b", descending=True),
    Selection("b", order_by=OrderBy.CREATED_AT),
    Selection("b", WorkflowFilter(statuses=frozenset([WorkflowStatus.UNSPECIFIED]))),
    Selection("b", WorkflowFilter(workflow_id_prefix="a")),
    Selection("b", WorkflowFilter(run_id="a")),
    Selection("b", WorkflowFilter(labels={"a": ""})),
    Selection("b", WorkflowFilter(created_after_ns=0)),
    Selection("b", WorkflowFilter(created_before_ns=0)),
    Selection("b", WorkflowFilter(updated_after_ns=0)),
    Selection("b", WorkflowFilter(updated_before_ns=0)),
]
positions = st.builds(
    ListPosition, malformed_key=st.none() | st.text(), workflow_id=st.none() | workflow_ids, time_ns=times_ns
)


@given(position=positions)
def test_a_position_comes_back_as_it_was(position: ListPosition) -> None:
    text = token.encode(position, SELECTION)

    assert token.decode(text, SELECTION) == position
    assert text.isascii()
    assert not set(text) & set("+/= ")


@pytest.mark.parametrize("selection", OTHERS, ids=repr)
def test_a_token_belongs_to_one_list(selection: Selection) -> None:
    text = token.encode(ListPosition(workflow_id="wf-1"), SELECTION)

    with pytest.raises(token.OtherSelection):
        token.decode(text, selection)
    assert len({token.encode(ListPosition(), other) for other in [SELECTION, *OTHERS]}) == len(OTHERS) + 1


def test_the_same_filter_written_otherwise_is_the_same_list() -> None:
    one = Selection("b", WorkflowFilter(frozenset(WorkflowStatus), labels={"a": "1", "b": "2"}))
    other = Selection("b", WorkflowFilter(frozenset(reversed(WorkflowStatus)), labels={"b": "2", "a": "1"}))

    assert token.encode(ListPosition(), one) == token.encode(ListPosition(), other)


@given(text=st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(token.WrongToken):
        token.decode(text, SELECTION)


@pytest.mark.parametrize("levels", [1500, 2000, 100_000])
def test_a_token_of_any_nesting_is_refused(levels: int) -> None:
    data = base64.urlsafe_b64decode(token.encode(ListPosition(), SELECTION) + "===")
    # One element more, which a reader of a newer form would skip.
    forged = bytes([data[0] + 1]) + data[1:] + b"\x91" * levels + b"\0"

    with pytest.raises(token.WrongToken):
        token.decode(base64.urlsafe_b64encode(forged).decode().rstrip("="), SELECTION)


def test_the_longest_key_has_a_token() -> None:
    position = ListPosition(malformed_key="k" * 4096)

    assert token.decode(token.encode(position, SELECTION), SELECTION) == position


@given(position=positions, place=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_token_that_was_tampered_with_is_a_position_or_refused(position: ListPosition, place: int, byte: int) -> None:
    data = bytearray(base64.urlsafe_b64decode(token.encode(position, SELECTION) + "==="))
    data[place % len(data)] = byte
    try:
        found = token.decode(base64.urlsafe_b64encode(data).decode().rstrip("="), SELECTION)
    except token.WrongToken:
        return
    assert isinstance(found, ListPosition)
