"""The synchronous client is the asynchronous one, without its colour."""

import importlib.util
import re
import shutil
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
    texts = unasync.synchronous(unasync.SOURCES)
    assert sorted(texts) == sorted(unasync.CLIENT.glob("_sync_*.py"))
    assert {path: path.read_text() for path in texts} == texts


def test_check_refuses_a_client_that_is_not(unasync, tmp_path, monkeypatch):
    for source in unasync.SOURCES:
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(unasync, "CLIENT", tmp_path)
    monkeypatch.setattr(unasync, "SOURCES", sorted(tmp_path.glob("_async_*.py")))
    monkeypatch.setattr(unasync.sys, "argv", ["unasync.py"])
    unasync.main()
    monkeypatch.setattr(unasync.sys, "argv", ["unasync.py", "--check"])
    unasync.main()
    generated = tmp_path / "_sync_client.py"
    whole = generated.read_text()
    for outdated in (lambda: generated.write_text(whole + "\n"), generated.unlink):
        outdated()
        with pytest.raises(SystemExit, match=r"^_sync_client\.py: .* run `make generate`"):
            unasync.main()
    generated.write_text(whole)
    (tmp_path / "_sync_orphan.py").write_text("")
    with pytest.raises(SystemExit, match=r"^_sync_orphan\.py: "):
        unasync.main()


def test_nothing_asynchronous_is_left(unasync):
    for source in unasync.SOURCES:
        code = source.with_name(source.name.replace("_async_", "_sync_")).read_text().replace(source.name, "")
        assert not re.search(r"async|await|\baio\b", code, re.IGNORECASE)


def test_a_rule_without_use_is_refused(unasync):
    unasync.RULES.append((r"\bno such text\b", ""))
    with pytest.raises(SystemExit, match="no such text"):
        unasync.synchronous(unasync.SOURCES)
