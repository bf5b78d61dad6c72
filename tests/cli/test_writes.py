"""save and delete, run as the command against a real server."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from workflowstore import Client

COMMAND = (sys.executable, "-m", "workflowstore_server")


def _lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_save_by_options_and_load(call) -> None:
    saved = call(
        "save", "--id", "order:42", "--status", "running", "--run-id", "r1", "--input", '{"n": 9007199254740993}',
        "--result", "1e400", "--error", "no", "--label", "team=blue", "--label", "note=a=b",
    )  # fmt: skip
    assert saved.returncode == 0, saved.stderr
    [line] = _lines(saved.stdout)
    assert line.keys() == {"workflow_id", "revision", "created_at", "updated_at"}
    assert (line["workflow_id"], line["revision"]) == ("order:42", 1)
    loaded = call("load", "order:42")
    assert '"input":{"n":9007199254740993},"result":1E+400,' in loaded.stdout
    [state] = _lines(loaded.stdout)
    assert state | {"created_at": "", "updated_at": "", "document_bytes": 0, "input": 0, "result": 0} == {
        "workflow_id": "order:42",
        "run_id": "r1",
        "status": "running",
        "input": 0,
        "result": 0,
        "error": "no",
        "history": [],
        "created_at": "",
        "updated_at": "",
        "labels": {"team": "blue", "note": "a=b"},
        "revision": 1,
        "history_count": 0,
        "document_bytes": 0,
    }


AWKWARD = {
    "workflow_id": "a b/😀>*",
    "run_id": "r",
    "status": "failed",
    "input": {"big": 10**400, "text": "\u2028\x9b\x00\x7f", "deep": [[[{}]]]},
    "result": -0.0,
    "error": "line\nbreak",
    "history": [
        {"id": 1, "type": "timer_fired", "timestamp": "0001-01-01T00:00:00Z", "duration_ns": -1},
        {"id": 2, "type": "signal_received", "timestamp": "9999-12-31T23:59:59.999999999Z", "signal_payload": [1.5]},
    ],
    "created_at": "2026-11-22T10:00:00.000000001Z",
    "updated_at": "2026-11-22T12:00:00.120+02:00",
    "labels": {"k": "v\u202e"},
}


def test_what_load_prints_is_saved_unchanged(call) -> None:
    assert call("save", "-", stdin=json.dumps(AWKWARD, indent=2)).returncode == 0
    first = call("load", AWKWARD["workflow_id"]).stdout
    assert call("save", "-", stdin=first).returncode == 0
    second = call("load", AWKWARD["workflow_id"]).stdout
    assert _lines(second) == [_lines(first)[0] | {"revision": 2}]
    [state] = _lines(second)
    assert state["input"] == AWKWARD["input"]
    assert state["updated_at"] == "2026-11-22T10:00:00.120Z"
    assert state["history"][0] | {"id": 0} == {
        "id": 0,
        "type": "timer_fired",
        "timestamp": "0001-01-01T00:00:00Z",
        "activity_name": "",
        "input": None,
        "result": None,
        "error": "",
        "signal_name": "",
        "signal_payload": None,
        "duration_ns": -1,
    }


@pytest.mark.parametrize("payload", ["[" * 499 + "1e400" + "]" * 499, '{"a":' * 499 + "1" + "}" * 499])
def test_payloads_may_be_as_deep_as_the_server_allows(payload, call) -> None:
    assert call("save", "-", stdin=f'{{"workflow_id":"deep","input":{payload}}}').returncode == 0
    assert f'"input":{payload.replace("1e400", "1E+400")},' in call("load", "deep").stdout


def test_what_list_full_prints_is_saved_unchanged(call) -> None:
    call("save", "-", stdin='{"workflow_id":"a","input":1}\n{"workflow_id":"b","history":[{"id":7}]}')
    listed = call("list", "--full").stdout
    assert call("save", "-", stdin=listed).returncode == 0
    again = call("list", "--full").stdout
    assert [line | {"revision": 0} for line in _lines(again)] == [line | {"revision": 0} for line in _lines(listed)]


def test_a_summary_is_refused(call) -> None:
    call("save", "--id", "a", "--input", "1")
    refused = call("save", "-", stdin=call("list").stdout)
    assert refused.returncode == 2
    assert "line 1: this is a summary, and saving it would erase its input, result and history" in refused.stderr


def test_a_file_of_many_lines(call, tmp_path) -> None:
    file = tmp_path / "states.jsonl"
    file.write_text("".join(f'{{"workflow_id":"w{number}"}}\n' for number in range(10)))
    saved = call("save", str(file))
    assert saved.returncode == 0
    assert [(line["workflow_id"], line["revision"]) for line in _lines(saved.stdout)] == [
        (f"w{number}", number + 1) for number in range(10)
    ]


def test_the_first_bad_line_stops_before_it_is_sent(call) -> None:
    lines = '{"workflow_id":"a"}\n\n{"workflow_id":"b"}\n{"workflow_id":"c","statsu":"x"}\n{"workflow_id":"d"}\n'
    saved = call("save", "-", stdin=lines)
    assert saved.returncode == 2
    assert len(_lines(saved.stdout)) == 2
    assert saved.stderr == (
        "workflowstore: line 4: statsu: is no field; did you mean status?\n  stopped at line 4; 2 states were saved\n"
    )
    assert [line["workflow_id"] for line in _lines(call("list").stdout)] == ["a", "b"]


def test_the_first_line_that_the_server_refuses_stops(call) -> None:
    saved = call("save", "-", stdin='{"workflow_id":"a"}\n{"workflow_id":"","labels":{"":""}}\n{"workflow_id":"b"}')
    assert saved.returncode == 2
    first, *violations, last = saved.stderr.splitlines()
    assert first == "workflowstore: line 2: the request is invalid:"
    assert [violation[:14] for violation in violations] == ["  state.workfl", "  state.labels"]
    assert last == "  stopped at line 2; 1 state was saved"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "- holds no state"),
        ("nonsense", "line 1: is not JSON"),
        ('{"workflow_id":"a","history":[{"id":9223372036854775808}]}', "line 1: state.history[0].id: must be in"),
        ('{"workflow_id":"a","created_at":"0001-01-01T00:00:00+01:00"}', "line 1: state.created_at: "),
        ('{"workflow_id":"a","error":"\\ud800"}', "line 1: state.error: "),
    ],
)
def test_wrong_documents_are_refused(document, words, call) -> None:
    saved = call("save", "-", stdin=document)
    assert (saved.returncode, saved.stdout) == (2, "")
    assert words in saved.stderr
    assert call("list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give a SOURCE (a file, or - for standard input), or else --id."),
        (["-", "--id", "a"], "Give a SOURCE"),
        (["-", "--run-id", "a"], "--run-id is for the state of --id"),
        (["-", "--label", "a=b"], "--label is for the state of --id"),
        (["-", "--input", "1"], "--input is for the state of --id"),
        (["--id", "a", "--label", "b"], "--label 'b' is not KEY=VALUE."),
        (["--id", "a", "--label", "=b"], "is not KEY=VALUE."),
        (["--id", "a", "--input", "text"], "--input is not JSON"),
        (["--id", "a", "--result", ""], "--result is not JSON"),
        (["--id", "a", "--status", "runing"], "'runing' is not one of"),
        (["--id", "a", "--expected-revision", "-1"], "--expected-revision"),
        (["--id", "a", "--timeout", "0"], "give a number above 0"),
        (["--id", "a", "--timeout", "nan"], "give a number above 0"),
        (["/no/such/file"], "cannot read /no/such/file: No such file or directory"),
        (["/"], "cannot read /: Is a directory"),
        (["--id", "a\udcff"], "state.workflow_id: "),
    ],
)
def test_wrong_usage_is_refused(arguments, words, run, server) -> None:
    refused = run("save", *arguments, "--address", server.address)
    assert refused.returncode == 2
    assert words in refused.stderr


def test_expected_revision(call) -> None:
    created = call("save", "--id", "a", "--expected-revision", "0")
    assert created.returncode == 0
    exists = call("save", "--id", "a", "--expected-revision", "0")
    assert exists.returncode == 4
    assert "nothing was written" in exists.stderr
    mismatch = call("save", "-", "--expected-revision", "99", stdin='{"workflow_id":"a","revision":1,"input":1}')
    assert mismatch.returncode == 4
    assert mismatch.stderr.startswith("workflowstore: line 1: workflow a is at revision 1")
    assert call("save", "-", "--expected-revision", "1", stdin='{"workflow_id":"a"}\n').returncode == 0


def test_expected_revision_is_for_a_single_state(call) -> None:
    refused = call("save", "-", "--expected-revision", "0", stdin='{"workflow_id":"a"}\n{"workflow_id":"b"}')
    assert refused.returncode == 2
    assert "--expected-revision is for a single state" in refused.stderr
    assert call("list").stdout == ""


def test_a_state_that_is_too_large(call) -> None:
    refused = call("save", "-", stdin=json.dumps({"workflow_id": "a", "input": "x" * 5_000_000}))
    assert refused.returncode == 7
    assert "more than 4128768" in refused.stderr
    assert "nothing was written" in refused.stderr


def test_delete_is_idempotent(call) -> None:
    call("save", "--id", "a")
    first, second = call("delete", "a"), call("delete", "a", "--purge")
    assert (first.returncode, first.stdout) == (0, '{"workflow_id":"a","existed":true}\n')
    assert (second.returncode, second.stdout) == (0, '{"workflow_id":"a","existed":false}\n')


def test_delete_at_a_revision(call) -> None:
    call("save", "--id", "a")
    assert call("delete", "a", "--expected-revision", "7").returncode == 4
    assert call("delete", "a", "--expected-revision", "1").returncode == 0
    assert call("delete", "a", "--expected-revision", "0").returncode == 2


def test_a_source_can_be_followed_and_interrupted(server, bucket) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "workflowstore_server",
            "save",
            "-",
            "--address",
            server.address,
            "--bucket",
            bucket,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"workflow_id":"a"}\n')
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["workflow_id"] == "a"
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in words
    assert b"stopped at line 1; 1 state was saved" in words


def test_an_interrupt_while_a_state_is_on_its_way_says_that_it_may_be_saved() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            [*COMMAND, "save", "-", "--address", f"127.0.0.1:{silent.getsockname()[1]}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(b'{"workflow_id":"a"}\n')
        process.stdin.flush()
        # The client connects when the call begins.
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            output, words = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, b"")
    assert b"stopped at line 1; no state was saved, and that of this line perhaps; load it to find out" in words
    assert b"Traceback" not in words


def test_states_written_by_the_command_are_the_clients(server, bucket, call) -> None:
    call("save", "--id", "a", "--status", "completed")
    with Client(server.address, bucket=bucket) as client:
        state = client.load("a")
    assert state is not None
    assert state.status == "completed"


def test_on_a_terminal_the_words_are_for_people(server, bucket, on_terminal) -> None:
    common = ("--address", server.address, "--bucket", bucket)
    assert on_terminal("save", "--id", "a\x1b[31m", *common) == (0, "a\\x1b[31m saved at revision 1\n")
    assert on_terminal("delete", "a\x1b[31m", *common) == (0, "a\\x1b[31m deleted\n")
    assert on_terminal("delete", "a\x1b[31m", *common) == (0, "a\\x1b[31m did not exist\n")
