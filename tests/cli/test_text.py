"""Text from elsewhere does not act on a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflowstore_server.cli.text import shown, shown_json


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain äöü 漢字 😀 [red]", "plain äöü 漢字 😀 [red]"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\r\tc\x7f\x9b", r"a\nb\r\tc\x7f\x9b"),
        ("\u202edcba\u2066", r"\u202edcba\u2066"),
        ("\udc80", r"\udc80"),
    ],
)
def test_shown(text, safe) -> None:
    assert shown(text) == safe


@given(st.text())
def test_shown_is_one_printable_line(text) -> None:
    assert shown(text).isprintable()


@given(st.text() | st.text('\x00\x1b\x7f\x80\x9b\u2028\u202e\\"u'))
def test_shown_json_is_the_same_value_and_does_not_act(text) -> None:
    safe = shown_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(safe) == text
    assert not set(safe) & set(map(chr, [*range(32), *range(127, 160), 0x2028, 0x202E, 0x2066]))
