"""The only place that knows what of a server is looked at under load, and when it is said to grow.

    python -m bench.soak --minutes 30

Loads a server for a long time, looks at it every few seconds, and fits a line to each figure once it has warmed up. A
figure grows if its slope is more than chance makes it, and more than a few percent of it in an hour. That, and a call
that is refused as INTERNAL or UNKNOWN, is a failure.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
from nats.aio.client import Client

from bench import insides, raw_nats, server
from bench.raw_nats import Nats
from bench.server import Server
from bench.soak_load import Load
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

BUCKET: Final = "soak"
INTERVAL_SECONDS: Final = 5.0
WARM_SHARE: Final = 1 / 3
"""Part of the time that is for warming up: allocators, caches and the SQLite file reach their size."""

ERRORS_MIN: Final = 4.0
"""Standard errors that a slope has to differ from nothing by. They are small, for neighbouring samples are alike."""

SHARE_MIN: Final = 0.05
"""Part of its mean that a figure has to grow by in an hour."""


PER_HOUR_MAX: Final = {
    "server allocated KiB": 48 * 1024,
    "index KiB": 1024,
    "WAL KiB": 4096,
}
"""What these may grow by in an hour without being said to grow. gRPC never frees some 80 bytes of a connection, and 40
of a call that is cut off: an empty grpc.aio server (grpcio 1.85) does so too, and this load makes millions of them.
SQLite's files grow by pages, and its log stays within 64 MiB."""


class Slope(NamedTuple):
    """The line of one figure: per hour, with its standard error."""

    mean: float
    per_hour: float
    error: float

    @property
    def grows(self) -> bool:
        """Whether it is said to grow."""
        return self.per_hour > max(ERRORS_MIN * self.error, SHARE_MIN * self.mean)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="how long; 30 if not said")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there too")
    arguments = parser.parse_args()
    samples, load = asyncio.run(_run(arguments.minutes * 60))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(samples))
    print("\nwhat the clients did:", ", ".join(f"{name} {count:,}" for name, count in sorted(load.done.items())))
    growing = _print(samples)
    unforeseen = [name for name in ("refused: INTERNAL", "refused: UNKNOWN") if load.done[name]]
    if growing or unforeseen:
        sys.exit("; ".join([f"{name}: more and more" for name in growing] + unforeseen))


async def _run(seconds: float) -> tuple[list[dict[str, float]], Load]:
    samples: list[dict[str, float]] = []
    async with _serving() as (nats_server, ours, folder), grpc.aio.insecure_channel(ours.address) as channel:
        load = Load(ours.address, nats_server.client, BUCKET)
        loading = asyncio.create_task(load.run())
        began = time.monotonic()
        try:
            while (elapsed := time.monotonic() - began) < seconds and not loading.done():
                await asyncio.sleep(INTERVAL_SECONDS)
                sample = await _sample(nats_server, ours, folder, WorkflowStoreStub(channel))
                samples.append({"seconds": elapsed, **sample})
                print(f"{elapsed:5.0f} s  {_line(sample)}", flush=True)
        finally:
            loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loading
            said = insides.said_by(folder / "data")
            if said.exists():
                print(said.read_text())
    return samples, load


