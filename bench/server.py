"""The only place that knows how the measured server is run, and when it is ready to be asked for many states."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from bench import processes
from bench.raw_nats import Bucket
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

BUILT_SECONDS_MAX: Final = 600
"""How long a first Count may take: the server builds its index meanwhile."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it answers, its process, and that of its embedded nats-server, if there is one."""

    address: str
    process: int
    nats_process: int | None
    running: asyncio.subprocess.Process


@asynccontextmanager
async def serving(*options: str, program: str | None = None) -> AsyncIterator[Server]:
    """A server with these options on a free loopback port. `program` is a module to run instead of its command line."""
    module = (program,) if program is not None else ("workflowstore_server", "serve")
    command = [sys.executable, "-m", *module, "--listen", "127.0.0.1:0", "--metrics-listen", "off", *options]
    async with processes.running(command) as process:
        address = (await processes.next_line(process)).split()[-1]
        yield Server(address, process.pid, processes.child_of(process.pid, "nats-server"), process)


@asynccontextmanager
async def indexing(bucket: Bucket, data: Path, program: str | None = None) -> AsyncIterator[Server]:
    """A server of this bucket alone, with its index in `data`; it lets calls wait for the index."""
    named = ("--nats-url", bucket.nats.url, "--bucket", bucket.name, "--data-dir", str(data))
    async with serving(*named, "--index-wait-seconds", str(BUILT_SECONDS_MAX), program=program) as ours:
        yield ours


async def caught_up(ours: Server, bucket: Bucket) -> None:
    """Wait until its index has all states of the bucket."""
    async with grpc.aio.insecure_channel(ours.address) as channel:
        stub: Any = WorkflowStoreStub(channel)
        counted = await stub.Count(pb.CountRequest(), wait_for_ready=True, timeout=BUILT_SECONDS_MAX)
    if counted.count != bucket.size:
        raise RuntimeError(f"the index of bucket {bucket.name} has {counted.count} states instead of {bucket.size}")
