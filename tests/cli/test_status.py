"""info, health and completion, run as the command against a real server."""

import json
import socket

import pytest

from workflowstore import Client, WorkflowState
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_state_pb2 import WORKFLOW_STATUS_COMPLETED, WORKFLOW_STATUS_FAILED
from workflowstore_server import __version__


def test_info(call, bucket) -> None:
    info = json.loads(call("info").stdout)
    assert info["server_version"] == __version__
    assert info["durability"] == "fsync_always"
    assert info["nats_embedded"] is True
    assert info["bucket"]["name"] == bucket
    assert info["bucket"]["history"] == 1
    assert info.keys() == {
        "server_version",
        "nats_server_version",
        "nats_embedded",
        "durability",
        "buckets",
        "bucket",
        "store_revision",
        "document_bytes_max",
        "index",
        "retention",
        "room",
    }
    assert info["index"].keys() == {"revision", "lag", "ready", "workflow_count", "malformed_count", "on_disk"}


def test_info_for_people(server, bucket, on_terminal) -> None:
    code, text = on_terminal("info", "--address", server.address, "--bucket", bucket, TERM="dumb")
    assert code == 0
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"server {__version__}" in lines
    assert "durability every write is on disk before it is acknowledged" in lines
    assert f"bucket {bucket}" in lines
    assert "atomic batches not allowed" in lines
    assert "request ids known for 2 min" in lines
    assert "retention none; nothing is deleted by its age" in lines


@pytest.mark.parametrize(
    ("retention", "lines"),
    [
        (
            pb.RetentionInfo(
                rules=[
                    {"status": WORKFLOW_STATUS_FAILED, "after_seconds": 5400},
                    {"status": WORKFLOW_STATUS_COMPLETED, "after_seconds": 30 * 86_400},
                ],
                delete_marker_seconds=90.5,
                deleted_count=17,
                compacted_count=3,
            ),
            {
                "retention completed after 30 d, failed after 90 min; 17 deleted since the server started",
                "delete markers removed after 90.5 s; 3 since the server started",
            },
        ),
        (
            pb.RetentionInfo(delete_marker_seconds=7200),
            {"delete markers removed after 2 h; 0 since the server started"},
        ),
        (pb.RetentionInfo(), {"delete markers kept"}),
    ],
)
def test_retention_is_told(retention, lines, scripted, run, on_terminal) -> None:
    bucket = pb.BucketInfo(allow_atomic=True)
    address = scripted(GetInfo=lambda request, context: pb.GetInfoResponse(bucket=bucket, retention=retention)).address
    text = on_terminal("info", "--address", address, TERM="dumb")[1]
    words = " ".join(text.split())
    assert all(line in words for line in {*lines, "atomic batches allowed"})
    told = json.loads(run("info", "--address", address).stdout)
    assert told["bucket"]["allow_atomic"] is True
    assert told["retention"]["deleted_count"] == retention.deleted_count
    if retention.rules:
        assert told["retention"]["rules"] == {"failed": 5400, "completed": 30 * 86_400}


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (pb.RoomInfo(), "room writes are taken"),
        (pb.RoomInfo(low="it is nearly full"), "room writes are taken, but it is nearly full"),
        (
            pb.RoomInfo(full="the disk is full", low="the disk is nearly full", disk_free_bytes=0),
            "room 0 bytes left on the disk; none, writes are refused: the disk is full",
        ),
    ],
)
def test_room_is_told(room, words, scripted, run, on_terminal) -> None:
    address = scripted(GetInfo=lambda request, context: pb.GetInfoResponse(room=room)).address
    assert words in " ".join(on_terminal("info", "--address", address, TERM="dumb")[1].split())
    assert json.loads(run("info", "--address", address).stdout)["room"]["low"] == room.low


@pytest.mark.parametrize("service", ["", "workflowstore.v1.WorkflowStore", "workflowstore.v1.WorkflowStore/writes"])
def test_health(service, server, run, on_terminal) -> None:
    asked = run("health", "--service", service, "--address", server.address)
    assert asked.returncode == 0
    told = json.loads(asked.stdout)
    assert (told["service"], told["status"]) == (service, "SERVING")
    assert len(told["indexes"]) == 32  # of 60 buckets
    assert all(index.keys() == {"bucket", "revision", "lag", "ready"} for index in told["indexes"])
    code, text = on_terminal("health", "--service", service, WORKFLOWSTORE_ADDRESS=server.address)
    status, *indexes = text.splitlines()
    assert (code, status) == (0, "SERVING")
    assert all(line.startswith("index of bucket-") and line.endswith(" 0 behind") for line in indexes)


