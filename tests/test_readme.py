"""The README, executed from top to bottom by a reader who has just typed `make serve`.

Fenced blocks: `console` has commands after `$ ` (going on after `> `) and what a terminal then shows; `sh` has commands
alone, one a line, which must succeed; `python` and `toml` begin with a comment that names the file they are saved as,
for a command to use. The blocks depend on one another, as they do for the reader: each begins where the one before has
ended.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.nats_server import NatsServer
from support.terminal import type_on_terminal
from workflowstore_server.cli.endings import MEANINGS
from workflowstore_server.config.settings import SETTINGS, Setting

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SECONDS_MAX = 60
COLUMNS = 80

NOT_RUN = (
    ("make serve", "serves until it is stopped; `reader` starts the same server"),
    ("make test", "is what runs this test"),
    ("make bench", "takes minutes, and measures nothing beside other tests"),
    ("pip install .", "fetches packages; `reader` has them"),
    ("source .venv/bin/activate", "`reader` has the environment's programs on its PATH"),
    ("go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3", "fetches a program; CI brings it along"),
)
"""Commands of the README that are not executed here, each with the reason."""

IN_CI = "CI" in os.environ
GRPCURL = shutil.which("grpcurl", path=os.pathsep.join([os.environ.get("PATH", ""), str(ROOT / ".tools/bin")]))


@dataclass
class Reader:
    """Somebody at a terminal, in a directory of their own."""

    directory: Path
    environment: dict[str, str]
    here: dict[str, str]
    """The addresses that the README names, and what they are here."""
    exit_code: int = 0
    saved: set[str] = field(default_factory=set)

    def type(self, command: str) -> str:
        """Types a command and returns what the terminal shows."""
        script = f"(exit {self.exit_code}); {self._here(command)}"
        directory = ROOT if command.startswith("make ") else self.directory
        self.exit_code, shown = type_on_terminal(
            ["bash", "-c", script], columns=COLUMNS, seconds_max=SECONDS_MAX, cwd=directory, env=self.environment
        )
        return shown

    def start(self, command: str) -> str:
        """Types a command that serves until it is stopped, stops it after its first line, and returns that."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {self._here(command)}"],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        assert process.communicate(timeout=SECONDS_MAX) == ("", None)
        self.exit_code = process.returncode
        return line

    def save(self, name: str, text: str) -> None:
        (self.directory / name).write_text(self._here(text))
        self.saved.add(name)

    def _here(self, text: str) -> str:
        for documented, actual in self.here.items():
            text = text.replace(documented, actual)
        return text


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader whose `make serve` is running, with no data yet, beside a nats-server of their own."""
    directory = tmp_path_factory.mktemp("reader")
    # `make test` hands its own flags on to a `make` within.
    dropped = ("WORKFLOWSTORE_", "MAKE", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    path = [str(Path(sys.executable).parent), *([str(Path(GRPCURL).parent)] if GRPCURL else []), environment["PATH"]]
    environment |= {"PATH": os.pathsep.join(path), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    nats_server = NatsServer(tmp_path_factory.mktemp("nats"))
    with (directory / "log").open("wb") as log:
        serving = subprocess.Popen(
            ["workflowstore", "serve", "--listen", "127.0.0.1:0"],
            cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert serving.stdout is not None
    address = serving.stdout.readline().removeprefix("workflowstore listening on ").strip()
    assert address, (directory / "log").read_text()
    # The one place where what is documented is told apart from what is here.
    environment |= {"WORKFLOWSTORE_ADDRESS": address}
    here = {"127.0.0.1:50051": address, "127.0.0.1:50052": "127.0.0.1:0", "nats://127.0.0.1:4222": nats_server.url}
    yield Reader(directory, environment, here)
    serving.terminate()
    serving.communicate(timeout=SECONDS_MAX)
    nats_server.stop()


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int

    @property
    def commands(self) -> list[tuple[str, str | None]]:
        """The commands and what each shows; None where a command alone is given, which has to succeed."""
        if self.language == "sh":
            lines = (line.partition("#")[0].strip() for line in self.text.splitlines())
            return [(line, None) for line in lines if line]
        pieces = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        assert not pieces[0], f"line {self.line}: a console block begins with a command"
        found = (re.fullmatch(r"([^\n]*(?:\n> [^\n]*)*)\n?(.*)", piece, re.DOTALL) for piece in pieces[1:])
        return [(match[1].replace("\n> ", "\n"), match[2]) for match in found if match]

    @property
    def file_name(self) -> str:
        """The file that the block is saved as."""
        match = re.match(r"# (\S+)\n", self.text)
        assert match is not None, f"line {self.line}: the first line does not name the file"
        return match[1]


def _blocks() -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [Block(match[1], match[2], README.count("\n", 0, match.start()) + 1) for match in found]


BLOCKS = _blocks()
COMMANDS = [command for block in BLOCKS if block.language in {"console", "sh"} for command, _ in block.commands]

VARYING = (
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: UTC|Z)?", "TIME"),
    (r"\b\d+\.\d+\.\d+\b", "VERSION"),
    (r"(--page-token )\S+", r"\1TOKEN"),
    # A time whose nanoseconds end in zeros is shorter, and so is its document.
    (r"(?i)(\b(?:document_?)?bytes\"?:?\s+\"?|\"document_bytes\":)\d+", r"\1SIZE"),
    (r"(?m)(TIME +\d+ +\d+ +)\d+$", r"\1SIZE"),
    (r"(?m) +$", ""),
    (r" +", " "),
)
"""What differs from one run to the next. Revisions do not: the reader has begun with an empty bucket."""


def _steady(text: str) -> str:
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return text.strip("\n")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}: {block.language}")
def test_every_block_does_what_the_readme_shows(block: Block, reader: Reader) -> None:
    if block.language in {"python", "toml"}:
        reader.save(block.file_name, block.text)
        return
    assert block.language in {"console", "sh"}, f"line {block.line}: {block.language!r} is not executed"
    if "grpcurl -" in block.text and GRPCURL is None:
        assert not IN_CI, "CI must have grpcurl"
        pytest.skip("grpcurl is neither on PATH nor in .tools/bin")
    for command, shown in block.commands:
        if any(command == name for name, _ in NOT_RUN):
            continue
        actual = reader.start(command) if command.startswith("workflowstore serve") else reader.type(command)
        if shown is None:
            assert reader.exit_code == 0, actual
        else:
            assert _steady(actual) == _steady(shown), f"{command}\n{actual}"


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
        test_every_block_does_what_the_readme_shows(Block("console", "$ echo one\ntwo\n", 1), reader)
    with pytest.raises(AssertionError):
        test_every_block_does_what_the_readme_shows(Block("sh", "false\n", 1), reader)


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
