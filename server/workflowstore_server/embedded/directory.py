"""The only place that knows how a data directory is claimed by one server at a time."""

import asyncio
import fcntl
import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

HEIR_SECONDS_MAX: Final = 10.0
"""How long a claim waits for the nats-server of a server that was killed. It ends within a second, or once the write
that it is in has come to the disk."""

CHECK_SECONDS: Final = 0.05

HOLDER: Final = "process "
"""What the number of the process that has claimed a directory comes after, in the file by which it did."""


class DataDirectoryInUse(Exception):
    """Another server has claimed the directory; `holder` is what it wrote about itself."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(directory, holder)
        self.directory = directory
        self.holder = holder

    @property
    def holder_is_gone(self) -> bool:
        """Whether it was killed, and what it started has still to end. Another one may have its number by now."""
        number = self.holder.removeprefix(HOLDER)
        if not number.isdigit():
            return False
        # In a container, where the numbers begin anew, it may have been ours.
        if int(number) == os.getpid():
            return True
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


class DataDirectory:
    """A directory, private to its owner, that this process has claimed.

    The claim is a lock on an open file. nats-server inherits that file, so the directory stays claimed until both
    are gone: a successor never meets a nats-server that is still writing.
    """

    def __init__(self, path: Path) -> None:
        """Make and claim the directory.

        Raises: DataDirectoryInUse; OSError when it cannot be made or written.
        """
        self.path = path.absolute()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self.lock, 100).decode(errors="replace").strip()
            os.close(self.lock)
            raise DataDirectoryInUse(self.path, holder) from error
        os.ftruncate(self.lock, 0)
        os.write(self.lock, f"{HOLDER}{os.getpid()}\n".encode())

    @classmethod
    async def claim(cls, path: Path) -> "DataDirectory":
        """Make and claim the directory, as soon as what is left of a server that was killed has ended.

        Raises: DataDirectoryInUse; OSError when it cannot be made or written.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        told = False
        while True:
            try:
                return cls(path)
            except DataDirectoryInUse as error:
                if loop.time() > began + HEIR_SECONDS_MAX or not error.holder_is_gone:
                    raise
            if not told:
                told = True
                log.info("waiting for the nats-server of a server that is gone to end, in %s", path)
            await asyncio.sleep(CHECK_SECONDS)

    def release(self) -> None:
        """Give the directory up."""
        os.close(self.lock)
