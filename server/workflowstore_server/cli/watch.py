"""The only place that knows the command that prints changes while they are made: watch."""

from typing import TYPE_CHECKING, Any, Final

import click

from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import CommandFailed, unsendable
from workflowstore_server.cli.fields import REVISION_MAX
from workflowstore_server.cli.filters import filtered
from workflowstore_server.cli.output import ChangeTable, JsonLines, print_state
from workflowstore_server.cli.text import shown

if TYPE_CHECKING:
    from workflowstore import WorkflowChange, WorkflowFilter

WORDS: Final = {
    "saved": "saved",
    "deleted": "deleted",
    "unmatched": "no longer matches",
    "malformed": "malformed",
}
"""What people are told of each kind of change."""


@click.command()
@filtered
@click.option(
    "--after-revision",
    type=click.IntRange(0, REVISION_MAX),
    metavar="N",
    help="Begin after this revision, where an earlier watch or list has ended; 0: with the oldest that there is.",
)
@click.option("--snapshot", is_flag=True, help="Begin with what matches now, and tell when that is complete.")
@click.option("--full", is_flag=True, help="Print inputs, results and histories too.")
@click.option("--progress", is_flag=True, help="Also tell, every few seconds, up to which revision all has been told.")
@connected(timeout_default=None)
def watch(
    connection: Connection,
    wanted: "WorkflowFilter",
    after_revision: int | None,
    snapshot: bool,
    full: bool,
    progress: bool,
) -> None:
    """Print changes as they are made.

    It begins now, unless --after-revision or --snapshot is given, and goes on until Ctrl-C or the end of --timeout.
    Then standard error says how to go on without missing anything. A server that is restarted is waited for.
    """
    from workflowstore import DeadlineExceededError, RevisionForgottenError, WorkflowStoreError, WorkflowView

    if snapshot and after_revision is not None:
        raise click.UsageError("Give --after-revision or --snapshot, not both.")
    watcher = Watcher(connection.human, full, progress, after_revision)
    try:
        with connection.client() as client, unsendable():
            for change in client.watch(
                wanted,
                after_revision=after_revision,
                snapshot=snapshot,
                view=WorkflowView.FULL if full else WorkflowView.SUMMARY,
                on_progress=watcher.reached,
                timeout=connection.timeout_seconds,
            ):
                watcher.print(change)
    except CommandFailed as failed:
        cause: BaseException | None = failed.__cause__
        if isinstance(cause, DeadlineExceededError):
            # The time that was asked for is over.
            watcher.say_how_to_go_on()
            return
        if isinstance(cause, RevisionForgottenError):
            raise CommandFailed(failed.code, *failed.lines, "begin anew with --snapshot") from cause
        if isinstance(cause, WorkflowStoreError):
            watcher.say_how_to_go_on()
        raise
    except KeyboardInterrupt:
        watcher.say_how_to_go_on()
        raise


class Watcher:
    """Prints changes one by one, and knows after which revision to go on."""

    def __init__(self, human: bool, full: bool, tells_progress: bool, after_revision: int | None) -> None:
        self._table = ChangeTable() if human else None
        self._lines = None if human else JsonLines()
        self._full = full
        self._tells_progress = tells_progress
        self._resume_revision = after_revision

    def reached(self, revision: int) -> None:
        """Take note that everything up to `revision` has been printed."""
        self._resume_revision = revision
        if not self._tells_progress:
            return
        if self._lines is None:
            click.echo(f"-- up to revision {revision} --", err=True)
        else:
            self._write({"kind": "progress", "revision": revision})

    def print(self, change: "WorkflowChange") -> None:
        """Print the next change."""
        if self._lines is not None:
            self._write(_form(change))
        elif change.kind == "snapshot_complete":
            click.echo(f"-- snapshot complete at revision {change.revision} --", err=True)
        else:
            self._show(change)

    def say_how_to_go_on(self) -> None:
        """Tell on standard error how a later watch misses nothing."""
        if self._resume_revision is not None:
            click.echo(f"workflowstore: go on with --after-revision {self._resume_revision}", err=True)

    def _show(self, change: "WorkflowChange") -> None:
        assert self._table is not None
        malformed = change.malformed
        subject = change.workflow_id or (malformed.key if malformed is not None else "")
        self._table.add(WORDS[change.kind], subject, change.state, change.revision)
        if malformed is not None:
            click.echo(f"  {shown(malformed.reason)}")
        if self._full and change.state is not None:
            print_state(change.state)
            click.echo()

    def _write(self, form: dict[str, Any]) -> None:
        assert self._lines is not None
        self._lines.write(form)
        # It may be long until the next one.
        self._lines.flush()


def _form(change: "WorkflowChange") -> dict[str, Any]:
    from workflowstore_server.cli.state_json import to_json_form

    form: dict[str, Any] = {"kind": change.kind}
    if change.kind != "snapshot_complete":
        form["workflow_id"] = change.workflow_id
    form["revision"] = change.revision
    if change.state is not None:
        form["state"] = to_json_form(change.state)
    if change.malformed is not None:
        form["malformed"] = {"key": change.malformed.key, "reason": change.malformed.reason}
    return form
