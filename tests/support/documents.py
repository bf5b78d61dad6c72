"""A document as its reader follows it: its fenced blocks, typed from top to bottom beside a running server.

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
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.nats_server import NatsServer
from support.terminal import type_on_terminal

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60
COLUMNS = 80

TOOLS = ROOT / ".tools/bin"
TOOL_NAMES = ("grpcurl", "ghz", "nats")
"""Programs that tools/install_tools.sh installs: a reader may do without them, CI may not."""

IN_CI = "CI" in os.environ


@dataclass
class Reader:
    """Somebody at a terminal, in a directory of their own."""

    directory: Path
    environment: dict[str, str]
    here: dict[str, str]
    """The addresses that the documents name, and what they are here."""
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

    def misses(self, tool: str) -> bool:
        return shutil.which(tool, path=self.environment["PATH"]) is None

    def _here(self, text: str) -> str:
        for documented, actual in self.here.items():
            text = text.replace(documented, actual)
        return text


@contextmanager
def reader_of(directory: Path, serve: str) -> Iterator[Reader]:
    """A reader whose server is running, with no data yet, beside a nats-server of their own.

    `serve` is the command that the document starts the server with; here that serves on a port of its own.
    """
    home = directory / "reader"
    home.mkdir()
    # `make test` hands its own flags on to a `make` within; a tool may look for settings of the person at the machine.
    dropped = ("WORKFLOWSTORE_", "MAKE", "MFLAGS", "NATS_", "XDG_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    path = [str(Path(sys.executable).parent), environment["PATH"], str(TOOLS)]
    environment |= {"PATH": os.pathsep.join(path), "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    (directory / "nats").mkdir()
    nats_server = NatsServer(directory / "nats")
    reader = Reader(home, environment, {"nats://127.0.0.1:4222": nats_server.url})
    with (directory / "log").open("wb") as log:
        serving = subprocess.Popen(
            ["bash", "-c", f"exec {reader._here(serve)} --listen 127.0.0.1:0 --metrics-listen off"],
            cwd=home, env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert serving.stdout is not None
    address = serving.stdout.readline().removeprefix("workflowstore listening on ").strip()
    assert address, (directory / "log").read_text()
    # The one place where what is documented is told apart from what is here.
    environment |= {"WORKFLOWSTORE_ADDRESS": address}
    reader.here |= {"127.0.0.1:50051": address, "127.0.0.1:50052": "127.0.0.1:0", "127.0.0.1:9465": "127.0.0.1:0"}
    yield reader
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

    def __str__(self) -> str:
        return f"line {self.line}: {self.language}"


def blocks_of(text: str) -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(match[1], match[2], text.count("\n", 0, match.start()) + 1) for match in found]


def commands_of(blocks: list[Block]) -> list[str]:
    return [command for block in blocks if block.language in {"console", "sh"} for command, _ in block.commands]


VARYING = (
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: UTC|Z)?", "TIME"),
    (r"\b\d+\.\d+\.\d+\b", "VERSION"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"(--page-token )\S+", r"\1TOKEN"),
    # A time whose nanoseconds end in zeros is shorter, and so is its document.
    (r"(?i)(\b(?:document_?)?bytes\"?:?\s+\"?|\"document_bytes\":)\d+", r"\1SIZE"),
    (r"\d+ bytes left", "SIZE bytes left"),
    (r"(?m)(TIME +\d+ +\d+ +)\d+$", r"\1SIZE"),
    (r"(?m) +$", ""),
    (r" +", " "),
)
"""What differs from one run to the next. Revisions do not: the reader has begun with an empty bucket."""


def _steady(text: str, varying: Collection[tuple[str, str]]) -> str:
    for pattern, name in [*varying, *VARYING]:
        text = re.sub(pattern, name, text)
    return text.strip("\n")


def follow(block: Block, reader: Reader, not_run: Collection[str], varying: Collection[tuple[str, str]] = ()) -> None:
    """Does what the block says; asserts that it comes out as shown, but for what is in VARYING and in `varying`.

    The commands `not_run` are passed over. A block is skipped for want of one of TOOL_NAMES, except in CI.
    """
    if block.language in {"python", "toml"}:
        reader.save(block.file_name, block.text)
        return
    assert block.language in {"console", "sh"}, f"line {block.line}: {block.language!r} is not executed"
    commands = [(command, shown) for command, shown in block.commands if command not in not_run]
    for tool in {command.split()[0] for command, _ in commands} & set(TOOL_NAMES):
        if reader.misses(tool):
            assert not IN_CI, f"CI must have {tool}"
            pytest.skip(f"{tool} is neither on PATH nor in .tools/bin")
    for command, shown in commands:
        actual = reader.start(command) if command.startswith("workflowstore serve") else reader.type(command)
        if shown is None:
            assert reader.exit_code == 0, actual
        else:
            assert _steady(actual, varying) == _steady(shown, varying), f"{command}\n{actual}"
