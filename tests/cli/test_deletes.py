"""delete by a filter, run as the command against a server that the test scripts."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading

import grpc
import pytest

from workflowstore.v1 import error_reason_pb2, workflow_state_pb2
from workflowstore.v1 import workflow_store_pb2 as pb


class Bucket:
    """Workflows w0000, w0001, ... of which some cannot be deleted."""

    def __init__(self, count, stubborn=()):
        self.ids = [f"w{number:04}" for number in range(count)]
        self.stubborn = stubborn
        self.refuse_after = None
        self.portions = []

    def delete(self, request, context):
        if len(self.portions) == self.refuse_after:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        self.portions.append(request)
        chosen = self.ids[: request.limit]
        if not request.dry_run:
            self.ids = [name for name in self.ids if name not in chosen or name in self.stubborn]
        error = pb.ItemError(
            code=10, reason=error_reason_pb2.ERROR_REASON_REVISION_MISMATCH, message="was \x1b changed"
        )
        results = [
            pb.DeleteBatchResult(workflow_id=name, error=error)
            if name in self.stubborn
            else pb.DeleteBatchResult(workflow_id=name, existed=True)
            for name in chosen
        ]
        return pb.DeleteBatchResponse(results=results, remaining_count=len(self.ids))

    def count(self, request, context):
        return pb.CountResponse(count=len(self.ids))


@pytest.fixture
def serving(scripted):
    """Serves a Bucket, and returns its address as an option."""

    def start(bucket):
        return ("--address", scripted(DeleteBatch=bucket.delete, Count=bucket.count).address)

    return start


def test_those_that_match_are_deleted_up_to_the_limit(serving, run) -> None:
    bucket = Bucket(2500)
    deleted = run(
        "delete", "--status", "failed", "--prefix", "w", "--limit", "2100", "--purge", "--yes", *serving(bucket)
    )
    assert deleted.returncode == 0, deleted.stderr
    assert json.loads(deleted.stdout) == {"deleted_count": 2100, "failed_count": 0, "remaining_count": 400}
    assert [portion.limit for portion in bucket.portions] == [1000, 1000, 100]
    for portion in bucket.portions:
        assert list(portion.filter.statuses) == [workflow_state_pb2.WORKFLOW_STATUS_FAILED]
        assert (portion.filter.workflow_id_prefix, portion.purge, portion.dry_run) == ("w", True, False)


def test_it_ends_when_nothing_is_left(serving, run) -> None:
    bucket = Bucket(3)
    deleted = run("delete", "--all", "--limit", "5000", "--yes", *serving(bucket))
    assert json.loads(deleted.stdout) == {"deleted_count": 3, "failed_count": 0, "remaining_count": 0}
    assert len(bucket.portions) == 1
    assert bucket.portions[0].HasField("filter")


def test_what_cannot_be_deleted_is_told_and_tried_only_while_others_are(serving, run, on_terminal) -> None:
    bucket = Bucket(1500, stubborn={f"w{number:04}" for number in range(12)})
    where = serving(bucket)
    deleted = run("delete", "--all", "--limit", "5000", "--yes", *where)
    assert json.loads(deleted.stdout) == {"deleted_count": 1488, "failed_count": 12, "remaining_count": 12}
    assert deleted.returncode == 4
    first, *named, last = deleted.stderr.splitlines()
    assert first == "workflowstore: 12 workflows could not be deleted:"
    assert named == [rf"  w{number:04}: was \x1b changed" for number in range(10)]
    assert last == "  ... and 2 more"
    assert len(bucket.portions) == 2
    code, text = on_terminal("delete", "--all", "--limit", "1", "--yes", *where)
    assert code == 4
    assert text.startswith("0 workflows deleted, 1 could not be, 12 remain\n")


def test_a_dry_run_deletes_nothing(serving, run, on_terminal) -> None:
    bucket = Bucket(1500)
    where = serving(bucket)
    told = json.loads(run("delete", "--prefix", "w", "--limit", "2", "--dry-run", *where).stdout)
    assert told == {"would_delete_count": 2, "workflow_ids": ["w0000", "w0001"], "remaining_count": 1498}
    code, text = on_terminal("delete", "--prefix", "w", "--limit", "1200", "--dry-run", *where)
    first, *_, more, last = text.splitlines()
    assert (code, first, more) == (0, "w0000", "... and 200 more")
    assert last == "1200 workflows would be deleted, 300 would remain"
    assert len(bucket.ids) == 1500
    assert all(portion.dry_run for portion in bucket.portions)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give an ID, or the options of a filter such as --prefix, or else --all."),
        (["--limit", "1", "--yes"], "Give an ID, or the options of a filter"),
        (["--all", "--prefix", "a", "--limit", "1", "--yes"], "Give an ID, or the options of a filter"),
        (["--all", "--yes"], "Give the most workflows to delete as --limit."),
        (["--all", "--limit", "0", "--yes"], "--limit"),
        (["--all", "--limit", "1"], "There is no terminal to ask; give --yes"),
        (
            ["--all", "--limit", "1", "--yes", "--expected-revision", "1"],
            "--expected-revision is for a single workflow",
        ),
        (["a", "--prefix", "a"], "ID is a single workflow, and a filter is for many"),
        (["a", "--all"], "and --all is for many"),
        (["a", "--limit", "1"], "and --limit is for many"),
        (["a", "--dry-run"], "and --dry-run is for many"),
        (["a", "--yes"], "and --yes is for many"),
    ],
)
def test_nothing_is_deleted_that_was_not_asked_for_in_full(arguments, words, serving, run) -> None:
    bucket = Bucket(3)
    refused = run("delete", *arguments, *serving(bucket))
    assert refused.returncode == 2
    assert words in refused.stderr
    assert (bucket.portions, len(bucket.ids)) == ([], 3)


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 1), (b"n\n", 1, 3), (b"\n", 1, 3), (b"\x04", 130, 3)])
def test_a_terminal_is_asked(answer, code, left, serving, run) -> None:
    bucket = Bucket(3)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "workflowstore_server", "delete", "--all", "--limit", "2", *serving(bucket)],
        stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(master, 1000)
    assert b"Delete 2 of the 3 that match?" in shown
    os.write(master, answer)
    try:
        while piece := os.read(master, 1000):
            shown += piece
    except OSError:  # the end of a terminal
        pass
    os.close(master)
    assert process.wait(30) == code
    assert len(bucket.ids) == left
    assert (b"nothing was deleted" in shown) == (code == 1)


def test_nobody_is_asked_to_delete_nothing(serving, on_terminal) -> None:
    assert on_terminal("delete", "--all", "--limit", "2", *serving(Bucket(0))) == (0, "0 workflows deleted, 0 remain\n")


def test_progress_is_shown_where_somebody_waits(serving, on_terminal, tmp_path) -> None:
    bucket = Bucket(2500)
    with (tmp_path / "out").open("wb") as out:
        code, text = on_terminal(
            "delete", "--all", "--limit", "2000", "--yes", *serving(bucket), stdout=out.fileno(), columns=80
        )
    assert code == 0
    assert "deleting" in text
    assert "2000/2000" in text
    assert json.loads((tmp_path / "out").read_text())["deleted_count"] == 2000


def test_a_failure_under_way_tells_how_far_it_came(serving, run) -> None:
    bucket = Bucket(2500)
    bucket.refuse_after = 2
    failed = run("delete", "--all", "--limit", "2500", "--yes", *serving(bucket))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1] == "  2000 workflows deleted before, and perhaps up to 500 more"


def test_an_interrupt_tells_how_far_it_came(scripted) -> None:
    bucket, asked, done = Bucket(1500), threading.Event(), threading.Event()

    def delete(request, context):
        if bucket.portions:
            asked.set()
            done.wait(30)
        return bucket.delete(request, context)

    process = subprocess.Popen(
        [
            sys.executable, "-m", "workflowstore_server", "delete", "--all", "--limit", "1200", "--yes", "--address",
            scripted(DeleteBatch=delete).address,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert asked.wait(30)
    process.send_signal(signal.SIGINT)
    output, words = process.communicate(timeout=30)
    done.set()
    assert (process.returncode, output) == (130, "")
    assert words.strip() == "workflowstore: 1000 workflows deleted before, and perhaps up to 200 more"
