"""The commands about tokens, and how the other commands show theirs, beside a real server."""

import json
from pathlib import Path

import pytest

POLICY = '[[grant]]\nidentity = "ops"\nbucket = "*"\naccess = "admin"\n'


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    return str(tmp_path / "tokens"), str(policy)


def created(run, tokens: str, *arguments: str) -> str:
    made = run("token", "create", *arguments, "--tokens-file", tokens)
    assert made.returncode == 0
    assert made.stdout.count("\n") == 1
    assert made.stdout.strip() not in made.stderr
    return made.stdout.strip()


def test_a_token_is_made_shown_once_used_and_revoked(serve, run, files, tmp_path) -> None:
    tokens, policy = files
    token = created(run, tokens, "ops")
    server = serve("--auth-tokens", tokens, "--auth-policy", policy)
    address = ("--address", server.address)
    token_file = tmp_path / "ops.token"
    token_file.write_text(token + "\n")

    refused = run("save", "--id", "a", *address)
    assert refused.returncode == 8
    assert "who calls" in refused.stderr
    while run("health", *address).returncode != 0:
        pass  # it listens before its index is there
    assert json.loads(run("health", *address).stdout)["indexes"] == []

    assert run("save", "--id", "a", "--token-file", str(token_file), *address).returncode == 0
    loaded = run("load", "a", *address, WORKFLOWSTORE_TOKEN_FILE=str(token_file))
    assert json.loads(loaded.stdout)["workflow_id"] == "a"
    counted = run("count", *address, WORKFLOWSTORE_TOKEN=token)
    assert json.loads(counted.stdout)["count"] == 1
    health = run("health", *address, WORKFLOWSTORE_TOKEN=token)
    assert [index["bucket"] for index in json.loads(health.stdout)["indexes"]] == ["beluga_workflows"]

    other = created(run, tokens, "other", "--expires", "90d")
    denied = run("load", "a", *address, WORKFLOWSTORE_TOKEN=other)
    for _ in range(50):
        if "who calls" not in denied.stderr:
            break  # the server has read the file again
        denied = run("load", "a", *address, WORKFLOWSTORE_TOKEN=other)
    assert denied.returncode == 8
    assert "other has no read access" in denied.stderr

    assert server.stop() == 0
    assert token not in server.log
    assert other not in server.log


def test_tokens_are_listed_and_revoked_by_id_or_name(run, files) -> None:
    tokens, _ = files
    for name, *more in (("a",), ("b", "--expires", "1d12h"), ("b",)):
        created(run, tokens, name, *more)
    lines = run("token", "list", WORKFLOWSTORE_AUTH_TOKENS=tokens).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["a", "b", "b"]
    assert " until 2" in lines[1]

    gone = run("token", "revoke", lines[1].split()[0], "--tokens-file", tokens)
    assert gone.stdout == f"token {lines[1].split()[0]} of b was revoked\n"
    assert run("token", "revoke", "b", "--tokens-file", tokens).stdout.count("\n") == 1
    missing = run("token", "revoke", "b", "--tokens-file", tokens)
    assert missing.returncode == 3
    assert run("token", "list", "--tokens-file", tokens).stdout.split()[1:] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["create", "a b"], "no name"), (["create", "a", "--expires", "soon"], "90d"), (["list"], "line 1")],
)
def test_what_cannot_be_done_is_said(run, files, arguments, words) -> None:
    tokens, _ = files
    Path(tokens).write_text("not a token\n" if arguments == ["list"] else "")
    failed = run("token", *arguments, "--tokens-file", tokens)
    assert failed.returncode == 2
    assert words in failed.stderr


def test_a_token_file_that_cannot_be_read_is_said(run, tmp_path) -> None:
    failed = run("info", "--token-file", str(tmp_path / "none"))
    assert failed.returncode == 2
    assert "--token-file: cannot read" in failed.stderr


@pytest.mark.parametrize("broken", ["policy", "tokens"])
def test_a_server_does_not_start_with_a_file_that_it_cannot_use(run, files, broken) -> None:
    tokens, policy = files
    Path(tokens).write_text("")
    Path(policy if broken == "policy" else tokens).write_text("wrong = [")
    failed = run("serve", "--listen", "127.0.0.1:0", "--auth-tokens", tokens, "--auth-policy", policy)
    assert failed.returncode == 1
    assert f"{policy if broken == 'policy' else tokens} cannot be used" in failed.stderr
