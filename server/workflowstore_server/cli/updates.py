"""The only place that knows the command that changes parts of a state."""

from typing import Any

import click

from workflowstore_server.cli.completion import STATUSES, workflow_ids
from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import unsendable
from workflowstore_server.cli.fields import REVISION_MAX, event_given, json_given, labels_given, status_given
from workflowstore_server.cli.output import JsonLines, print_saved


@click.command()
@click.argument("workflow_id", metavar="ID", shell_complete=workflow_ids)
@click.option("--status", type=click.Choice(STATUSES), help="Where the execution stands.")
@click.option("--run-id", metavar="TEXT", help="Names this execution.")
@click.option("--input", "input_json", metavar="JSON", help="The input.")
@click.option("--result", "result_json", metavar="JSON", help="The result.")
@click.option("--error", metavar="TEXT", help="The error message.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set this label; may be repeated.")
@click.option("--remove-label", "removed", multiple=True, metavar="KEY", help="Remove this label; may be repeated.")
@click.option(
    "--append",
    "events",
    multiple=True,
    metavar="JSON",
    help="Put this event at the end of the history, which numbers it; may be repeated.",
)
@click.option(
    "--expected-revision",
    type=click.IntRange(0, REVISION_MAX),
    metavar="N",
    help="Update only if the stored state is at this revision; 0, with --allow-missing: only if there is none.",
)
@click.option("--allow-missing", is_flag=True, help="Make the workflow if there is none.")
@connected()
def update(
    connection: Connection,
    workflow_id: str,
    status: str | None,
    run_id: str | None,
    input_json: str | None,
    result_json: str | None,
    error: str | None,
    labels: tuple[str, ...],
    removed: tuple[str, ...],
    events: tuple[str, ...],
    expected_revision: int | None,
    allow_missing: bool,
) -> None:
    """Change parts of a state; what is not given stays as it is.

    The server reads, changes and writes, and does so again when somebody else has written in between: no change is
    lost. An event is an object such as {"type": "signal_received", "signal_name": "go"}, in the form that `load`
    prints.
    """
    from workflowstore import WorkflowView

    fields: dict[str, Any] = {}
    if status is not None:
        fields["status"] = status_given(status)
    if run_id is not None:
        fields["run_id"] = run_id
    if input_json is not None:
        fields["input"] = json_given(input_json, "--input")
    if result_json is not None:
        fields["result"] = json_given(result_json, "--result")
    if error is not None:
        fields["error"] = error
    if not (fields or labels or removed or events):
        raise click.UsageError("Nothing to change was given; give --status, --label or another option of a field.")
    set_labels, appended = labels_given(labels), [event_given(event) for event in events]
    with connection.client() as client, unsendable():
        updated = client.update(
            workflow_id,
            **fields,
            append_history=appended,
            set_labels=set_labels,
            remove_labels=removed,
            expected_revision=expected_revision,
            allow_missing=allow_missing,
            view=WorkflowView.SUMMARY,
        )
    print_saved(updated, None if connection.human else JsonLines(), "updated")
