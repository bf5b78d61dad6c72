"""The only place that knows how much is measured: enough for figures that repeat, or `QUICK` to see that all works."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. Rows are named save-1, save-64, load-1, load-64 and list-10000."""

    rounds: int = 5
    """Rounds of ours and its floors, in turn."""

    calls_alone: int = 500
    """Calls of a round with one in flight."""

    calls_together: int = 5_000
    """Calls of a round with 64 in flight."""

    states: tuple[int, ...] = (10_000, 100_000)
    """Sizes of the buckets that are listed."""

    gets_max: int = 10_000
    """Gets of one round of the N+1 loop. What a larger bucket would take is reckoned from them."""

    only: Sequence[str] = ()
    """Measure the rows whose names begin with one of these. Empty = all."""

    def wants(self, name: str) -> bool:
        """Whether a row is measured."""
        return not self.only or name.startswith(tuple(self.only))


QUICK: Final = Plan(rounds=1, calls_alone=200, calls_together=2_000, states=(10_000,), gets_max=2_000)
