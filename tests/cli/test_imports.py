"""import, run as the command against a server that the test scripts."""

import json
import re
import signal
import subprocess
import sys
import threading

import grpc
import pytest

from workflowstore.v1 import error_reason_pb2
from workflowstore.v1 import workflow_store_pb2 as pb

LINE = '{{"key":"{0}","revision":7,"document":{{"n":{1}}}}}\n'


def _file(*keys, last=True):
    lines = "".join(LINE.format(key, number) for number, key in enumerate(keys))
    return lines + (f'{{"exported":{len(keys)},"store_revision":9}}\n' if last else "")


class Store:
    """Documents by their keys, and what was asked of it."""

    def __init__(self, **stored):
        self.stored = {key: document.encode() for key, document in stored.items()}
        self.requests = []
        self._lock = threading.Lock()

    def take(self, request, context):
        with self._lock:
            self.requests.append(request)
            return pb.ImportResponse(results=[self._take(one, request.on_conflict) for one in request.documents])

    def _take(self, one, on_conflict):
        there = self.stored.get(one.key)
        if there == one.document:
            return pb.ImportResult(outcome=pb.IMPORT_OUTCOME_UNCHANGED, revision=1)
        if there is not None and on_conflict == pb.ON_CONFLICT_FAIL:
            reason = error_reason_pb2.ERROR_REASON_WORKFLOW_ALREADY_EXISTS
            return pb.ImportResult(error=pb.ItemError(code=6, reason=reason, message="it \x1b exists"))
        if there is not None and on_conflict == pb.ON_CONFLICT_SKIP:
            return pb.ImportResult(outcome=pb.IMPORT_OUTCOME_SKIPPED, revision=1)
        self.stored[one.key] = one.document
        return pb.ImportResult(outcome=pb.IMPORT_OUTCOME_WRITTEN, revision=1)


@pytest.fixture
def store(scripted, run):
    """A Store, and `store.take_in`, which imports a text."""
    store = Store()
    store.address = scripted(Import=lambda request, context: store.take(request, context)).address
    store.take_in = lambda text, *flags: run("import", "-", *flags, "--address", store.address, stdin=text)
    return store


def _counts(written=0, unchanged=0, skipped=0):
    return {"written": written, "unchanged": unchanged, "skipped": skipped}


def test_documents_are_stored_byte_for_byte(store) -> None:
    text = (
        '{"key":"a","revision":1,"document":{"WorkflowID":"a", "Input": 1e400}}\n'
        '{"key":"bad","document_base64":"exs="}\n{"exported":2,"store_revision":17}\n'
    )
    imported = store.take_in(text, "--bucket", "b")
    assert (imported.returncode, imported.stderr) == (0, "")
    assert json.loads(imported.stdout) == _counts(written=2)
    assert store.stored == {"a": b'{"WorkflowID":"a", "Input": 1e400}', "bad": b"{\x1b"}
    assert [request.bucket for request in store.requests] == ["b"]


def test_an_import_can_be_repeated(store) -> None:
    text = _file("a", "b", "c")
    assert json.loads(store.take_in(text).stdout) == _counts(written=3)
    assert json.loads(store.take_in(text).stdout) == _counts(unchanged=3)


def test_the_first_conflict_stops_and_is_named(store) -> None:
    store.stored = {"b": b"other"}
    failed = store.take_in(_file("a", "b", "c"))
    assert (failed.returncode, failed.stdout) == (4, "")
    first, last = failed.stderr.splitlines()
    assert first == r"workflowstore: line 2: key b: it \x1b exists (nothing was written)"
    assert last.startswith("  stopped at line 2: 2 written, 0 unchanged, 0 skipped; import it again")
    assert store.stored["b"] == b"other"


def test_conflicts_may_be_skipped_or_overwritten(store) -> None:
    store.stored = {"b": b"other"}
    assert json.loads(store.take_in(_file("a", "b"), "--on-conflict", "skip").stdout) == _counts(written=1, skipped=1)
    assert store.stored["b"] == b"other"
    overwritten = store.take_in(_file("a", "b"), "--on-conflict", "overwrite")
    assert json.loads(overwritten.stdout) == _counts(written=1, unchanged=1)
    assert store.stored["b"] == b'{"n":1}'


def test_batches_are_bounded_by_number(store) -> None:
    assert store.take_in(_file(*(f"w{number}" for number in range(1700)))).returncode == 0
    assert sorted(len(request.documents) for request in store.requests) == [200, 500, 500, 500]
    assert len(store.stored) == 1700


