"""An exported file gives every document back byte for byte, and tells when it is not whole."""

import base64
import io
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflowstore import StoredDocument
from workflowstore_server.cli import document_lines
from workflowstore_server.cli.document_lines import LineError, document_line, last_line

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=8,
)
json_texts = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(
        errors="surrogatepass"
    ),
    json_values,
    st.booleans(),
    st.none() | st.just(1),
)
ACTING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")
LAST = last_line(1, 17)


def _read(data: bytes) -> list[StoredDocument]:
    return [line.document for line in document_lines.document_lines(io.BytesIO(data))]


@given(st.binary() | json_texts, st.text(), st.booleans())
@example(b"", "a", False)
@example(b" {}", "a", False)
@example(b'1,"document":2', "a", False)
@example(b'1}\n{"key":"b"', "a", False)
@example(b'"\xed\xa0\x80"', "a", False)
@example(b'"\\ud800"', "a", False)
@example(b"01", "a", False)
@example(b"[" * 100_000 + b"]" * 100_000, "a", False)
def test_every_document_is_read_back_byte_for_byte(document, key, harmless) -> None:
    key = "k" + key.encode(errors="replace").decode()
    stored = StoredDocument(key=key, revision=17, document=document)
    line = document_line(stored, harmless=harmless)
    assert line.count(b"\n") == 1
    assert json.loads(line)["key"] == key
    assert _read(line + LAST) == [stored]
    assert not (harmless and ACTING.search(line.decode()))


def test_a_json_document_stands_there_as_it_is() -> None:
    document = b'{"WorkflowID":"a", "Input": 1e400, "u":"\xe6\xbc\xa2\xc2\x9b\\u00e9"}'
    stored = StoredDocument(key="a", revision=17, document=document)
    assert document_line(stored, harmless=False) == b'{"key":"a","revision":17,"document":' + document + b"}\n"
    assert b'"document_base64":"' in document_line(stored, harmless=True), "it has a control character"


@pytest.mark.parametrize("document", [b"{\n}", b"{\r}", b"{} ", b"", b"nonsense", b'"\xff"'])
def test_what_is_not_json_in_one_line_is_base64(document) -> None:
    line = json.loads(document_line(StoredDocument(key="a", revision=1, document=document), harmless=False))
    assert base64.b64decode(line["document_base64"]) == document


def test_lines_are_found_where_they_are() -> None:
    data = b'{"key":"a","document":1}\n\n{"key":"b","document":2}\n{"exported":2}'
    found = list(document_lines.document_lines(io.BytesIO(data)))
    assert [(line.line, line.end, line.document.key) for line in found] == [(1, 25, "a"), (3, 51, "b")]


def test_several_exports_may_follow_one_another() -> None:
    data = b'{"key":"a","document":1}\n{"exported":1}\n{"exported":0}\n{"key":"b","document":1}\n{"exported":1}\n'
    assert [document.key for document in _read(data)] == ["a", "b"]


LINE = b'{"key":"a","document":1}\n'


@pytest.mark.parametrize(
    ("data", "count", "line", "words"),
    [
        (b"", 0, 1, "the file is cut off, or is no export"),
        (LINE, 1, 2, "the file is cut off"),
        (LINE + b'{"exported":1}\n' + LINE, 2, 4, "the file is cut off"),
        (LINE + b'{"exported":2}', 1, 2, "says that 2 documents come before it, and there are 1"),
        (LINE + b'{"key":"b","docu', 1, 2, "is cut off"),
        (LINE + b'{"key":"b","docu\n', 1, 2, "is no line of an export: "),
        (LINE + b'{"key":"b","document":1,"x":1}\n', 1, 2, "unknown field `x`"),
        (LINE + b'{"key":1,"document":1}\n', 1, 2, "Expected `str | null`, got `int`"),
        (LINE + b"[]\n", 1, 2, "Expected `object`, got `array`"),
        (b'{"workflow_id":"a"}\n', 0, 1, "unknown field `workflow_id`"),
        (b'{"document":1}\n', 0, 1, "has no key"),
        (b'{"key":"","document":1}\n', 0, 1, "has no key"),
        (b'{"key":"a"}\n', 0, 1, "must have either a document or a document_base64"),
        (b'{"key":"a","document":1,"document_base64":""}\n', 0, 1, "must have either"),
        (b'{"key":"a","document_base64":"e"}\n', 0, 1, "document_base64: is not base64"),
        ('{"key":"a","document_base64":"é"}\n'.encode(), 0, 1, "document_base64: is not base64"),
        (b'{"key":"a","document":"\xff"}\n', 0, 1, "is not UTF-8"),
        (b'{"key":"a","document":' + b"[" * 10**5 + b"]" * 10**5 + b"}\n", 0, 1, "is nested too deeply"),
    ],
)
def test_a_file_that_is_not_whole_or_wrong_is_told_by_its_line(data, count, line, words) -> None:
    lines = document_lines.document_lines(io.BytesIO(data))
    for _ in range(count):
        next(lines)
    with pytest.raises(LineError) as caught:
        next(lines)
    assert caught.value.line == line
    assert words in caught.value.words


def test_a_line_without_end_takes_bounded_memory(monkeypatch) -> None:
    monkeypatch.setattr(document_lines, "LINE_BYTES_MAX", 30)
    assert len(_read(LINE + LAST[:13] + b"}")) == 1
    with pytest.raises(LineError, match="is longer than 30 bytes"):
        _read(b'{"key":"a","document":"' + b"x" * 100)
