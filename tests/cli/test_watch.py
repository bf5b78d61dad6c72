"""watch, run as the command against a server that the test scripts, and against a real one."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from workflowstore.v1 import workflow_state_pb2 as states
from workflowstore.v1 import workflow_store_pb2 as pb

CHANGES = [
    pb.WorkflowChange(
        kind=pb.CHANGE_KIND_SAVED,
        workflow_id="order:42",
        revision=17,
        state={"workflow_id": "order:42", "revision": 17, "status": states.WORKFLOW_STATUS_COMPLETED, "error": "x"},
    ),
    pb.WorkflowChange(kind=pb.CHANGE_KIND_DELETED, workflow_id="a\x1b[31m", revision=18),
    pb.WorkflowChange(
        kind=pb.CHANGE_KIND_UNMATCHED, workflow_id="b", revision=19, state={"workflow_id": "b", "revision": 19}
    ),
    pb.WorkflowChange(
        kind=pb.CHANGE_KIND_MALFORMED, revision=20, malformed={"key": "bad", "revision": 20, "reason": "no \x1b JSON"}
    ),
]
SNAPSHOT = [
    pb.WatchResponse(changes=CHANGES[:1]),
    pb.WatchResponse(revision=17, snapshot_complete=True),
    pb.WatchResponse(changes=CHANGES[1:], revision=21),
]


def _failing(code, reason="", **metadata):
    status = status_pb2.Status(code=code.value[0], message="refused")
    if reason:
        info = error_details_pb2.ErrorInfo(reason=reason, domain="workflowstore", metadata=metadata)
        status.details.add().Pack(info)

    def fail(context):
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, "refused")

    return fail


BROKEN = _failing(grpc.StatusCode.INTERNAL)


def _telling(*replies, then=BROKEN):
    def watch(request, context):
        yield from replies
        then(context)

    return watch


def _waiting(*replies):
    """Tells all and then nothing more, until the caller goes."""

    def watch(request, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        yield from replies
        ended.wait(60)

    return watch


@contextmanager
def watching(address, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "workflowstore_server", "watch", "--address", address, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _until(process, revision):
    """The lines up to the one that tells this progress: after it, Ctrl-C names the revision."""
    lines = [json.loads(process.stdout.readline())]
    while lines[-1] != {"kind": "progress", "revision": revision}:
        lines.append(json.loads(process.stdout.readline()))
    return lines


def test_changes_are_printed_at_once_and_ctrl_c_says_how_to_go_on(scripted) -> None:
    script = scripted(Watch=_waiting(*SNAPSHOT))
    flags = ("--snapshot", "--progress", "--status", "completed", "--bucket", "b")
    with watching(script.address, *flags) as process:
        lines = _until(process, 21)
        process.send_signal(signal.SIGINT)
        output, words = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, "")
    assert words.strip() == "workflowstore: go on with --after-revision 21"
    assert [line["kind"] for line in lines] == [
        "saved", "snapshot_complete", "progress", "deleted", "unmatched", "malformed", "progress",
    ]  # fmt: skip
    saved, complete, _, deleted, unmatched, malformed, _ = lines
    assert (saved["workflow_id"], saved["revision"]) == ("order:42", 17)
    assert (saved["state"]["status"], saved["state"]["error"]) == ("completed", "x")
    assert "input" not in saved["state"]
    assert complete == {"kind": "snapshot_complete", "revision": 17}
    assert deleted == {"kind": "deleted", "workflow_id": "a\x1b[31m", "revision": 18}
    assert (unmatched["workflow_id"], unmatched["state"]["workflow_id"]) == ("b", "b")
    assert malformed == {
        "kind": "malformed",
        "workflow_id": "",
        "revision": 20,
        "malformed": {"key": "bad", "reason": "no \x1b JSON"},
    }
    [request] = script.requests
    assert (request.bucket, request.snapshot, request.view) == ("b", True, states.WORKFLOW_VIEW_SUMMARY)
    assert list(request.filter.statuses) == [states.WORKFLOW_STATUS_COMPLETED]


def test_a_snapshot_that_is_not_complete_cannot_be_gone_on_with(scripted) -> None:
    with watching(scripted(Watch=_waiting(SNAPSHOT[0])).address, "--snapshot") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=30)
    assert (process.returncode, words.strip()) == (130, "")


def test_progress_is_told_when_it_is_asked_for(scripted, run, on_terminal) -> None:
    script = scripted(Watch=_telling(*SNAPSHOT, pb.WatchResponse(revision=30)))
    lines = [
        json.loads(line)
        for line in run("watch", "--snapshot", "--progress", "--address", script.address).stdout.splitlines()
    ]
    assert [line["revision"] for line in lines if line["kind"] == "progress"] == [17, 21, 30]
    assert lines[-1] == {"kind": "progress", "revision": 30}
    assert "progress" not in run("watch", "--address", script.address).stdout
    _, text = on_terminal("watch", "--progress", "--address", script.address, TERM="dumb")
    assert "-- up to revision 30 --" in text.splitlines()


def test_where_it_begins_is_asked_for(scripted, run) -> None:
    script = scripted(Watch=_telling())
    run("watch", "--after-revision", "17", "--full", "--address", script.address)
    run("watch", "--after-revision", "0", "--address", script.address)
    run("watch", "--address", script.address)
    first, second, third = script.requests
    assert (first.after_revision, first.view) == (17, states.WORKFLOW_VIEW_FULL)
    assert (second.WhichOneof("start"), second.after_revision) == ("after_revision", 0)
    assert third.WhichOneof("start") is None


def test_for_people_it_is_a_table(scripted, on_terminal) -> None:
    address = scripted(Watch=_telling(*SNAPSHOT)).address
    code, text = on_terminal("watch", "--snapshot", "--address", address, TERM="dumb", columns=80)
    assert code == 1
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "CHANGE WORKFLOW ID STATUS REVISION",
        "saved order:42 completed 17",
        "-- snapshot complete at revision 17 --",
        r"deleted a\x1b[31m - 18",
        "no longer matches b - 19",
        "malformed bad - 20",
        r"no \x1b JSON",
        "workflowstore: go on with --after-revision 21",
        f"workflowstore: refused (INTERNAL from {address})",
    ]
    assert {len(line) for line in text.splitlines()[:2]} == {80}
    coloured = on_terminal("watch", "--address", address)[1]
    assert "\x1b[32mcompleted" in coloured
    assert "\x1b" not in on_terminal("watch", "--address", address, "--json")[1].replace("\\u001b", "")


def test_a_long_id_is_not_cut_short(scripted, on_terminal) -> None:
    name = "漢" * 60
    change = pb.WorkflowChange(kind=pb.CHANGE_KIND_DELETED, workflow_id=name, revision=1)
    address = scripted(Watch=_telling(pb.WatchResponse(changes=[change], revision=1))).address
    assert f"  {name}\n" in on_terminal("watch", "--address", address, TERM="dumb", columns=100)[1]


def test_full_states_are_printed_for_people(scripted, on_terminal) -> None:
    address = scripted(Watch=_telling(*SNAPSHOT)).address
    text = on_terminal("watch", "--full", "--address", address, TERM="dumb")[1]
    words = [" ".join(line.split()) for line in text.splitlines()]
    assert {"workflow id order:42", "workflow id b", "result -"} <= set(words)


def test_the_end_of_the_timeout_is_no_failure(scripted, run) -> None:
    # A deadline that passes after the message may pass before it, too, on a machine that is slow enough.
    passed = _failing(grpc.StatusCode.DEADLINE_EXCEEDED)
    address = scripted(Watch=_telling(pb.WatchResponse(revision=17), then=passed)).address
    ended = run("watch", "--timeout", "60", "--address", address)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "workflowstore: go on with --after-revision 17\n"


def test_a_revision_that_is_forgotten_has_a_way_out(scripted, run) -> None:
    refuse = _failing(
        grpc.StatusCode.OUT_OF_RANGE, "ERROR_REASON_REVISION_FORGOTTEN", after_revision="1", earliest_revision="9"
    )
    failed = run("watch", "--after-revision", "1", "--address", scripted(Watch=_telling(then=refuse)).address)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "workflowstore: refused\n  begin anew with --snapshot\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--after-revision", "1", "--snapshot"], "Give --after-revision or --snapshot, not both."),
        (["--after-revision", "-1"], "--after-revision"),
        (["--prefix", "a\udcff"], "filter.workflow_id_prefix: "),
    ],
)
def test_wrong_usage_is_refused(arguments, words, scripted, run) -> None:
    script = scripted(Watch=_telling())
    refused = run("watch", *arguments, "--address", script.address)
    assert (refused.returncode, script.requests) == (2, [])
    assert words in refused.stderr


def test_a_closed_pipe_ends_it_quietly(scripted) -> None:
    change = pb.WatchResponse(changes=[CHANGES[0]] * 500, revision=1)
    with watching(scripted(Watch=_waiting(*[change] * 20)).address) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == ""
        process.stdout = None
