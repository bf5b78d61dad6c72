"""The only place that knows the command that writes a bucket's documents to a file: export."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import CommandFailed, ExitCode, unsendable
from workflowstore_server.cli.filters import filtered
from workflowstore_server.cli.output import JsonLines
from workflowstore_server.cli.progress import progress_bar
from workflowstore_server.cli.sources import STANDARD_STREAM
from workflowstore_server.cli.text import shown

if TYPE_CHECKING:
    from workflowstore import WorkflowFilter


@click.command()
@click.argument("target", metavar="FILE", default=STANDARD_STREAM, type=click.Path(allow_dash=True))
@filtered
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
@connected(timeout_default=None)
def export(connection: Connection, target: str, wanted: "WorkflowFilter", force: bool) -> None:
    """Write the stored documents to FILE, as a backup that `import` reads back.

    Without FILE, or as -, it is standard output. There is a line for each document, byte for byte as it is stored,
    those included that cannot be decoded, and one at the end by which a file that was cut off is told. FILE is written
    as FILE.part, and has its name when it is complete and on disk.

    It has all that was acknowledged before; what is written meanwhile is in it in its old or its new form.
    """
    if target == STANDARD_STREAM:
        sys.stdout.flush()
        _export(connection, wanted, sys.stdout.buffer, to_terminal=sys.stdout.isatty())
        return
    with _whole_file(target, force) as stream:
        exported, store_revision = _export(connection, wanted, stream, to_terminal=False)
    if connection.human:
        documents = "1 document" if exported == 1 else f"{exported} documents"
        click.echo(f"{documents} exported to {shown(target)}, at store revision {store_revision}")
    else:
        JsonLines().write({"exported": exported, "store_revision": store_revision})


@contextmanager
def _whole_file(target: str, force: bool) -> Iterator[BinaryIO]:
    """A file to write, which is at its place only when the scope has ended well and all of it is on disk."""
    # What a link leads to is replaced, not the link.
    path = Path(target).resolve()
    if path.exists() and not path.is_file():
        raise CommandFailed(ExitCode.USAGE, f"{target} is no file; give - to write to standard output")
    if path.exists() and not force:
        raise CommandFailed(ExitCode.USAGE, f"{target} exists; give another name, or --force to replace it")
    part = path.with_name(f"{path.name}.part")
    try:
        stream = part.open("wb")
    except OSError as error:
        raise CommandFailed(ExitCode.USAGE, f"cannot write {part}: {error.strerror}") from error
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    # The name is on disk when its folder is.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _export(
    connection: Connection, wanted: "WorkflowFilter", stream: BinaryIO, *, to_terminal: bool
) -> tuple[int, int]:
    """Write what matches, and return how much it was and the store revision that it reflects."""
    from workflowstore_server.cli.document_lines import document_line, last_line

    watched = sys.stderr.isatty() and not to_terminal
    exported, store_revision = 0, None
    with connection.client() as client, unsendable():
        total = None
        if watched:
            counted = client.count(wanted)
            total = counted.count + counted.malformed_count
        with progress_bar("exporting", total, shown=watched) as tell:
            for chunk in client.export(wanted, timeout=connection.timeout_seconds):
                for document in chunk.documents:
                    stream.write(document_line(document, harmless=to_terminal))
                exported += len(chunk.documents)
                if store_revision is None:
                    store_revision = chunk.store_revision
                tell(exported)
    stream.write(last_line(exported, store_revision or 0))
    stream.flush()
    return exported, store_revision or 0
