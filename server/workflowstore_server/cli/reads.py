"""The only place that knows the commands that read states: load, list and count."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from workflowstore_server.cli.completion import workflow_ids
from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import CommandFailed, ExitCode, unsendable
from workflowstore_server.cli.filters import filtered
from workflowstore_server.cli.output import JsonLines, StateTable, print_counts, print_state
from workflowstore_server.cli.text import shown

if TYPE_CHECKING:
    from workflowstore import MalformedEntry, WorkflowFilter, WorkflowState

ORDERS: Final = {"id": "workflow_id", "created": "created_at", "updated": "updated_at"}
"""What --order takes, and what the client calls it."""

LABEL: Final = "label:"
"""What --by takes before the key of a label."""

PROGRESS_SECONDS: Final = 0.2
"""How often the count on standard error is renewed."""


def _group(_context: click.Context, _option: click.Parameter, by: str) -> str:
    if by and by != "status" and not (by.startswith(LABEL) and by != LABEL):
        raise click.BadParameter(f"{by!r} is nothing to count by; give status or label:KEY.")
    return by


def _fresh(*consistencies: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that say how new it has to be what is read."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        consistency = click.option(
            "--consistency",
            type=click.Choice(consistencies),
            default="session",
            show_default=True,
            help="How new it has to be where the bucket has several replicas; linearizable costs a write.",
        )
        min_revision = click.option(
            "--min-revision",
            type=click.IntRange(0, 2**64 - 1),
            default=0,
            metavar="N",
            help="As of this revision of the bucket or later, such as that of a save on another server.",
        )
        return consistency(min_revision(command))

    return add


@click.command()
@click.argument("workflow_id", metavar="ID", shell_complete=workflow_ids)
@click.option("--summary", is_flag=True, help="Leave out the input, the result and the history.")
@_fresh("session", "linearizable", "any-replica")
@connected()
def load(connection: Connection, workflow_id: str, summary: bool, consistency: str, min_revision: int) -> None:
    """Print one state. The exit code is 3 when there is no such workflow."""
    from workflowstore import Consistency, WorkflowView

    with connection.client() as client, unsendable():
        state = client.load(
            workflow_id,
            view=WorkflowView.SUMMARY if summary else WorkflowView.FULL,
            min_revision=min_revision,
            consistency=Consistency(consistency.replace("-", "_")),
        )
    if state is None:
        bucket = f"bucket {connection.bucket}" if connection.bucket else "the server's first bucket"
        raise CommandFailed(ExitCode.NOT_FOUND, f"workflow {workflow_id} does not exist in {bucket}")
    if connection.human:
        print_state(state)
    else:
        _write_line(JsonLines(), state)


@click.command("list")
@filtered
@click.option(
    "--order",
    type=click.Choice(tuple(ORDERS)),
    default="id",
    show_default=True,
    help="What they are ordered by; by time the earliest first.",
)
@click.option("--desc", is_flag=True, help="The other way round: the last id or the latest first.")
@click.option("--limit", type=click.IntRange(1, 2**63 - 1), metavar="N", help="The most states to print.")
@click.option("--page-token", default="", metavar="TOKEN", help="Go on where a list with --limit has ended.")
@click.option("--full", is_flag=True, help="Print inputs, results and histories too.")
@_fresh("session", "linearizable")
@connected(timeout_default=None)
def list_(
    connection: Connection,
    wanted: "WorkflowFilter",
    order: str,
    desc: bool,
    limit: int | None,
    page_token: str,
    full: bool,
    consistency: str,
    min_revision: int,
) -> None:
    """Print all states that match.

    They are printed while they come. Malformed entries are reported on standard error, and make the exit code 6 at the
    end. When --limit leaves states out, standard error tells a terminal how to go on.
    """
    from workflowstore import Consistency, OrderBy, WorkflowView

    printer = Printer(connection.human, full)
    next_page_token = ""
    with printer, connection.client() as client, unsendable():
        for chunk in client.list_chunks(
            wanted,
            order_by=OrderBy(ORDERS[order]),
            descending=desc,
            limit=limit,
            view=WorkflowView.FULL if full else WorkflowView.SUMMARY,
            page_token=page_token,
            min_revision=min_revision,
            consistency=Consistency(consistency),
            timeout=connection.timeout_seconds,
        ):
            for entry in chunk.malformed:
                printer.report(entry)
            for state in chunk.states:
                printer.print(state)
            next_page_token = chunk.next_page_token
    if next_page_token and connection.human:
        click.echo(f"workflowstore: there are more; go on with --page-token {next_page_token}", err=True)
    if printer.malformed_count:
        raise _malformed(printer.malformed_count)


@click.command()
@filtered
@click.option("--by", "by", default="", metavar="status|label:KEY", callback=_group, help="Count these apart too.")
@_fresh("session", "linearizable")
@connected()
def count(connection: Connection, wanted: "WorkflowFilter", by: str, consistency: str, min_revision: int) -> None:
    """Print how many states match.

    Malformed entries are in no number; if there are any, the exit code is 6.
    """
    from workflowstore import Consistency

    label = by.removeprefix(LABEL) if by.startswith(LABEL) else None
    with connection.client() as client, unsendable():
        counted = client.count(
            wanted,
            by_status=by == "status",
            by_label=label,
            min_revision=min_revision,
            consistency=Consistency(consistency),
        )
    if connection.human:
        print_counts([(_name(group.key, label), group.count) for group in counted.groups], counted.count)
        if counted.omitted_groups:
            click.echo(f"workflowstore: {counted.omitted_groups} more groups are left out", err=True)
    else:
        key = "status" if label is None else "value"
        JsonLines().write(
            {
                "count": counted.count,
                "groups": [{key: group.key, "count": group.count} for group in counted.groups],
                "omitted_groups": counted.omitted_groups,
                "malformed_count": counted.malformed_count,
                "store_revision": counted.store_revision,
            }
        )
    if counted.malformed_count:
        raise _malformed(counted.malformed_count)


def _name(key: str | None, label: str | None) -> str:
    if label is None:
        return key or "unspecified"
    return f"{label}={key}" if key is not None else f"no {label}"


def _malformed(number: int) -> CommandFailed:
    entries = "1 entry is" if number == 1 else f"{number} entries are"
    return CommandFailed(ExitCode.MALFORMED, f"{entries} malformed; save over them or delete them to go on")


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
