"""The commands that change, watch, export and import, run against a real server."""

import json
import os
import signal
import subprocess
import sys

import pytest

from support.nats_server import NatsServer
from workflowstore import Client, WorkflowState

COMMAND = (sys.executable, "-m", "workflowstore_server")
MALFORMED = {"bad": b"{\x1b", "latin": b'"\xe9"', "lines": b'{\n"WorkflowID": "x"}', "empty": b"", "spaced": b" {} "}
STATES = (
    '{"workflow_id":"order:42","status":"running","input":{"n":9007199254740993,"d":1e400},"labels":{"a":"\\u009b"}}\n'
    '{"workflow_id":"a b/😀>*","history":[{"id":1,"type":"timer_fired"}]}\n'
    '{"workflow_id":"plain","status":"completed","result":[1.50]}\n'
)


def _lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_update_changes_what_is_given(call) -> None:
    call("save", "--id", "a", "--status", "running", "--input", "1", "--label", "x=1", "--label", "y=2")
    event = '{"type":"signal_received","signal_name":"go"}'
    updated = call("update", "a", "--status", "failed", "--label", "z=3", "--remove-label", "x", "--append", event)
    assert updated.returncode == 0, updated.stderr
    assert _lines(updated.stdout)[0]["revision"] == 2
    [state] = _lines(call("load", "a").stdout)
    assert (state["status"], state["input"], state["labels"]) == ("failed", 1, {"y": "2", "z": "3"})
    assert [(event["id"], event["signal_name"]) for event in state["history"]] == [(1, "go")]
    assert call("update", "a", "--error", "x", "--expected-revision", "1").returncode == 4
    assert call("update", "b", "--error", "x").returncode == 3
    assert call("update", "b", "--error", "x", "--allow-missing").returncode == 0


def test_delete_by_filter(server, bucket, call) -> None:
    with Client(server.address, bucket=bucket) as client:
        client.save_batch([WorkflowState(f"w{number:03}", status="failed") for number in range(300)])
    call("save", "--id", "w", "--status", "running")
    dry = call("delete", "--status", "failed", "--limit", "200", "--dry-run")
    assert _lines(dry.stdout)[0] | {"workflow_ids": []} == {
        "would_delete_count": 200,
        "workflow_ids": [],
        "remaining_count": 100,
    }
    deleted = call("delete", "--status", "failed", "--limit", "200", "--yes")
    assert _lines(deleted.stdout) == [{"deleted_count": 200, "failed_count": 0, "remaining_count": 100}]
    assert _lines(call("count").stdout)[0]["count"] == 101
    call("delete", "--status", "failed", "--limit", "2000", "--yes")
    assert [line["workflow_id"] for line in _lines(call("list").stdout)] == ["w"]


def test_watch_tells_what_happens_and_how_to_go_on(server, bucket, call) -> None:
    call("save", "--id", "a", "--status", "running")
    process = subprocess.Popen(
        [
            *COMMAND, "watch", "--snapshot", "--progress", "--status", "running", "--address", server.address,
            "--bucket", bucket,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        told = [json.loads(process.stdout.readline()) for _ in range(3)]
        call("update", "a", "--status", "completed")
        call("save", "--id", "b", "--status", "running")
        # The bucket keeps one revision of each: a Watch that comes later than the next one may not tell of this one.
        while told[-1]["revision"] < 3:
            told.append(json.loads(process.stdout.readline()))
        call("delete", "b")
        # Ctrl-C names what has been told as progress.
        while told[-1] != {"kind": "progress", "revision": 4}:
            told.append(json.loads(process.stdout.readline()))
    finally:
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=30)
    assert [
        (line["kind"], line.get("workflow_id"), line["revision"]) for line in told if line["kind"] != "progress"
    ] == [
        ("saved", "a", 1),
        ("snapshot_complete", None, 1),
        ("unmatched", "a", 2),
        ("saved", "b", 3),
        ("deleted", "b", 4),
    ]
    assert words.strip() == "workflowstore: go on with --after-revision 4"
    call("save", "--id", "c")
    rest = call("watch", "--after-revision", "4", "--timeout", "5")
    assert (rest.returncode, [line["workflow_id"] for line in _lines(rest.stdout)]) == (0, ["c"])
    beyond = call("watch", "--after-revision", "99")
    assert beyond.returncode == 2
    assert "begin anew with --snapshot" in beyond.stderr


def test_history_tells_how_it_became_what_it_is(serve, run, on_terminal) -> None:
    where = ("--address", serve("--history", "5").address)
    run("save", "--id", "a", "--status", "running", "--input", "1", *where)
    run("update", "a", "--status", "completed", "--append", '{"type":"workflow_completed"}', *where)
    run("delete", "a", *where)
    code, text = on_terminal("history", "a", *where, TERM="dumb")
    first, second, third = text.split("\n\n")
    assert code == 0
    assert first.splitlines()[1:] == ["  status: running", "  input: 1"]
    assert second.splitlines()[1:] == [
        "  status: running -> completed",
        "  history: 1 event appended",
        "    + #1 workflow_completed",
    ]
    assert third.endswith(" UTC  deleted\n")
    assert [line["kind"] for line in _lines(run("history", "a", "--desc", *where).stdout)] == [
        "deleted", "saved", "saved",
    ]  # fmt: skip
    assert run("history", "no", *where).returncode == 3


@pytest.fixture
async def backup(nats_server: NatsServer, nats_client, serve, run, tmp_path):
    """An export of states and of documents that cannot be decoded, and a server with two empty buckets."""
    server = serve("--nats-url", nats_server.url, "--bucket", "from", "--bucket", "to", "--bucket", "other")
    assert run("save", "-", "--address", server.address, stdin=STATES).returncode == 0
    for key, document in MALFORMED.items():
        await nats_client.jetstream().publish(f"$KV.from.{key}", document)
    exported = run("export", str(tmp_path / "backup"), "--address", server.address)
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout) == {"exported": 8, "store_revision": 8}

    def call(command: str, *arguments: str, **more: str):
        return run(command, *arguments, "--address", server.address, **more)

    return tmp_path / "backup", call


