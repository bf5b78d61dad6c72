"""The only place that knows which JSON texts can be payloads."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import msgspec

from workflowstore_server.model.limits import JSON_DEPTH_MAX

_DECODER: Final = msgspec.json.Decoder(msgspec.Raw)
"""Checks the whole syntax and builds nothing. It is stricter than Go in one point: a lone surrogate is no character."""

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_NOT_STRUCTURE: Final = bytes(set(_NOT_BRACKETS) - set(b","))
_STEPS: Final = bytes.maketrans(b"[{]},", b"\x01\x01\xff\xff\x00")
"""Brackets as signed bytes: one level down, one level up; and what parts elements: on the same level."""

_SLICE: Final = 65_536
"""Characters that are looked at in one step of the interpreter."""


def problem_of(text: str, levels_max: int = JSON_DEPTH_MAX) -> str | None:
    """Returns why `text` cannot be a payload, None if it can. The empty text can: it stands for null.

    The reason tells positions, never contents.
    """
    if not text:
        return None
    if is_deeper_than(text, levels_max):
        return too_deep(levels_max)
    try:
        _DECODER.decode(text)
    except UnicodeEncodeError:
        return "not valid Unicode"
    except msgspec.DecodeError as error:
        return f"not valid JSON: {str(error).removeprefix('JSON is malformed: ')}"
    except RecursionError:
        # The caller's own stack left too little of the interpreter's limit.
        return too_deep(levels_max)
    return None


def is_deeper_than(text: str, levels: int) -> bool:
    """Tells whether arrays and objects nest more than `levels` deep in `text`, as far as it is valid JSON."""
    # Nearly every text has fewer brackets than it may have levels, and counting them costs next to nothing.
    if text.count("[") + text.count("{") <= levels:
        return False
    depth = 0
    for steps in _steps(text, _NOT_BRACKETS):
        depths = list(accumulate(steps, initial=depth))
        if max(depths) > levels:
            return True
        depth = depths[-1]
    return False


def has_more_elements(text: str, elements_max: int) -> bool:
    """Tells whether an array or object has more than so many elements, as far as `text` is valid JSON."""
    if text.count(",") < elements_max:
        return False
    depth, left = 0, elements_max
    for steps in _steps(text, _NOT_STRUCTURE):
        depths = list(accumulate(steps, initial=depth))
        for step, after in zip(steps, depths[1:], strict=True):
            if step == 0 and after == 1:
                left -= 1
                if not left:
                    return True
        depth = depths[-1]
    return False


def _steps(text: str, others: bytes) -> Iterator[memoryview]:
    """Yield the steps that lie outside of strings, in slices after which other threads may run."""
    # Without escaped backslashes and escaped quotes, every second piece between quotes lies outside of the strings.
    bare = text.replace("\\\\", "").replace('\\"', "")
    inside = 0
    for start in range(0, len(bare), _SLICE):
        pieces = bare[start : start + _SLICE].split('"')
        outside = "".join(pieces[inside::2])
        inside ^= (len(pieces) - 1) & 1
        yield memoryview(outside.encode("ascii", "ignore").translate(_STEPS, others)).cast("b")


def too_deep(levels_max: int = JSON_DEPTH_MAX) -> str:
    """Returns the reason that refuses a text which is deeper than `levels_max`."""
    return f"nested more than {levels_max} levels deep"
