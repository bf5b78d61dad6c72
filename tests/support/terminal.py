"""A command on a pseudo-terminal, and what a person would see of it."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence
from typing import Any

LINES = 40


def type_on_terminal(
    command: Sequence[str], *, columns: int, seconds_max: float, stdout: int | None = None, **options: Any
) -> tuple[int, str]:
    """Run a command to its end and return its exit code and what the terminal shows.

    `stdout` takes standard output elsewhere; `options` are those of subprocess.Popen.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave if stdout is None else stdout, stderr=slave, **options
    )
    os.close(slave)
    shown = b""
    try:
        # The end of a terminal is an error to read on Linux (EIO).
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        pass
    finally:
        os.close(master)
    return process.wait(seconds_max), shown.decode().replace("\r\n", "\n")
