"""bucket create: what an operator makes for servers that may not, with their permissions."""

from pathlib import Path

import pytest

from support.least_privilege import OPERATOR, SERVICE, least_privileged
from support.nats_server import NatsServer


@pytest.fixture
def server(tmp_path: Path) -> NatsServer:
    folder = tmp_path / "nats"
    folder.mkdir()
    server = least_privileged(folder)
    yield server
    server.stop()


def url_of(server: NatsServer, user: dict[str, str]) -> str:
    return server.url.replace("//", f"//{user['user']}:{user['password']}@")


def test_a_bucket_is_created_once_and_servers_run_without_the_right_to(server, run, serve) -> None:
    operator, service = url_of(server, OPERATOR), url_of(server, SERVICE)
    create = ["bucket", "create", "beluga_workflows", "--history", "3", "--bucket-bytes-max", "1000000"]

    assert run(*create, "--nats-url", operator).stdout == "bucket beluga_workflows was created\n"
    again = run(*create, WORKFLOWSTORE_NATS_URL=operator)
    assert (again.returncode, again.stdout) == (0, "bucket beluga_workflows is there already, as asked for\n")

    running = serve("--nats-url", service, "--no-create-buckets")
    assert run("save", "--id", "a", "--address", running.address).returncode == 0
    assert '"max_bytes":1000000' in run("info", "--address", running.address).stdout.replace(" ", "")
    assert running.stop() == 0


def test_a_bucket_that_is_another_one_is_left_as_it_is(server, run) -> None:
    operator = url_of(server, OPERATOR)
    run("bucket", "create", "orders", "--atomic-batches", "--nats-url", operator)

    other = run("bucket", "create", "orders", "--history", "7", "--nats-url", operator)

    assert (other.returncode, other.stdout) == (4, "")
    assert other.stderr == (
        "workflowstore: bucket orders is there already and differs: allow_atomic is true and not false, "
        "max_msgs_per_subject is 1 and not 7. It was left as it is; ask for what it has, or change it with `nats "
        "stream edit KV_orders`\n"
    )


def test_who_may_not_create_is_told(server, run) -> None:
    refused = run("bucket", "create", "beluga_workflows", "--nats-url", url_of(server, SERVICE))

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "NATS does not permit this server to publish to $JS.API.STREAM.CREATE.KV_beluga_workflows" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["orders"], "--nats-url: name the NATS server"),
        (["a b", "--nats-url", "nats://127.0.0.1:1"], "'a b' is no bucket name"),
        (["orders", "--history", "65", "--nats-url", "nats://127.0.0.1:1"], "--history: '65'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(arguments, words, run) -> None:
    wrong = run("bucket", "create", *arguments)

    assert wrong.returncode == 2
    assert words in wrong.stderr


def test_a_nats_server_that_is_not_there_is_told(run) -> None:
    away = run("bucket", "create", "orders", "--nats-url", "nats://127.0.0.1:1")

    assert away.returncode == 1
    assert "cannot connect to NATS at nats://127.0.0.1:1" in away.stderr
