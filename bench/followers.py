"""The only place that knows how it is measured that an index is built, and that it catches up after a restart."""

import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from bench import processes, server
from bench.plan import LARGE, Plan
from bench.raw_nats import Bucket
from bench.results import Bar, Row
from bench.timing import CpuClock, Figure, median_of

BUILD_BAR: Final = Bar(rate_min=20_000, memory_mib_max=300)
RESTART_BAR: Final = Bar(p50_ms_max=2_000)
"""They hold for the largest bucket, from `LARGE` states on: a smaller one is built before the server has started."""


@dataclass(frozen=True, slots=True)
class _Start:
    """One start of a server, from that of its process until its first Count has answered."""

    figure: Figure
    serving_seconds: float
    """Until it took calls. Before that the index was not worked on."""


async def rows(plan: Plan, bucket: Bucket, data: Path) -> AsyncIterator[Row]:
    """Measure starts of a server without an index and with one, which is left in `data`."""
    judged = bucket.size == max(plan.states) >= LARGE
    builds = []
    for _ in range(plan.builds_of(bucket.size)):
        shutil.rmtree(data, ignore_errors=True)
        builds.append(await _start(bucket, data))
    built = _row("Cold build", builds, bucket, BUILD_BAR if judged else None)
    build_us = median(start.figure.p50_ms - start.serving_seconds * 1e3 for start in builds) / bucket.size * 1e3
    yield replace(built, costs={"Cold build once it serves, us a state": build_us})
    restarts = [await _start(bucket, data) for _ in range(plan.rounds)]
    restarted = _row("Warm restart", restarts, bucket, RESTART_BAR if judged else None)
    yield replace(restarted, costs={"Warm restart, ms": median_of([start.figure for start in restarts]).p50_ms})


async def _start(bucket: Bucket, data: Path) -> _Start:
    clock = CpuClock({"storage": bucket.nats.process})
    begun = time.perf_counter()
    with clock.running():
        async with server.indexing(bucket, data) as ours:
            serving_seconds = time.perf_counter() - begun
            await server.caught_up(ours, bucket)
            seconds = time.perf_counter() - begun
            memory_mib, cpu_seconds = processes.peak_memory_mib(ours.process), processes.cpu_seconds(ours.process)
    cpu_us = clock.each_us(bucket.size)
    if cpu_seconds is not None:
        cpu_us["server"] = cpu_seconds / bucket.size * 1e6
    figure = Figure(bucket.size / seconds, seconds * 1e3, memory_mib=memory_mib, cpu_us=cpu_us)
    return _Start(figure, serving_seconds)


def _row(what: str, starts: list[_Start], bucket: Bucket, bar: Bar | None) -> Row:
    figure = median_of([start.figure for start in starts])
    serving_ms = median(start.serving_seconds for start in starts) * 1e3
    note = f"it serves after {serving_ms:,.0f} ms"
    return Row(f"{what} {bucket.size:,}", ours=figure, bar=bar, note=note, size=bucket.size)
