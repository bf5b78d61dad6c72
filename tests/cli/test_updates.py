"""update, run as the command against a server that the test scripts."""

import json

import grpc
import pytest

from workflowstore.v1 import workflow_state_pb2 as states
from workflowstore.v1 import workflow_store_pb2 as pb

UPDATED = pb.UpdateResponse(
    revision=18, state={"workflow_id": "order:42", "revision": 18, "created_at": {"seconds": 1}}
)


def test_what_is_given_is_changed_and_nothing_else(run, scripted) -> None:
    script = scripted(Update=lambda request, context: UPDATED)
    updated = run(
        "update", "order:42", "--status", "completed", "--result", '{"n": 9007199254740993}', "--error", "",
        "--label", "team=blue", "--label", "note=a=b", "--remove-label", "old", "--append",
        '{"type": "signal_received", "signal_name": "go"}', "--append", "{}", "--expected-revision", "17",
        "--address", script.address, "--bucket", "b",
    )  # fmt: skip
    assert updated.returncode == 0, updated.stderr
    assert json.loads(updated.stdout) == {
        "workflow_id": "order:42",
        "revision": 18,
        "created_at": "1970-01-01T00:00:01Z",
        "updated_at": None,
    }
    [request] = script.requests
    assert request.request_id
    request.request_id = ""
    assert request == pb.UpdateRequest(
        bucket="b",
        state={
            "workflow_id": "order:42",
            "status": states.WORKFLOW_STATUS_COMPLETED,
            "result_json": '{"n":9007199254740993}',
        },
        update_mask={"paths": ["status", "result_json", "error"]},
        append_history=[
            {"type": states.EVENT_TYPE_SIGNAL_RECEIVED, "signal_name": "go"},
            {},
        ],
        set_labels={"team": "blue", "note": "a=b"},
        remove_labels=["old"],
        expected_revision=17,
        view=states.WORKFLOW_VIEW_SUMMARY,
    )


def test_a_field_may_be_emptied(run, scripted) -> None:
    script = scripted(Update=lambda request, context: UPDATED)
    run("update", "a", "--status", "unspecified", "--run-id", "", "--input", "null", "--address", script.address)
    assert list(script.requests[0].update_mask.paths) == ["run_id", "status", "input_json"]
    assert script.requests[0].state == states.WorkflowState(workflow_id="a")


def test_a_missing_workflow_may_be_made(run, scripted) -> None:
    script = scripted(Update=lambda request, context: UPDATED)
    run("update", "a", "--label", "a=b", "--allow-missing", "--expected-revision", "0", "--address", script.address)
    [request] = script.requests
    assert (request.allow_missing, request.expected_revision) == (True, 0)
    assert request.HasField("expected_revision")


def test_for_people_it_is_one_line(on_terminal, scripted) -> None:
    script = scripted(Update=lambda request, context: UPDATED)
    told = on_terminal("update", "order:42", "--status", "failed", "--address", script.address)
    assert told == (0, "order:42 updated at revision 18\n")


def test_a_failure_has_its_exit_code(run, scripted) -> None:
    script = scripted(Update=lambda request, context: context.abort(grpc.StatusCode.NOT_FOUND, "no such workflow"))
    failed = run("update", "a", "--error", "x", "--address", script.address)
    assert (failed.returncode, failed.stdout) == (3, "")
    assert "no such workflow" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Nothing to change was given; give --status"),
        (["--allow-missing"], "Nothing to change was given"),
        (["--input", "text"], "--input is not JSON"),
        (["--result", ""], "--result is not JSON"),
        (["--label", "x"], "--label 'x' is not KEY=VALUE."),
        (["--append", "x"], "--append is not JSON"),
        (["--append", "[]"], "--append: must be an object, not an array."),
        (["--append", '{"typ": 1}'], "--append: typ: is no field; did you mean type?"),
        (["--append", '{"duration_ns": 99999999999999999999}'], "append_history[0].duration_ns: must be in"),
        (["--status", "no"], "'no' is not one of"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(arguments, words, run, scripted) -> None:
    script = scripted(Update=lambda request, context: UPDATED)
    refused = run("update", "a", *arguments, "--address", script.address)
    assert (refused.returncode, script.requests) == (2, [])
    assert words in refused.stderr
