"""The unit for systemd is what systemd takes, stops the server with time for its drain, and lets it do little else."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from support.documents import ROOT
from workflowstore_server.service.server import ServiceOptions

UNIT = ROOT / "deploy/systemd/workflowstore.service"
EXPOSURE_MAX = 1.5
"""Of 10, as systemd reckons it: that the server uses the network and is in no image of its own makes 1.2."""

analyzed = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, for a program that is on this machine."""
    text, times = re.subn(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    assert times == 1
    file = tmp_path / UNIT.name
    file.write_text(text)
    return file


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


@analyzed
def test_systemd_takes_it(unit: Path) -> None:
    taken = analyze("verify", unit)
    assert (taken.returncode, taken.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("TimeoutStopSec=", "TimeoutStopSecs="))
    assert analyze("verify", unit).stderr


@analyzed
def test_the_server_is_hardly_exposed(unit: Path) -> None:
    rated = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:g}", "--no-pager", unit)
    assert rated.returncode == 0, rated.stdout


def test_the_server_has_more_time_to_stop_than_its_drain_takes() -> None:
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    settings = tomllib.loads((UNIT.parent / "workflowstore.toml").read_text())
    assert int(seconds) >= settings.get("drain-seconds", ServiceOptions().drain_seconds) + 10
