"""The only place that knows the form of an exported file: a stored document a line, and their number at the end.

    {"key":"order:42","revision":17,"document":{"WorkflowID":"order:42", ...}}
    {"key":"bad","revision":18,"document_base64":"ew=="}
    {"exported":2,"store_revision":18}

A `document` stands there byte for byte as it is stored. One that would not be the same again when the line is read (it
is no JSON, no UTF-8, or has a line break) stands there as base64. The last line tells a whole file from one that was
cut off.
"""

import base64
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import msgspec

from workflowstore import StoredDocument
from workflowstore_server.cli.text import shown_json

LINE_BYTES_MAX: Final = 96 * 1024 * 1024
"""The longest line that is read: a document of 64 MiB, the most that a NATS message may have, as base64. It bounds the
memory that a wrong file takes."""


class LineError(Exception):
    """The file has not the form from `line` on; the text says why."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(line, words)
        self.line = line
        self.words = words


class DocumentLine(NamedTuple):
    """A document and where it was read."""

    line: int
    """Counted from 1."""
    end: int
    """Bytes of the file up to the end of the line."""
    document: StoredDocument


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of either kind; what is absent is None or empty."""

    key: str | None = None
    revision: int = 0
    document: msgspec.Raw = msgspec.Raw(b"")
    document_base64: str | None = None
    exported: int | None = None
    store_revision: int = 0


_decode: Final = msgspec.json.Decoder(_Line).decode


def document_line(document: StoredDocument, harmless: bool) -> bytes:
    """The line of a document, with its line break.

    Args:
        document: What is stored.
        harmless: Whether the line goes to a terminal, on which nothing in it may act.
    """
    start = f'{{"key":{_text(document.key)},"revision":{document.revision},"document'.encode()
    line = start + b'":' + document.document + b"}"
    if not _read_back(line, document.document) or (harmless and shown_json(line.decode()) != line.decode()):
        line = start + b'_base64":"' + base64.b64encode(document.document) + b'"}'
    return line + b"\n"


def last_line(exported: int, store_revision: int) -> bytes:
    """The line that ends a whole file, with its line break."""
    return f'{{"exported":{exported},"store_revision":{store_revision}}}\n'.encode()


def document_lines(stream: BinaryIO) -> Iterator[DocumentLine]:
    """The documents of a file, or of several one after the other, each read when it is asked for.

    Raises:
        LineError: A line has not the form, or the last one is missing; the documents before have come.
    """
    number, end, count, complete = 0, 0, 0, False
    for number, line in enumerate(iter(lambda: stream.readline(LINE_BYTES_MAX + 1), b""), 1):
        end += len(line)
        if not line.strip():
            continue
        found = _parse(line, number)
        if found.exported is None:
            yield DocumentLine(number, end, _document(found, number))
            count, complete = count + 1, False
            continue
        if found.exported != count:
            raise LineError(number, f"says that {found.exported} documents come before it, and there are {count}")
        count, complete = 0, True
    if not complete:
        words = "the last line of an export is missing: the file is cut off, or is no export"
        raise LineError(number + 1, words)


def _read_back(line: bytes, document: bytes) -> bool:
    """Whether a line that embeds a document will be read as that document."""
    if b"\n" in document or b"\r" in document:
        return False
    try:
        line.decode()
        return bytes(_decode(line).document) == document
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError):
        return False


def _parse(line: bytes, number: int) -> _Line:
    if len(line) > LINE_BYTES_MAX:
        raise LineError(number, f"is longer than {LINE_BYTES_MAX} bytes")
    try:
        line.decode()
        return _decode(line)
    except UnicodeDecodeError:
        raise LineError(number, "is not UTF-8") from None
    except RecursionError:
        raise LineError(number, "is nested too deeply") from None
    except msgspec.MsgspecError as error:
        if not line.endswith(b"\n"):
            raise LineError(number, "is cut off") from None
        raise LineError(number, f"is no line of an export: {error}") from None


def _document(found: _Line, number: int) -> StoredDocument:
    if not found.key:
        raise LineError(number, "has no key")
    embedded = bytes(found.document)
    if bool(embedded) == (found.document_base64 is not None):
        raise LineError(number, "must have either a document or a document_base64")
    if found.document_base64 is None:
        return StoredDocument(key=found.key, revision=found.revision, document=embedded)
    try:
        document = base64.b64decode(found.document_base64, validate=True)
    except ValueError as error:
        raise LineError(number, f"document_base64: is not base64: {error}") from None
    return StoredDocument(key=found.key, revision=found.revision, document=document)


def _text(key: str) -> str:
    return shown_json(msgspec.json.encode(key).decode())
