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
NOT_YET = {"LISTEN_TLS_CERT", "LISTEN_TLS_KEY", "LISTEN_TLS_CLIENT_CA", "AUTH_TOKENS", "AUTH_POLICY", "METRICS_LISTEN",
           "TLS_CA", "TLS_CERT", "TLS_KEY"}  # fmt: skip
"""Names without their prefix that are settled, and that the server has no settings for yet."""

KNOWN = {setting.variable for setting in SETTINGS} | sources.CLIENT_VARIABLES
COMPOSED = [service["environment"] for name, service in described()["services"].items() if name.startswith("server-")]
IN_KUBERNETES = yaml.safe_load((FOLDER / "kubernetes/settings.yaml").read_text())["data"]
IN_SYSTEMD = tomllib.loads((FOLDER / "systemd/workflowstore.toml").read_text())


def test_every_variable_that_is_named_is_one_that_there_is() -> None:
    files = [file for file in FOLDER.rglob("*") if file.is_file() and "certificates" not in file.parts]
    named = {name for file in files for name in re.findall(r"\bWORKFLOWSTORE_[A-Z0-9_]*[A-Z0-9]\b", file.read_text())}
    named |= set(re.findall(r"\bWORKFLOWSTORE_[A-Z0-9_]*[A-Z0-9]\b", (ROOT / "Dockerfile").read_text()))
    assert named
    assert not {name for name in named - KNOWN if name.removeprefix("WORKFLOWSTORE_") not in NOT_YET}


def take(variables: dict[str, str]) -> None:
    """Have the server read them, as far as it can yet."""
    known = {name: value for name, value in variables.items() if name in KNOWN}
    # Without all that is to protect it, it would be refused.
    flags = {"insecure": True} if known != variables and "WORKFLOWSTORE_INSECURE" in KNOWN else {}
    sources.load(flags, known, None)


@pytest.mark.parametrize("variables", [*COMPOSED, IN_KUBERNETES], ids=["server-1", "server-2", "kubernetes"])
def test_the_server_takes_the_variables(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    # The files that they name are where it will run.
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: True)
    take(variables)


def test_the_server_takes_the_file_for_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: True)
    names = {name: f"WORKFLOWSTORE_{name.replace('-', '_').upper()}" for name in IN_SYSTEMD}
    assert set(names.values()) <= KNOWN | {f"WORKFLOWSTORE_{name}" for name in NOT_YET}
    take({names[name]: value for name, value in IN_SYSTEMD.items()})


def test_nothing_that_listens_for_others_is_open_to_everybody() -> None:
    """The one way around it is not taken in silence."""
    for variables in (*COMPOSED, IN_KUBERNETES):
        assert "WORKFLOWSTORE_INSECURE" not in variables
        assert {"WORKFLOWSTORE_LISTEN_TLS_CERT", "WORKFLOWSTORE_LISTEN_TLS_KEY"} <= set(variables)
        assert {"WORKFLOWSTORE_LISTEN_TLS_CLIENT_CA", "WORKFLOWSTORE_AUTH_TOKENS"} & set(variables)
    assert {"listen-tls-cert", "listen-tls-key", "auth-tokens"} <= set(IN_SYSTEMD)
    assert "INSECURE" not in (ROOT / "Dockerfile").read_text()
