"""The only place that knows which commands `workflowstore` has."""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any, Final

import click

from workflowstore_server import __version__
from workflowstore_server.cli import (
    buckets,
    completion,
    deletes,
    exports,
    imports,
    index,
    reads,
    revisions,
    serve,
    status,
    token,
    updates,
    watch,
    writes,
)
from workflowstore_server.cli.endings import EPILOG, CommandFailed, ExitCode
from workflowstore_server.cli.text import shown

PROGRAM: Final = "workflowstore"

RECURSION_LIMIT: Final = 4000
"""A payload may have 500 levels, and the client's encoder takes three frames for each."""


class PipeClosed(Exception):
    """Whoever read standard output closed it. (A BrokenPipeError would be answered by click, with exit code 1.)"""


class Program(click.Group):
    """The group of commands, whose end belongs to `run`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeClosed from error


@click.group(PROGRAM, cls=Program, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def group() -> None:
    """Durable workflow state over gRPC, kept in NATS JetStream KV.

    `serve` runs the server; the other commands call a running one. They print tables on a terminal, and JSON Lines
    when standard output is something else or with --json.
    """


for command in (
    serve.serve,
    writes.save,
    updates.update,
    reads.load,
    revisions.history,
    reads.list_,
    reads.count,
    watch.watch,
    deletes.delete,
    exports.export,
    imports.import_,
    status.info,
    status.health,
    index.index,
    buckets.bucket,
    token.token,
    completion.completion,
):
    group.add_command(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `arguments` = None takes those of the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What the terminal's encoding lacks is shown escaped instead of ending the command.
            stream.reconfigure(errors="backslashreplace")
    # gRPC's C core would write to standard error what reaches the user as the status of the call.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.setrecursionlimit(max(RECURSION_LIMIT, sys.getrecursionlimit()))
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except (BrokenPipeError, PipeClosed):
        _drop_output()
        return ExitCode.PIPE_CLOSED
    except (click.Abort, KeyboardInterrupt):
        _drop_output()
        return ExitCode.INTERRUPTED
    except OSError as error:
        click.echo(f"{PROGRAM}: {shown(str(error))}", err=True)
        return ExitCode.FAILURE
    return code


def _drop_output() -> None:
    """Let what is still buffered go nowhere, instead of failing on it or waiting for a reader who has stopped."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _invoke(arguments: Sequence[str] | None) -> int:
    try:
        code: int | None = group.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except CommandFailed as failed:
        sys.stdout.flush()
        click.echo(f"{PROGRAM}: {failed}", err=True)
        return failed.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code or ExitCode.OK
