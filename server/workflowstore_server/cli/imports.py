"""The only place that knows the command that stores the documents of a file: import."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import click

from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import CommandFailed, ExitCode
from workflowstore_server.cli.output import JsonLines
from workflowstore_server.cli.progress import progress_bar
from workflowstore_server.cli.sources import open_source

if TYPE_CHECKING:
    from workflowstore import Client, ImportResult, OnConflict
    from workflowstore_server.cli.document_lines import DocumentLine

BATCH_DOCUMENTS: Final = 500
"""Documents sent by one call. The server takes 1,000; two halves under way keep it busier than one whole."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""Bytes of documents sent by one call, beyond the first document. The server takes 8 MiB."""

CALLS_MAX: Final = 3
"""Calls under way at once: one that the server works on, one that waits there, and one that is being made."""


@click.command("import")
@click.argument("source", metavar="FILE", type=click.Path(allow_dash=True))
@click.option(
    "--on-conflict",
    type=click.Choice(("fail", "skip", "overwrite")),
    default="fail",
    show_default=True,
    help="What to do where another document is stored: stop, leave it, or replace it.",
)
@connected()
def import_(connection: Connection, source: str, on_conflict: str) -> None:
    """Store the documents of FILE, which `export` has written, byte for byte.

    FILE may be - for standard input. A document that is stored already is left and counts as unchanged, so that an
    import that was interrupted can be repeated. The first failure stops; what was stored before stays stored.
    """
    from workflowstore import OnConflict
    from workflowstore_server.cli.document_lines import document_lines

    with ExitStack() as stack:
        stream = open_source(source, stack)
        status = os.fstat(stream.fileno())
        tell = stack.enter_context(
            # A pipe has no size.
            progress_bar("importing", status.st_size or None, shown=sys.stderr.isatty(), in_bytes=True)
        )
        # The threads are awaited after the client has been closed, which ends their calls.
        pool = stack.enter_context(ThreadPoolExecutor(CALLS_MAX))
        client = stack.enter_context(connection.client())
        importer = Importer(connection, client, pool, OnConflict(on_conflict), tell)
        try:
            importer.run(document_lines(stream))
        except KeyboardInterrupt:
            click.echo(f"\nworkflowstore: {importer.words()}", err=True)
            raise
    if connection.human:
        click.echo(importer.counts_in_words())
    else:
        JsonLines().write(importer.counts)


class Importer:
    """Sends documents in batches, some of which are under way at once, and counts what became of them."""

    def __init__(
        self,
        connection: Connection,
        client: "Client",
        pool: ThreadPoolExecutor,
        on_conflict: "OnConflict",
        tell: Callable[[int], None],
    ) -> None:
        """`tell` is told the bytes of the file that are done."""
        self.counts = {"written": 0, "unchanged": 0, "skipped": 0}
        self._connection = connection
        self._client = client
        self._pool = pool
        self._on_conflict = on_conflict
        self._tell = tell
        self._line = 0
        self._batch: list[DocumentLine] = []
        self._batch_bytes = 0
        self._keys: set[str] = set()
        """Those of the batch and of all that are under way. The server takes a key once in a call, and of two calls
        at once either may be the last."""
        self._under_way: deque[tuple[list[DocumentLine], Future[list[ImportResult]]]] = deque()

    def run(self, lines: "Iterable[DocumentLine]") -> None:
        """Store what the lines hold.

        Raises:
            CommandFailed: A line is wrong, or a document was not stored. Nothing that comes after it in the file is
                sent any more, but for what was under way already.
        """
        from workflowstore_server.cli.document_lines import LineError

        try:
            for line in lines:
                self._add(line)
        except LineError as error:
            self._finish()
            self._line = error.line
            raise CommandFailed(ExitCode.USAGE, f"line {error.line}: {error.words}", self.words()) from error
        self._finish()

    def counts_in_words(self) -> str:
        """What became of the documents, for people."""
        return ", ".join(f"{number} {what}" for what, number in self.counts.items())

    def words(self) -> str:
        """What there is to know when it ends early."""
        return (
            f"stopped at line {self._line}: {self.counts_in_words()}; "
            "import it again when that is mended: what is stored already is left unchanged"
        )

    def _add(self, line: "DocumentLine") -> None:
        size = len(line.document.document)
        if line.document.key in self._keys:
            self._finish()
        elif len(self._batch) == BATCH_DOCUMENTS or (self._batch and self._batch_bytes + size > BATCH_BYTES):
            self._send()
        self._batch.append(line)
        self._batch_bytes += size
        self._keys.add(line.document.key)

    def _send(self) -> None:
        """Send the batch, when there is room for one more call."""
        if not self._batch:
            return
        if len(self._under_way) == CALLS_MAX:
            self._settle()
        documents = [line.document for line in self._batch]
        call = self._pool.submit(self._client.import_documents, documents, on_conflict=self._on_conflict)
        self._under_way.append((self._batch, call))
        self._batch, self._batch_bytes = [], 0

    def _finish(self) -> None:
        """Send the batch, and wait for all that are under way."""
        self._send()
        while self._under_way:
            self._settle()

    def _settle(self) -> None:
        """Wait for the call that was sent first, and see what became of its documents."""
        batch, call = self._under_way.popleft()
        try:
            with self._connection.failures():
                results = call.result()
        except CommandFailed as failed:
            self._line = batch[0].line
            raise self._stopped(f"lines {batch[0].line} to {batch[-1].line}", failed) from failed
        self._count(results)
        for line, result in zip(batch, results, strict=True):
            if result.error is not None:
                self._line = line.line
                where = f"line {line.line}: key {line.document.key}"
                raise self._stopped(where, self._connection.failure_of(result.error)) from result.error
        self._keys.difference_update(line.document.key for line in batch)
        self._line = batch[-1].line
        self._tell(batch[-1].end)

    def _stopped(self, where: str, failed: CommandFailed) -> CommandFailed:
        """The end at a failure. What is under way is waited for and counted; only the first failure is told."""
        while self._under_way:
            _, call = self._under_way.popleft()
            if call.exception() is None:
                self._count(call.result())
        first, *details = failed.lines
        return CommandFailed(failed.code, f"{where}: {first}", *details, self.words())

    def _count(self, results: "Iterable[ImportResult]") -> None:
        for result in results:
            if result.error is None:
                self.counts[result.outcome] += 1
