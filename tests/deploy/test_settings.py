"""Every setting that a file of deploy/ names is one that there is, with a value that is taken."""

import re
import tomllib

import pytest
import yaml

from support.composed import described
from support.documents import ROOT
from workflowstore_server.config import sources
from workflowstore_server.config.settings import SETTINGS

FOLDER = ROOT / "deploy"
KNOWN = {setting.variable for setting in SETTINGS} | sources.CLIENT_VARIABLES
COMPOSED = [service["environment"] for name, service in described()["services"].items() if name.startswith("server-")]
IN_KUBERNETES = yaml.safe_load((FOLDER / "kubernetes/settings.yaml").read_text())["data"]
IN_SYSTEMD = tomllib.loads((FOLDER / "systemd/workflowstore.toml").read_text())


def test_every_variable_that_is_named_is_one_that_there_is() -> None:
    files = [file for file in FOLDER.rglob("*") if file.is_file() and "certificates" not in file.parts]
    named = {name for file in files for name in re.findall(r"\bWORKFLOWSTORE_[A-Z0-9_]*[A-Z0-9]\b", file.read_text())}
    named |= set(re.findall(r"\bWORKFLOWSTORE_[A-Z0-9_]*[A-Z0-9]\b", (ROOT / "Dockerfile").read_text()))
    assert named
    assert not named - KNOWN


@pytest.mark.parametrize("variables", [*COMPOSED, IN_KUBERNETES], ids=["server-1", "server-2", "kubernetes"])
def test_the_server_takes_the_variables(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    # The files that they name are where it will run.
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: True)
    sources.load({}, variables, None)


def test_the_server_takes_the_file_for_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: True)
    sources.load({}, {}, FOLDER / "systemd/workflowstore.toml")


def test_nothing_that_listens_for_others_is_open_to_everybody() -> None:
    """The one way around it is not taken in silence."""
    for variables in (*COMPOSED, IN_KUBERNETES):
        assert "WORKFLOWSTORE_INSECURE" not in variables
        assert {"WORKFLOWSTORE_LISTEN_TLS_CERT", "WORKFLOWSTORE_LISTEN_TLS_KEY"} <= set(variables)
        assert {"WORKFLOWSTORE_LISTEN_TLS_CLIENT_CA", "WORKFLOWSTORE_AUTH_TOKENS"} & set(variables)
    assert {"listen-tls-cert", "listen-tls-key", "auth-tokens"} <= set(IN_SYSTEMD)
    assert "INSECURE" not in (ROOT / "Dockerfile").read_text()