def test_batches_are_bounded_by_bytes(store) -> None:
    sizes = [1_500_000] * 5 + [4_100_000] * 2
    text = "".join(f'{{"key":"w{number}","document":"{"x" * size}"}}\n' for number, size in enumerate(sizes))
    assert store.take_in(text + '{"exported":7}\n').returncode == 0
    assert sorted(len(request.documents) for request in store.requests) == [1, 1, 1, 2, 2]


def test_a_key_that_comes_again_is_stored_in_the_order_of_the_file(store) -> None:
    keys = [f"w{number % 300}" for number in range(1000)]
    assert store.take_in(_file(*keys), "--on-conflict", "overwrite").returncode == 0
    assert store.stored["w99"] == b'{"n":999}'
    assert store.stored["w100"] == b'{"n":700}'
    for request in store.requests:
        assert len({document.key for document in request.documents}) == len(request.documents)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (_file("a", "b", last=False), 3, "the file is cut off"),
        (_file("a", "b", last=False) + '{"key":"c","doc', 3, "is cut off"),
        (_file("a", "b", last=False) + '{"exported":3}\n', 3, "says that 3 documents come before it, and there are 2"),
        (_file("a", "b", last=False) + "nonsense\n" + _file("c"), 3, "is no line of an export"),
    ],
)
def test_what_comes_before_a_wrong_line_is_stored_and_nothing_after(text, line, words, store) -> None:
    failed = store.take_in(text)
    assert (failed.returncode, failed.stdout) == (2, "")
    first, last = failed.stderr.splitlines()
    assert first.startswith(f"workflowstore: line {line}: ")
    assert words in first
    assert last.startswith(f"  stopped at line {line}: 2 written, 0 unchanged, 0 skipped; ")
    assert store.stored.keys() == {"a", "b"}


def test_a_file_that_is_no_export_is_refused(store) -> None:
    assert "line 1: the last line of an export is missing" in store.take_in("").stderr
    assert "line 1: is no line of an export" in store.take_in('{"workflow_id":"a"}\n').stderr
    assert store.requests == []


def test_a_call_that_fails_names_its_lines_and_what_others_stored(scripted, run) -> None:
    store = Store()

    def refuse_second(request, context):
        if any(document.key == "w600" for document in request.documents):
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        return store.take(request, context)

    script = scripted(Import=refuse_second)
    text = _file(*(f"w{number}" for number in range(1400)))
    failed = run("import", "-", "--address", script.address, stdin=text)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("workflowstore: lines 501 to 1000: broken")
    found = re.search(r"stopped at line 501: (\d+) written, 0 unchanged", failed.stderr)
    assert found is not None
    assert int(found[1]) == len(store.stored)


def test_of_several_failures_the_first_is_told(scripted, run) -> None:
    script = scripted(Import=lambda request, context: context.abort(grpc.StatusCode.INTERNAL, "broken"))
    text = _file(*(f"w{number}" for number in range(1400)))
    failed = run("import", "-", "--address", script.address, stdin=text)
    assert failed.stderr.startswith("workflowstore: lines 1 to 500: broken")


def test_calls_are_under_way_at_once_and_a_ctrl_c_ends_them(scripted, tmp_path) -> None:
    under_way, done = threading.Barrier(4), threading.Event()

    def hang(request, context):
        under_way.wait(30)
        done.wait(30)
        return pb.ImportResponse()

    (tmp_path / "file").write_text(_file(*(f"w{number}" for number in range(5000))))
    process = subprocess.Popen(
        [
            sys.executable, "-m", "workflowstore_server", "import", str(tmp_path / "file"), "--address",
            scripted(Import=hang).address,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    under_way.wait(30)
    process.send_signal(signal.SIGINT)
    output, words = process.communicate(timeout=30)
    done.set()
    assert (process.returncode, output) == (130, "")
    assert "workflowstore: stopped at line 0: 0 written" in words
    assert "Traceback" not in words


def test_for_people_it_is_one_line_and_a_bar(store, on_terminal, tmp_path) -> None:
    (tmp_path / "file").write_text(_file("a", "b"))
    where = ("--address", store.address)
    assert on_terminal("import", str(tmp_path / "file"), *where, TERM="dumb") == (
        0,
        "2 written, 0 unchanged, 0 skipped\n",
    )
    text = on_terminal("import", str(tmp_path / "file"), *where)[1]
    assert "importing" in text
    assert "88/122 bytes" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument"),
        (["/no/such/file"], "cannot read /no/such/file: No such file or directory"),
        (["-", "--on-conflict", "ask"], "'ask' is not one of"),
    ],
)
def test_wrong_usage_is_refused(arguments, words, store, run) -> None:
    refused = run("import", *arguments, "--address", store.address)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert store.requests == []
