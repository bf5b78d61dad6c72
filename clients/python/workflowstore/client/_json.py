"""The only place that knows how JSON text and Python values become each other without losing a digit."""

import json
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, DecimalException, localcontext
from math import isfinite
from typing import Any, Final, NoReturn


def from_json(text: str) -> Any:
    """The Python value of a JSON text: None, bool, int, float, Decimal, str, list or dict.

    Integers are exact whatever their size. A number that a double cannot hold, such as 1e400 or 1e-400, is a Decimal.
    Empty text is None.

    Raises:
        ValueError: `text` is not JSON, or has a number beyond what Decimal can hold.
    """
    if not text:
        return None
    try:
        return _decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # The interpreter's limit on digits (sys.set_int_max_str_digits) made int() give up.
        return _decode_long_integers(text)


def to_json(value: Any, path: str) -> str:
    """The JSON text of a Python value, without spaces. None is empty text.

    Takes what `from_json` gives, and tuples as lists.

    Args:
        value: The value.
        path: What errors call it, such as "state.input".

    Raises:
        TypeError: A part of the value, or a key of a dict, is of a type that JSON does not have.
        ValueError: A number is not finite, a text has a lone surrogate, or the value contains itself.
    """
    if value is None:
        return ""
    try:
        text = _encode(value)
        text.isascii() or text.encode()
    except (TypeError, ValueError, RecursionError):
        # Decimals and integers beyond the interpreter's limit are fine, slowly; anything else is refused by name.
        return _encode_slowly(value, path)
    # The C encoder turns keys such as 1 and None into text; 1 and "1" would become one key.
    return text if _keys_are_text(value) else _encode_slowly(value, path)


def _float(text: str) -> float | Decimal:
    value = float(text)
    if isfinite(value) and (value or not text.lower().partition("e")[0].strip("-0.")):
        return value
    try:
        return Decimal(text)
    except DecimalException:
        raise json.JSONDecodeError("number beyond what Decimal can hold", text[:100], 0) from None


def _refuse_constant(text: str) -> NoReturn:
    raise json.JSONDecodeError(f"{text} is not JSON", text, 0)


# The digits of an integer that int() and str() take whatever the interpreter's limit is set to
# (sys.int_info.str_digits_check_threshold).
_SAFE_DIGITS: Final = 640
_SAFE_BITS: Final = 2048


def _integer(text: str) -> int:
    """int(text) in less than quadratic time: halves of a power of two of safe pieces, put together by Karatsuba."""
    if len(text) <= _SAFE_DIGITS:
        return int(text)
    if text[0] == "-":
        return -_integer(text[1:])
    powers: list[int] = [10**_SAFE_DIGITS]

    def value(start: int, stop: int, level: int) -> int:
        if stop - start <= _SAFE_DIGITS:
            return int(text[start:stop] or "0")
        middle = max(start, stop - (_SAFE_DIGITS << level))
        return value(start, middle, level - 1) * powers[level] + value(middle, stop, level - 1)

    while _SAFE_DIGITS << len(powers) < len(text):
        powers.append(powers[-1] ** 2)
    return value(0, len(text), len(powers) - 1)


def _integer_text(value: int) -> str:
    """str(value) without the interpreter's limit: decimal multiplies long numbers in less than quadratic time."""
    if value.bit_length() <= _SAFE_BITS:
        return int.__repr__(value)
    if value < 0:
        return "-" + _integer_text(-value)
    powers = [Decimal(1 << _SAFE_BITS)]

    def decimal(part: int, level: int) -> Decimal:
        if part.bit_length() <= _SAFE_BITS:
            return Decimal(part)
        bits = _SAFE_BITS << level
        return decimal(part >> bits, level - 1) * powers[level] + decimal(part & ((1 << bits) - 1), level - 1)

    with localcontext(Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)):
        while _SAFE_BITS << len(powers) < value.bit_length():
            powers.append(powers[-1] * powers[-1])
        return str(decimal(value, len(powers) - 1))


_decode: Final = json.JSONDecoder(parse_float=_float, parse_constant=_refuse_constant).decode
_decode_long_integers: Final = json.JSONDecoder(
    parse_float=_float, parse_int=_integer, parse_constant=_refuse_constant
).decode
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


_CONTAINERS: Final = (dict, list, tuple)


def _keys_are_text(value: Any) -> bool:
    """Whether every dict in `value`, which is known to be finite, has text for keys."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            for key, member in part.items():
                if not isinstance(key, str):
                    return False
                if isinstance(member, _CONTAINERS):
                    rest.append(member)
        elif isinstance(part, _CONTAINERS):
            rest.extend(member for member in part if isinstance(member, _CONTAINERS))
    return True


def _encode_slowly(value: Any, path: str) -> str:
    try:
        return _encode_part(value, path, set())
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None


def _encode_part(value: Any, path: str, parents: set[int]) -> str:
    if isinstance(value, str):
        return _encode_text(value, path)
    if value is None or isinstance(value, bool):
        return _encode(value)
    if isinstance(value, int):
        return _integer_text(value)
    if isinstance(value, float | Decimal):
        if not isfinite(value) if isinstance(value, float) else not value.is_finite():
            raise ValueError(f"{path}: {value} is not a number in JSON; give a finite one or None")
        return float.__repr__(value) if isinstance(value, float) else str(value)
    if not isinstance(value, _CONTAINERS):
        raise TypeError(
            f"{path}: {type(value).__name__} is not a JSON type; give None, bool, int, float, Decimal, str, list, dict"
        )
    if id(value) in parents:
        raise ValueError(f"{path}: contains itself")
    parents.add(id(value))
    if isinstance(value, dict):
        text = "{" + ",".join([_encode_member(key, part, path, parents) for key, part in value.items()]) + "}"
    else:
        text = "[" + ",".join([_encode_part(part, f"{path}[{i}]", parents) for i, part in enumerate(value)]) + "]"
    parents.remove(id(value))
    return text


def _encode_member(key: Any, value: Any, path: str, parents: set[int]) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{path}: the key {key!r} is not a str, as JSON's keys must be")
    return _encode_text(key, path) + ":" + _encode_part(value, f"{path}[{key!r}]", parents)


def _encode_text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path}: {text!r:.100} has a lone surrogate, which UTF-8 cannot carry") from None
    return _encode(text)
