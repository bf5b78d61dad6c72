"""The only place that knows the commands about buckets at NATS, which servers then find there."""

import asyncio
import os
from pathlib import Path
from typing import Final

import click

from workflowstore_server.cli.endings import CommandFailed, ExitCode
from workflowstore_server.cli.serve import config_option, option_of, server_parts
from workflowstore_server.config.settings import SETTINGS

SETTINGS_OF_BUCKETS: Final = ("history", "replicas", "atomic-batches", "bucket-bytes-max")
SETTINGS_OF_EMBEDDED: Final = ("nats-server", "nats-monitor-url")
"""What begins as those of the connection do, and is of no use to it."""


@click.group()
def bucket() -> None:
    """Look after buckets at NATS."""


def _create(name: str, config_file: Path | None, **flags: object) -> None:
    """Create the bucket NAME at NATS, for servers whose credential may not.

    It is made as a server makes one that is missing, with a credential of an operator; servers then run with
    --no-create-buckets, and with the permissions of deploy/nats/permissions.conf. A bucket that is there already is
    left as it is: the command succeeds if that is as asked for, and else says what differs.
    """
    with server_parts():
        from workflowstore_server import app
        from workflowstore_server.config.sources import ConfigurationError, load
    try:
        given = {key: value for key, value in flags.items() if value not in (None, ())}
        config = load({**given, "bucket": (name,), "create_buckets": True}, os.environ, config_file)
    except ConfigurationError as error:
        raise CommandFailed(ExitCode.USAGE, str(error)) from error
    if not config.nats_urls:
        raise CommandFailed(ExitCode.USAGE, "--nats-url: name the NATS server; an embedded one needs no such bucket")
    try:
        created = asyncio.run(app.create_bucket(config))
    except app.BucketDiffers as error:
        raise CommandFailed(ExitCode.CONFLICT, str(error)) from error
    except app.CannotServe as error:
        raise CommandFailed(ExitCode.FAILURE, str(error)) from error
    click.echo(f"bucket {name} {'was created' if created else 'is there already, as asked for'}")


bucket.add_command(
    click.Command(
        "create",
        callback=_create,
        help=_create.__doc__,
        short_help="Create a bucket at NATS.",
        params=[
            click.Argument(["name"]),
            *(option_of(setting) for setting in SETTINGS if setting.name in SETTINGS_OF_BUCKETS),
            *(
                option_of(setting)
                for setting in SETTINGS
                if setting.name.startswith("nats-") and setting.name not in SETTINGS_OF_EMBEDDED
            ),
            config_option(),
        ],
    )
)
