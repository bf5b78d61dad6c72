"""The only place that knows how the Go program beside ours, bench/go_provider, is built and run."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import processes
from bench.raw_nats import Bucket

SOURCE: Final = Path(__file__).with_name("go_provider")
LIST_SECONDS_MAX: Final = 600.0


class NotBuilt(Exception):
    """There is no program; the text says why."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What one List has taken: that of all keys, then the gets, and the processor time of the gets."""

    keys: int
    keys_seconds: float
    gets: int
    gets_seconds: float
    cpu_seconds: float


async def build(folder: Path) -> Path:
    """Build the program into `folder`.

    Raises: NotBuilt.
    """
    go = shutil.which("go")
    if go is None:
        raise NotBuilt("no Go toolchain")
    program = folder / SOURCE.name
    async with processes.running([go, "build", "-C", SOURCE, "-o", program, "."]) as building:
        if await building.wait() != 0:
            raise NotBuilt("go build has failed")
    return program


async def run(program: Path, bucket: Bucket, gets: int) -> Listed:
    """List a bucket as the Go package does, but get no more than so many documents."""
    command = [program, "--url", bucket.nats.url, "--bucket", bucket.name, "--gets", str(gets)]
    async with processes.running(command) as process:
        return Listed(**json.loads(await processes.next_line(process, LIST_SECONDS_MAX)))
