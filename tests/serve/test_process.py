"""The whole service with its embedded nats-server: what it keeps when either of them dies, and how it stops."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from support.nats_server import PROGRAM
from support.processes import gone, is_running
from support.service_process import ENVIRONMENT, ServiceProcess
from support.statuses import Failure, failure
from support.waiting import until
from workflowstore_server import app
from workflowstore_server.config.sources import Config
from workflowstore_server.embedded.directory import DataDirectory
from workflowstore_server.embedded.server import EmbeddedServer

from .conftest import Caller, calling, refusal, running  # type: ignore[import-not-found]

Serve = Callable[..., ServiceProcess]

WRITERS = 8

# The first line of a script cannot name an interpreter whose path has a space in it, so a shell names it.
WITHOUT_SYNC = f"""#!/bin/sh
exec '{sys.executable}' - "$@" <<'END'
import json, os, sys
from pathlib import Path

path = Path(sys.argv[sys.argv.index("--config") + 1])
configuration = json.loads(path.read_text())
del configuration["jetstream"]["sync_interval"]
path.write_text(json.dumps(configuration))
os.execv({str(PROGRAM)!r}, [{str(PROGRAM)!r}, *sys.argv[1:]])
END
"""


class Load:
    """Writers that note what was acknowledged, and what failed and how."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.failures: list[Failure] = []
        self._numbers = iter(range(1_000_000))
        self._stop = False

    async def _write(self, caller: Caller) -> None:
        while not self._stop:
            workflow_id = f"wf-{next(self._numbers)}"
            try:
                self.acknowledged[workflow_id] = (await caller.save(workflow_id)).revision
            except grpc.aio.AioRpcError as error:
                self.failures.append(Failure(error))
                await asyncio.sleep(self.failures[-1].retry_seconds or 0.05)

    @asynccontextmanager
    async def on(self, caller: Caller) -> AsyncIterator[None]:
        self._stop = False
        writers = [asyncio.create_task(self._write(caller)) for _ in range(WRITERS)]
        try:
            yield
        finally:
            self._stop = True
            await asyncio.gather(*writers)

    async def more(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        enough = len(self.acknowledged) + count

        async def reached() -> bool:
            return len(self.acknowledged) >= enough

        await until(reached)


async def test_nothing_acknowledged_is_lost_when_the_service_is_killed_under_load(serve: Serve) -> None:
    load = Load()
    for _ in range(3):
        server = serve()
        async with calling(server.address) as caller:
            await until(caller.serving)
            assert load.acknowledged.items() <= (await caller.revisions()).items()
            async with load.on(caller):
                await load.more(200)
                server.kill()
        # The next server starts at once, whether nats-server is gone already or not.
    successor = serve()

    await gone(server.nats_server_pids[-1])
    async with calling(successor.address) as caller:
        await until(caller.serving)
        assert load.acknowledged.items() <= (await caller.revisions()).items()
        assert (await caller.save("next")).revision > max(load.acknowledged.values())


async def test_its_nats_server_does_not_outlive_a_service_that_was_killed(serve: Serve) -> None:
    server = serve()
    [nats_server] = server.nats_server_pids
    assert is_running(nats_server)

    server.kill()

    await gone(nats_server)


async def test_nothing_acknowledged_is_lost_when_nats_server_is_killed_under_load(serve: Serve) -> None:
    server, load = serve(), Load()
    async with calling(server.address) as caller, load.on(caller):
        for _ in range(3):
            await load.more(100)
            killed = server.nats_server_pids
            os.kill(killed[-1], signal.SIGKILL)
            await until(lambda: caller.saved("again"))
            assert len(server.nats_server_pids) == len(killed) + 1
        await load.more(100)
        load._stop = True
        # What is acknowledged while the list runs need not be in it.
        before = dict(load.acknowledged)
        assert before.items() <= (await caller.revisions()).items()
        await until(caller.serving)

    assert load.failures
    for found in load.failures:
        assert found.code is grpc.StatusCode.UNAVAILABLE
        assert found.reason == "STORAGE_UNAVAILABLE"
        assert found.metadata["outcome"] in {"not_applied", "unknown"}
        assert found.retry_seconds


async def test_what_was_not_applied_is_never_stored(serve: Serve) -> None:
    server = serve()
    attempted: dict[str, str] = {}
    async with calling(server.address) as caller:
        await caller.save("first")
        os.kill(server.nats_server_pids[-1], signal.SIGKILL)
        number = 0
        while True:
            number += 1
            try:
                await caller.save(f"wf-{number}")
            except grpc.aio.AioRpcError as error:
                attempted[f"wf-{number}"] = Failure(error).metadata["outcome"]
            else:
                # The first one may have been answered before the signal arrived.
                if attempted:
                    break
        stored = await caller.revisions()

    assert not {workflow_id for workflow_id, outcome in attempted.items() if outcome == "not_applied"} & set(stored)


@pytest.mark.parametrize("stop", ["SIGTERM", "Ctrl-C"])
async def test_a_call_that_waits_for_nats_when_the_service_is_stopped_succeeds(serve: Serve, stop: str) -> None:
    server = serve()
    [nats_server] = server.nats_server_pids
    async with calling(server.address) as caller:
        await until(caller.serving)
        await caller.save("before")
        os.kill(nats_server, signal.SIGSTOP)
        call = caller.save("in flight")
        # One connection keeps its order: what answers this has begun with the save.
        assert await caller.serving()
        server.interrupt() if stop == "Ctrl-C" else server.signal(signal.SIGTERM)
        await until(lambda: _async("draining" in server.log))
        os.kill(nats_server, signal.SIGCONT)

        assert (await call).revision == 2
    assert await asyncio.to_thread(server.wait) == 0
    assert not is_running(nats_server)
    assert "nats-server ended" not in server.log
    assert "Traceback" not in server.log


async def test_a_stop_under_load_loses_nothing_and_says_what_it_did_not_apply(serve: Serve) -> None:
    server, load = serve(), Load()
    async with calling(server.address) as caller, load.on(caller):
        await load.more(100)
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
    assert not is_running(server.nats_server_pids[-1])
    told = [found for found in load.failures if found.info.reason]
    assert {found.reason for found in told} <= {"SHUTTING_DOWN"}
    # What found no server any more was told so by gRPC itself, and so was what had arrived and not begun when the
    # server ended its connections.
    assert {found.code for found in load.failures} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}

    async with calling(serve().address) as caller:
        await until(caller.serving)
        assert load.acknowledged.items() <= (await caller.revisions()).items()


