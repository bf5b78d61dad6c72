"""The only place that knows how it is counted how long things take.

A count costs half a microsecond, a tenth of what it takes where the names of metrics are known; those who publish
them read it when they are asked (docs/adr/0015).
"""

from bisect import bisect_left
from typing import Final

BOUNDS_SECONDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper ends of the intervals: from half of what a lone Load takes to the longest that a call with one reply may."""


class Durations:
    """How long things of one kind took."""

    __slots__ = ("counts", "sum_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        """For each interval, and at last for what was beyond them, how many there were."""
        self.sum_seconds = 0.0

    def add(self, seconds: float) -> None:
        """Take note of one."""
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.sum_seconds += seconds
