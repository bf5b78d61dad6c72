"""The command line's public face: its diff is the review."""

import json
import subprocess
import sys

import click
import pytest

from workflowstore import WorkflowStatus
from workflowstore_server.cli import completion
from workflowstore_server.cli.buckets import bucket
from workflowstore_server.cli.commands import group
from workflowstore_server.cli.endings import ExitCode
from workflowstore_server.cli.index import index
from workflowstore_server.cli.token import token
from workflowstore_server.config.settings import SETTINGS

TLS = ["--tls-ca", "--tls-cert", "--tls-key", "--tls-server-name"]
COMMON = ["--address", *TLS, "--token-file", "--bucket", "--timeout", "--json"]
FILTER = [
    "--status", "--prefix", "--run-id", "--label", "--created-since", "--created-until", "--updated-since",
    "--updated-until",
]  # fmt: skip
SERVE = [
    "--listen", "--listen-tls-cert", "--listen-tls-key", "--listen-tls-client-ca", "--insecure/--no-insecure",
    "--data-dir", "--bucket", "--create-buckets/--no-create-buckets", "--history", "--replicas",
    "--atomic-batches/--no-atomic-batches", "--bucket-bytes-max", "--index", "--index-wait-seconds",
    "--retention", "--delete-markers-kept",
    "--nats-url", "--nats-creds", "--nats-nkey", "--nats-tls-ca", "--nats-tls-cert",
    "--nats-tls-key", "--nats-monitor-url", "--nats-server", "--data-bytes-max", "--disk-reserve-bytes",
    "--auth-tokens", "--auth-policy", "--reflection/--no-reflection",
    "--calls-max", "--lists-max", "--watches-max", "--drain-seconds", "--metrics-listen", "--access-log",
    "--log-format", "--log-level", "--config",
]  # fmt: skip
FRESH = ["--consistency", "--min-revision"]
GOLDEN = {
    "bucket": [],
    "completion": ["SHELL"],
    "delete": [
        "WORKFLOW_ID", *FILTER, "--all", "--limit", "--dry-run", "--yes", "--expected-revision", "--purge", *COMMON,
    ],
    "export": ["TARGET", *FILTER, "--force", *COMMON],
    "health": ["--service", *COMMON],
    "history": ["WORKFLOW_ID", "--desc", "--limit", *COMMON],
    "import": ["SOURCE", "--on-conflict", *COMMON],
    "info": COMMON,
    "count": [*FILTER, "--by", *FRESH, *COMMON],
    "index": [],
    "list": [*FILTER, "--order", "--desc", "--limit", "--page-token", "--full", *FRESH, *COMMON],
    "load": ["WORKFLOW_ID", "--summary", *FRESH, *COMMON],
    "save": [
        "SOURCE", "--id", "--status", "--run-id", "--input", "--result", "--error", "--label", "--expected-revision",
        *COMMON,
    ],
    "serve": SERVE,
    "token": [],
    "update": [
        "WORKFLOW_ID", "--status", "--run-id", "--input", "--result", "--error", "--label", "--remove-label",
        "--append", "--expected-revision", "--allow-missing", *COMMON,
    ],
    "watch": [*FILTER, "--after-revision", "--snapshot", "--full", "--progress", *COMMON],
}  # fmt: skip
VARIABLES = [
    "WORKFLOWSTORE_ADDRESS", "WORKFLOWSTORE_CONFIG", "WORKFLOWSTORE_TLS_CA", "WORKFLOWSTORE_TLS_CERT",
    "WORKFLOWSTORE_TLS_KEY", "WORKFLOWSTORE_TLS_SERVER_NAME", "WORKFLOWSTORE_TOKEN_FILE",
]  # fmt: skip


