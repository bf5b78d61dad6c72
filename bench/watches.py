"""The only place that knows how it is measured how soon after a Save's reply its watchers are told."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc

from bench import documents, lag, processes, raw_nats, server, watchers
from bench.plan import Plan
from bench.raw_nats import Nats
from bench.results import Bar, Row
from bench.server import Server
from bench.timing import CLIENT, CpuClock, Figure, in_turn, median_of
from bench.watchers import Crowd
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

BUCKET: Final = "watched"
SAVES_PER_SECOND: Final = 200

BAR: Final = Bar(p99_ms_max=25, consumers_max=1)

NOBODY: Final = "nobody"
ONE: Final = "1 watcher"
CROWDS: Final = {
    NOBODY: Crowd(0, whole=True),
    ONE: Crowd(1, whole=True),
    "100 watchers of 1 %": Crowd(100, whole=False),
    "100 watchers of all": Crowd(100, whole=True),
    "1,000 watchers of 1 %": Crowd(1_000, whole=False),
}


async def rows(plan: Plan, folder: Path) -> AsyncIterator[Row]:
    """Measure it with few and with many watchers, and how late the server's event loop is meanwhile."""
    if not plan.wants("watch"):
        return
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(raw_nats.running(folder / "nats"))
        options = ("--nats-url", nats.url, "--bucket", BUCKET, "--data-dir", str(folder / "workflowstore"))
        ours = await stack.enter_async_context(server.serving(*options, program=lag.__name__))
        stub = WorkflowStoreStub(await stack.enter_async_context(grpc.aio.insecure_channel(ours.address)))
        watches = _Watches(ours, nats, stub, plan.saves_watched, folder)
        # Nobody is measured cold.
        await watches.measure(NOBODY)
        watches.late.clear()
        told = await in_turn({name: partial(watches.measure, name) for name in CROWDS}, plan.rounds)
    figures = {name: median_of(rounds) for name, rounds in told.items()}
    late = {name: median_of(rounds) for name, rounds in watches.late.items()}
    for name, figure in figures.items():
        if name != NOBODY:
            beside, floor = (ONE, figures[ONE]) if name != ONE else ("", None)
            note = f"{SAVES_PER_SECOND} saves a second; {figure.consumers} JetStream consumers"
            yield Row(f"Watch, {name}", beside, figure, floor, bar=BAR, note=note)
    for name in figures:
        if name != NOBODY:
            yield Row(f"Loop late, {name}", f"{NOBODY} watches", late[name], late[NOBODY])


class _Watches:
    """Measurements of one server with several numbers of watchers."""

    def __init__(self, ours: Server, nats: Nats, stub: Any, saves: int, folder: Path) -> None:
        self.late: dict[str, list[Figure]] = {}
        """How late the event loop was, by name of the crowd, round by round."""
        self._ours = ours
        self._nats = nats
        self._stub = stub
        self._saves = saves
        self._folder = folder
        self._requests = [
            pb.SaveRequest(state=documents.state(watchers.workflow(number)))
            for number in range(watchers.SHARES * watchers.WORKFLOWS_OF_A_SHARE)
        ]

    async def measure(self, name: str) -> Figure:
        """Save, and see how long after each reply each watcher was told of it. Sooner counts as 0."""
        crowd = CROWDS[name]
        processes.forget_peak_memory(self._ours.process)
        async with watchers.running(self._ours.address, crowd, self._saves, self._folder / "told") as watching:
            working = {"server": self._ours.process, "storage": self._nats.process, CLIENT: watching.process.pid}
            clock = CpuClock(working)
            await lag.take(self._ours)
            begun = time.perf_counter()
            with clock.running():
                replied_ns = await self._save(range(self._saves // 2))
                consumers = await raw_nats.consumers(self._nats, BUCKET)
                replied_ns |= await self._save(range(self._saves // 2, self._saves))
                told = await watching.told()
            seconds = time.perf_counter() - begun
            self.late.setdefault(name, []).append(await lag.take(self._ours))
        if len(told) != crowd.told(self._saves):
            raise RuntimeError(f"{name} were told {len(told)} changes instead of {crowd.told(self._saves)}")
        late_ms = sorted(max(0, at_ns - replied_ns[revision]) / 1e6 for revision, at_ns in told) or [0.0]
        return Figure(
            rate=len(told) / seconds,
            p50_ms=late_ms[len(late_ms) // 2],
            p99_ms=late_ms[len(late_ms) * 99 // 100],
            memory_mib=processes.peak_memory_mib(self._ours.process),
            consumers=consumers,
            cpu_us=clock.each_us(max(1, len(told))),
        )

    async def _save(self, numbers: range) -> dict[int, int]:
        """Save at an even pace, however long a Save takes, and return when each revision was acknowledged."""
        replied_ns: dict[int, int] = {}

        async def save(number: int) -> None:
            reply = await self._stub.Save(self._requests[number % len(self._requests)])
            replied_ns[reply.revision] = time.time_ns()

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as saving:
            for done, number in enumerate(numbers):
                await asyncio.sleep(begun + done / SAVES_PER_SECOND - time.perf_counter())
                saving.create_task(save(number))
        return replied_ns
