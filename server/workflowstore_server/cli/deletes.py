"""The only place that knows the command that deletes workflows: one by its id, or those that match a filter."""

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click

from workflowstore_server.cli.completion import workflow_ids
from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import CommandFailed, ExitCode, unsendable
from workflowstore_server.cli.fields import REVISION_MAX
from workflowstore_server.cli.filters import filtered
from workflowstore_server.cli.output import JsonLines
from workflowstore_server.cli.progress import progress_bar
from workflowstore_server.cli.text import shown

if TYPE_CHECKING:
    from workflowstore import Client, WorkflowFilter, WorkflowStoreError

PORTION: Final = 1000
"""Workflows deleted by one call, the most that the server takes."""

FAILURES_TOLD_MAX: Final = 10
"""Workflows that could not be deleted and are named. The others are counted."""


@dataclass(slots=True)
class Deletion:
    """How far a deletion of many has come."""

    deleted: int = 0
    failures: "dict[str, WorkflowStoreError]" = field(default_factory=dict)
    """Why those that are left over were not deleted, by workflow id."""
    remaining: int = 0
    """Workflows that match and are left."""
    sending: int = 0
    """The most workflows that the call under way deletes; if it ends now, nobody knows how many it did."""

    def words(self) -> str:
        """What there is to know when it ends early."""
        doubt = f", and perhaps up to {self.sending} more" if self.sending else ""
        return f"{_workflows(self.deleted)} deleted before{doubt}"


@click.command()
@click.argument("workflow_id", metavar="[ID]", required=False, shell_complete=workflow_ids)
@filtered
@click.option("--all", "everything", is_flag=True, help="Instead of a filter: all workflows of the bucket.")
@click.option(
    "--limit", type=click.IntRange(1, 2**63 - 1), metavar="N", help="Without ID: the most to delete. Required."
)
@click.option("--dry-run", is_flag=True, help="Without ID: tell what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Without ID: do not ask.")
@click.option(
    "--expected-revision",
    type=click.IntRange(1, REVISION_MAX),
    metavar="N",
    help="With ID: delete only if the stored state is at this revision.",
)
@click.option("--purge", is_flag=True, help="Also remove the old revisions that the bucket keeps, for good.")
@connected()
def delete(
    connection: Connection,
    workflow_id: str | None,
    wanted: "WorkflowFilter",
    everything: bool,
    limit: int | None,
    dry_run: bool,
    yes: bool,
    expected_revision: int | None,
    purge: bool,
) -> None:
    """Delete a workflow, or those that match.

    With ID it is that one. When there is none, that is said, and the exit code is 0 all the same.

    Without ID it is those that match the options of a filter, the first --limit by their ids. A terminal is asked
    before; elsewhere --yes is needed. A workflow that is changed at that moment is left, and the exit code is 4.
    """
    from workflowstore import WorkflowFilter

    unfiltered = wanted == WorkflowFilter()
    many = {"a filter": not unfiltered, "--all": everything, "--limit": limit, "--dry-run": dry_run, "--yes": yes}
    if workflow_id is not None:
        if given := [name for name, value in many.items() if value]:
            raise click.UsageError(f"ID is a single workflow, and {given[0]} is for many; give one or the other.")
        _delete_one(connection, workflow_id, expected_revision, purge)
        return
    if unfiltered != everything:
        raise click.UsageError("Give an ID, or the options of a filter such as --prefix, or else --all.")
    if limit is None:
        raise click.UsageError("Give the most workflows to delete as --limit.")
    if expected_revision is not None:
        raise click.UsageError("--expected-revision is for a single workflow; give its ID.")
    if dry_run:
        _tell_what_would_be_deleted(connection, wanted, limit)
        return
    if not yes:
        _ask(connection, wanted, limit)
    _delete_matching(connection, wanted, limit, purge)


