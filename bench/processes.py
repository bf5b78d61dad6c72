"""The only place that knows how a measured process is started, ended, and asked what it has used of the machine."""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from workflowstore_server.embedded import guard

ROOT: Final = Path(__file__).resolve().parent.parent
READY_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 15.0


@asynccontextmanager
async def running(command: Sequence[str | Path]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with the block, or with this process however that one ends. Its standard output is a pipe.

    What it says on standard error is shown when the block fails.
    """
    # Settings of a server that somebody runs elsewhere would change what is measured.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOWSTORE_")}
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=environment,
            # A Ctrl-C goes to the whole group of a terminal; here the measurement ends first.
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        except Exception:
            errors.seek(0)
            sys.stderr.write(errors.read().decode(errors="replace"))
            raise
        finally:
            await _end(process)


async def next_line(process: asyncio.subprocess.Process, seconds_max: float = READY_SECONDS_MAX) -> str:
    """What the process prints next, such as that it is ready."""
    assert process.stdout is not None, "its standard output is a pipe"
    async with asyncio.timeout(seconds_max):
        line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"a measured process has ended without a word, with code {await process.wait()}")
    return line.decode().strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
        except TimeoutError:
            process.kill()
    await process.wait()


def child_of(parent: int, name: str) -> int | None:
    """The process called `name` that `parent` has started; None where there is no /proc."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            own_name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            if own_name == name and int(rest.split()[1]) == parent:
                return int(folder.name)
    return None


def cpu_seconds(process: int) -> float | None:
    """Seconds of processor time that a process has used, in steps of 0.01; None where there is no /proc."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def forget_peak_memory(process: int) -> None:
    """Let `peak_memory_mib` begin anew from what the process has now."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def peak_memory_mib(process: int) -> float | None:
    """The most resident memory that a process has had; None where there is no /proc."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None
