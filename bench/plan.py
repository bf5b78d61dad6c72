"""The only place that knows how much is measured: enough for figures that repeat, or `QUICK` to see that all works."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LARGE: Final = 100_000
"""States of the largest bucket that is measured in all rounds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. The rows are named in the help of `python -m bench`."""

    rounds: int = 5
    """Rounds of ours and its floors, in turn."""

    rounds_large: int = 3
    """The same for buckets of more than `LARGE` states, whose index is built in one round, and for transfers."""

    calls_alone: int = 500
    """Calls of a round with one in flight."""

    calls_together: int = 5_000
    """Calls of a round with 64 in flight."""

    states: tuple[int, ...] = (10_000, 100_000)
    """Sizes of the buckets that are followed and listed. The bars are for 1,000,000, which takes some minutes more."""

    gets_max: int = 10_000
    """Gets of one round of the N+1 loops. What a larger bucket would take is reckoned from them."""

    pages_max: int = 100
    """Pages of one round of etcd's Range by pages. What a larger bucket would take is reckoned from them."""

    queries: int = 200
    """Lists and Counts with a filter in one round."""

    states_batched: int = 10_000
    """States that are saved, or loaded, in batches in one round."""

    saves_watched: int = 1_000
    """Saves of one round that is watched, of which there are 200 a second."""

    states_transferred: int = LARGE
    """States that are exported and imported. The bars are for these."""

    loads_checked: int = 100_000
    """Loads on a cluster, each after a save on another server, of which it is counted how many are stale."""

    only: Sequence[str] = ()
    """Measure the rows whose names begin with one of these. Empty = all."""

    def wants(self, name: str) -> bool:
        """Whether a row is measured."""
        return not self.only or name.startswith(tuple(self.only))

    def rounds_of(self, size: int) -> int:
        """Rounds for a bucket of this size."""
        return self.rounds if size <= LARGE else min(self.rounds, self.rounds_large)

    def builds_of(self, size: int) -> int:
        """Rounds in which the index of a bucket of this size is built: a million states take most of a minute."""
        return self.rounds if size <= LARGE else 1


QUICK: Final = Plan(
    rounds=1,
    calls_alone=200,
    calls_together=2_000,
    states=(10_000,),
    gets_max=2_000,
    pages_max=20,
    queries=50,
    states_batched=2_000,
    saves_watched=400,
    states_transferred=5_000,
    loads_checked=2_000,
)
