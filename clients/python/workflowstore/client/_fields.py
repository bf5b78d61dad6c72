"""The only place that knows which Python values a request's fields take. Errors name the field."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

from workflowstore.client._timestamp import to_unix

INT64: Final = range(-(2**63), 2**63)
UINT64: Final = range(2**64)


def text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{path}: must be a str, not {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{path}: {value!r:.100} has a lone surrogate, which UTF-8 cannot carry") from None
    return value


def texts(values: Any, path: str) -> list[str]:
    # A text is a collection of texts as well.
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise TypeError(f"{path}: must be a sequence of texts, not {type(values).__name__}")
    return [text(value, f"{path}[{i}]") for i, value in enumerate(values)]


def integer(value: Any, path: str, allowed: range) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{path}: must be an int, not {type(value).__name__}")
    if value not in allowed:
        raise ValueError(f"{path}: must be in {allowed.start}..{allowed.stop - 1}")
    return value


def flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{path}: must be a bool, not {type(value).__name__}")
    return value


def labels(value: Any, path: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{path}: must be a mapping, not {type(value).__name__}")
    return {text(key, path): text(item, f"{path}[{key!r}]") for key, item in value.items()}


def moment(value: Any, path: str) -> TimestampMessage | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise TypeError(f"{path}: must be an aware datetime or None, not {type(value).__name__}")
    try:
        seconds, nanos = to_unix(value)
    except ValueError as error:
        raise ValueError(f"{path}: {value.isoformat()} {error}") from None
    return TimestampMessage(seconds=seconds, nanos=nanos)


def duration(nanoseconds: Any, path: str) -> Duration | None:
    if not integer(nanoseconds, path, INT64):
        return None
    # A negative Duration has both parts negative.
    seconds, nanos = divmod(abs(nanoseconds), 1_000_000_000)
    sign = 1 if nanoseconds > 0 else -1
    return Duration(seconds=sign * seconds, nanos=sign * nanos)
