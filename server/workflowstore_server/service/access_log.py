"""The only place that knows which calls get a line in the log, and how many lines a second that may be.

A line costs a third of what a Load costs, so most calls of a busy server have none; the metrics count all of them. It
says which method was called, how it ended and how long it took: no ids, no labels, no payload.
"""

import enum
import logging
from collections.abc import Callable
from typing import Final

import grpc

log = logging.getLogger(__name__)

FAILURES_MAX: Final = 100
"""Lines a second for calls that failed for a reason of the server's. What is beyond them is counted in the next."""

SERVER_CODES: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""How a call ends for a reason of the server's; with any other code it was answered, or its caller went away."""


class Logged(enum.Enum):
    """Which calls get a line."""

    OFF = "off"
    ERRORS = "errors"
    """Those that failed for a reason of the server's."""
    SAMPLED = "sampled"
    """These, and of the others one a second for each method and code."""
    ALL = "all"


class _Left:
    """When there is a line again, and how many calls have had none since the last."""

    __slots__ = ("count", "lines", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.lines = 0
        self.count = 0


class AccessLog:
    """Writes lines about calls that have ended."""

    def __init__(self, logged: Logged) -> None:
        self._logged = logged
        self._left: dict[tuple[str, grpc.StatusCode], _Left] = {}
        self._failures = _Left()

    def note(self, method: str, code: grpc.StatusCode, seconds: float, now: float, peer: Callable[[], str]) -> None:
        """Take note of a call that took so long and has ended now, by a clock that does not go back."""
        if self._logged is Logged.OFF:
            return
        failed = code in SERVER_CODES
        if self._logged is Logged.ALL:
            self._write(method, code, seconds, peer(), 0, failed=failed)
            return
        if failed:
            left, lines_max = self._failures, FAILURES_MAX
        elif self._logged is Logged.SAMPLED:
            found = self._left.get((method, code))
            left, lines_max = found or self._left.setdefault((method, code), _Left()), 1
        else:
            return
        if now >= left.until:
            left.until, left.lines = now + 1, 0
        if left.lines >= lines_max:
            left.count += 1
            return
        left.lines += 1
        not_logged, left.count = left.count, 0
        self._write(method, code, seconds, peer(), not_logged, failed=failed)

    def _write(
        self, method: str, code: grpc.StatusCode, seconds: float, peer: str, not_logged: int, *, failed: bool
    ) -> None:
        facts: dict[str, object] = {
            "method": method,
            "code": code.name,
            "duration_ms": round(seconds * 1e3, 3),
            "peer": peer,
        }
        words = ""
        if not_logged:
            facts["not_logged"] = not_logged
            words = f"; {not_logged} like it are not in the log"
        log.log(
            logging.WARNING if failed else logging.INFO,
            "%s: %s in %.1f ms, from %s%s", method, code.name, seconds * 1e3, peer, words, extra={"facts": facts},
        )  # fmt: skip
