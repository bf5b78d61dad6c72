"""The only place that knows how the fields of a state are typed on a command line."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from workflowstore_server.cli.text import shown

if TYPE_CHECKING:
    from workflowstore import HistoryEvent, WorkflowStatus

REVISION_MAX: Final = 2**64 - 1


def status_given(text: str) -> "WorkflowStatus":
    """The status that `--status` names."""
    from workflowstore import WorkflowStatus

    return WorkflowStatus("" if text == "unspecified" else text)


def json_given(text: str, flag: str) -> Any:
    """The JSON value that was given to a flag.

    Raises:
        click.UsageError: It is no JSON.
    """
    from workflowstore.client._json import from_json

    try:
        # The empty text is null to the client, and not JSON.
        return from_json(text or " ")
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{flag} is not JSON: {error}; a text needs double quotes of its own.") from error


def labels_given(pairs: Iterable[str]) -> dict[str, str]:
    """The labels that `--label` gives, the last one of a key.

    Raises:
        click.UsageError: One is not KEY=VALUE.
    """
    parts = [pair.partition("=") for pair in pairs]
    if wrong := [key for key, separator, _ in parts if not (key and separator)]:
        raise click.UsageError(f"--label {shown(wrong[0])!r} is not KEY=VALUE.")
    return {key: value for key, _, value in parts}


def event_given(text: str) -> "HistoryEvent":
    """The event that `--append` gives.

    Raises:
        click.UsageError: It is no JSON, or has not the form of an event.
    """
    from workflowstore_server.cli.state_json import FormError, event_from_json_form

    try:
        return event_from_json_form(json_given(text, "--append"))
    except FormError as error:
        raise click.UsageError(f"--append: {shown(str(error))}.") from error
