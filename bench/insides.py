"""The only place that knows what a server looks like from inside: its tasks, its objects, and what it has said.

Run as a program it is a server of our own code with these options. On SIGUSR1 it prints what it looks like.
"""

import asyncio
import ctypes
import gc
import json
import logging
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Final

import uvloop

from bench import processes
from bench.server import Server
from workflowstore_server import app
from workflowstore_server.config import sources

KEPT_MAX: Final = 5
"""Kinds of log records of which one is kept."""


async def look(ours: Server) -> dict[str, int]:
    """What a server that is this program looks like now."""
    ours.running.send_signal(signal.SIGUSR1)
    found: dict[str, int] = json.loads(await processes.next_line(ours.running))
    return found


def said_by(data_directory: Path) -> Path:
    """Where such a server keeps what it has logged."""
    return data_directory.with_name("said.log")


class _Records(logging.Handler):
    """Counts what is logged, and keeps the first of each kind in a file."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.WARNING)
        self._file = file
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        raised = record.exc_info[0] if record.exc_info else None
        kind = f"{record.name} {record.levelname} {raised.__name__ if raised else ''}".strip()
        self.counts[kind] += 1
        if self.counts[kind] <= KEPT_MAX:
            with self._file.open("a") as file:
                file.write(f"{kind}: {self.format(record)}\n")


class _MallocInfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def _allocated_bytes() -> int:
    """Bytes that are in use. A process has more: what was in use once, and glibc keeps for later."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _MallocInfo
    info = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


async def _serve(options: list[str]) -> None:
    names = [name.removeprefix("--").replace("-", "_") for name in options[::2]]
    flags = dict(zip(names, options[1::2], strict=True))
    records = _Records(said_by(Path(flags["data_dir"])))
    logging.getLogger().addHandler(records)

    def tell() -> None:
        gc.collect()
        found = {
            "allocated KiB": _allocated_bytes() // 1024,
            "tasks": len(asyncio.all_tasks()),
            # gc.get_objects() would be seen by a thread that makes a tuple, which then fails (bpo-15108).
            "blocks of Python": sys.getallocatedblocks(),
            "threads": threading.active_count(),
        }
        print(json.dumps(found | {f"log: {kind}": count for kind, count in records.counts.items()}), flush=True)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    await app.serve(sources.load(flags, {}, None), lambda address: print(f"listening on {address}", flush=True))


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1:]))
