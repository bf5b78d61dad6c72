"""The only place that knows how three NATS servers are run as a cluster, and how one of them is made to hang."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sysconfig
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nats
import nats.errors
from nats.aio.client import Client

from bench import processes
from workflowstore_server.store.jetstream.stream import Names

PROGRAM: Final = Path(sysconfig.get_path("scripts"), "nats-server")
READY_SECONDS_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Node:
    """One of the servers."""

    name: str
    url: str
    process: int

    async def hang(self, seconds: float) -> None:
        """Let it do nothing for a time, and go on as if nothing had been."""
        os.kill(self.process, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(self.process, signal.SIGCONT)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[list[Node]]:
    """Three servers that sync always, with their data in `folder`."""
    ports = _free_ports(6)
    routes = [f"nats://127.0.0.1:{port}" for port in ports[3:]]
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(3):
            name = f"node-{number}"
            file = folder / f"{name}.json"
            configuration = {
                "server_name": name,
                "listen": f"127.0.0.1:{ports[number]}",
                "jetstream": {"store_dir": str(folder / name), "sync_interval": "always"},
                "cluster": {"name": "bench", "listen": f"127.0.0.1:{ports[3 + number]}", "routes": routes},
            }
            file.write_text(json.dumps(configuration))
            process = await stack.enter_async_context(processes.running([PROGRAM, "--config", file]))
            nodes.append(Node(name, f"nats://127.0.0.1:{ports[number]}", process.pid))
        for port in ports[:3]:
            await _listened(port)
        yield nodes


async def create_bucket(client: Client, bucket: str, *, allow_direct: bool) -> str:
    """Create a bucket with three copies as a server does, once the cluster is ready, and return who leads it."""
    names = Names(bucket)
    configuration = json.loads(names.creation(history=1, replicas=3, allow_atomic=False, max_bytes=0)) | {
        "allow_direct": allow_direct
    }
    end = time.monotonic() + READY_SECONDS_MAX
    while True:
        with contextlib.suppress(nats.errors.Error):
            reply = json.loads((await client.request(names.create, json.dumps(configuration).encode(), timeout=5)).data)
            if leader := reply.get("cluster", {}).get("leader", ""):
                return str(leader)
        if time.monotonic() > end:
            raise RuntimeError(f"cannot create bucket {bucket}")
        await asyncio.sleep(0.2)


def followers_of(nodes: Sequence[Node], leader: str) -> tuple[Node, Node, Node]:
    """The node that leads, and those that follow it."""
    first, *others = sorted(nodes, key=lambda node: node.name != leader)
    return first, others[0], others[1]


async def _listened(port: int) -> None:
    """Wait until a server listens."""
    async with asyncio.timeout(READY_SECONDS_MAX):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
