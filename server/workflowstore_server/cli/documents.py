"""The only place that knows where a JSON document begins and ends in a stream of bytes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from workflowstore.client._json import from_json

DOCUMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""The longest document that is read. No server stores one as long; it bounds the memory that a wrong file takes."""


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value and the line on which it begins, counted from 1."""

    line: int
    value: Any


class DocumentError(Exception):
    """The stream does not hold JSON from `line` on; the text says why."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(line, words)
        self.line = line
        self.words = words


def documents(stream: BinaryIO) -> Iterator[Document]:
    """The documents of a stream: JSON Lines, or else one document over any number of lines.

    Each is read when it is asked for, so that a stream without end can be followed. Blank lines are passed over.

    Raises: DocumentError.
    """
    first = True
    for number, line in enumerate(iter(lambda: stream.readline(DOCUMENT_BYTES_MAX + 1), b""), 1):
        text = _decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, number)
        if not text.strip():
            continue
        try:
            value = _parse(text, number)
        except DocumentError:
            if not first:
                raise
            # A line that is no document of its own may begin one of several lines, as people write them.
            yield Document(number, _parse(text + _decode(stream.read(DOCUMENT_BYTES_MAX + 1), number + 1), number))
            return
        yield Document(number, value)
        first = False


def _decode(line: bytes, number: int) -> str:
    if len(line) > DOCUMENT_BYTES_MAX:
        raise DocumentError(number, f"is longer than {DOCUMENT_BYTES_MAX} bytes")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(number + line.count(b"\n", 0, error.start), "is not UTF-8") from None


def _parse(text: str, number: int) -> Any:
    try:
        return from_json(text)
    except json.JSONDecodeError as error:
        hint = "; several states go one a line" if error.msg == "Extra data" else ""
        raise DocumentError(
            number + error.lineno - 1, f"is not JSON: {error.msg} at column {error.colno}{hint}"
        ) from None
    except RecursionError:
        raise DocumentError(number, "is nested too deeply") from None