@asynccontextmanager
async def _serving() -> AsyncIterator[tuple[Nats, Server, Path]]:
    """A server over a nats-server as it embeds one, which can be asked what it does."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="workflowstore-soak-")))
        nats_server = await stack.enter_async_context(raw_nats.running(folder / "nats"))
        await raw_nats.create_bucket(nats_server.client, BUCKET)
        options = ("--nats-url", nats_server.url, "--bucket", BUCKET, "--data-dir", str(folder / "data"))
        ours = await stack.enter_async_context(server.serving(*options, program=insides.__name__))
        yield nats_server, ours, folder


async def _sample(nats_server: Nats, ours: Server, folder: Path, stub: Any) -> dict[str, float]:
    info = await stub.GetInfo(pb.GetInfoRequest(), timeout=60)
    state = await _varz(nats_server.system_client)
    files = {file.name: file.stat().st_size for file in (folder / "data").rglob("*") if file.is_file()}
    return {
        "server MiB": _memory_mib(ours.process),
        "server descriptors": len(os.listdir(f"/proc/{ours.process}/fd")),  # noqa: PTH208
        "server sockets": _sockets(ours.process),
        "server threads": len(os.listdir(f"/proc/{ours.process}/task")),  # noqa: PTH208
        **{name if name.startswith("log") else f"server {name}": n for name, n in (await insides.look(ours)).items()},
        "nats MiB": _memory_mib(nats_server.process),
        "nats descriptors": len(os.listdir(f"/proc/{nats_server.process}/fd")),  # noqa: PTH208
        "nats connections": state["connections"],
        "nats subscriptions": state["subscriptions"],
        "consumers": await raw_nats.consumers(nats_server, BUCKET),
        "index KiB": sum(size for name, size in files.items() if not name.endswith("-wal")) / 1024,
        "WAL KiB": sum(size for name, size in files.items() if name.endswith("-wal")) / 1024,
        "index rows": info.index.workflow_count + info.index.malformed_count,
        "bucket messages": info.bucket.revisions,
    }


async def _varz(client: Client) -> dict[str, Any]:
    reply = await client.request("$SYS.REQ.SERVER.PING.VARZ", b"{}", timeout=30)
    found: dict[str, Any] = json.loads(reply.data)["data"]
    return found


def _sockets(process: int) -> int:
    """Descriptors that are sockets."""
    count = 0
    for file in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(file.readlink()).startswith("socket:")
    return count


def _memory_mib(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def _line(sample: Mapping[str, float]) -> str:
    names = (
        "server MiB",
        "server allocated KiB",
        "server descriptors",
        "server tasks",
        "nats MiB",
        "consumers",
        "WAL KiB",
    )
    return ", ".join(f"{name} {sample[name]:,.0f}" for name in names)


def slope_of(seconds: Sequence[float], values: Sequence[float]) -> Slope:
    """The line of least squares through samples."""
    count = len(seconds)
    hours = [second / 3600 for second in seconds]
    mean_hour, mean = sum(hours) / count, sum(values) / count
    spread = sum((hour - mean_hour) ** 2 for hour in hours)
    slope = sum((hour - mean_hour) * (value - mean) for hour, value in zip(hours, values, strict=True)) / spread
    rest = sum((value - mean - slope * (hour - mean_hour)) ** 2 for hour, value in zip(hours, values, strict=True))
    return Slope(mean, slope, (rest / max(1, count - 2) / spread) ** 0.5)


def _print(samples: Sequence[Mapping[str, float]]) -> list[str]:
    """Print the slope of each figure; return those that grow.

    What the server's process has of memory is not judged, but what of it is allocated: glibc gives back late what the
    requests of some moment took, and grows into it.
    """
    warm = samples[int(len(samples) * WARM_SHARE) :]
    seconds = [sample["seconds"] for sample in warm]
    names = dict.fromkeys(name for sample in warm for name in sample if name != "seconds")
    growing = []
    print(f"\n{'figure':36} {'first':>10} {'last':>10} {'least':>10} {'most':>10} {'an hour':>10} {'error':>8}")
    for name in names:
        values = [sample.get(name, 0) for sample in warm]
        slope = slope_of(seconds, values)
        # What is logged is counted, and is to be looked at.
        grows = slope.grows and slope.per_hour > PER_HOUR_MAX.get(name, 0)
        verdict = "" if name.startswith("log") or name == "server MiB" else "grows" if grows else "flat"
        growing += [name] if verdict == "grows" else []
        figures = (samples[0].get(name, 0), values[-1], min(values), max(values), slope.per_hour, slope.error)
        print(f"{name:36.36}", *(f"{figure:10,.1f}" for figure in figures[:5]), f"{figures[5]:8,.1f}  {verdict}")
    return growing


if __name__ == "__main__":
    main()
