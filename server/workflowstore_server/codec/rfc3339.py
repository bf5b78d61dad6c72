"""The only place that knows how an instant is written."""

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from workflowstore_server.model.state import TIME_NS_MAX, ZERO_TIME_NS

_FORM: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d+))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)
"""RFC 3339 as Go's time.Time writes it, and as it would read it had https://go.dev/issue/54580 not kept it from being
strict: Go still takes one-digit hours, a comma before the fraction, and offsets of 60 minutes."""

TEXTS_KEPT: Final = 256
"""Texts whose instants are remembered: within a document most of them come twice, as do those of a moment."""

_EPOCH: Final = datetime(1970, 1, 1)
_OUT_OF_RANGE: Final = "not within 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z"


@lru_cache(TEXTS_KEPT)
def parse(text: str) -> int:
    """Returns the instant that `text` tells, in nanoseconds since 1970. Digits beyond the ninth are cut off, as in Go.

    Raises:
        ValueError: `text` is not an RFC 3339 time, or not one that a google.protobuf.Timestamp can hold.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time")
    date_and_clock, fraction, sign, hours, minutes = match.groups()
    try:
        since = datetime.fromisoformat(date_and_clock) - _EPOCH
    except ValueError:
        # The form has left two ways to fail: a day that its month does not have, and the year 0, which datetime lacks.
        raise ValueError(_OUT_OF_RANGE if text.startswith("0000") else "not a day of the calendar") from None
    ns = (since.days * 86_400 + since.seconds) * 1_000_000_000
    if fraction:
        ns += int(fraction[:9].ljust(9, "0"))
    if sign:
        offset_ns = (int(hours) * 3_600 + int(minutes) * 60) * 1_000_000_000
        ns += offset_ns if sign == "-" else -offset_ns
        if not ZERO_TIME_NS <= ns <= TIME_NS_MAX:
            raise ValueError(_OUT_OF_RANGE)
    return ns


def format(ns: int) -> str:  # noqa: A001 - always called as rfc3339.format
    """Returns the instant `ns`, of `ZERO_TIME_NS` to `TIME_NS_MAX`, in UTC, written as Go's time.RFC3339Nano."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    text = (_EPOCH + timedelta(0, seconds)).isoformat()
    if fraction:
        return f"{text}.{fraction:09d}".rstrip("0") + "Z"
    return text + "Z"
