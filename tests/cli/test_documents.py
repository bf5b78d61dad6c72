"""Where documents begin and end, and what is said of those that are none."""

import io

import pytest

from workflowstore_server.cli import documents as module
from workflowstore_server.cli.documents import DocumentError, documents


def _read(data: bytes) -> list[tuple[int, object]]:
    return [(document.line, document.value) for document in documents(io.BytesIO(data))]


def test_json_lines() -> None:
    assert _read(b'{"a": 1}\n\n  \n[2]\r\n3') == [(1, {"a": 1}), (4, [2]), (5, 3)]


def test_one_document_over_several_lines() -> None:
    assert _read(b'\n{\n "a": [\n1]\n}\n\n') == [(2, {"a": [1]})]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert _read(b"\xef\xbb\xbf1") == [(1, 1)]


def test_nothing_holds_nothing() -> None:
    assert _read(b" \n") == []


def test_numbers_are_exact() -> None:
    digits = "1" + "0" * 5000
    [(_, value)] = _read(f"[{digits}, 9007199254740993, 1e400]".encode())
    assert value[0] == 10**5000
    assert value[1] == 9007199254740993
    assert value[2].is_finite()


def test_a_document_is_read_when_it_is_asked_for() -> None:
    stream = io.BytesIO(b"1\n2\nnonsense\n")
    found = documents(stream)
    assert next(found).value == 1
    assert stream.tell() == 2


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"1\n{", 2, "is not JSON: Expecting property name"),
        (b'{\n"a": 1,\n"b": nul}', 3, "is not JSON: Expecting value at column 6"),
        (b'{"a": 1} {"a": 2}', 1, "is not JSON: Extra data at column 10; several states go one a line"),
        (b'{\n"a": 1\n}\n{\n"a": 2\n}', 4, "Extra data at column 1; several states go one a line"),
        (b"1\nNaN", 2, "is not JSON"),
        (b"1\n\xff", 2, "is not UTF-8"),
        (b"{\n1\n\xff", 3, "is not UTF-8"),
        (b"[" * 100_000, 1, "is nested too deeply"),
        (b'1\n"\x01"', 2, "is not JSON: Invalid control character"),
    ],
)
def test_what_is_no_document_is_located(data, line, words) -> None:
    with pytest.raises(DocumentError) as caught:
        _read(data)
    assert caught.value.line == line
    assert words in caught.value.words


@pytest.mark.parametrize("data", [b"1\n" + b"2" * 21, b"{" + b"\n" * 22])
def test_memory_is_bounded(data, monkeypatch) -> None:
    monkeypatch.setattr(module, "DOCUMENT_BYTES_MAX", 20)
    with pytest.raises(DocumentError, match="is longer than 20 bytes"):
        _read(data)
