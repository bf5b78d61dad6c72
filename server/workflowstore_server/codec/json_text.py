"""The only place that knows which JSON texts can be payloads."""

from itertools import accumulate
from typing import Final

import msgspec

from workflowstore_server.model.limits import JSON_DEPTH_MAX

_DECODER: Final = msgspec.json.Decoder(msgspec.Raw)
"""Checks the whole syntax and builds nothing. It is stricter than Go in one point: a lone surrogate is no character."""

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Brackets as signed bytes: one level down, one level up."""


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
    # Without escaped backslashes and escaped quotes, every second piece between quotes lies outside of the strings.
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    steps = outside.encode("ascii", "ignore").translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > levels


def too_deep(levels_max: int = JSON_DEPTH_MAX) -> str:
    """Returns the reason that refuses a text which is deeper than `levels_max`."""
    return f"nested more than {levels_max} levels deep"