def _face(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return (parameter.name or "").upper()
    return "/".join([*parameter.opts, *parameter.secondary_opts])


def test_the_commands_and_their_flags_are_these() -> None:
    assert {
        name: [_face(parameter) for parameter in command.params] for name, command in group.commands.items()
    } == GOLDEN
    assert list(bucket.commands) == ["create"]
    assert [_face(parameter) for parameter in bucket.commands["create"].params] == [
        "NAME", "--history", "--replicas", "--atomic-batches/--no-atomic-batches", "--bucket-bytes-max", "--nats-url",
        "--nats-creds", "--nats-nkey", "--nats-tls-ca", "--nats-tls-cert", "--nats-tls-key", "--config",
    ]  # fmt: skip
    assert list(index.commands) == ["rebuild"]
    assert [_face(parameter) for parameter in index.commands["rebuild"].params] == ["--data-dir", "--bucket"]
    assert {name: [_face(parameter) for parameter in command.params] for name, command in token.commands.items()} == {
        "create": ["NAME", "--tokens-file", "--expires"],
        "list": ["--tokens-file"],
        "revoke": ["ID_OR_NAME", "--tokens-file"],
    }


def test_the_exit_codes_are_these() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILURE": 1,
        "USAGE": 2,
        "NOT_FOUND": 3,
        "CONFLICT": 4,
        "UNAVAILABLE": 5,
        "MALFORMED": 6,
        "FULL": 7,
        "DENIED": 8,
        "INTERRUPTED": 130,
        "PIPE_CLOSED": 141,
    }


def test_variables_that_click_reads_are_these() -> None:
    found = {parameter.envvar for command in group.commands.values() for parameter in command.params}
    assert found == {None, *VARIABLES}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_serve_help_tells_flag_variable_and_default_of_every_setting(setting, run) -> None:
    words = " ".join(_help_of_serve(run).split())
    assert f"--{setting.name} " in words
    assert setting.variable in words
    assert setting.help in words
    default = setting.default[0] if setting.kind == "texts" and setting.default else setting.default
    if isinstance(default, str):
        assert f"default: {default}]" in words


_HELP: list[str] = []


def _help_of_serve(run) -> str:
    if not _HELP:
        _HELP.append(run("serve", "--help", COLUMNS="200").stdout)
    return _HELP[0]


def test_help_documents_every_exit_code(run) -> None:
    text = run("--help").stdout
    for code in ExitCode:
        assert f"\n    {code:<4} " in text


def test_version(run) -> None:
    assert run("--version").stdout.startswith("workflowstore, version ")


def test_statuses_are_those_of_the_client() -> None:
    assert set(completion.STATUSES) == {str(status) or "unspecified" for status in WorkflowStatus}


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import json, sys; from workflowstore_server.cli.commands import run; run(['serve', '--help']);"
        "print(json.dumps([name for name in ('asyncio.tasks', 'grpc', 'msgspec', 'nats', 'rich', 'uvloop',"
        " 'workflowstore', 'google') if name in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(output.splitlines()[-1])) <= {"asyncio.tasks"}


@pytest.mark.parametrize(
    ("missing", "arguments", "words"),
    [
        ("click", ["--help"], "workflowstore[cli]"),
        ("rich", ["list"], "workflowstore[cli]"),
        ("grpc_health", ["health"], "workflowstore[cli]"),
        ("msgspec", ["export"], "workflowstore[cli]"),
        ("nats", ["serve"], "workflowstore[server]"),
        ("msgspec", ["serve"], "workflowstore[server]"),
        ("grpc_reflection", ["serve"], "workflowstore[server]"),
    ],
)
def test_without_the_packages_one_sentence_says_what_to_install(
    missing, arguments, words, on_terminal, tmp_path
) -> None:
    # A file of that name that is found first and says that it is not there.
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError(name={missing!r})")
    code, text = on_terminal(*arguments, PYTHONPATH=str(tmp_path))
    assert code == 1
    assert text.count("\n") == 1
    assert text.startswith("workflowstore: ")
    assert f'pip install "{words}"' in text
