"""The only place that knows how `workflowstore serve` turns a command line into a running server."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from workflowstore_server.cli import logs
from workflowstore_server.cli.endings import CommandFailed, ExitCode
from workflowstore_server.config.settings import SETTINGS, Setting

NEEDS_SERVER: Final = (
    'the server is not installed ({} is missing); install it with: pip install "workflowstore[server]"'
)

log = logging.getLogger(__name__)


def option_of(setting: Setting) -> click.Option:
    """The flag of a setting. Its value is parsed where those of the environment and the file are."""
    name = f"--{setting.name}/--no-{setting.name}" if setting.kind == "boolean" else f"--{setting.name}"
    return click.Option(
        [name, setting.key],
        type=_type_of(setting),
        default=None,
        multiple=setting.kind == "texts",
        metavar=None if setting.kind == "boolean" else setting.metavar or "|".join(setting.choices),
        help=f"{setting.help}  [{_facts(setting)}]",
        shell_complete=_completer(setting) if setting.choices else None,
    )


def config_option() -> click.Option:
    """The flag that names a file with settings."""
    return click.Option(
        ["--config", "config_file"],
        type=click.Path(path_type=Path),
        envvar="WORKFLOWSTORE_CONFIG",
        metavar="FILE",
        help="File with settings (TOML).  [env: WORKFLOWSTORE_CONFIG]",
    )


def _type_of(setting: Setting) -> click.ParamType[Any]:
    match setting.kind:
        case "boolean":
            return click.BOOL
        case "path":
            return click.Path()
    return click.STRING


def _facts(setting: Setting) -> str:
    several = ", separated by commas" if setting.kind == "texts" else ""
    facts = [f"env: {setting.variable}{several}"]
    if setting.kind == "boolean":
        facts += [f"default: {'' if setting.default else 'no-'}{setting.name}"] if setting.default is not None else []
    elif isinstance(setting.default, tuple):
        facts += [f"default: {', '.join(setting.default)}"] if setting.default else []
    elif setting.default is not None:
        facts.append(
            f"default: {setting.default:g}" if isinstance(setting.default, float) else f"default: {setting.default}"
        )
    return "; ".join(facts)


def _completer(setting: Setting) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(choice) for choice in setting.choices if choice.startswith(incomplete)]

    return complete


@contextmanager
def server_parts() -> Iterator[None]:
    """Around imports of the server: what is missing is told with the way to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"workflowstore", "workflowstore_server"}:
            raise
        raise CommandFailed(ExitCode.FAILURE, NEEDS_SERVER.format(package)) from error


def _serve(config_file: Path | None, **flags: object) -> int:
    """Run the server until SIGTERM or Ctrl-C, then let running calls finish and stop.

    Without --nats-url it starts and keeps a nats-server of its own, whose data are in --data-dir. Every option can be
    given as a variable or in the file as well; options win over variables, these over the file. The names in the file
    (TOML) are those of the options: `listen = "127.0.0.1:50052"`.

    When it answers calls it prints one line, "workflowstore listening on HOST:PORT". The log goes to standard error.
    """
    with server_parts():
        from workflowstore_server import app
        from workflowstore_server.config.sources import ConfigurationError, load
    try:
        given = {key: value for key, value in flags.items() if value not in (None, ())}
        config = load(given, os.environ, config_file)
    except ConfigurationError as error:
        raise CommandFailed(ExitCode.USAGE, str(error)) from error
    logs.set_up(config.log_format, config.log_level)
    try:
        _run(app.serve(config, _announce))
    except app.CannotServe as error:
        raise CommandFailed(ExitCode.FAILURE, str(error)) from error
    except (asyncio.CancelledError, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except Exception:
        log.exception("the server has failed")
        return ExitCode.FAILURE
    return ExitCode.OK


serve = click.Command(
    "serve",
    callback=_serve,
    help=_serve.__doc__,
    short_help="Run the server.",
    params=[
        *(option_of(setting) for setting in SETTINGS),
        config_option(),
    ],
)


def _announce(address: str) -> None:
    click.echo(f"workflowstore listening on {address}")


def _run(serving: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)
