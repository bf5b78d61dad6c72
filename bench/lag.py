"""The only place that knows how late the event loop of a server is: how long something that is due has to wait.

Run as a program it is a server of our own code with these options, in whose event loop something is due every 5 ms.
On SIGUSR1 it prints how late that was since the last time.
"""

import asyncio
import json
import signal
import sys
import time
from typing import Final

import uvloop

from bench import processes
from bench.server import Server
from bench.timing import Figure
from workflowstore_server import app
from workflowstore_server.config import sources

INTERVAL_SECONDS: Final = 0.005


async def take(ours: Server) -> Figure:
    """How late the loop of a server that is this program has been since the last time."""
    ours.running.send_signal(signal.SIGUSR1)
    found = json.loads(await processes.next_line(ours.running))
    return Figure(rate=None, p50_ms=found["p50_ms"], p99_ms=found["p99_ms"])


async def longest_ms(ours: Server) -> float:
    """The longest that the loop of a server that is this program has been late since the last time."""
    ours.running.send_signal(signal.SIGUSR1)
    longest: float = json.loads(await processes.next_line(ours.running))["max_ms"]
    return longest


class _Watch:
    def __init__(self) -> None:
        self._late_seconds: list[float] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._tell)
        due = time.perf_counter() + INTERVAL_SECONDS
        while True:
            await asyncio.sleep(due - time.perf_counter())
            now = time.perf_counter()
            # All that was due meanwhile has waited, not only what came first.
            while due <= now:
                self._late_seconds.append(now - due)
                due += INTERVAL_SECONDS

    def _tell(self) -> None:
        late, self._late_seconds = sorted(self._late_seconds) or [0.0], []
        shown = {"p50_ms": late[len(late) // 2], "p99_ms": late[len(late) * 99 // 100], "max_ms": late[-1]}
        found = {name: seconds * 1e3 for name, seconds in shown.items()}
        print(json.dumps(found), flush=True)


async def _serve(options: list[str]) -> None:
    names = [name.removeprefix("--").replace("-", "_") for name in options[::2]]
    flags = dict(zip(names, options[1::2], strict=True))
    watching = asyncio.create_task(_Watch().run())
    try:
        await app.serve(sources.load(flags, {}, None), lambda address: print(f"listening on {address}", flush=True))
    finally:
        watching.cancel()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1:]))
