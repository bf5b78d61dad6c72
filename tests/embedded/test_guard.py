"""A guarded program ends with the process that started it, whatever the way: by the kernel's help, or by a watcher."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.processes import gone, is_running
from workflowstore_server.embedded import guard

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a signal at the parent's death")

GUARD = (
    "import sys; from workflowstore_server.embedded import guard; sys.exit(guard.{}(int(sys.argv[1]), sys.argv[2:]))"
)

TELL_AND_SLEEP = "import os, signal, time; {}; print(os.getpid(), flush=True); time.sleep(60)"
PROGRAM = (sys.executable, "-c", TELL_AND_SLEEP.format("pass"))
STUBBORN = (sys.executable, "-c", TELL_AND_SLEEP.format("signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
PARENT = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid()), *sys.argv[2:]]).wait()
"""


@pytest.fixture(params=[pytest.param("become", marks=LINUX_ONLY), "watch"])
def way(request: pytest.FixtureRequest) -> str:
    return GUARD.format(request.param)


@contextmanager
def running(*command: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A process, and the id that the program below it tells."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    try:
        yield process, pid
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


async def test_a_program_is_gone_soon_after_its_parent_was_killed(way: str) -> None:
    with running(sys.executable, "-c", PARENT, way, *STUBBORN) as (parent, pid):
        parent.kill()
        parent.wait(10)

        await gone(pid)


def test_a_program_whose_parent_is_gone_already_does_not_stay(way: str) -> None:
    another = PARENT.replace("str(os.getpid())", "str(os.getppid())")

    assert subprocess.run([sys.executable, "-c", another, way, "/bin/sleep", "60"], timeout=10, check=False)


async def test_a_signal_to_stop_reaches_the_program(way: str) -> None:
    with running(sys.executable, "-c", way, str(os.getpid()), *PROGRAM) as (process, pid):
        process.terminate()

        assert process.wait(10) in {-signal.SIGTERM, 128 + signal.SIGTERM}
        await gone(pid)


def test_the_exit_code_is_passed_on(way: str) -> None:
    ended = subprocess.run([sys.executable, "-c", way, str(os.getpid()), "/bin/sh", "-c", "exit 7"], check=False)

    assert ended.returncode == 7


def test_open_files_are_passed_on(way: str) -> None:
    reading, writing = os.pipe()
    program = (sys.executable, "-c", f"import os; os.write({writing}, b'passed')")
    command = [sys.executable, "-c", way, str(os.getpid()), *program]

    subprocess.run(command, pass_fds=(writing,), check=True)

    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "passed"


def test_it_runs_as_a_script_in_an_interpreter_without_anything_installed() -> None:
    command = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), "/bin/sh", "-c", "exit 7"]

    assert subprocess.run(command, check=False).returncode == 7
