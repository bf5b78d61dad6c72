"""The only place that knows how a data directory is claimed by one server at a time."""

import fcntl
import os
from pathlib import Path


class DataDirectoryInUse(Exception):
    """Another server has claimed the directory; `holder` is what it wrote about itself."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(directory, holder)
        self.directory = directory
        self.holder = holder


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
        os.write(self.lock, f"process {os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the directory up."""
        os.close(self.lock)
