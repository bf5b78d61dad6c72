"""The only place that knows the commands that read states: load and list."""

import sys
import time
from typing import TYPE_CHECKING, Final

import click

from workflowstore_server.cli.completion import STATUSES, workflow_ids
from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import CommandFailed, ExitCode, unsendable
from workflowstore_server.cli.output import JsonLines, StateTable, print_state
from workflowstore_server.cli.text import shown

if TYPE_CHECKING:
    from workflowstore import MalformedEntry, WorkflowState

PROGRESS_SECONDS: Final = 0.2
"""How often the count on standard error is renewed."""


@click.command()
@click.argument("workflow_id", metavar="ID", shell_complete=workflow_ids)
@click.option("--summary", is_flag=True, help="Leave out the input, the result and the history.")
@connected()
def load(connection: Connection, workflow_id: str, summary: bool) -> None:
    """Print one state. The exit code is 3 when there is no such workflow."""
    from workflowstore import WorkflowView

    with connection.client() as client, unsendable():
        state = client.load(workflow_id, view=WorkflowView.SUMMARY if summary else WorkflowView.FULL)
    if state is None:
        bucket = f"bucket {connection.bucket}" if connection.bucket else "the server's first bucket"
        raise CommandFailed(ExitCode.NOT_FOUND, f"workflow {workflow_id} does not exist in {bucket}")
    if connection.human:
        print_state(state)
    else:
        _write_line(JsonLines(), state)


@click.command("list")
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only this; may be repeated.")
@click.option("--limit", type=click.IntRange(1, 2**63 - 1), metavar="N", help="The most states to print.")
@click.option("--full", is_flag=True, help="Print inputs, results and histories too.")
@connected(timeout_default=None)
def list_(connection: Connection, statuses: tuple[str, ...], limit: int | None, full: bool) -> None:
    """Print all states that match.

    They come in the order in which they were last written, the oldest first, and are printed while they come.
    Malformed entries are reported on standard error, and make the exit code 6 at the end.
    """
    from workflowstore import WorkflowStatus, WorkflowView

    wanted = [WorkflowStatus("" if status == "unspecified" else status) for status in statuses]
    printer = Printer(connection.human, full)
    with printer, connection.client() as client:
        for state in client.list(
            statuses=wanted,
            limit=limit,
            view=WorkflowView.FULL if full else WorkflowView.SUMMARY,
            on_malformed=printer.report,
            timeout=connection.timeout_seconds,
        ):
            printer.print(state)
    if printer.malformed_count:
        entries = "1 entry is" if printer.malformed_count == 1 else f"{printer.malformed_count} entries are"
        raise CommandFailed(ExitCode.MALFORMED, f"{entries} malformed; save over them or delete them to go on")


class Printer:
    """Prints the states of a List one by one, and counts them where that is of use: for whoever waits at a terminal."""

    def __init__(self, human: bool, full: bool) -> None:
        self.malformed_count = 0
        self._count = 0
        self._counts = sys.stderr.isatty() and not sys.stdout.isatty()
        self._counted = time.monotonic()
        self._table = StateTable() if human and not full else None
        self._lines = None if human else JsonLines()

    def __enter__(self) -> "Printer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Print what is kept back, also when the List failed. After Ctrl-C nothing: its reader may have stopped."""
        if kind is not None and not issubclass(kind, Exception):
            return
        # A List of nothing is a header alone, a failed one not even that.
        if self._table is not None and (self._count or kind is None):
            self._table.flush()
        if self._lines is not None:
            self._lines.flush()
        if self._counts:
            self._tell_count(end="\n")

    def print(self, state: "WorkflowState") -> None:
        """Print the next state."""
        self._count += 1
        if self._table is not None:
            self._table.add(state)
        elif self._lines is not None:
            _write_line(self._lines, state)
        else:
            if self._count > 1:
                click.echo()
            print_state(state)
        if self._counts and time.monotonic() - self._counted > PROGRESS_SECONDS:
            self._tell_count()

    def report(self, entry: "MalformedEntry") -> None:
        """Report an entry that cannot be decoded."""
        self.malformed_count += 1
        if self._table is not None:
            self._table.flush()
        clear = "\r\x1b[K" if self._counts else ""
        words = shown(f"malformed entry: key {entry.key}, revision {entry.revision}: {entry.reason}")
        click.echo(f"{clear}workflowstore: {words}", err=True)

    def _tell_count(self, end: str = "") -> None:
        self._counted = time.monotonic()
        click.echo(f"\r{self._count} states{end}", err=True, nl=False)


def _write_line(lines: JsonLines, state: "WorkflowState") -> None:
    from workflowstore_server.cli.state_json import to_json_form

    lines.write(to_json_form(state))
