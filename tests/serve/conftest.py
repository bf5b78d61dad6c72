"""The whole service: in a process of its own where signals are sent, and in the test's loop where they are not."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support.waiting import until
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server import app
from workflowstore_server.config import sources
from workflowstore_server.config.sources import Config

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOWSTORE_")}
SECONDS_MAX = 20


class ServiceProcess:
    """`workflowstore serve` with a process group of its own, as a terminal gives it."""

    def __init__(self, folder: Path, *options: str, ready: bool = True) -> None:
        self._log_file = folder / f"log-{len(list(folder.glob('log-*')))}"
        with self._log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workflowstore_server", "serve", "--listen", "127.0.0.1:0", *options],
                env=ENVIRONMENT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        if ready:
            assert self.process.stdout is not None
            self.address = self.process.stdout.readline().removeprefix("workflowstore listening on ").strip()
            assert self.address, self.log

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log_file.read_text()

    @property
    def nats_server_pids(self) -> list[int]:
        """The embedded nats-servers that it has run, the last one last."""
        return [int(pid) for pid in re.findall(r"nats-server runs at \S+, process (\d+)", self.log)]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """What Ctrl-C on a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        assert self.process.stdout is not None
        try:
            return self.process.wait(SECONDS_MAX)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def kill(self) -> None:
        self.process.kill()
        self.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """Starts servers over one data directory, and ends those that the test leaves."""
    servers: list[ServiceProcess] = []

    def start(*options: str) -> ServiceProcess:
        servers.append(ServiceProcess(tmp_path, "--data-dir", str(tmp_path / "data"), *options))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.kill()
        with contextlib.suppress(AttributeError):
            server.process.stdout.close()


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Config]:
    """Makes configurations as flags would."""

    def configured(**flags: Any) -> Config:
        flags = {"listen": "127.0.0.1:0", "data_dir": str(tmp_path / "data"), "drain_seconds": 2.0} | flags
        return sources.load(flags, {}, None)

    return configured


class Caller:
    """The generated stubs over a real channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = WorkflowStoreStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    def save(self, workflow_id: str, **fields: Any) -> Any:
        return self.stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=workflow_id, **fields)))

    async def saved(self, workflow_id: str) -> bool:
        """Whether a save succeeds; False when the storage cannot be used at the moment."""
        try:
            await self.save(workflow_id)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    async def revisions(self) -> dict[str, int]:
        """The revision of every state."""
        return {
            state.workflow_id: state.revision
            async for chunk in self.stub.List(pb.ListRequest())
            for state in chunk.states
        }

    async def info(self) -> pb.GetInfoResponse:
        return await self.stub.GetInfo(pb.GetInfoRequest())

    async def serving(self, service: str = "") -> bool:
        return await self._status(service) == health_pb2.HealthCheckResponse.SERVING

    async def away(self) -> bool:
        """Whether the health service says that calls cannot succeed."""
        return await self._status("") == health_pb2.HealthCheckResponse.NOT_SERVING

    async def _status(self, service: str) -> Any:
        """What the health service says; None when the call did not get through, as the first one on a channel may."""
        try:
            return (await self.health.Check(health_pb2.HealthCheckRequest(service=service))).status
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return None


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield Caller(channel)


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Caller]:
    """A whole server in this process, ready to be called."""
    async with app.running(config) as service, calling(service.address) as caller:
        await until(caller.serving)
        yield caller


async def refusal(config: Config) -> str:
    """Why a server does not start."""
    with pytest.raises(app.CannotServe) as caught:
        async with app.running(config):
            pass
    return str(caught.value)
