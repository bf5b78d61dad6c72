"""The only place that knows how long a server takes to answer a call that needs nothing but its event loop.

Run as a program it asks a server for its health every 5 ms, or once it has the answer to the question before, until it
is told to end; then it prints how long the answers took. It is a process of its own: what else the measuring process
does would be taken for the server's doing.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable
from typing import Final

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench import processes
from bench.timing import Figure

INTERVAL_SECONDS: Final = 0.005
READY: Final = "ready"


async def during(address: str, work: Awaitable[object]) -> Figure:
    """How long answers take while `work` runs."""
    async with processes.running([sys.executable, "-m", "bench.health", address]) as process:
        if await processes.next_line(process) != READY:
            raise RuntimeError("the program that asks for a server's health is not ready")
        await work
        process.terminate()
        found = json.loads(await processes.next_line(process))
    return Figure(rate=found["per_second"], p50_ms=found["p50_ms"], p99_ms=found["p99_ms"])


async def _ask(address: str) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        request = health_pb2.HealthCheckRequest()

        await check(request, wait_for_ready=True)
        print(READY, flush=True)
        begun = due = time.perf_counter()
        while not ended.is_set():
            asked = time.perf_counter()
            await check(request)
            latencies.append(time.perf_counter() - asked)
            due = max(due + INTERVAL_SECONDS, time.perf_counter())
            await asyncio.sleep(due - time.perf_counter())
        seconds = time.perf_counter() - begun
    latencies.sort()
    count = len(latencies)
    found = {
        "per_second": count / seconds,
        "p50_ms": latencies[count // 2] * 1e3,
        "p99_ms": latencies[count * 99 // 100] * 1e3,
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    uvloop.run(_ask(sys.argv[1]))
