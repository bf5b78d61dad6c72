"""A data directory has one server at a time, until the last process that writes there is gone."""

import asyncio
import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import gone
from support.waiting import until
from workflowstore_server.embedded import directory
from workflowstore_server.embedded.directory import DataDirectory, DataDirectoryInUse

CLAIM_AND_HAND_ON = """
import subprocess, sys
from pathlib import Path
from workflowstore_server.embedded.directory import DataDirectory

directory = DataDirectory(Path(sys.argv[1]))
heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(directory.lock,))
print(heir.pid, flush=True)
input()
"""

CLAIM_AND_START = """
import asyncio, sys
from pathlib import Path
from workflowstore_server.embedded.directory import DataDirectory
from workflowstore_server.embedded.server import EmbeddedOptions, EmbeddedServer

async def main():
    server = EmbeddedServer(DataDirectory(Path(sys.argv[1])), EmbeddedOptions())
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def claimant(program: str, path: Path) -> tuple["subprocess.Popen[str]", int]:
    """A process that claims a directory and starts another one, whose id it tells."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait(10)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()


def claim(path: Path) -> bool:
    try:
        DataDirectory(path).release()
    except DataDirectoryInUse:
        return False
    return True


def has_files(pid: int) -> bool:
    """Whether a process has anything open. One that ends may not be looked at any more: it lets go of everything."""
    try:
        return any(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, PermissionError):
        return False


def test_it_is_made_private_with_all_its_parents(tmp_path: Path) -> None:
    claimed = DataDirectory(tmp_path / "a" / "b")

    assert claimed.path.stat().st_mode & 0o777 == 0o700
    assert (claimed.path / "lock").stat().st_mode & 0o777 == 0o600
    claimed.release()


def test_a_second_claim_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    claimed = DataDirectory(tmp_path)
    for _ in range(2):
        with pytest.raises(DataDirectoryInUse) as caught:
            DataDirectory(tmp_path)

        assert (caught.value.directory, caught.value.holder) == (tmp_path, f"process {os.getpid()}")
    claimed.release()


def test_it_can_be_claimed_again_once_it_was_released(tmp_path: Path) -> None:
    for _ in range(2):
        DataDirectory(tmp_path).release()


def test_a_path_is_the_same_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    claimed = DataDirectory(Path("data"))

    assert claimed.path == tmp_path / "data"
    claimed.release()


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="exists"):
        DataDirectory(tmp_path / "file")


async def test_the_claim_outlives_the_claimant_while_what_it_started_still_runs(tmp_path: Path) -> None:
    process, heir = claimant(CLAIM_AND_HAND_ON, tmp_path)
    os.kill(heir, signal.SIGSTOP)  # or it would end with its input
    kill(process)

    with pytest.raises(DataDirectoryInUse) as caught:
        DataDirectory(tmp_path)
    os.kill(heir, signal.SIGKILL)

    assert caught.value.holder == f"process {process.pid}"
    await until(lambda: asyncio.to_thread(claim, tmp_path))


async def test_a_successor_waits_for_what_a_claimant_that_was_killed_has_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    process, heir = claimant(CLAIM_AND_HAND_ON, tmp_path)
    os.kill(heir, signal.SIGSTOP)  # as one that waits for the disk, which ends when that lets it
    kill(process)
    claiming = asyncio.create_task(DataDirectory.claim(tmp_path))

    await until(lambda: _true("waiting for the nats-server" in caplog.text))
    os.kill(heir, signal.SIGKILL)

    (await claiming).release()


async def test_a_successor_does_not_wait_for_who_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "HEIR_SECONDS_MAX", math.inf)
    process, heir = claimant(CLAIM_AND_HAND_ON, tmp_path)

    with pytest.raises(DataDirectoryInUse):
        await DataDirectory.claim(tmp_path)

    kill(process)
    await gone(heir)


async def test_a_successor_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "HEIR_SECONDS_MAX", 0.2)
    process, heir = claimant(CLAIM_AND_HAND_ON, tmp_path)
    os.kill(heir, signal.SIGSTOP)
    kill(process)

    with pytest.raises(DataDirectoryInUse):
        await DataDirectory.claim(tmp_path)

    os.kill(heir, signal.SIGKILL)


async def _true(value: bool) -> bool:
    return value


async def test_a_successor_never_meets_the_nats_server_of_a_claimant_that_was_killed(tmp_path: Path) -> None:
    process, nats_server = claimant(CLAIM_AND_START, tmp_path)
    assert not claim(tmp_path)
    kill(process)

    await until(lambda: asyncio.to_thread(claim, tmp_path))

    # The lock goes with the last of its files, and the process itself a moment later.
    assert not has_files(nats_server)
    await gone(nats_server)
