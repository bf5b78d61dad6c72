"""The commands against a server with mutual TLS, as processes."""

import json

import pytest

from support.certificates import Authority
from workflowstore import Client, Tls, WorkflowState


class Files:
    def __init__(self, folder) -> None:
        self.authority = Authority(folder, "ca")
        self.stranger = Authority(folder, "stranger").certificate
        server = self.authority.certify("store.example", file="server")
        self.client = self.authority.certify("client", file="client")
        self.serve = [
            "--listen-tls-cert", str(server.certificate), "--listen-tls-key", str(server.key),
            "--listen-tls-client-ca", str(self.authority.certificate),
        ]  # fmt: skip
        self.call = [
            "--tls-ca", str(self.authority.certificate), "--tls-cert", str(self.client.certificate),
            "--tls-key", str(self.client.key), "--tls-server-name", "store.example",
        ]  # fmt: skip

    @property
    def variables(self) -> dict[str, str]:
        pairs = zip(self.call[::2], self.call[1::2], strict=True)
        return {f"WORKFLOWSTORE_{flag[2:].upper().replace('-', '_')}": value for flag, value in pairs}


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)


def test_every_way_to_call_takes_flags_and_variables(files, serve, run) -> None:
    # The variables of the commands may stand beside those of the server, as they do in a container.
    server = serve("--data-dir", "data", *files.serve, environment=files.variables)
    saved = run("save", "--id", "a", "--address", server.address, *files.call)
    assert (saved.returncode, saved.stderr) == (0, "")
    variables = files.variables | {"WORKFLOWSTORE_ADDRESS": server.address}
    for command in (["load", "a"], ["list"], ["count"], ["info"], ["health"]):
        called = run(*command, **variables)
        assert (called.returncode, called.stderr) == (0, ""), command
    assert json.loads(run("health", **variables).stdout)["status"] == "SERVING"
    for _ in range(5):  # there are none when they have not come within a second
        completed = run(
            COMP_WORDS="workflowstore load ", COMP_CWORD="2", _WORKFLOWSTORE_COMPLETE="bash_complete", **variables
        )
        if completed.stdout:
            break
    assert completed.stdout == "plain,a\n"
    assert server.stop() == 0


def test_who_is_not_let_in_is_told_what_to_do(files, serve, run) -> None:
    server = serve("--data-dir", "data", *files.serve)
    without_certificate = [*files.call[:2], *files.call[6:]]
    another_authority = ["--tls-ca", str(files.stranger), *files.call[2:]]
    another_name = files.call[:6]
    for options, words in (
        ([], "it may want TLS (Tls(ca=...), --tls-ca)"),
        (without_certificate, "--tls-cert, --tls-key"),
        (another_authority, "is of no authority that this client trusts; give the one that it is of"),
        (another_name, "is for another name than the one that was called"),
    ):
        for command in (["health"], ["count"]):
            failed = run(*command, "--address", server.address, *options)
            assert (failed.returncode, failed.stdout) == (5, "")
            assert failed.stderr.startswith(f"workflowstore: no connection to {server.address}: the server")
            assert words in failed.stderr
            assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls-ca", "none.pem"], "(env var: 'WORKFLOWSTORE_TLS_CA'): File 'none.pem' does not exist"),
        (["--tls-key", "KEY"], "--tls-key needs the certificate it belongs to: --tls-cert"),
        (["--tls-ca", "KEY"], "has no certificates (PEM)"),
        (["--tls-cert", "CERT", "--tls-key", "OTHER"], "is no certificate (PEM) to which the private key in"),
    ],
)
def test_files_that_cannot_be_used_are_named(options, words, files, run) -> None:
    other = files.authority.certify("other", file="other")
    here = {"KEY": files.client.key, "CERT": files.client.certificate, "OTHER": other.key}
    for command in ("count", "health"):
        refused = run(command, *(str(here.get(option, option)) for option in options))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert words in refused.stderr
        assert "Traceback" not in refused.stderr


def test_beyond_loopback_nothing_is_served_without_protection(files, serve, run) -> None:
    for options, lacking in (([], "encryption or authentication"), (files.serve[:4], "authentication")):
        refused = run("serve", "--listen", "0.0.0.0:0", *options)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("workflowstore: --listen 0.0.0.0:0 lets other machines in, without ")
        assert f"without {lacking}: give " in refused.stderr
        assert refused.stderr.endswith("or give --insecure where only who may do everything reaches that address\n")

    protected = serve("--data-dir", "data", "--listen", "0.0.0.0:0", *files.serve)
    ca, certificate, key, name = files.call[1::2]
    with Client(protected.address, tls=Tls(ca, certificate, key, name)) as client:
        assert client.save(WorkflowState("a")).revision == 1
    assert "open to the network" not in protected.log
    protected.stop()

    exposed = serve("--data-dir", "data", "--listen", "0.0.0.0:0", "--insecure")
    with Client(exposed.address) as client:
        assert client.load("a") is not None
    assert "is open to the network, without encryption or authentication" in exposed.log


def test_a_key_that_does_not_belong_to_the_certificate_is_told(files, run, tmp_path) -> None:
    options = [*files.serve[:3], str(files.client.key)]
    refused = run("serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"), *options)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "cannot listen with TLS: " in refused.stderr.splitlines()[-1]
    assert refused.stderr.splitlines()[-1].endswith("the key is not that of the certificate")
