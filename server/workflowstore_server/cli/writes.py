"""The only place that knows the command that saves whole states."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from workflowstore_server.cli.completion import STATUSES
from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import CommandFailed, ExitCode, unsendable
from workflowstore_server.cli.fields import REVISION_MAX, json_given, labels_given, status_given
from workflowstore_server.cli.output import JsonLines, print_saved
from workflowstore_server.cli.sources import open_source

if TYPE_CHECKING:
    from workflowstore import Client, WorkflowState


_FLAGS: Final = {
    "status": "--status",
    "run_id": "--run-id",
    "input_json": "--input",
    "result_json": "--result",
    "error": "--error",
    "labels": "--label",
}


@dataclass(slots=True)
class Progress:
    """How far a save of many has come."""

    line: int = 0
    """Line of the source that is being read or saved. 0 = none yet, or the state is not from a source."""
    saved: int = 0
    sending: bool = False
    """Whether the state of the line is on its way: if it ends now, nobody knows what became of it."""

    def words(self) -> str:
        """What there is to know when it ends early."""
        count = {0: "no state was", 1: "1 state was"}.get(self.saved, f"{self.saved} states were")
        doubt = ", and that of this line perhaps; load it to find out" if self.sending else ""
        return f"stopped at line {self.line}; {count} saved{doubt}"


@click.command()
@click.argument("source", required=False, type=click.Path(allow_dash=True))
@click.option("--id", "workflow_id", metavar="ID", help="Save a state given by options instead of SOURCE.")
@click.option("--status", type=click.Choice(STATUSES), help="With --id: where the execution stands.")
@click.option("--run-id", metavar="TEXT", help="With --id: names this execution.")
@click.option("--input", "input_json", metavar="JSON", help="With --id: the input.")
@click.option("--result", "result_json", metavar="JSON", help="With --id: the result.")
@click.option("--error", metavar="TEXT", help="With --id: the error message.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="With --id: a label; may be repeated.")
@click.option(
    "--expected-revision",
    type=click.IntRange(0, REVISION_MAX),
    metavar="N",
    help="Save only if the stored state is at this revision; 0: only if there is none. For a single state.",
)
@connected()
def save(
    connection: Connection, source: str | None, workflow_id: str | None, expected_revision: int | None, **fields: Any
) -> None:
    """Save whole states.

    Each replaces whatever is stored under its id.

    SOURCE is a file, or - for standard input. It holds one JSON document, or one a line (JSON Lines), in the form that
    `load` and `list --full` print. With several, the first failure stops; what was saved before stays saved.

    Without SOURCE, --id and the options of a state make one; what is not given is empty, the history included.
    """
    given = [name for name, value in fields.items() if value not in (None, ())]
    if (source is None) == (workflow_id is None):
        raise click.UsageError("Give a SOURCE (a file, or - for standard input), or else --id.")
    if source is not None and given:
        raise click.UsageError(f"{_FLAGS[given[0]]} is for the state of --id; states in a SOURCE carry their own.")
    progress = Progress()
    with ExitStack() as stack:
        if workflow_id is not None:
            states = iter([_state_of(workflow_id, **fields)])
        else:
            assert source is not None
            states = _states_in(open_source(source, stack), source, progress)
            if expected_revision is not None:
                states = _single(states)
        _save_all(connection, states, expected_revision, progress)


def _states_in(stream: BinaryIO, source: str, progress: Progress) -> "Iterator[WorkflowState]":
    """The states of a source, each read and checked when it is asked for."""
    from workflowstore_server.cli.documents import DocumentError, documents
    from workflowstore_server.cli.state_json import FormError, from_json_form

    try:
        for document in documents(stream):
            progress.line = document.line
            yield from_json_form(document.value)
    except DocumentError as error:
        progress.line = error.line
        raise CommandFailed(ExitCode.USAGE, f"line {error.line}: {error.words}", progress.words()) from error
    except FormError as error:
        raise CommandFailed(ExitCode.USAGE, f"line {progress.line}: {error}", progress.words()) from error
    if not progress.line:
        raise CommandFailed(ExitCode.USAGE, f"{source} holds no state; give one JSON document, or one a line")


def _single(states: "Iterator[WorkflowState]") -> "Iterator[WorkflowState]":
    first = next(states)
    if next(states, None) is not None:
        raise CommandFailed(
            ExitCode.USAGE, "--expected-revision is for a single state, and there are several; no state was saved"
        )
    return iter([first])


def _state_of(
    workflow_id: str,
    *,
    status: str | None,
    run_id: str | None,
    input_json: str | None,
    result_json: str | None,
    error: str | None,
    labels: tuple[str, ...],
) -> "WorkflowState":
    from workflowstore import WorkflowState, WorkflowStatus

    return WorkflowState(
        workflow_id,
        run_id=run_id or "",
        status=WorkflowStatus.UNSPECIFIED if status is None else status_given(status),
        input=None if input_json is None else json_given(input_json, "--input"),
        result=None if result_json is None else json_given(result_json, "--result"),
        error=error or "",
        labels=labels_given(labels),
    )


def _save_all(
    connection: Connection, states: "Iterator[WorkflowState]", expected_revision: int | None, progress: Progress
) -> None:
    lines = None if connection.human else JsonLines()
    try:
        with connection.client() as client:
            for state in states:
                saved = _save_one(connection, client, state, expected_revision, progress)
                print_saved(saved, lines, "saved")
    except KeyboardInterrupt:
        if progress.line:
            click.echo(f"workflowstore: {progress.words()}", err=True)
        raise


def _save_one(
    connection: Connection,
    client: "Client",
    state: "WorkflowState",
    expected_revision: int | None,
    progress: Progress,
) -> "WorkflowState":
    progress.sending = True
    try:
        with connection.failures(), unsendable():
            saved = client.save(state, expected_revision=expected_revision)
    except CommandFailed as failed:
        progress.sending = False
        if not progress.line:
            raise
        words, *details = failed.lines
        raise CommandFailed(failed.code, f"line {progress.line}: {words}", *details, progress.words()) from failed
    progress.sending = False
    progress.saved += 1
    return saved
