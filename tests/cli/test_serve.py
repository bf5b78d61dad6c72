"""`workflowstore serve`: what it prints, how it ends, what it refuses."""

import json
import signal
import socket
import subprocess
import sys
import threading

import pytest

from workflowstore import Client, UnavailableError, WorkflowState, WorkflowStoreError, WorkflowView


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_is_printed_and_a_signal_ends_it_with_0(number, serve) -> None:
    server = serve("--data-dir", "data")
    assert server.announcement.startswith("workflowstore listening on 127.0.0.1:")
    with Client(server.address) as client:
        assert client.save(WorkflowState("a")).revision == 1
    assert server.stop(number) == 0
    assert server.rest == ""
    assert "Traceback" not in server.log


def test_without_uvloop_it_serves_as_well(serve, tmp_path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError(name='uvloop')")
    server = serve("--data-dir", "data", environment={"PYTHONPATH": str(tmp_path)})
    with Client(server.address) as client:
        assert client.save(WorkflowState("a")).revision == 1
    assert server.stop() == 0


def test_a_second_signal_cuts_off_what_runs(serve) -> None:
    server = serve("--data-dir", "data", "--log-format", "json")
    with Client(server.address) as client:
        for number in range(8):
            client.save(WorkflowState(f"w{number}", input="x" * 1_000_000))
        states = client.list(view=WorkflowView.FULL, timeout=10)
        next(states)
        server.process.send_signal(signal.SIGTERM)
        while "draining" not in server.log:
            assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 130
        with pytest.raises(WorkflowStoreError):
            list(states)
    assert "Traceback" not in server.log
    assert any("asked to stop again" in json.loads(line)["message"] for line in server.log.splitlines())


def test_a_call_that_runs_is_finished(serve) -> None:
    server = serve("--data-dir", "data")
    with Client(server.address) as client:
        for number in range(8):
            client.save(WorkflowState(f"w{number}", input="x" * 1_000_000))
        states = client.list(view=WorkflowView.FULL)
        next(states)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while "draining" not in server.log:
            assert server.process.poll() is None
        assert len(list(states)) == 7
        stopping.join()
    assert server.process.returncode == 0


def test_data_survive_a_restart(serve) -> None:
    first = serve("--data-dir", "data")
    with Client(first.address) as client:
        client.save(WorkflowState("a", input=1))
    first.stop()
    with Client(first.address) as client, pytest.raises(UnavailableError):
        client.load("a")
    second = serve("--data-dir", "data")
    with Client(second.address) as client:
        assert client.load("a").input == 1


def test_settings_come_from_flags_variables_and_file(serve, tmp_path) -> None:
    (tmp_path / "settings.toml").write_text('bucket = ["file"]\nlog-format = "json"\nlog-level = "debug"')
    server = serve(
        "--data-dir", "data", "--log-level", "info",
        environment={"WORKFLOWSTORE_CONFIG": "settings.toml", "WORKFLOWSTORE_BUCKET": "one,two"},
    )  # fmt: skip
    with Client(server.address) as client:
        assert client.info().buckets == ("one", "two")
    server.stop()
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert {line["level"] for line in lines} <= {"info", "warning"}
    always = {"time", "level", "logger", "message"}
    assert {frozenset(line.keys()) - always for line in lines} == {
        frozenset(),
        frozenset({"call_id", "method", "code", "duration_ms", "peer"}),
    }


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--listen", "nowhere"], {}, "--listen: 'nowhere' is not HOST:PORT"),
        (["--history", "100"], {}, "--history: '100' is not a whole number from 1 to 64"),
        (["--log-format", "xml"], {}, "--log-format: 'xml' is none of human, json"),
        (["--config", "/no/such"], {}, "--config: cannot read /no/such: No such file or directory"),
        ([], {"WORKFLOWSTORE_HISTORY": "many"}, "WORKFLOWSTORE_HISTORY: 'many' is not a whole number"),
        ([], {"WORKFLOWSTORE_BUKET": "a"}, "WORKFLOWSTORE_BUKET is no setting"),
    ],
)
def test_wrong_settings_are_refused(arguments, environment, words, run) -> None:
    refused = run("serve", *arguments, **environment)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"workflowstore: {words}")
    assert refused.stderr.count("\n") == 1


def test_unknown_flags_are_refused(run) -> None:
    refused = run("serve", "--liste", "a:1")
    assert refused.returncode == 2
    assert "--listen" in refused.stderr


def test_a_data_directory_has_one_server(serve, run, tmp_path) -> None:
    serve("--data-dir", "data")
    refused = run("serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[-1].startswith(
        f"workflowstore: --data-dir {tmp_path / 'data'} is in use by process "
    )


def test_an_address_has_one_server(run, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = run("serve", "--listen", address, "--data-dir", str(tmp_path / "data"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[-1].startswith(f"workflowstore: cannot listen on {address}; is another server")
    assert "Traceback" not in refused.stderr


def test_what_nobody_foresaw_is_logged_whole(tmp_path, run) -> None:
    program = (
        "import sys\n"
        "from workflowstore_server import app\n"
        "async def serve(config, announce): raise RuntimeError('unforeseen')\n"
        "app.serve = serve\n"
        "from workflowstore_server.cli import main\n"
        "sys.argv = ['workflowstore', 'serve', '--log-format', 'json']\n"
        "main()"
    )
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert failed.returncode == 1
    assert "RuntimeError: unforeseen" in json.loads(failed.stderr)["exception"]
