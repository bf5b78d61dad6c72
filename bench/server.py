"""The only place that knows how the measured server is run."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench import processes


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it answers, its process, and that of its embedded nats-server, if there is one."""

    address: str
    process: int
    nats_process: int | None


@asynccontextmanager
async def serving(*options: str) -> AsyncIterator[Server]:
    """A server with these options on a free loopback port."""
    command = [sys.executable, "-m", "workflowstore_server", "serve", "--listen", "127.0.0.1:0", *options]
    async with processes.running(command) as process:
        address = (await processes.first_line(process)).split()[-1]
        yield Server(address, process.pid, processes.child_of(process.pid, "nats-server"))
