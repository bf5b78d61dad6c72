"""The only place that knows the options by which every client command finds its server and shapes its output."""

import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from workflowstore_server.cli.endings import CommandFailed, ExitCode, failure_of

if TYPE_CHECKING:
    import grpc

    from workflowstore import Client, Tls, WorkflowStoreError

ADDRESS_DEFAULT: Final = "127.0.0.1:50051"
TIMEOUT_SECONDS_DEFAULT: Final = 30.0
TLS_OPTIONS: Final = ("tls_ca", "tls_cert", "tls_key", "tls_server_name")

TOKEN_VARIABLE: Final = "WORKFLOWSTORE_TOKEN"  # noqa: S105 (its name alone)
"""Has the token itself. There is no flag for it, which others could read in the list of processes."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a command's server is, and how its results are printed."""

    address: str
    tls: "Tls | None"
    """None = without encryption."""
    bucket: str
    """Empty = the server's first."""
    timeout_seconds: float | None
    """Deadline of a call. None = none."""
    human: bool
    """Tables for people, else JSON Lines for programs."""
    token_file: Path | None = None
    """File with the token that tells who calls. None = that of the environment, or none."""

    @property
    def token(self) -> "Callable[[], str] | None":
        """What tells the token of the moment. None = there is none."""
        return token_source(self.token_file)

    @contextmanager
    def client(self) -> "Iterator[Client]":
        """A client, in a scope of `failures`."""
        from workflowstore import Client

        with usable_files():
            client = Client(
                self.address, tls=self.tls, bucket=self.bucket, timeout=self.timeout_seconds, token=self.token
            )
        with self.failures(), client:
            yield client

    def channel(self) -> "grpc.Channel":
        """A channel, for the calls of other services than ours."""
        from workflowstore.client import _channel
        from workflowstore.client._sync_channels import opened
        from workflowstore.client._tls import Credentials

        with usable_files():
            credentials = None if self.tls is None else Credentials(self.tls)
        return opened(self.address, credentials, _channel.options(retry=False, tls=self.tls))

    @contextmanager
    def failures(self) -> Iterator[None]:
        """A scope in which a call that fails ends the command as CommandFailed."""
        from workflowstore import WorkflowStoreError

        try:
            yield
        except WorkflowStoreError as error:
            raise self.failure_of(error) from error

    def failure_of(self, error: "WorkflowStoreError") -> CommandFailed:
        """How the command ends when a call failed."""
        return failure_of(error, self.address, self.timeout_seconds)

    @property
    def deadline_seconds(self) -> float | None:
        """The timeout as gRPC takes it, to which infinity is no number."""
        return None if self.timeout_seconds is None or math.isinf(self.timeout_seconds) else self.timeout_seconds


@contextmanager
def usable_files() -> Iterator[None]:
    """Around what reads the files for TLS: what is wrong with them ends the command as CommandFailed."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CommandFailed(ExitCode.USAGE, f"{error}; nothing was sent") from error


def tls_of(options: Mapping[str, Any]) -> "Tls | None":
    """What the options `--tls-...` of a command say. None = nothing, so it calls without encryption."""
    from workflowstore import Tls

    ca, certificate, key, server_name = (options.get(name) or None for name in TLS_OPTIONS)
    if key and not certificate:
        raise click.UsageError("--tls-key needs the certificate it belongs to: --tls-cert")
    return Tls(ca, certificate, key, server_name) if ca or certificate or server_name else None


def _file_option(name: str, words: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    variable = f"WORKFLOWSTORE_{name.upper().replace('-', '_')}"
    kind = click.Path(exists=True, dir_okay=False)
    return click.option(f"--{name}", type=kind, envvar=variable, show_envvar=True, metavar="FILE", help=words)


def _options(timeout_default: float | None) -> tuple[Callable[[Callable[..., None]], Callable[..., None]], ...]:
    default = "none" if timeout_default is None else f"{timeout_default:g}"
    return (
        click.option(
            "--address",
            default=ADDRESS_DEFAULT,
            envvar="WORKFLOWSTORE_ADDRESS",
            show_default=True,
            show_envvar=True,
            metavar="HOST:PORT",
            help="The server to call.",
        ),
        _file_option("tls-ca", "Call with TLS, a server whose certificate is of these authorities (PEM)."),
        _file_option("tls-cert", "Certificate to show to the server (PEM)."),
        _file_option("tls-key", "Private key of --tls-cert (PEM)."),
        click.option(
            "--tls-server-name",
            envvar="WORKFLOWSTORE_TLS_SERVER_NAME",
            show_envvar=True,
            metavar="NAME",
            help="Name in the server's certificate, if it is not that of --address.",
        ),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path),
            envvar="WORKFLOWSTORE_TOKEN_FILE",
            show_envvar=True,
            metavar="FILE",
            help=f"File with the token that tells who calls; default: {TOKEN_VARIABLE}, the token itself.",
        ),
        click.option("--bucket", default="", metavar="NAME", help="The bucket; default: the server's first."),
        click.option(
            "--timeout",
            type=float,
            default=timeout_default,
            callback=_positive,
            metavar="SECONDS",
            help=f"How long one call may take.  [default: {default}]",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON Lines on a terminal too."),
    )


def connected(
    *, timeout_default: float | None = TIMEOUT_SECONDS_DEFAULT
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the common options, and as its first argument the Connection that they make."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_connection(
            *,
            address: str,
            token_file: Path | None,
            bucket: str,
            timeout: float | None,
            as_json: bool,
            **arguments: object,
        ) -> None:
            human = sys.stdout.isatty() and not as_json
            tls = tls_of({name: arguments.pop(name) for name in TLS_OPTIONS})
            command(Connection(address, tls, bucket, timeout, human, token_file), **arguments)

        for option in reversed(_options(timeout_default)):
            option(with_connection)
        return with_connection

    return decorate


def token_source(file: Path | None) -> Callable[[], str] | None:
    """What tells the token of the moment, of a file or else of the environment. None = there is none."""
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        return (lambda: token) if token else None

    def read() -> str:
        try:
            return file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise CommandFailed(ExitCode.USAGE, f"--token-file: cannot read {file}: {why}") from error

    return read


def _positive(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    if value is not None and (math.isnan(value) or value <= 0):
        raise click.BadParameter(f"{value} is not a time; give a number above 0, or inf for no limit.")
    return value
