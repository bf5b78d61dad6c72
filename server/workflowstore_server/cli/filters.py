"""The only place that knows the options by which a command says which workflows it is about."""

import functools
from collections.abc import Callable
from datetime import datetime

import click

from workflowstore_server.cli.completion import STATUSES
from workflowstore_server.cli.times import FORMS, Moment


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a filter, and as its argument `wanted` the WorkflowFilter that they make."""
    moment = Moment()
    options = (
        click.option(
            "--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only this; may be repeated."
        ),
        click.option("--prefix", default="", metavar="TEXT", help="Only ids that begin so."),
        click.option("--run-id", default="", metavar="ID", help="Only this run."),
        click.option(
            "--label", "labels", multiple=True, metavar="KEY=VALUE", callback=_labels,
            help="Only with this label; may be repeated.",
        ),
        click.option("--created-since", type=moment, help=f"Only those created then or later: {FORMS}."),
        click.option("--created-until", type=moment, help="Only those created before."),
        click.option("--updated-since", type=moment, help="Only those last updated then or later."),
        click.option("--updated-until", type=moment, help="Only those last updated before."),
    )  # fmt: skip

    @functools.wraps(command)
    def with_filter(
        *arguments: object,
        statuses: tuple[str, ...],
        prefix: str,
        run_id: str,
        labels: dict[str, str],
        created_since: datetime | None,
        created_until: datetime | None,
        updated_since: datetime | None,
        updated_until: datetime | None,
        **others: object,
    ) -> None:
        from workflowstore import WorkflowFilter, WorkflowStatus

        wanted = WorkflowFilter(
            statuses=tuple(WorkflowStatus("" if status == "unspecified" else status) for status in statuses),
            workflow_id_prefix=prefix,
            run_id=run_id,
            labels=labels,
            created_after=created_since,
            created_before=created_until,
            updated_after=updated_since,
            updated_before=updated_until,
        )
        command(*arguments, wanted=wanted, **others)

    for option in reversed(options):
        option(with_filter)
    return with_filter


def _labels(_context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{pair!r} is no label; give KEY=VALUE.")
        if labels.get(key, value) != value:
            raise click.BadParameter(f"{key!r} is asked to be both {labels[key]!r} and {value!r}; give one.")
        labels[key] = value
    return labels
