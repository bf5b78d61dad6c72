"""A real server in a process of its own, and the real command run against it, on pipes or on a terminal."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.terminal import type_on_terminal
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreServicer, add_WorkflowStoreServicer_to_server

COMMAND = (sys.executable, "-m", "workflowstore_server")
# Nor what tells how large a terminal is: those that the tests make have a size of their own.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("WORKFLOWSTORE_") and name not in {"COLUMNS", "LINES"}
}
# An embedded nats-server takes 64.
BUCKETS = [f"bucket-{number}" for number in range(60)]
SECONDS_MAX = 60


class Server:
    """`workflowstore serve` on a free port."""

    def __init__(self, *options: str, cwd: Path, environment: dict[str, str] | None = None) -> None:
        self.log_file = cwd / "log"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", *options],
                cwd=cwd,
                env=ENVIRONMENT | (environment or {}),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.announcement = self.process.stdout.readline()
        self.address = self.announcement.removeprefix("workflowstore listening on ").strip()
        assert self.address, self.log

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to stop and returns its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(SECONDS_MAX)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.rest = self.process.stdout.read()
            self.process.stdout.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers, and stops those that the test leaves."""
    servers: list[Server] = []

    def start(*options: str, **more: Any) -> Server:
        servers.append(Server(*options, cwd=tmp_path, **more))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that only call one."""
    server = Server(*(f"--bucket={bucket}" for bucket in BUCKETS), cwd=tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _unused_buckets() -> Iterator[str]:
    return iter(BUCKETS)


@pytest.fixture
def bucket(_unused_buckets: Iterator[str]) -> str:
    """A bucket that no other test has used."""
    return next(_unused_buckets)


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command to its end, on pipes."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            env=ENVIRONMENT | environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

    return run


@pytest.fixture
def call(server: Server, bucket: str, run: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a client command against the server, in a bucket of the test's own."""

    def call(command: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run(command, "--address", server.address, "--bucket", bucket, *arguments, **more)

    return call


@pytest.fixture
def on_terminal() -> Callable[..., tuple[int, str]]:
    """Runs the command with a pseudo-terminal as standard output and error, and returns exit code and what it shows."""

    def run(*arguments: str, stdout: int | None = None, columns: int = 100, **environment: str) -> tuple[int, str]:
        return type_on_terminal(
            [*COMMAND, *arguments],
            columns=columns,
            seconds_max=SECONDS_MAX,
            stdout=stdout,
            env=ENVIRONMENT | {"TERM": "xterm-256color"} | environment,
        )

    return run


class Script:
    """A server whose calls the test answers: functions of request and context, or generators for streams."""

    def __init__(self, **answers: Callable[[Any, Any], Any]) -> None:
        self.requests: list[Any] = []

        def recorded(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
            def call(_servicer: Any, request: Any, context: Any) -> Any:
                self.requests.append(request)
                return answer(request, context)

            return call

        servicer = type("Servicer", (WorkflowStoreServicer,), {name: recorded(call) for name, call in answers.items()})
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool)
        add_WorkflowStoreServicer_to_server(servicer(), self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait(SECONDS_MAX)
        self._pool.shutdown()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Script]]:
    """Starts servers that answer as the test says."""
    scripts: list[Script] = []

    def start(**answers: Callable[[Any, Any], Any]) -> Script:
        scripts.append(Script(**answers))
        return scripts[-1]

    yield start
    for script in scripts:
        script.stop()
