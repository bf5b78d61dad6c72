"""A file system that forgets what was not synced when its power is cut, and that can be full.

What is written stays in memory until it is synced: only then does it reach the folder beneath. Whoever
kills the process of the file system cuts its power. Names (created, renamed, deleted files) are on disk at once, as
they are on ext4 once the file itself is synced; torn writes and flipped bits are not modelled.

    python -m support.forgetful_file_system FOLDER MOUNT_POINT
"""

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any

import mfusepy

from support.forgetful_disk import full, left


class _File:
    """A file's content as those see it who have it open, and how it differs from what is beneath."""

    def __init__(self, path: Path) -> None:
        self.content = bytearray(path.read_bytes())
        self.path: Path | None = path
        """None = deleted."""
        self.handles = 0
        self.written: list[tuple[int, int]] = []
        self.cut_to: int | None = None
        """The smallest size it had since it was synced. None = not smaller than beneath."""

    @property
    def unsynced(self) -> bool:
        return bool(self.written) or self.cut_to is not None

    def truncate(self, size: int) -> None:
        if size < len(self.content):
            del self.content[size:]
            self.cut_to = size if self.cut_to is None else min(size, self.cut_to)
        else:
            self.write(b"\0" * (size - len(self.content)), len(self.content))

    def write(self, data: bytes, offset: int) -> None:
        if offset > len(self.content):
            self.truncate(offset)
        self.content[offset : offset + len(data)] = data
        self.written.append((offset, offset + len(data)))

    def sync(self) -> None:
        if self.path is None or not self.unsynced:
            return
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            if self.cut_to is not None:
                os.ftruncate(descriptor, self.cut_to)
            for start, end in self.written:
                os.pwrite(descriptor, self.content[start:end], start)
            os.ftruncate(descriptor, len(self.content))
        finally:
            os.close(descriptor)
        self.written, self.cut_to = [], None


class _Operations(mfusepy.Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self, beneath: Path) -> None:
        self._beneath = beneath
        self._files: dict[str, _File] = {}
        """Those that are open or not synced, by path."""
        self._open: dict[int, _File] = {}
        self._next_handle = 1

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._real(path))
        attributes = {name: getattr(found, name) for name in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size")}
        attributes |= {f"st_{kind}time": getattr(found, f"st_{kind}time_ns") for kind in "amc"}
        if stat.S_ISREG(found.st_mode) and path in self._files:
            attributes["st_size"] = len(self._files[path].content)
        return attributes

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *(child.name for child in self._real(path).iterdir())]

    def mkdir(self, path: str, mode: int) -> int:
        self._real(path).mkdir(mode)
        return 0

    def rmdir(self, path: str) -> int:
        self._real(path).rmdir()
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._real(path).chmod(mode)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(self._real(path), ns=times)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._real(path))
        free_blocks = 0 if full(self._beneath).exists() else found.f_bavail
        if left(self._beneath).exists():
            free_blocks = int(left(self._beneath).read_text()) // found.f_frsize
        kept = {"f_bavail": free_blocks, "f_bfree": free_blocks}
        return kept | {name: getattr(found, name) for name in ("f_bsize", "f_frsize", "f_blocks")}

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        self._need_room()
        os.close(os.open(self._real(path), os.O_CREAT | os.O_WRONLY, mode))
        return self.open(path, 0)

    def open(self, path: str, flags: int) -> int:
        file = self._file(path)
        file.handles += 1
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._open[handle] = file
        return handle

    def release(self, path: str, fh: int) -> int:
        file = self._open.pop(fh)
        file.handles -= 1
        if not file.handles and not file.unsynced and self._files.get(path) is file:
            del self._files[path]
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._open[fh].content[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        file = self._open[fh]
        if offset + len(data) > len(file.content):
            self._need_room()
        file.write(data, offset)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        file = self._open[fh] if fh else self._file(path)
        if length > len(file.content):
            self._need_room()
        file.truncate(length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._open[fh].sync()
        return 0

    def rename(self, old: str, new: str) -> int:
        self._real(old).rename(self._real(new))
        self._forget(new)
        for path in [path for path in self._files if path == old or path.startswith(f"{old}/")]:
            file = self._files.pop(path)
            self._files[new + path[len(old) :]] = file
            file.path = self._real(new + path[len(old) :])
        return 0

    def unlink(self, path: str) -> int:
        self._real(path).unlink()
        self._forget(path)
        return 0

    def _real(self, path: str) -> Path:
        return self._beneath / path.removeprefix("/")

    def _file(self, path: str) -> _File:
        if path not in self._files:
            self._files[path] = _File(self._real(path))
        return self._files[path]

    def _forget(self, path: str) -> None:
        if file := self._files.pop(path, None):
            file.path = None

    def _need_room(self) -> None:
        if full(self._beneath).exists():
            raise mfusepy.FuseOSError(errno.ENOSPC)


if __name__ == "__main__":
    mfusepy.FUSE(_Operations(Path(sys.argv[1])), sys.argv[2], foreground=True, nothreads=True, fsname="forgetful")
