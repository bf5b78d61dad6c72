"""export, run as the command against a server that the test scripts."""

import json
import os
import signal
import subprocess
import sys
import threading

import grpc
import pytest

from workflowstore.v1 import workflow_store_pb2 as pb

DOCUMENTS = [
    pb.StoredDocument(key="a", revision=1, document=b'{"WorkflowID":"a", "Input": 1e400}'),
    pb.StoredDocument(key="bad", revision=2, document=b"{\x1b"),
    pb.StoredDocument(key="c", revision=7, document='"\x9b"'.encode()),
]
LINES = (
    b'{"key":"a","revision":1,"document":{"WorkflowID":"a", "Input": 1e400}}\n'
    b'{"key":"bad","revision":2,"document_base64":"exs="}\n'
    b'{"key":"c","revision":7,"document":"\xc2\x9b"}\n'
    b'{"exported":3,"store_revision":17}\n'
)


def _export(request, context):
    yield pb.ExportResponse(documents=DOCUMENTS[:2], next_page_token="more", store_revision=17)
    yield pb.ExportResponse(documents=DOCUMENTS[2:], store_revision=18)


def _broken(request, context):
    yield pb.ExportResponse(documents=DOCUMENTS[:2], next_page_token="more", store_revision=17)
    context.abort(grpc.StatusCode.INTERNAL, "broken")


def _count(request, context):
    return pb.CountResponse(count=2, malformed_count=1)


def test_standard_output_gets_every_document_and_their_number(scripted, run) -> None:
    script = scripted(Export=_export)
    for arguments in ([], ["-"]):
        exported = run("export", *arguments, "--prefix", "p", "--bucket", "b", "--address", script.address)
        assert (exported.returncode, exported.stderr) == (0, "")
        assert exported.stdout.encode() == LINES
    assert script.requests[0] == pb.ExportRequest(bucket="b", filter={"workflow_id_prefix": "p"})


def test_nothing_in_it_acts_on_a_terminal(scripted, on_terminal) -> None:
    code, text = on_terminal("export", "--address", scripted(Export=_export).address)
    assert code == 0
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert [json.loads(line).get("key") for line in text.splitlines()] == ["a", "bad", "c", None]


def test_a_file_gets_the_same(scripted, run, on_terminal, tmp_path) -> None:
    address = scripted(Export=_export, Count=_count).address
    exported = run("export", str(tmp_path / "file"), "--address", address)
    assert (exported.returncode, exported.stdout) == (0, '{"exported":3,"store_revision":17}\n')
    assert (tmp_path / "file").read_bytes() == LINES
    code, text = on_terminal("export", str(tmp_path / "other"), "--address", address, TERM="dumb", columns=200)
    assert (code, text.splitlines()[-1]) == (0, f"3 documents exported to {tmp_path}/other, at store revision 17")
    assert (tmp_path / "other").read_bytes() == LINES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_progress_is_shown_where_somebody_waits(scripted, on_terminal, tmp_path) -> None:
    address = scripted(Export=_export, Count=_count).address
    code, text = on_terminal("export", str(tmp_path / "file"), "--address", address)
    assert code == 0
    assert "exporting" in text
    assert "3/3" in text
    with (tmp_path / "out").open("wb") as out:
        assert "3/3" in on_terminal("export", "--address", address, stdout=out.fileno())[1]
    assert (tmp_path / "out").read_bytes() == LINES


def test_a_file_that_exists_is_replaced_only_by_force(scripted, run, tmp_path) -> None:
    script = scripted(Export=_export)
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)
    refused = run("export", str(file), "--address", script.address)
    assert (refused.returncode, script.requests) == (2, [])
    assert f"{file} exists; give another name, or --force to replace it" in refused.stderr
    assert file.read_bytes() == b"old"
    assert run("export", str(link), "--force", "--address", script.address).returncode == 0
    assert file.read_bytes() == LINES
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "is no file; give - to write"), ("no/such", "cannot write "), ("/dev/null", "/dev/null is no file")],
)
def test_what_cannot_be_written_is_refused(name, words, scripted, run, tmp_path) -> None:
    script = scripted(Export=_export)
    refused = run("export", str(tmp_path / name), "--force", "--address", script.address)
    assert (refused.returncode, script.requests) == (2, [])
    assert words in refused.stderr


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_export_that_fails_leaves_no_file_and_keeps_the_old_one(force, scripted, run, tmp_path) -> None:
    file = tmp_path / "file"
    if force:
        file.write_bytes(b"old")
    failed = run("export", str(file), *force, "--address", scripted(Export=_broken).address)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "broken" in failed.stderr
    assert [path.name for path in tmp_path.iterdir()] == (["file"] if force else [])
    assert not force or file.read_bytes() == b"old"


def test_an_export_that_fails_on_standard_output_has_no_last_line(scripted, run) -> None:
    failed = run("export", "--address", scripted(Export=_broken).address)
    assert failed.returncode == 1
    assert failed.stdout.encode() == b"".join(LINES.splitlines(keepends=True)[:2])


def test_an_interrupted_export_leaves_no_file(scripted, tmp_path) -> None:
    begun = threading.Event()

    def export(request, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        yield pb.ExportResponse(documents=DOCUMENTS[:2], next_page_token="more", store_revision=17)
        begun.set()
        ended.wait(60)

    process = subprocess.Popen(
        [
            sys.executable, "-m", "workflowstore_server", "export", str(tmp_path / "file"), "--address",
            scripted(Export=export).address,
        ],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert begun.wait(30)
    assert os.listdir(tmp_path) == ["file.part"]  # noqa: PTH208
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert (process.returncode, words.strip()) == (130, b"")
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_an_empty_bucket_is_exported_as_such(scripted, run) -> None:
    address = scripted(Export=lambda request, context: iter([pb.ExportResponse(store_revision=3)])).address
    assert run("export", "--address", address).stdout == '{"exported":0,"store_revision":3}\n'
