"""Who calls is told by the certificate that a client shows, or by its token, on a server that serves with TLS."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.certificates import Authority
from workflowstore import AsyncClient, PermissionDeniedError, Tls, TlsError, UnauthenticatedError, WorkflowState
from workflowstore_server import app
from workflowstore_server.config.sources import Config, ConfigurationError
from workflowstore_server.service import tokens

Configured = Callable[..., Config]

POLICY = """
[[grant]]
identity = "billing"
bucket = "beluga_workflows"
prefix = "billing-"
access = "write"

[[grant]]
identity = "reports"
bucket = "beluga_workflows"
access = "read"
"""


class World:
    """A server's flags, and what its clients have."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "ours")
        server = self.authority.certify("127.0.0.1", file="server")
        policy, self._tokens = folder / "policy.toml", folder / "tokens"
        policy.write_text(POLICY)
        self.flags = {
            "listen_tls_cert": str(server.certificate),
            "listen_tls_key": str(server.key),
            "auth_policy": str(policy),
        }
        self.with_certificates = {"listen_tls_client_ca": str(self.authority.certificate)}
        self.with_tokens = {"auth_tokens": str(self._tokens)}
        self._tokens.touch()

    def shows(self, name: str | None) -> Tls:
        if name is None:
            return Tls(self.authority.certificate)
        shown = self.authority.certify(name, file=name)
        return Tls(self.authority.certificate, shown.certificate, shown.key)

    def token(self, name: str) -> str:
        text, token = tokens.new(name)
        tokens.add(self._tokens, token)
        return text


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_client_may_do_what_is_granted_to_the_name_in_its_certificate(
    configured: Configured, world: World
) -> None:
    async with app.running(configured(**world.flags, **world.with_certificates)) as service:
        async with AsyncClient(service.address, tls=world.shows("billing")) as billing:
            await billing.save(WorkflowState("billing-1"))
            with pytest.raises(PermissionDeniedError):
                await billing.save(WorkflowState("other-1"))
        async with AsyncClient(service.address, tls=world.shows("reports")) as reports:
            assert [state.workflow_id async for state in reports.list()] == ["billing-1"]
            with pytest.raises(PermissionDeniedError):
                await reports.delete("billing-1")
        async with AsyncClient(service.address, tls=world.shows("stranger")) as stranger:
            with pytest.raises(PermissionDeniedError):
                await stranger.load("billing-1")
        async with AsyncClient(service.address, tls=world.shows(None), retry=False) as nobody:
            with pytest.raises(TlsError):
                await nobody.load("billing-1")


async def test_a_token_names_the_caller_whatever_its_certificate(configured: Configured, world: World) -> None:
    token = world.token("billing")
    config = configured(**world.flags, **world.with_certificates, **world.with_tokens)
    async with app.running(config) as service:
        async with AsyncClient(service.address, tls=world.shows("stranger"), token=token) as client:
            await client.save(WorkflowState("billing-1"))
        async with AsyncClient(service.address, tls=world.shows("reports"), token="wst_unknown") as client:
            with pytest.raises(UnauthenticatedError):
                await client.load("billing-1")


async def test_a_token_suffices_where_no_certificate_is_asked_for(configured: Configured, world: World) -> None:
    token = world.token("billing")
    async with app.running(configured(**world.flags, **world.with_tokens)) as service:
        async with AsyncClient(service.address, tls=world.shows(None), token=token) as client:
            await client.save(WorkflowState("billing-1"))
        async with AsyncClient(service.address, tls=world.shows(None)) as nobody:
            with pytest.raises(UnauthenticatedError):
                await nobody.load("billing-1")


def test_tls_and_a_policy_let_a_server_listen_to_the_network(configured: Configured, world: World) -> None:
    both = configured(listen="0.0.0.0:0", **world.flags, **world.with_tokens)
    assert both.service.lacks == ()
    without_tls = {name: value for name, value in world.flags.items() if not name.startswith("listen")}
    with pytest.raises(ConfigurationError, match="without encryption: give --listen-tls-cert"):
        configured(listen="0.0.0.0:0", **without_tls, **world.with_tokens)
