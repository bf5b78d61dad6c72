"""The synchronous client is the asynchronous one, without its colour."""

import importlib.util
import re
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools/unasync.py"


@pytest.fixture
def unasync():
    spec = importlib.util.spec_from_file_location("unasync", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_client_is_what_is_generated(unasync):
    assert unasync.OUTPUT.read_text() == unasync.synchronous(unasync.SOURCE.read_text())


def test_check_refuses_a_client_that_is_not(unasync, tmp_path, monkeypatch):
    monkeypatch.setattr(unasync, "OUTPUT", tmp_path / "_sync_client.py")
    monkeypatch.setattr(unasync.sys, "argv", ["unasync.py", "--check"])
    unasync.OUTPUT.write_text(unasync.synchronous(unasync.SOURCE.read_text()) + "\n")
    with pytest.raises(SystemExit, match="run `make generate`"):
        unasync.main()


def test_nothing_asynchronous_is_left(unasync):
    code = unasync.OUTPUT.read_text().replace(unasync.SOURCE.name, "")
    assert not re.search(r"async|await|\baio\b", code, re.IGNORECASE)


def test_a_rule_without_use_is_refused(unasync):
    unasync.RULES.append((r"\bno such text\b", ""))
    with pytest.raises(SystemExit, match="no such text"):
        unasync.synchronous(unasync.SOURCE.read_text())
