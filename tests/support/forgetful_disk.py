"""A disk whose power can be cut and that can be full: support.forgetful_file_system, mounted."""

import os
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]


class ForgetfulDisk:
    """The file system, mounted by a process of its own, the only one that needs FUSE's library."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self._beneath = folder / "beneath"
        for directory in (self.path, self._beneath):
            directory.mkdir()
        self._mount()

    def cut_power(self) -> None:
        """Forget what was not synced, and be there again. Whoever has files open on it must be dead by then."""
        self.unmount()
        self._mount()

    def fill(self) -> None:
        """Let no file grow any more."""
        full(self._beneath).touch()

    def leave(self, free_bytes: int) -> None:
        """Say that so many bytes are left, and let files grow all the same."""
        left(self._beneath).write_text(str(free_bytes))

    def free(self) -> None:
        """Have room again."""
        full(self._beneath).unlink(missing_ok=True)
        left(self._beneath).unlink(missing_ok=True)

    def unmount(self) -> None:
        self._process.kill()
        self._process.wait()
        subprocess.run(["fusermount3", "-u", "-z", self.path], check=True)

    def _mount(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.forgetful_file_system", self._beneath, self.path], cwd=TESTS
        )
        deadline = time.monotonic() + 20
        while not os.path.ismount(self.path):
            assert self._process.poll() is None, "the file system cannot be mounted"
            assert time.monotonic() < deadline, "the file system was not mounted"
            time.sleep(0.01)


def full(beneath: Path) -> Path:
    """The file that says that no file of the disk may grow."""
    return beneath.with_suffix(".full")


def left(beneath: Path) -> Path:
    """The file that says how many bytes are left."""
    return beneath.with_suffix(".left")
