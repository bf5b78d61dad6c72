"""The only place that knows the commands about the index of a server on this machine."""

from pathlib import Path

import click

from workflowstore_server.cli.endings import CommandFailed, ExitCode
from workflowstore_server.cli.serve import server_parts
from workflowstore_server.config.settings import DATA_DIRECTORY_DEFAULT, INDEX_DIRECTORY


@click.group()
def index() -> None:
    """Look after the index of a server on this machine."""


@index.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=DATA_DIRECTORY_DEFAULT,
    envvar="WORKFLOWSTORE_DATA_DIR",
    show_default=True,
    show_envvar=True,
    metavar="DIR",
    help="The server's data directory.",
)
@click.option("--bucket", "buckets", multiple=True, metavar="NAME", help="Only this one's; may be repeated.")
def rebuild(data_dir: Path, buckets: tuple[str, ...]) -> None:
    """Have the index built anew from its bucket.

    It removes the index, which holds nothing but what the bucket has. A running server notices within a second or two
    and builds it anew, one that does not run builds it when it starts. Until then lists and counts wait, and fail when
    it takes too long; everything else goes on.
    """
    with server_parts():
        from workflowstore_server.index.files import SUFFIX, discard

    directory = data_dir / INDEX_DIRECTORY
    found = sorted(path.name.removesuffix(SUFFIX) for path in directory.glob(f"*{SUFFIX}"))
    missing = sorted(set(buckets) - set(found))
    if missing or not found:
        what = f"of bucket {missing[0]} " if missing else ""
        raise CommandFailed(ExitCode.USAGE, f"there is no index {what}in {directory}; name the server's --data-dir")
    for bucket in buckets or found:
        discard(directory, bucket)
        click.echo(f"the index of bucket {bucket} was removed and will be built anew")
