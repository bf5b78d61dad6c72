"""The only place that knows how a program is made to end with the process that started it, however that one ends.

Run as a script, `guard.py PARENT PROGRAM ARGUMENT...`, in an interpreter of its own. On Linux it asks the kernel for a
SIGKILL at its parent's death and becomes the program. Elsewhere it stays and looks after both.
"""

import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL_SECONDS = 0.2


def become(parent: int, command: list[str]) -> None:
    """Become the program, which the kernel kills when the parent is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the kernel was asked.
    if os.getppid() == parent:
        os.execv(command[0], command)  # noqa: S606 (no shell is the point)


def watch(parent: int, command: list[str]) -> int:
    """Run the program, pass a SIGTERM on to it, kill it when the parent is gone, and return its exit code."""
    asked: list[int] = []
    # Before the program runs: a SIGTERM that came first would end this process and leave the program behind.
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    program = subprocess.Popen(command, close_fds=False)  # noqa: S603 (the parent chose the command)
    while True:
        if os.getppid() != parent:
            program.kill()
        elif asked:
            program.send_signal(asked.pop())
        try:
            code = program.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        # As shells tell it, a program that a signal ended has 128 and its number.
        return code if code >= 0 else 128 - code


if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        become(parent, command)
    else:
        sys.exit(watch(parent, command))
