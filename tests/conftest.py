"""What every test may ask for: a nats-server of its own, a connected client, a store, the whole service."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from hypothesis import HealthCheck, settings
from nats.aio.client import Client

from support.forgetful_disk import ForgetfulDisk
from support.nats_server import NatsServer
from support.service_process import ServiceProcess
from workflowstore_server.config import sources
from workflowstore_server.config.sources import Config
from workflowstore_server.store.jetstream import JetStreamStore

# How long an example takes says how busy the machine is. All else stays as Hypothesis has chosen it for where it runs.
settings.register_profile("tests", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow]))
settings.load_profile("tests")

NO_FUSE = not Path("/dev/fuse").exists() or shutil.which("fusermount3") is None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="take the time that finding rare faults needs")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often to try: the first number in passing, the second one with --thorough."""
    return lambda passing, thorough: thorough if request.config.getoption("--thorough") else passing


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path)
    yield server
    if server.process.returncode is None:
        server.stop()


@pytest.fixture
async def nats_client(nats_server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(nats_server.url, pending_size=0)
    yield client
    await client.close()


@pytest.fixture
async def jetstream_store(nats_client: Client) -> AsyncIterator[JetStreamStore]:
    async with JetStreamStore.over(nats_client, "beluga_workflows") as store:
        yield store


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """Starts servers over one data directory, and ends those that the test leaves."""
    servers: list[ServiceProcess] = []

    def start(*options: str, ready: bool = True) -> ServiceProcess:
        servers.append(ServiceProcess(tmp_path, "--data-dir", str(tmp_path / "data"), *options, ready=ready))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.kill()
        with contextlib.suppress(AttributeError):
            server.process.stdout.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[ForgetfulDisk]:
    """A file system of the test's own, whose power can be cut and that can be full."""
    if NO_FUSE and not os.environ.get("CI"):
        pytest.skip("a file system of the test's own needs Linux with FUSE (Debian's package fuse3)")
    folder = tmp_path / "power"
    folder.mkdir()
    disk = ForgetfulDisk(folder)
    yield disk
    disk.unmount()


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Config]:
    """Makes configurations as flags would."""

    def configured(**flags: Any) -> Config:
        own = {"listen": "127.0.0.1:0", "metrics_listen": "off", "data_dir": str(tmp_path / "data")}
        return sources.load({**own, "drain_seconds": 2.0, **flags}, {}, None)

    return configured


@pytest.fixture(autouse=True)
async def nothing_burns_in_the_background() -> AsyncIterator[None]:
    """A test fails when it leaves a task behind or something fails that nobody awaits."""
    failures: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    left = {task for task in left if not _of_a_library(task)}
    assert not left
    failures = [failure for failure in failures if not _is_of_an_earlier_test(failure)]
    # nats-py's own tasks are replaced with their connection, and nobody else can look at how they ended.
    failures = [failure for failure in failures if "nats/aio/client.py" not in repr(failure.get("future"))]
    assert not failures


def _is_of_an_earlier_test(failure: dict[str, Any]) -> bool:
    """Whether grpc.aio, which has one queue of events for all loops of a process, had one for a loop that is closed."""
    closed = isinstance(failure.get("exception"), RuntimeError) and "loop is closed" in str(failure["exception"])
    return closed and "PollerCompletionQueue" in repr(failure.get("handle"))


def _of_a_library(task: "asyncio.Task[Any]") -> bool:
    """Whether it is a task that grpc.aio or nats-py leave to end by itself."""
    return any(name in repr(task) for name in ("Aio", "grpc", "nats", "Client.", "Subscription."))
