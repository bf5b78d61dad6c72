"""The only place that knows the command that shows how a workflow became what it is: history."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from workflowstore_server.cli.completion import workflow_ids
from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import unsendable
from workflowstore_server.cli.output import JsonLines, time_shown, wants_colour
from workflowstore_server.cli.text import shown

if TYPE_CHECKING:
    from workflowstore import WorkflowRevision


@click.command()
@click.argument("workflow_id", metavar="ID", shell_complete=workflow_ids)
@click.option("--desc", is_flag=True, help="The newest first. Otherwise it reads like a log, the newest last.")
@click.option(
    "--limit",
    type=click.IntRange(1, 2**63 - 2),
    metavar="N",
    help="The most revisions: the oldest, with --desc the newest.",
)
@connected()
def history(connection: Connection, workflow_id: str, desc: bool, limit: int | None) -> None:
    """Print the revisions that the bucket keeps of a workflow.

    On a terminal each is told by what it changed against the one before it; JSON Lines have the whole states. How many
    are kept of each workflow is the bucket's `history`, which `info` tells. The exit code is 3 when there are none.
    """
    # The newest of them are told by the one before the last of them, which is one more to read.
    asked = limit + 1 if limit is not None and desc and connection.human else limit
    with connection.client() as client, unsendable():
        found = client.list_revisions(workflow_id, newest_first=desc, limit=asked)
        if connection.human:
            shown_count = _print(itertools.pairwise(_framed(found)), desc, limit)
        else:
            _write(found)
            return
    if shown_count == 1 and limit != 1:
        words = (
            "this is the only revision that is kept; `history` in `workflowstore info` says how many the bucket keeps"
        )
        click.echo(f"workflowstore: {words}", err=True)


def _framed(revisions: "Iterable[WorkflowRevision]") -> "Iterator[WorkflowRevision | None]":
    """The revisions between two Nones, so that each has a neighbour on either side."""
    return itertools.chain([None], revisions, [None])


def _print(
    neighbours: "Iterable[tuple[WorkflowRevision | None, WorkflowRevision | None]]", desc: bool, limit: int | None
) -> int:
    """Print each revision beside its neighbour, and return how many that were."""
    coloured = wants_colour()
    count = 0
    for first, second in neighbours:
        revision, before = (first, second) if desc else (second, first)
        if revision is None:
            continue
        if count == limit:
            break
        if count:
            click.echo()
        count += 1
        for line in _lines(revision, before):
            click.echo(_coloured(line) if coloured else line)
    return count


def _lines(revision: "WorkflowRevision", before: "WorkflowRevision | None") -> Iterator[str]:
    from workflowstore_server.cli.differences import differences

    yield f"revision {revision.revision}  {time_shown(revision.stored_at)} UTC  {_kind(revision)}"
    if revision.malformed is not None:
        yield f"  {shown(revision.malformed.reason)}"
    if revision.state is not None:
        for line in differences(None if before is None else before.state, revision.state):
            yield f"  {line}"


def _coloured(line: str) -> str:
    if not line.startswith(" "):
        return click.style(line, bold=True)
    match line.lstrip()[:1]:
        case "+":
            return click.style(line, fg="green")
        case "-":
            return click.style(line, fg="red")
    return line


def _kind(revision: "WorkflowRevision") -> str:
    if revision.state is not None:
        return "saved"
    return "deleted" if revision.deleted else "malformed"


def _write(revisions: "Iterable[WorkflowRevision]") -> None:
    from workflowstore_server.cli.state_json import time_text, to_json_form

    lines = JsonLines()
    for revision in revisions:
        form: dict[str, Any] = {
            "revision": revision.revision,
            "stored_at": time_text(revision.stored_at),
            "kind": _kind(revision),
            "state": None if revision.state is None else to_json_form(revision.state),
        }
        if revision.malformed is not None:
            form["malformed"] = {"key": revision.malformed.key, "reason": revision.malformed.reason}
        lines.write(form)
    lines.flush()
