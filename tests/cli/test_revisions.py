"""history, run as the command against a server that the test scripts."""

import json

import grpc
import pytest

from workflowstore.v1 import workflow_state_pb2 as states
from workflowstore.v1 import workflow_store_pb2 as pb

RUNNING, COMPLETED = states.WORKFLOW_STATUS_RUNNING, states.WORKFLOW_STATUS_COMPLETED
REVISIONS = [
    pb.WorkflowRevision(
        revision=3, stored_at={"seconds": 3}, state={"workflow_id": "a", "revision": 3, "status": RUNNING}
    ),
    pb.WorkflowRevision(
        revision=5, stored_at={"seconds": 5, "nanos": 5},
        state={"workflow_id": "a", "revision": 5, "status": COMPLETED, "labels": {"team": "\x1b"}},
    ),
    pb.WorkflowRevision(revision=6, stored_at={"seconds": 6}, deleted=True),
    pb.WorkflowRevision(
        revision=8, stored_at={"seconds": 8}, malformed={"key": "a", "revision": 8, "reason": "no \x1b JSON"}
    ),
    pb.WorkflowRevision(
        revision=9, stored_at={"seconds": 9}, state={"workflow_id": "a", "revision": 9, "error": "new"}
    ),
]  # fmt: skip
SHOWN = [
    ["revision 3  1970-01-01 00:00:03 UTC  saved", "  status: running"],
    ["revision 5  1970-01-01 00:00:05 UTC  saved", "  status: running -> completed", r"  + label team=\x1b"],
    ["revision 6  1970-01-01 00:00:06 UTC  deleted"],
    ["revision 8  1970-01-01 00:00:08 UTC  malformed", r"  no \x1b JSON"],
    ["revision 9  1970-01-01 00:00:09 UTC  saved", "  error: new"],
]


def _list(request, context):
    found = REVISIONS[::-1] if request.newest_first else REVISIONS
    for revision in found[: request.limit or None]:
        yield pb.ListRevisionsResponse(revisions=[revision])


def _blocks(text: str) -> list[list[str]]:
    return [block.splitlines() for block in text.split("\n\n")]


def test_json_lines_have_the_whole_states(scripted, run) -> None:
    script = scripted(ListRevisions=_list)
    printed = run("history", "a", "--address", script.address, "--bucket", "b")
    assert printed.returncode == 0
    assert printed.stderr == ""
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    assert [(line["revision"], line["kind"]) for line in lines] == [
        (3, "saved"), (5, "saved"), (6, "deleted"), (8, "malformed"), (9, "saved"),
    ]  # fmt: skip
    assert lines[0].keys() == {"revision", "stored_at", "kind", "state"}
    assert lines[1]["stored_at"] == "1970-01-01T00:00:05.000000005Z"
    assert (lines[1]["state"]["labels"], lines[1]["state"]["input"]) == ({"team": "\x1b"}, None)
    assert (lines[2]["state"], lines[3]["state"]) == (None, None)
    assert lines[3]["malformed"] == {"key": "a", "reason": "no \x1b JSON"}
    assert script.requests == [pb.ListRevisionsRequest(bucket="b", workflow_id="a", view=states.WORKFLOW_VIEW_FULL)]


def test_json_lines_may_be_limited_and_the_other_way_round(scripted, run) -> None:
    script = scripted(ListRevisions=_list)
    printed = run("history", "a", "--desc", "--limit", "2", "--address", script.address)
    assert [json.loads(line)["revision"] for line in printed.stdout.splitlines()] == [9, 8]
    assert script.requests[0].limit == 2


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ([], SHOWN),
        (["--desc"], SHOWN[::-1]),
        (["--limit", "2"], SHOWN[:2]),
        (["--desc", "--limit", "4"], SHOWN[:0:-1]),
        (["--desc", "--limit", "9"], SHOWN[::-1]),
    ],
)
def test_people_are_told_what_changed(flags, shown, scripted, on_terminal) -> None:
    address = scripted(ListRevisions=_list).address
    code, text = on_terminal("history", "a", *flags, "--address", address, TERM="dumb")
    assert code == 0
    assert _blocks(text) == shown


def test_the_last_of_the_newest_is_compared_too(scripted, on_terminal) -> None:
    before = pb.WorkflowRevision(revision=1, state={"workflow_id": "a", "status": RUNNING})
    after = pb.WorkflowRevision(revision=2, state={"workflow_id": "a", "status": COMPLETED})
    script = scripted(
        ListRevisions=lambda request, context: iter([pb.ListRevisionsResponse(revisions=[after, before])])
    )
    code, text = on_terminal("history", "a", "--desc", "--limit", "1", "--address", script.address, TERM="dumb")
    assert (code, text) == (0, "revision 2  - UTC  saved\n  status: running -> completed\n")


def test_additions_and_removals_are_coloured(scripted, on_terminal) -> None:
    address = scripted(ListRevisions=_list).address
    text = on_terminal("history", "a", "--address", address)[1]
    assert "\x1b[32m  + label" in text
    assert "\x1b[1mrevision 3" in text
    turned = [
        pb.WorkflowRevision(revision=1, state={"workflow_id": "a", "labels": {"x": "y"}}),
        pb.WorkflowRevision(revision=2, state={"workflow_id": "a"}),
    ]
    script = scripted(ListRevisions=lambda request, context: iter([pb.ListRevisionsResponse(revisions=turned)]))
    assert "\x1b[31m  - label x=y" in on_terminal("history", "a", "--address", script.address)[1]
    assert "\x1b" not in on_terminal("history", "a", "--address", script.address, NO_COLOR="1")[1]


def test_a_single_revision_comes_with_the_reason(scripted, on_terminal, run) -> None:
    only = pb.ListRevisionsResponse(revisions=REVISIONS[:1])
    address = scripted(ListRevisions=lambda request, context: iter([only])).address
    hint = "workflowstore: this is the only revision that is kept; `history` in `workflowstore info` says how many"
    assert hint in on_terminal("history", "a", "--address", address, TERM="dumb", columns=200)[1]
    assert hint not in on_terminal("history", "a", "--limit", "1", "--address", address, TERM="dumb")[1]
    assert run("history", "a", "--address", address).stderr == ""


def test_no_revisions_are_not_found(scripted, run) -> None:
    def refuse(request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no revision of it is stored")
        yield

    failed = run("history", "a", "--address", scripted(ListRevisions=refuse).address)
    assert (failed.returncode, failed.stdout) == (3, "")
    assert "no revision of it is stored" in failed.stderr


@pytest.mark.parametrize("arguments", [[], ["a", "--limit", "0"], ["a\udcff"]])
def test_wrong_usage_is_refused(arguments, scripted, run) -> None:
    assert run("history", *arguments, "--address", scripted(ListRevisions=_list).address).returncode == 2
