"""The only place that knows the commands that make, show and revoke the tokens of a server's callers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from workflowstore_server.cli.endings import CommandFailed, ExitCode
from workflowstore_server.service import tokens


class Lifetime(click.ParamType[timedelta]):
    """How long something lasts."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read what was typed."""
        from pytimeparse.timeparse import timeparse

        # It would take 10:30 for ten minutes and a half.
        seconds = None if ":" in str(value) else timeparse(str(value))
        if not seconds or not 0 < seconds <= timedelta(days=36_500).total_seconds():
            self.fail(f"{value!r} is no time up to 36500d; give such as 90d, 12h or 1d12h", param, ctx)
        return timedelta(seconds=seconds)


TOKENS_FILE = click.option(
    "--tokens-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="WORKFLOWSTORE_AUTH_TOKENS",
    show_envvar=True,
    required=True,
    metavar="FILE",
    help="The server's --auth-tokens.",
)


@click.group()
def token() -> None:
    """Look after the tokens by which a server knows its callers.

    The file has their hashes alone. A running server reads it anew within a second or two.
    """


@token.command()
@click.argument("name")
@TOKENS_FILE
@click.option("--expires", type=Lifetime(), metavar="TIME", help="End by itself after this time, such as 90d.")
def create(name: str, tokens_file: Path, expires: timedelta | None) -> None:
    """Make a token for the identity NAME, and print it: it cannot be shown again.

    What the identity may do is said by the server's --auth-policy. It may have several tokens.
    """
    try:
        expires_at = None if expires is None else (datetime.now(UTC) + expires).replace(microsecond=0)
        text, made = tokens.new(name, expires_at)
        tokens.add(tokens_file, made)
    except tokens.WrongTokens as error:
        raise CommandFailed(ExitCode.USAGE, f"{tokens_file}: {error}") from error
    click.echo(text)
    click.echo(f"token {made.id} of {name} was added to {tokens_file}", err=True)


@token.command("list")
@TOKENS_FILE
def list_(tokens_file: Path) -> None:
    """Print the id, the name and the end of each token."""
    try:
        found = tokens.read(tokens_file)
    except tokens.WrongTokens as error:
        raise CommandFailed(ExitCode.USAGE, f"{tokens_file}: {error}") from error
    now = datetime.now(UTC)
    for one in found.values():
        ended = " (expired)" if one.expires_at is not None and one.expires_at <= now else ""
        ends = f" until {one.expires_at.isoformat()}" if one.expires_at is not None else ""
        click.echo(f"{one.id} {one.identity}{ends}{ended}")


@token.command()
@click.argument("id_or_name", metavar="ID|NAME")
@TOKENS_FILE
def revoke(id_or_name: str, tokens_file: Path) -> None:
    """Forget the token with this ID, or all tokens of the identity NAME."""
    try:
        gone = tokens.remove(tokens_file, id_or_name)
    except tokens.WrongTokens as error:
        raise CommandFailed(ExitCode.USAGE, f"{tokens_file}: {error}") from error
    if not gone:
        raise CommandFailed(ExitCode.NOT_FOUND, f"{tokens_file} has no token {id_or_name}, nor one of that name")
    for one in gone:
        click.echo(f"token {one.id} of {one.identity} was revoked")