def _delete_one(connection: Connection, workflow_id: str, expected_revision: int | None, purge: bool) -> None:
    with connection.client() as client, unsendable():
        existed = client.delete(workflow_id, expected_revision=expected_revision, purge=purge)
    if connection.human:
        click.echo(f"{shown(workflow_id)} {'deleted' if existed else 'did not exist'}")
    else:
        JsonLines().write({"workflow_id": workflow_id, "existed": existed})


def _tell_what_would_be_deleted(connection: Connection, wanted: "WorkflowFilter", limit: int) -> None:
    with connection.client() as client, unsendable():
        found = client.delete_matching(wanted, limit=min(limit, PORTION), dry_run=True)
    count = min(limit, found.remaining_count)
    if not connection.human:
        JsonLines().write(
            {
                "would_delete_count": count,
                "workflow_ids": list(found.workflow_ids),
                "remaining_count": found.remaining_count - count,
            }
        )
        return
    for workflow_id in found.workflow_ids:
        click.echo(shown(workflow_id))
    if count > len(found.workflow_ids):
        click.echo(f"... and {count - len(found.workflow_ids)} more")
    click.echo(f"{_workflows(count)} would be deleted, {found.remaining_count - count} would remain")


def _ask(connection: Connection, wanted: "WorkflowFilter", limit: int) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("There is no terminal to ask; give --yes to delete, or --dry-run to see what would be.")
    with connection.client() as client, unsendable():
        count = client.count(wanted).count
    old = "" if count <= limit else f" of the {count} that match"
    if count and not click.confirm(f"Delete {min(count, limit)}{old or ' workflows'}?", err=True):
        raise CommandFailed(ExitCode.FAILURE, "nothing was deleted")


def _delete_matching(connection: Connection, wanted: "WorkflowFilter", limit: int, purge: bool) -> None:
    progress = Deletion()
    try:
        with connection.client() as client, unsendable():
            _delete_in_portions(client, wanted, limit, purge, progress)
    except CommandFailed as failed:
        raise CommandFailed(failed.code, *failed.lines, progress.words()) from failed
    except KeyboardInterrupt:
        click.echo(f"workflowstore: {progress.words()}", err=True)
        raise
    failed_count = len(progress.failures)
    if connection.human:
        left = f", {failed_count} could not be" if failed_count else ""
        click.echo(f"{_workflows(progress.deleted)} deleted{left}, {progress.remaining} remain")
    else:
        JsonLines().write(
            {
                "deleted_count": progress.deleted,
                "failed_count": failed_count,
                "remaining_count": progress.remaining,
            }
        )
    if failed_count:
        named = list(progress.failures.items())[:FAILURES_TOLD_MAX]
        details = [f"{workflow_id}: {error.message}" for workflow_id, error in named]
        if failed_count > len(named):
            details.append(f"... and {failed_count - len(named)} more")
        first = connection.failure_of(named[0][1])
        raise CommandFailed(first.code, f"{_workflows(failed_count)} could not be deleted:", *details)


def _delete_in_portions(
    client: "Client", wanted: "WorkflowFilter", limit: int, purge: bool, progress: Deletion
) -> None:
    visible = sys.stderr.isatty()
    total = min(limit, client.count(wanted).count) if visible and limit > PORTION else None
    with progress_bar("deleting", total, shown=total is not None) as tell:
        while progress.deleted < limit:
            progress.sending = min(limit - progress.deleted, PORTION)
            portion = client.delete_matching(wanted, limit=progress.sending, purge=purge)
            progress.sending = 0
            progress.deleted += len(portion.workflow_ids)
            # Those that failed match still, and come again in the next portion: the last word on each counts.
            progress.failures = dict(portion.errors)
            progress.remaining = portion.remaining_count
            tell(progress.deleted)
            if not portion.workflow_ids or progress.remaining <= len(progress.failures):
                return


def _workflows(count: int) -> str:
    return "1 workflow" if count == 1 else f"{count} workflows"