async def test_it_can_be_stopped_while_its_nats_server_keeps_dying(serve: Serve, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    program = tmp_path / "nats-server"
    program.write_text(f"#!/bin/sh\ntest -e '{broken}' && exit 1\nexec '{PROGRAM}' \"$@\"\n")
    program.chmod(0o700)
    server = serve("--nats-server", str(program))
    broken.touch()
    os.kill(server.nats_server_pids[-1], signal.SIGKILL)
    async with calling(server.address) as caller:
        await until(caller.away)

    server.signal(signal.SIGTERM)

    assert await asyncio.to_thread(server.wait) == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_can_be_stopped_before_it_is_ready(tmp_path: Path, number: int) -> None:
    """A large store takes nats-server minutes to read after a crash."""
    told, program = tmp_path / "pid", tmp_path / "nats-server"
    program.write_text(f"#!/bin/sh\necho $$ > '{told}'\nexec sleep 60\n")
    program.chmod(0o700)
    server = ServiceProcess(tmp_path, "--data-dir", str(tmp_path / "data"), "--nats-server", str(program), ready=False)
    await until(lambda: _async(told.exists() and told.read_text()))

    server.signal(number)

    assert await asyncio.to_thread(server.wait) == 0
    assert "Traceback" not in server.log
    assert not is_running(int(told.read_text()))


async def test_a_nats_server_that_does_not_sync_every_write_is_refused(
    configured: Callable[..., Config], tmp_path: Path
) -> None:
    program = tmp_path / "nats-server"
    program.write_text(WITHOUT_SYNC)
    program.chmod(0o700)

    words = await refusal(configured(nats_server=str(program)))

    assert "does not report sync_always" in words
    # Nothing is left running: the directory is free.
    DataDirectory(tmp_path / "data").release()


async def test_a_nats_server_that_is_too_old_to_embed_is_refused(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "EMBEDDED_VERSION_MIN", (99, 0))

    assert "is too old to embed" in await refusal(configured())


async def test_a_nats_server_that_cannot_be_run_is_told(configured: Callable[..., Config], tmp_path: Path) -> None:
    (tmp_path / "program").touch()

    words = await refusal(configured(nats_server=str(tmp_path / "program")))

    assert "is not a program that can be run; name nats-server with --nats-server" in words


async def test_a_data_directory_that_cannot_be_used_is_told(configured: Callable[..., Config], tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    assert await refusal(configured()) == f"cannot use --data-dir {tmp_path / 'data'}: File exists"


async def test_a_start_that_fails_leaves_nothing_running(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[EmbeddedServer] = []
    start = EmbeddedServer.start

    async def noting(server: EmbeddedServer) -> None:
        await start(server)
        started.append(server)

    monkeypatch.setattr(EmbeddedServer, "start", noting)
    async with running(configured()):
        pass
    await refusal(configured(listen="256.0.0.1:1", insecure=True))

    assert [is_running(server.pid) for server in started] == [False, False]


async def test_a_full_store_refuses_saves_and_goes_on_reading(configured: Callable[..., Config]) -> None:
    async with running(configured(data_bytes_max=1024 * 1024)) as caller:
        acknowledged: dict[str, int] = {}
        for number in range(9):
            acknowledged[f"wf-{number}"] = (await caller.save(f"wf-{number}", error="x" * 100_000)).revision

        assert (await failure(caller.save("too much", error="x" * 200_000))).reason == "STORAGE_FULL"
        assert await caller.revisions() == acknowledged
        assert await caller.serving()


async def _async(value: object) -> object:
    return value


@pytest.mark.timeout(400)
def test_the_embedded_nats_server_does_not_take_the_port_that_is_to_be_listened_on(tmp_path: Path) -> None:
    """It takes any free port, and the usual one of ours is among those: here of eight, usually of 28,000."""
    own_network = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*own_network, "true"], check=False).returncode != 0:
        pytest.skip("this user may not make a network of its own")
    # Without it half of the starts failed.
    serve = f"{sys.executable} -m workflowstore_server serve --metrics-listen off --data-dir {tmp_path / 'data'}"
    script = f"""
        ip link set lo up 2>/dev/null || ifconfig lo up || exit 77
        echo "50048 50055" > /proc/sys/net/ipv4/ip_local_port_range || exit 77
        for start in 1 2 3 4 5 6; do
            {serve} > {tmp_path / "said"} & server=$!
            until [ -s {tmp_path / "said"} ]; do kill -0 $server || exit 1; sleep 0.05; done
            kill -TERM $server; wait $server
        done
        exit 0
    """

    ended = subprocess.run(
        [*own_network, "sh", "-c", script], check=False, capture_output=True, text=True, timeout=300, env=ENVIRONMENT
    )

    if ended.returncode == 77:
        pytest.skip("a network of its own cannot be set up here")
    assert ended.returncode == 0, ended.stderr
