"""The promises of workflowstore_server.codec.json_text."""

import json
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.strategies import json_texts
from workflowstore_server.codec import json_text
from workflowstore_server.codec.json_text import has_more_elements, is_deeper_than, problem_of
from workflowstore_server.model.limits import JSON_DEPTH_MAX

FINE = [
    "",
    "null",
    " \t\r\n1 ",
    "1e400",
    "-0",
    "1" * 5000,
    "9007199254740993",
    '{"a":1,"a":2}',
    r'"\"\\\/\b\f\n\r\t\u0000\ud83d\ude00"',
    '"\x7f\u2028😀"',
    '"' + "[" * 1000 + '"',
    r'"\\\"' + "[" * 1000 + '"',
    "[" + ",".join(["{}"] * 1000) + "]",
]
NOT_JSON = {
    " ": "Input data was truncated",
    "nul": "Input data was truncated",
    '"a': "Input data was truncated",
    "NaN": "invalid character (byte 0)",
    "-Infinity": "invalid character (byte 1)",
    "\ufeff1": "invalid character (byte 0)",
    "01": "invalid number (byte 1)",
    "1.": "invalid number (byte 2)",
    "1 2": "trailing characters (byte 3)",
    "1\0": "trailing characters (byte 2)",
    "[1,]": "trailing comma in array (byte 3)",
    "[1}": "expected ',' or ']' (byte 2)",
    '"\n"': "invalid character (byte 1)",
    r'"\x41"': "invalid escaped character (byte 2)",
    r'"\u00g0"': "invalid character in unicode escape (byte 6)",
    r'"\ud800\u0041"': "invalid utf-16 surrogate pair (byte 13)",
    r'"\udc00"': "invalid utf-16 surrogate pair (byte 7)",
    r'"\ud800"': "Input data was truncated",
}


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def slow_depth(text: str) -> int:
    """Counts the levels of a valid text, one character after the other."""
    depth = deepest = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def python_reads(text: str) -> bool:
    def refuse(constant):
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse, parse_int=str, object_pairs_hook=list)
        json.dumps(value, ensure_ascii=False).encode()  # fails for a lone surrogate
    except (ValueError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("text", FINE)
def test_valid_json_can_be_a_payload_and_so_can_nothing(text):
    assert problem_of(text) is None


@pytest.mark.parametrize(("text", "problem"), NOT_JSON.items())
def test_the_problem_of_another_text_tells_what_and_where(text, problem):
    assert problem_of(text) == f"not valid JSON: {problem}"


def test_a_lone_surrogate_is_no_text():
    assert problem_of('"\ud800"') == "not valid Unicode"


@pytest.mark.parametrize(
    "shape", ["{}", '{{"a":{}}}', '[1,"]]]",{}]', r'["\\\"]",{}]'], ids=["arrays", "object", "strings", "escapes"]
)
def test_the_bound_on_nesting_is_exact(shape):
    inside = slow_depth(shape.format("1"))
    assert problem_of(shape.format(nested(JSON_DEPTH_MAX - inside))) is None
    assert problem_of(shape.format(nested(JSON_DEPTH_MAX - inside + 1))) == "nested more than 500 levels deep"


@pytest.mark.parametrize("text", ["[" * 1_000_000, '{"":' * 1_000_000, nested(100_000)], ids=lambda text: text[:4])
def test_nesting_beyond_any_stack_is_refused_like_any_other(text):
    assert problem_of(text) == "nested more than 500 levels deep"


@pytest.mark.parametrize("text", ["]" * 1000 + "[" * 1000, '"' + "[" * 1000, '"' + r"\"" * 1000 + "{" * 1000])
def test_brackets_of_invalid_json_do_no_harm(text):
    assert problem_of(text).startswith("not valid JSON: ")


def test_a_caller_deep_in_the_stack_gets_an_answer():
    def answer(frames: int) -> str | None:
        return answer(frames - 1) if frames else problem_of(nested(JSON_DEPTH_MAX))

    # Where Python counts C calls as frames (3.11) there is no room left for so many levels.
    frames_used = 0
    frame = sys._getframe()
    while frame := frame.f_back:
        frames_used += 1
    assert answer(sys.getrecursionlimit() - frames_used - 50) in (None, "nested more than 500 levels deep")


@given(json_texts)
def test_every_json_text_is_fine_and_its_depth_is_known(text):
    assert problem_of(text) is None
    depth = slow_depth(text)
    assert not is_deeper_than(text, depth)
    assert depth == 0 or is_deeper_than(text, depth - 1)


@given(json_texts, st.integers(1, 5))
def test_a_text_is_the_same_in_slices(text, size):
    depth = slow_depth(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_SLICE", size)
        assert not is_deeper_than(text, depth)
        assert depth == 0 or is_deeper_than(text, depth - 1)


@given(st.lists(json_texts, max_size=9), st.integers(1, 5))
def test_elements_are_counted(texts, size):
    array = "[" + ", ".join(texts) + "]"
    members = "{" + ",".join(f'",{number}" :{text}' for number, text in enumerate(texts)) + "}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_SLICE", size)
        for text in (array, members):
            assert not has_more_elements(text, max(1, len(texts)))
            assert len(texts) < 2 or has_more_elements(text, len(texts) - 1)


@given(st.text(st.sampled_from('[]{}",:\\u0d8c1e+-. \ntrfalsn')) | st.text())
@example('"\\ud8001"')
def test_what_is_fine_is_what_python_reads_too(text):
    assert (problem_of(text) is None) == (text == "" or python_reads(text))