def test_health_of_an_unknown_service(server, run) -> None:
    asked = run("health", "--service", "no", "--address", server.address)
    assert (asked.returncode, asked.stdout) == (3, "")
    assert asked.stderr == f"workflowstore: the server at {server.address} has no service no\n"


def test_health_of_a_server_that_cannot_serve(nats_server, serve, run) -> None:
    server = serve("--nats-url", nats_server.url)
    nats_server.kill()
    while (asked := run("health", "--address", server.address)).returncode == 0:
        pass
    assert asked.returncode == 5
    assert json.loads(asked.stdout)["status"] == "NOT_SERVING"
    assert asked.stderr == f"workflowstore: the server at {server.address} is NOT_SERVING\n"


@pytest.mark.parametrize(
    "command", [["health"], ["info"], ["list"], ["load", "a"], ["save", "--id", "a"], ["delete", "a"]]
)
def test_without_a_server(command, run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = run(*command, WORKFLOWSTORE_ADDRESS=address)
    assert (failed.returncode, failed.stdout) == (5, "")
    assert failed.stderr.startswith(f"workflowstore: no server answers at {address}: ")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["health"], ["list"], ["save", "--id", "a"]])
def test_a_server_that_does_not_answer_in_time(command, run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        failed = run(*command, "--timeout", "0.3", "--address", address)
    assert failed.returncode == 5
    assert failed.stderr.startswith(f"workflowstore: the server at {address} did not finish within 0.3 s")


def test_the_timeout_may_be_infinite(server, run) -> None:
    for command in ("health", "info", "list"):
        assert run(command, "--timeout", "inf", "--address", server.address).returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell, run) -> None:
    printed = run("completion", shell)
    assert printed.returncode == 0
    assert f"_WORKFLOWSTORE_COMPLETE={shell}_complete" in printed.stdout


def _complete(run, *words: str, **environment: str) -> list[str]:
    completed = run(
        COMP_WORDS=" ".join(["workflowstore", *words]),
        COMP_CWORD=str(len(words)),
        _WORKFLOWSTORE_COMPLETE="bash_complete",
        **environment,
    )
    assert completed.stderr == ""
    return [line.partition(",")[2] for line in completed.stdout.splitlines() if line]


def test_commands_flags_and_choices_are_completed(run) -> None:
    assert _complete(run, "l") == ["list", "load"]
    assert _complete(run, "list", "--st") == ["--status"]
    assert _complete(run, "list", "--status", "c") == ["completed", "canceled"]
    assert _complete(run, "serve", "--log-format", "") == ["human", "json"]
    assert _complete(run, "completion", "z") == ["zsh"]


ATTEMPTS_MAX = 5


@pytest.mark.parametrize("command", ["load", "delete", "update", "history"])
def test_ids_are_completed(command, run, server, bucket) -> None:
    with Client(server.address, bucket=bucket) as client:
        for number in range(60):
            client.save(WorkflowState(f"w{number:02}"))
        client.save(WorkflowState("x y"))
        client.save(WorkflowState("x$(reboot)"))
        client.save(WorkflowState("xyz"))

    def complete(word: str) -> list[str]:
        # There are none when they have not come within a second, which is right for who has pressed Tab.
        for _ in range(ATTEMPTS_MAX):
            found = _complete(run, command, "--bucket", bucket, word, WORKFLOWSTORE_ADDRESS=server.address)
            if found:
                break
        return found

    assert complete("w1") == [f"w1{digit}" for digit in range(10)]
    assert complete("x") == ["xyz"]
    assert len(complete("w")) == 50
    assert _complete(run, command, "--bucket", "no", "w", WORKFLOWSTORE_ADDRESS=server.address) == []


def test_ids_of_no_server_are_none(run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert _complete(run, "load", "w", WORKFLOWSTORE_ADDRESS=f"127.0.0.1:{silent.getsockname()[1]}") == []
