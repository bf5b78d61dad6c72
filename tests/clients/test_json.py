"""JSON text and Python values become each other without losing anything."""

import json
import sys
from collections import OrderedDict
from decimal import Decimal
from enum import IntEnum, StrEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflowstore.client._json import from_json, to_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.integers() | st.integers(min_value=-(10**5000), max_value=10**5000)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)


def same(left, right) -> bool:
    """Equality that tells 1 from 1.0 and True."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    return left == right


@given(VALUES)
def test_every_value_comes_back(value):
    assert same(from_json(to_json(value, "state.input")), value)


@given(VALUES)
def test_the_fast_and_the_slow_path_write_the_same(value):
    # A Decimal in the list forces the slow path, which writes numbers of the fast path's types as the fast one does.
    if value is not None:
        assert to_json([value, Decimal(0)], "x") == f"[{to_json(value, 'x')},0]"


def test_null_is_empty_text():
    assert to_json(None, "x") == ""
    assert from_json("") is None
    assert from_json("null") is None
    assert to_json([None], "x") == "[null]"


def test_text_is_written_without_spaces_and_escapes():
    assert to_json({"ключ": [1, "é"]}, "x") == '{"ключ":[1,"é"]}'


@given(st.integers(min_value=1, max_value=30_000), st.sampled_from(["", "-"]), st.sampled_from("19"))
@example(639, "", "9")
@example(640, "", "9")
@example(641, "-", "1")
@example(4300, "", "9")
@example(4301, "", "9")
@example(20_480, "-", "9")
def test_integers_of_any_size_are_exact(digits, sign, first):
    text = sign + first + "0123456789"[::-1] * (digits // 10) + "7" * (digits % 10)
    value = from_json(text)
    assert type(value) is int
    assert to_json(value, "x") == text


def test_integers_are_exact_whatever_the_interpreters_limit():
    text = "123456789" * 500
    before = sys.get_int_max_str_digits()
    try:
        for limit in (sys.int_info.str_digits_check_threshold, 0):
            sys.set_int_max_str_digits(limit)
            assert to_json({"n": from_json(text)}, "x") == f'{{"n":{text}}}'
    finally:
        sys.set_int_max_str_digits(before)


def test_a_million_digits_take_no_quadratic_time():
    text = "7" * 1_000_000
    assert to_json(from_json(text), "x") == text


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1E+999", "1e-400", "-1.5e-1000", "1e999999999"])
def test_numbers_beyond_a_double_are_decimals(text):
    value = from_json(text)
    assert type(value) is Decimal
    assert value == Decimal(text)
    assert Decimal(to_json(value, "x")) == value


@pytest.mark.parametrize("text", ["0.0", "-0.0", "0e400", "-0.00E-999", "0.10", "1.7976931348623157e308", "5e-324"])
def test_numbers_within_a_double_are_floats(text):
    value = from_json(text)
    assert type(value) is float
    assert repr(value) == repr(float(text))


def test_a_number_beyond_a_decimal_is_refused_rather_than_rounded():
    with pytest.raises(ValueError, match="beyond what Decimal can hold"):
        from_json("[1e99999999999999999999]")


@given(st.decimals(allow_nan=False, allow_infinity=False))
@example(Decimal("0.10"))
@example(Decimal("1E+400"))
@example(Decimal("-0E-7"))
def test_decimals_are_written_digit_for_digit(value):
    text = to_json([value], "x")
    json.loads(text)
    written = Decimal(text[1:-1])
    assert written.as_tuple() == value.as_tuple()


class Small(IntEnum):
    ONE = 1


class Word(StrEnum):
    HELLO = "hello"


def test_subclasses_of_json_types_and_tuples_are_taken():
    value = OrderedDict({Word.HELLO: (Small.ONE, Word.HELLO)})
    assert to_json(value, "x") == '{"hello":[1,"hello"]}'
    assert to_json([value, Decimal(1)], "x") == '[{"hello":[1,"hello"]},1]'


def cyclic_list():
    value = [1]
    value.append({"again": value})
    return value


def deep_list(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), ValueError, "state.input: nan is not a number in JSON"),
        ({"a": [0.0, float("inf")]}, ValueError, "state.input['a'][1]: inf is not a number in JSON"),
        ([Decimal("NaN")], ValueError, "state.input[0]: NaN is not a number in JSON"),
        ([Decimal("sNaN")], ValueError, "state.input[0]: sNaN is not a number in JSON"),
        (Decimal("-Infinity"), ValueError, "state.input: -Infinity is not a number in JSON"),
        ({"a": {1, 2}}, TypeError, "state.input['a']: set is not a JSON type"),
        ([b"bytes"], TypeError, "state.input[0]: bytes is not a JSON type"),
        (object(), TypeError, "state.input: object is not a JSON type"),
        ({"a": {1: 2}}, TypeError, "state.input['a']: the key 1 is not a str"),
        ([{None: 2}], TypeError, "state.input[0]: the key None is not a str"),
        ([{(1, 2): 2}], TypeError, "state.input[0]: the key (1, 2) is not a str"),
        ("\ud800", ValueError, "state.input: '\\ud800' has a lone surrogate"),
        ({"a": {"\udfff": 1}}, ValueError, "state.input['a']: '\\udfff' has a lone surrogate"),
        (cyclic_list(), ValueError, "state.input[1]['again']: contains itself"),
        (deep_list(20_000), ValueError, "state.input: nested too deeply"),
    ],
)
def test_what_json_cannot_say_is_refused_by_its_path(value, error, message):
    with pytest.raises(error) as caught:
        to_json(value, "state.input")
    assert str(caught.value).startswith(message)


def test_one_value_in_two_places_is_no_cycle():
    part = [Decimal(1)]
    assert to_json([part, part], "x") == "[[1],[1]]"


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "{", "[1,]", "01", "\ud800"])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(ValueError):
        from_json(text)
