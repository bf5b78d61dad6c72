"""The only place that knows where a command reads from: a file, or standard input."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

from workflowstore_server.cli.endings import CommandFailed, ExitCode

STANDARD_STREAM: Final = "-"
"""What stands for standard input or output in place of a file."""


def open_source(source: str, stack: ExitStack) -> BinaryIO:
    """Open a source, to be closed by `stack`.

    Raises:
        CommandFailed: It cannot be read.
    """
    if source == STANDARD_STREAM:
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(source).open("rb"))
    except OSError as error:
        raise CommandFailed(ExitCode.USAGE, f"cannot read {source}: {error.strerror}") from error
