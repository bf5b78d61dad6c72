"""docs/tools.md, executed from top to bottom: programs that know nothing of workflowstore work with it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import documents
from support.documents import ROOT, TOOL_NAMES, Block, Reader, blocks_of, commands_of, follow, reader_of
from workflowstore.v1 import workflow_store_pb2

PAGE = (ROOT / "docs/tools.md").read_text()
BLOCKS = blocks_of(PAGE)
COMMANDS = commands_of(BLOCKS)

SERVE = "workflowstore serve --nats-url nats://127.0.0.1:4222 --history 5"

NOT_RUN = (
    ("tools/install_tools.sh", "fetches programs; CI brings them along"),
    ('export PATH="$PWD/.tools/bin:$PWD/.venv/bin:$PATH"', "`reader` has these on its PATH"),
    ("nats-server --jetstream --store_dir nats-data", "serves until it is stopped; `reader` has started one"),
    (SERVE, "serves until it is stopped; `reader` has started it"),
)
"""Commands of the page that are not executed here, each with the reason."""

VARYING = ((r"(Requests/sec:\s+)[\d.]+", r"\1FIGURE"),)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reader_of(tmp_path_factory.mktemp("tools"), SERVE) as reader:
        (reader.directory / "proto").symlink_to(ROOT / "proto")
        yield reader


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_does_what_the_page_shows(block: Block, reader: Reader) -> None:
    follow(block, reader, [command for command, _ in NOT_RUN], VARYING)


@pytest.mark.parametrize(("command", "reason"), NOT_RUN)
def test_a_command_that_is_not_run_stands_on_the_page(command: str, reason: str) -> None:
    assert command in COMMANDS
    assert reason


def test_every_call_is_made_with_grpcurl() -> None:
    typed = "\n".join(command for command in COMMANDS if command.startswith("grpcurl "))
    made = set(re.findall(r"\.WorkflowStore/(\w+)", typed))
    assert made == {method.name for method in workflow_store_pb2.DESCRIPTOR.services_by_name["WorkflowStore"].methods}


def test_load_is_put_on_save_load_and_list_and_no_call_fails() -> None:
    blocks = [block for block in BLOCKS if block.language == "console"]
    shown = {command: text for block in blocks for command, text in block.commands if command.startswith("ghz ")}
    reports = {re.search(r"\.WorkflowStore/(\w+)", command)[1]: text for command, text in shown.items()}
    assert reports.keys() == {"Save", "Load", "List"}
    for text in reports.values():
        total = re.search(r"Count:\s+(\d+)", text)[1]
        assert re.findall(r"\[(\w+)\]\s+(\d+) responses", text) == [("OK", total)]


def test_the_page_names_the_versions_that_are_installed() -> None:
    script = (ROOT / "tools/install_tools.sh").read_text()
    wanted = dict(re.findall(r"^want \S+ v(\S+) \S+/(\w+)$", script, re.MULTILINE))
    installed = {name: version for version, name in wanted.items()}
    assert installed.keys() == set(TOOL_NAMES)
    for name, version in installed.items():
        assert re.search(rf"\[{name}\]\(\S+\)\s{re.escape(version)}\b", PAGE)
    readme = (ROOT / "README.md").read_text()
    assert re.findall(r"go install \S+/(\w+)@v(\S+)$", readme, re.MULTILINE) == [("grpcurl", installed["grpcurl"])]


def test_a_missing_tool_is_passed_over_but_not_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(tmp_path, {"PATH": str(tmp_path)}, {})
    block = Block("console", "$ ghz --version\nv0.0.0\n", 1)
    monkeypatch.setattr(documents, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="ghz"):
        follow(block, reader, ())
    monkeypatch.setattr(documents, "IN_CI", True)
    with pytest.raises(AssertionError, match="CI must have ghz"):
        follow(block, reader, ())