async def _documents(nats_client, bucket: str) -> dict[str, bytes]:
    kv = await nats_client.jetstream().key_value(bucket)
    return {key: (await kv.get(key)).value or b"" for key in await kv.keys()}


async def test_what_was_exported_is_imported_byte_for_byte(backup, nats_client) -> None:
    file, call = backup
    imported = call("import", str(file), "--bucket", "to")
    assert (imported.returncode, imported.stderr) == (0, "")
    assert json.loads(imported.stdout) == {"written": 8, "unchanged": 0, "skipped": 0}
    documents = await _documents(nats_client, "from")
    assert documents == await _documents(nats_client, "to")
    assert documents.items() >= MALFORMED.items()
    again = call("import", "-", "--bucket", "to", stdin=call("export", "--bucket", "to").stdout)
    assert json.loads(again.stdout) == {"written": 0, "unchanged": 8, "skipped": 0}
    assert (
        call("load", "order:42", "--bucket", "to").stdout.partition('"revision"')[0]
        == (call("load", "order:42").stdout.partition('"revision"')[0])
    )


async def test_an_import_that_was_cut_off_is_repeated(backup, nats_client) -> None:
    file, call = backup
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    cut = call("import", "-", "--bucket", "to", stdin="".join(lines[:3]) + lines[3][:20])
    assert cut.returncode == 2
    assert "line 4: is cut off" in cut.stderr
    assert "stopped at line 4: 3 written" in cut.stderr
    repeated = call("import", "-", "--bucket", "to", stdin=whole)
    assert json.loads(repeated.stdout) == {"written": 5, "unchanged": 3, "skipped": 0}
    assert await _documents(nats_client, "from") == await _documents(nats_client, "to")


async def test_what_to_do_on_a_conflict_is_the_callers_to_say(backup, nats_client) -> None:
    file, call = backup
    call("save", "--id", "plain", "--error", "newer", "--bucket", "to")
    failed = call("import", str(file), "--bucket", "to")
    assert failed.returncode == 4
    assert ": key plain: " in failed.stderr
    skipped = call("import", str(file), "--bucket", "to", "--on-conflict", "skip")
    assert json.loads(skipped.stdout) == {"written": 0, "unchanged": 7, "skipped": 1}
    assert json.loads(call("load", "plain", "--bucket", "to").stdout)["error"] == "newer"
    overwritten = call("import", str(file), "--bucket", "to", "--on-conflict", "overwrite")
    assert json.loads(overwritten.stdout) == {"written": 1, "unchanged": 7, "skipped": 0}
    assert await _documents(nats_client, "from") == await _documents(nats_client, "to")


async def test_a_part_is_exported_by_a_filter(backup) -> None:
    _, call = backup
    exported = _lines(call("export", "--prefix", "pl").stdout)
    assert [line.get("key") for line in exported] == ["plain", None]
    assert exported[-1]["exported"] == 1


def test_export_and_import_are_piped_into_one_another(server, bucket, call) -> None:
    call("save", "-", stdin=STATES)
    common = f"--bucket {bucket} --address {server.address}"
    command = " ".join(COMMAND)
    piped = subprocess.run(
        ["bash", "-c", f"{command} export {common} | {command} import - {common}"],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ,
    )  # fmt: skip
    assert (piped.returncode, json.loads(piped.stdout)["unchanged"]) == (0, 3)
