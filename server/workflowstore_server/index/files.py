"""The only place that knows which files an index consists of."""

from pathlib import Path
from typing import Final

SUFFIX: Final = ".sqlite3"
_ENDS: Final = ("", "-wal", "-shm", "-journal", ".crc32")


def database_of(directory: Path, bucket: str) -> Path:
    """Returns the file that the index of a bucket is in."""
    return directory / f"{bucket}{SUFFIX}"


def checksum_of(database: Path) -> Path:
    """Returns the file that has the checksum of a database which was closed."""
    return database.with_name(f"{database.name}.crc32")


def log_of(database: Path) -> Path:
    """Returns the write-ahead log of a database that is open, or that was left without being closed."""
    return database.with_name(f"{database.name}-wal")


def discard(directory: Path, bucket: str) -> None:
    """Removes the index of a bucket. A server that has it open notices, and builds it anew."""
    delete(database_of(directory, bucket))


def delete(database: Path) -> None:
    """Removes all files of a database."""
    for end in _ENDS:
        database.with_name(f"{database.name}{end}").unlink(missing_ok=True)
