"""The README, executed from top to bottom by a reader who has just typed `make serve`."""

import re
from collections.abc import Iterator

import pytest

from support.documents import ROOT, Block, Reader, blocks_of, commands_of, follow, reader_of
from workflowstore_server.cli.endings import MEANINGS
from workflowstore_server.config.settings import SETTINGS, Setting

README = (ROOT / "README.md").read_text()
BLOCKS = blocks_of(README)
COMMANDS = commands_of(BLOCKS)

NOT_RUN = (
    ("make serve", "serves until it is stopped; `reader` starts the same server"),
    ("make test", "is what runs this test"),
    ("make bench", "takes minutes, and measures nothing beside other tests"),
    ("pip install .", "fetches packages; `reader` has them"),
    ("source .venv/bin/activate", "`reader` has the environment's programs on its PATH"),
    ("go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3", "fetches a program; CI brings it along"),
)
"""Commands of the README that are not executed here, each with the reason."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reader_of(tmp_path_factory.mktemp("readme"), "workflowstore serve") as reader:
        yield reader


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_does_what_the_readme_shows(block: Block, reader: Reader) -> None:
    follow(block, reader, [command for command, _ in NOT_RUN])


@pytest.mark.parametrize(("command", "reason"), NOT_RUN)
def test_a_command_that_is_not_run_stands_in_the_readme(command: str, reason: str) -> None:
    assert command in COMMANDS
    assert reason


def test_every_saved_file_is_used_by_a_command() -> None:
    used = "\n".join(COMMANDS)
    for block in BLOCKS:
        if block.language in {"python", "toml"}:
            assert block.file_name in used.split(), f"line {block.line}"


def test_a_wrong_output_would_be_noticed(reader: Reader) -> None:
    with pytest.raises(AssertionError):
        follow(Block("console", "$ echo one\ntwo\n", 1), reader, ())
    with pytest.raises(AssertionError):
        follow(Block("sh", "false\n", 1), reader, ())


def _table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, as lists of cells."""
    lines = README.partition(f"\n## {heading}\n")[2].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def _row(setting: Setting) -> list[str]:
    flag = f"`--{setting.name}`"
    if setting.kind == "boolean":
        flag += f", `--no-{setting.name}`"
    default = setting.default[0] if isinstance(setting.default, tuple) and setting.default else setting.default
    match default:
        case None | ():
            shown = "none"
        case bool():
            shown = f"`{str(default).lower()}`"
        case float():
            shown = f"`{default:g}`"
        case _:
            shown = f"`{default}`"
    return [flag, f"`{setting.variable}`", f"`{setting.name}`", shown]


def test_the_configuration_table_has_every_setting_as_it_is() -> None:
    rows = _table("Configuration")
    assert [row[:4] for row in rows] == [_row(setting) for setting in SETTINGS]
    for row, setting in zip(rows, SETTINGS, strict=True):
        assert row[4].startswith(setting.help), "the meaning begins with the words of `serve --help`"
        for bound in (setting.minimum, setting.maximum):
            assert bound is None or f"{bound:g}" in row[4] or f"{bound:,.0f}" in row[4]
        assert all(f"`{choice}`" in row[4] for choice in setting.choices)


def test_the_exit_codes_are_those_of_the_command() -> None:
    assert _table("Exit codes") == [[f"{code:d}", meaning] for code, meaning in MEANINGS.items()]
