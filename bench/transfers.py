"""The only place that knows how it is measured that a bucket is exported, and imported into an empty one."""

import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from bench import processes, raw_nats, server
from bench.plan import LARGE, Plan
from bench.raw_nats import Bucket
from bench.results import Bar, Row
from bench.server import Server
from bench.timing import CLIENT, CpuClock, Figure, in_turn, median_of

BAR: Final = Bar(p50_ms_max=60_000)
"""It holds for `LARGE` states."""

COMMAND_SECONDS_MAX: Final = 600.0


async def rows(plan: Plan, folder: Path) -> AsyncIterator[Row]:
    """Measure the commands as an operator runs them, from the start of the process to its end."""
    if not plan.wants("transfer"):
        return
    size, file = plan.states_transferred, folder / "exported"
    async with raw_nats.running(folder / "nats") as nats:
        bucket = await raw_nats.filled(nats, size)
        async with server.indexing(bucket, folder / "index") as full:
            await server.caught_up(full, bucket)

            async def export() -> Figure:
                return await _run(("export", str(file), "--force"), "exported", bucket, full, nats.process)

            async def import_() -> Figure:
                with tempfile.TemporaryDirectory(dir=folder) as data:
                    async with server.serving("--data-dir", data) as empty:
                        return await _run(("import", str(file)), "written", bucket, empty, empty.nats_process)

            # There is something to import, whose turn ever it is.
            await export()
            figures = await in_turn({"export": export, "import": import_}, min(plan.rounds, plan.rounds_large))
    for name, rounds in figures.items():
        bar = BAR if size >= LARGE else None
        yield Row(f"workflowstore {name}, {size:,} states", ours=median_of(rounds), bar=bar)


async def _run(command: Sequence[str], counted: str, bucket: Bucket, ours: Server, storage: int | None) -> Figure:
    """Run a command that tells under the name `counted` that all documents of the bucket were transferred."""
    program = [sys.executable, "-m", "workflowstore_server", *command, "--address", ours.address]
    clock, ended_seconds = CpuClock({"server": ours.process, "storage": storage}), _ended_seconds()
    processes.forget_peak_memory(ours.process)
    begun = time.perf_counter()
    with clock.running():
        async with processes.running(program) as process:
            told = json.loads(await processes.next_line(process, COMMAND_SECONDS_MAX))
            if await process.wait() != 0 or told[counted] != bucket.size:
                raise RuntimeError(f"{command[0]} has not transferred {bucket.size} documents: {told}")
    seconds = time.perf_counter() - begun
    cpu_us = clock.each_us(bucket.size) | {CLIENT: (_ended_seconds() - ended_seconds) / bucket.size * 1e6}
    memory_mib = processes.peak_memory_mib(ours.process)
    return Figure(rate=bucket.size / seconds, p50_ms=seconds * 1e3, memory_mib=memory_mib, cpu_us=cpu_us)


def _ended_seconds() -> float:
    """The processor time of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system
