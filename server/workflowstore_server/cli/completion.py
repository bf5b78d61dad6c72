"""The only place that knows what the shell is offered when Tab is pressed."""

import contextlib
import re
from collections.abc import Mapping
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from workflowstore_server.cli.connection import ADDRESS_DEFAULT, tls_of, token_source

IDS_MAX: Final = 50
"""Workflow ids offered at once."""

LOOKUP_SECONDS_MAX: Final = 1.0
"""How long Tab may take to ask the server. What was found until then is offered."""

STATUSES: Final = ("running", "completed", "failed", "canceled", "unspecified")
"""What --status takes. The last one stands for no status."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._/=@%+,:-]+")
"""Ids that mean themselves in every shell; others are not offered, for the shell would take them apart."""

_VARIABLE: Final = "_WORKFLOWSTORE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script for completion in a shell.

    It completes commands, options, statuses and workflow ids.

    \b
    bash:  eval "$(workflowstore completion bash)"     in ~/.bashrc
    zsh:   eval "$(workflowstore completion zsh)"      in ~/.zshrc
    fish:  workflowstore completion fish | source      in config.fish
    """  # noqa: D301 (click's mark for lines to be kept)
    root = context.find_root()
    kind = get_completion_class(shell)
    assert kind is not None, "click completes for these shells"
    click.echo(kind(root.command, {}, "workflowstore", _VARIABLE).source())


def workflow_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids on the server that begin with `incomplete`."""
    found: list[str] = []
    # An error in the middle of a command line that is being typed helps nobody.
    with contextlib.suppress(Exception):
        _look_up(context.params, incomplete, found)
    return [CompletionItem(workflow_id) for workflow_id in found]


def _look_up(options: Mapping[str, Any], prefix: str, found: list[str]) -> None:
    from workflowstore import Client, WorkflowFilter

    wanted = WorkflowFilter(workflow_id_prefix=prefix)
    address, bucket = options.get("address") or ADDRESS_DEFAULT, options.get("bucket") or ""
    token = token_source(options.get("token_file"))
    with Client(address, tls=tls_of(options), bucket=bucket, token=token) as client:
        for state in client.list(wanted, on_malformed=lambda _: None, timeout=LOOKUP_SECONDS_MAX):
            if _PLAIN.fullmatch(state.workflow_id):
                found.append(state.workflow_id)
            if len(found) == IDS_MAX:
                return
