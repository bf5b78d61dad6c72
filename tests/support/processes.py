"""Waiting for processes that a test does not own."""

import os
from pathlib import Path

from support.waiting import until


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # Dead, and nobody has asked for its exit code yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def gone(pid: int, seconds: float = 20) -> None:
    """Wait until there is no such process."""

    async def is_gone() -> bool:
        return not is_running(pid)

    await until(is_gone, seconds)
