"""The only place that knows how calls are kept in flight and timed, and how rounds of them become one figure."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from bench import processes

CLIENT = "client"
"""The role of this process among those whose processor time is measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one round, or the median of several, has shown. Rates are per second."""

    rate: float | None
    """None where there is one thing to wait for, and not many to count."""

    p50_ms: float
    p99_ms: float | None = None
    """None where a round is a single call."""

    first_ms: float | None = None
    """Until the first part of a streamed reply; None for other calls."""

    memory_mib: float | None = None
    """The most resident memory that the server had meanwhile; None where it was not looked at."""

    consumers: int | None = None
    """The most JetStream consumers that there were meanwhile; None where they were not counted."""

    cpu_us: Mapping[str, float] = field(default_factory=dict)
    """Processor time per call by role: client, server, storage. Where a call is of many states, per state, and where it
    is a Watch, per change that one watcher was told."""


Measurement = Callable[[], Awaitable[Figure]]


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls one round makes."""

    calls: int
    in_flight: int
    seconds_max: float = 15.0
    """A round that takes longer is cut off and counts what it has done."""

    states: int = 1
    """States of one call, by which its rate and processor time are reckoned. Its latency is that of the call."""


class CpuClock:
    """Processor time by role, of this process and of others."""

    def __init__(self, others: Mapping[str, int | None]) -> None:
        self._others = others
        self._seconds: dict[str, float] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        before = self._read()
        yield
        after = self._read()
        self._seconds = {role: after[role] - before[role] for role in before.keys() & after.keys()}

    def each_us(self, count: int) -> dict[str, float]:
        """What one of `count` calls has used, in microseconds."""
        return {role: seconds / count * 1e6 for role, seconds in self._seconds.items()}

    def _read(self) -> dict[str, float]:
        found = {role: processes.cpu_seconds(process) for role, process in self._others.items() if process is not None}
        return {CLIENT: time.process_time()} | {role: seconds for role, seconds in found.items() if seconds is not None}


def calling(call: Callable[[int], Awaitable[object]], load: Load, others: Mapping[str, int | None]) -> Measurement:
    """A measurement that makes numbered calls, always `in_flight` at a time."""

    async def measure() -> Figure:
        latencies: list[float] = []
        clock = CpuClock(others)
        numbers = iter(range(load.calls))
        begun = time.perf_counter()
        end = begun + load.seconds_max

        async def work() -> None:
            for number in numbers:
                started = time.perf_counter()
                if started > end:
                    break
                await call(number)
                latencies.append(time.perf_counter() - started)

        with clock.running():
            async with asyncio.TaskGroup() as workers:
                for _ in range(load.in_flight):
                    workers.create_task(work())
        seconds = time.perf_counter() - begun
        latencies.sort()
        count = len(latencies)
        return Figure(
            rate=count * load.states / seconds,
            p50_ms=latencies[count // 2] * 1e3,
            p99_ms=latencies[count * 99 // 100] * 1e3,
            cpu_us=clock.each_us(count * load.states),
        )

    return measure


async def in_turn(measurements: Mapping[str, Measurement], rounds: int) -> dict[str, list[Figure]]:
    """Take every measurement once a round, so that what disturbs the machine disturbs all of them."""
    figures: dict[str, list[Figure]] = {name: [] for name in measurements}
    for number in range(rounds):
        names = list(measurements)
        # Nobody always follows the same neighbour.
        for name in names if number % 2 == 0 else reversed(names):
            gc.collect()
            figures[name].append(await measurements[name]())
    return figures


def median_of(figures: Sequence[Figure]) -> Figure:
    """The median of each number of several rounds, and the most of their memory and of their consumers."""
    roles = set.intersection(*(set(figure.cpu_us) for figure in figures))
    return Figure(
        rate=_median(figure.rate for figure in figures),
        p50_ms=median(figure.p50_ms for figure in figures),
        p99_ms=_median(figure.p99_ms for figure in figures),
        first_ms=_median(figure.first_ms for figure in figures),
        memory_mib=max((figure.memory_mib for figure in figures if figure.memory_mib is not None), default=None),
        consumers=max((figure.consumers for figure in figures if figure.consumers is not None), default=None),
        cpu_us={role: median(figure.cpu_us[role] for figure in figures) for role in sorted(roles)},
    )


def ratio_of(ours: Sequence[Figure], floor: Sequence[Figure]) -> float:
    """How the rates compare: the median over rounds, each of which compares what was measured side by side."""
    rates = [(one.rate, other.rate) for one, other in zip(ours, floor, strict=True)]
    return median(one / other for one, other in rates if one is not None and other is not None)


def _median(numbers: Iterator[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return median(known) if known else None
