"""load and list, run as the command against a real server."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.nats_server import NatsServer
from workflowstore import Client, WorkflowState


def _ids(text: str) -> list[str]:
    return [json.loads(line)["workflow_id"] for line in text.splitlines()]


@pytest.fixture(scope="module")
def filled(server, _unused_buckets) -> str:
    """A bucket with ten running, one completed and one without a status. Nobody changes it."""
    bucket = next(_unused_buckets)
    with Client(server.address, bucket=bucket) as client:
        for number in range(10):
            client.save(WorkflowState(f"w{number}", status="running", input=number, labels={"n": str(number)}))
        client.save(WorkflowState("done", status="completed"))
        client.save(WorkflowState("new"))
    return bucket


@pytest.fixture
def ask(filled, server, run):
    """Runs a client command about the filled bucket."""

    def ask(command: str, *arguments: str):
        return run(command, "--address", server.address, "--bucket", filled, *arguments)

    return ask


def test_load_summary(filled, ask) -> None:
    [state] = map(json.loads, ask("load", "w3", "--summary").stdout.splitlines())
    assert state.keys().isdisjoint({"input", "result", "history"})
    assert state["labels"] == {"n": "3"}
    assert (state["revision"], state["history_count"]) == (4, 0)
    assert state["document_bytes"] > 100


@pytest.mark.parametrize("consistency", ["session", "linearizable", "any-replica"])
def test_load_as_new_as_it_is_asked_for(ask, consistency) -> None:
    [state] = map(
        json.loads, ask("load", "w3", "--consistency", consistency, "--min-revision", "12").stdout.splitlines()
    )
    assert state["revision"] == 4


def test_reads_of_what_has_not_been_written_yet(ask) -> None:
    for command in (["load", "w3"], ["list"], ["count"]):
        failed = ask(*command, "--min-revision", "1000")
        assert failed.returncode == 2
        assert "not to the min_revision 1000" in failed.stderr
    assert ask("list", "--consistency", "any-replica").returncode == 2


def test_load_of_nothing(call, bucket) -> None:
    missing = call("load", "no\x1b[31m")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert missing.stderr == f"workflowstore: workflow no\\x1b[31m does not exist in bucket {bucket}\n"


def test_load_needs_an_id(call) -> None:
    assert call("load").returncode == 2
    assert call("load", "").returncode == 2


def test_list(filled, ask) -> None:
    listed = ask("list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert _ids(listed.stdout) == ["done", "new", *(f"w{number}" for number in range(10))]
    assert "input" not in json.loads(listed.stdout.splitlines()[0])
    assert _ids(ask("list", "--limit", "3").stdout) == ["done", "new", "w0"]
    assert _ids(ask("list", "--status", "completed", "--status", "unspecified").stdout) == ["done", "new"]
    assert json.loads(ask("list", "--full", "--prefix", "w").stdout.splitlines()[1])["input"] == 1


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--prefix", "w", "--limit", "2"], ["w0", "w1"]),
        (["--label", "n=3"], ["w3"]),
        (["--label", "n=3", "--label", "n=3", "--status", "running"], ["w3"]),
        (["--label", "n=3", "--status", "completed"], []),
        (["--label", "n="], []),
        (["--run-id", "no"], []),
        (["--order", "updated", "--limit", "2"], ["w0", "w1"]),
        (["--order", "updated", "--desc", "--limit", "2"], ["new", "done"]),
        (["--order", "created", "--desc", "--limit", "1"], ["new"]),
        (["--desc", "--limit", "2"], ["w9", "w8"]),
        (["--updated-since", "1h", "--limit", "1"], ["done"]),
        (["--updated-until", "1h ago"], []),
        (["--created-since", "yesterday", "--created-until", "2999-01-01", "--limit", "1"], ["done"]),
        (["--created-until", "yesterday", "--updated-since", "2026-11-24T10:00Z"], []),
    ],
)
def test_list_takes_filter_and_order_as_flags(filled, ask, flags, found) -> None:
    listed = ask("list", *flags)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert _ids(listed.stdout) == found


def test_a_list_goes_on_by_its_page_token(filled, server, on_terminal) -> None:
    where = ("--address", server.address, "--bucket", filled)
    code, text = on_terminal("list", *where, "--limit", "11", TERM="dumb", columns=200)
    *_, hint = text.splitlines()
    words, _, token = hint.rpartition(" ")
    assert (code, words) == (0, "workflowstore: there are more; go on with --page-token")
    code, text = on_terminal("list", *where, "--page-token", token, TERM="dumb")
    assert [row.split()[0] for row in text.splitlines()] == ["WORKFLOW", "w9"]
    refused = on_terminal("list", *where, "--page-token", token, "--desc")
    assert refused[0] == 2
    assert "page_token: belongs to a List of another bucket, filter or order" in refused[1]


@pytest.mark.parametrize(
    ("flags", "counted"),
    [
        ([], {"count": 12, "groups": []}),
        (["--status", "running", "--prefix", "w"], {"count": 10, "groups": []}),
        (
            ["--by", "status"],
            {
                "count": 12,
                "groups": [
                    {"status": "running", "count": 10},
                    {"status": "", "count": 1},
                    {"status": "completed", "count": 1},
                ],
            },
        ),
        (
            ["--by", "label:n", "--label", "n=3"],
            {"count": 1, "groups": [{"value": "3", "count": 1}]},
        ),
    ],
)
def test_count(filled, ask, flags, counted) -> None:
    found = ask("count", *flags)
    assert (found.returncode, found.stderr) == (0, "")
    told = json.loads(found.stdout)
    assert {"count": told["count"], "groups": told["groups"]} == counted
    assert (told["omitted_groups"], told["malformed_count"], told["store_revision"]) == (0, 0, 12)


def test_count_for_people(filled, server, on_terminal) -> None:
    where = ("--address", server.address, "--bucket", filled)
    assert on_terminal("count", *where) == (0, "12\n")
    by_status = "running      10\nunspecified   1\ncompleted     1\ntotal        12\n"
    assert on_terminal("count", *where, "--by", "status") == (0, by_status)
    code, text = on_terminal("count", *where, "--by", "label:n", "--label", "n=3")
    assert (code, text) == (0, "n=3    1\ntotal  1\n")


@pytest.mark.parametrize("by", ["label:", "label", "id", "label:" + "x" * 129])
def test_what_cannot_be_counted_by_is_refused(server, run, by) -> None:
    assert run("count", "--by", by, "--address", server.address).returncode == 2


def test_list_of_nothing(call) -> None:
    assert call("list").stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--limit", "0"], ["--status", "no"], ["--bucket", "no"], ["--timeout", "-1"], ["--label", "x"],
        ["--label", "=x"], ["--label", "x=1", "--label", "x=2"], ["--order", "size"], ["--updated-since", "soon"],
        ["--created-until", "10:30"], ["--created-since", "2026-13-01"], ["--page-token", "?"],
    ],
)  # fmt: skip
def test_wrong_usage_is_refused(arguments, run, server) -> None:
    assert run("list", *arguments, "--address", server.address).returncode == 2


def test_a_bucket_that_is_not_served_is_told(call) -> None:
    assert "bucket: no is not served here" in call("load", "a", "--bucket", "no").stderr


def test_the_table(filled, server, on_terminal) -> None:
    code, text = on_terminal("list", "--address", server.address, "--bucket", filled, TERM="dumb")
    header, *rows = text.splitlines()
    assert code == 0
    assert header.split() == ["WORKFLOW", "ID", "STATUS", "UPDATED", "(UTC)", "REVISION", "EVENTS", "BYTES"]
    assert [row.split()[0] for row in rows] == ["done", "new", *(f"w{number}" for number in range(10))]
    assert {len(row) for row in rows} == {80}
    assert rows[2].split()[1:2] == ["running"]
    assert rows[1].split()[1] == "-"


def test_colours_are_for_terminals_that_want_them(filled, server, on_terminal) -> None:
    common = ("list", "--address", server.address, "--bucket", filled)
    assert "\x1b[36mrunning" in on_terminal(*common)[1]
    assert "\x1b[36m" not in on_terminal(*common, NO_COLOR="1")[1]
    assert "\x1b" not in on_terminal(*common, TERM="dumb")[1]
    assert "\x1b" not in on_terminal(*common, "--json")[1]


def test_json_on_a_terminal(filled, server, on_terminal) -> None:
    code, text = on_terminal("list", "--json", "--address", server.address, "--bucket", filled)
    assert code == 0
    assert len(_ids(text)) == 12


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m[red]x[/red]\u202e\n\ud83d".encode("utf-16", "surrogatepass").decode(
    "utf-16", "replace"
)


@pytest.mark.parametrize("command", [["list"], ["list", "--full"], ["list", "--json", "--full"], ["load", HOSTILE]])
def test_nothing_that_was_stored_acts_on_the_terminal(command, server, bucket, on_terminal) -> None:
    with Client(server.address, bucket=bucket) as client:
        client.save(
            WorkflowState(HOSTILE, run_id=HOSTILE, error=HOSTILE, input={HOSTILE: HOSTILE}, labels={HOSTILE: HOSTILE})
        )
    code, text = on_terminal(*command, "--address", server.address, "--bucket", bucket, TERM="dumb", NO_COLOR="1")
    assert code == 0
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert "[red]x[/red]" in text


def test_a_long_id_is_not_cut_short(server, bucket, on_terminal) -> None:
    with Client(server.address, bucket=bucket) as client:
        client.save(WorkflowState("漢" * 60, status="running"))
    common = ("list", "--address", server.address, "--bucket", bucket)
    wide, narrow = on_terminal(*common, columns=200)[1], on_terminal(*common, columns=100)[1]
    assert "\n" + "漢" * 60 + " " in wide
    assert "\n" + "漢" * 60 + "\n" in narrow


def test_load_for_people(server, bucket, on_terminal) -> None:
    document = {
        "workflow_id": "order:42",
        "status": "failed",
        "input": {"n": 2**60},
        "error": "no stock",
        "labels": {"team": "blue"},
        "created_at": "2026-11-22T10:00:00.9Z",
        "history": [
            {"id": 1, "type": "timer_fired", "timestamp": "2026-11-22T10:00:01Z", "duration_ns": 1_500_000_000},
            {"id": 2, "type": "signal_received", "signal_name": "go", "signal_payload": [1]},
        ],
    }
    common = ("--address", server.address, "--bucket", bucket)
    read, write = os.pipe()
    os.write(write, json.dumps(document).encode())
    os.close(write)
    subprocess.run([sys.executable, "-m", "workflowstore_server", "save", "-", *common], stdin=read, check=True)
    os.close(read)
    code, text = on_terminal("load", "order:42", *common, TERM="dumb")
    assert code == 0
    words = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "workflow id order:42", "run id -", "status failed", "error no stock", "created 2026-11-22 10:00:00 UTC",
        "labels team=blue", 'input {"n":1152921504606846976}', "result -", "history", "ID TYPE TIME (UTC) DETAILS",
        "1 timer_fired 2026-11-22 10:00:01 duration 1.5 s",
        "2 signal_received 0001-01-01 00:00:00 signal go payload [1]",
    ):  # fmt: skip
        assert line in words, text
    summary = on_terminal("load", "order:42", "--summary", *common, TERM="dumb")[1]
    assert "input" not in summary
    assert "history" not in summary


@pytest.fixture
def many(server, bucket) -> str:
    """A bucket with more than pipes and windows of HTTP/2 hold."""
    with Client(server.address, bucket=bucket) as client:
        for number in range(8):
            client.save(WorkflowState(f"w{number}", input="x" * 1_000_000))
    return bucket


def test_a_closed_pipe_ends_quietly(many, server) -> None:
    process = _list(server.address, many)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 141


def test_an_interrupt_ends_quietly_even_when_nobody_reads(many, server) -> None:
    process = _list(server.address, many)
    assert process.stdout is not None
    process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr is not None
    assert process.stderr.read().strip() == b""
    process.stderr.close()
    process.stdout.close()


def _list(address: str, bucket: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "workflowstore_server", "list", "--full", "--address", address, "--bucket", bucket],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_progress_is_counted_where_somebody_waits(filled, server, on_terminal, tmp_path) -> None:
    with (tmp_path / "out").open("wb") as out:
        code, text = on_terminal("list", "--address", server.address, "--bucket", filled, stdout=out.fileno())
    assert code == 0
    assert text.split("\r")[-1] == "12 states\n"
    assert len(_ids((tmp_path / "out").read_text())) == 12


async def test_malformed_entries_are_reported(
    nats_server: NatsServer, nats_client, serve, run, on_terminal, tmp_path
) -> None:
    server = serve("--nats-url", nats_server.url)
    run("save", "--id", "a", "--address", server.address)
    await nats_client.jetstream().publish("$KV.beluga_workflows.bad", b"{\x1b")
    run("save", "--id", "b", "--address", server.address)
    listed = run("list", "--address", server.address)
    assert listed.returncode == 6
    assert _ids(listed.stdout) == ["a", "b"]
    first, last = listed.stderr.splitlines()
    assert first.startswith("workflowstore: malformed entry: key bad, revision 2: ")
    assert last == "workflowstore: 1 entry is malformed; save over them or delete them to go on"
    loaded = run("load", "bad", "--address", server.address)
    assert (loaded.returncode, loaded.stdout) == (6, "")
    assert "cannot be decoded" in loaded.stderr
    code, text = on_terminal("list", "--address", server.address, TERM="dumb")
    assert code == 6
    assert [line.split()[0] for line in text.splitlines() if not line.startswith("workflowstore")] == [
        "WORKFLOW", "a", "b",
    ]  # fmt: skip
    with Path(tmp_path / "out").open("wb") as out:
        code, text = on_terminal("list", "--address", server.address, stdout=out.fileno())
    assert code == 6
    assert "malformed entry" in text
    assert "2 states\n" in text


async def test_a_bucket_that_is_gone_is_a_failure(nats_server: NatsServer, nats_client, serve, run) -> None:
    await nats_client.jetstream().create_key_value(bucket="mine")
    server = serve("--nats-url", nats_server.url, "--bucket", "mine", "--no-create-buckets")
    await nats_client.jetstream().delete_stream("KV_mine")
    failed = run("info", "--address", server.address)
    assert failed.returncode == 1
    assert failed.stderr.startswith("workflowstore: bucket mine does not exist")


def test_without_storage_it_is_unavailable(nats_server: NatsServer, serve, run) -> None:
    server = serve("--nats-url", nats_server.url)
    nats_server.kill()
    failed = run("save", "--id", "a", "--address", server.address)
    assert failed.returncode == 5
    assert failed.stderr.startswith("workflowstore: bucket beluga_workflows cannot be used at the moment")
    assert "(nothing was written)" in failed.stderr or "is not known; load the workflow" in failed.stderr
