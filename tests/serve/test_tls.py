"""The listener with TLS, called by both clients: who gets in, what the others are told, and that certificates change
while calls run.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority, Certified
from support.ports import free_ports
from support.service_process import ServiceProcess
from support.waiting import until
from workflowstore import AsyncClient, ChangeKind, Client, Tls, TlsError, UnavailableError, WorkflowState
from workflowstore_server import app
from workflowstore_server.config.sources import Config

from .conftest import refusal  # type: ignore[import-not-found]

Configured = Callable[..., Config]


class World:
    """Authorities, what they have certified, and the flags of a server that shows `server`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ours, self.stranger = Authority(folder, "ours"), Authority(folder, "stranger")
        self.server = self.ours.certify("127.0.0.1", file="server")
        self.client = self.ours.certify("client", file="client")

    def flags(self, shown: Certified | None = None, client_ca: Path | None = None) -> dict[str, str]:
        shown = shown or self.server
        flags = {"listen_tls_cert": str(shown.certificate), "listen_tls_key": str(shown.key)}
        return flags | ({"listen_tls_client_ca": str(client_ca)} if client_ca else {})

    def tls(self, certified: Certified | None = None, ca: Path | None = None, **more: Any) -> Tls:
        """What a client of the server needs to get in."""
        files = {} if certified is None else {"certificate": certified.certificate, "key": certified.key}
        return Tls(ca or self.ours.certificate, **files, **more)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[str]:
    async with app.running(config) as service:
        yield service.address


async def saved(address: str, tls: Tls | None, workflow_id: str = "wf-1") -> str:
    """Saves with a client of its own, of each kind, and returns what went wrong."""
    words = ""
    async with AsyncClient(address, tls=tls, retry=False) as client:
        try:
            await client.save(WorkflowState(workflow_id))
        except TlsError as error:
            words = error.message

    def save() -> str:
        with Client(address, tls=tls, retry=False) as client:
            try:
                client.save(WorkflowState(workflow_id))
            except TlsError as error:
                return error.message
        return ""

    again = await asyncio.to_thread(save)
    assert bool(again) == bool(words)
    return words


async def gets_in(address: str, tls: Tls) -> bool:
    return await saved(address, tls) == ""


async def test_who_knows_the_authority_gets_in(configured: Configured, world: World) -> None:
    async with serving(configured(**world.flags())) as address:
        assert await saved(address, world.tls()) == ""
        async with AsyncClient(address, tls=world.tls()) as client:
            assert await client.load("wf-1") is not None
            assert [state.workflow_id async for state in client.list()] == ["wf-1"]


async def test_a_certificate_and_its_key_may_lie_in_one_file(configured: Configured, world: World) -> None:
    both = [world.folder / "server-both.pem", world.folder / "client-both.pem"]
    for file, pair in zip(both, (world.server, world.client), strict=True):
        file.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    flags = {"listen_tls_cert": str(both[0]), "listen_tls_client_ca": str(world.ours.certificate)}

    async with serving(configured(**flags)) as address:
        assert await saved(address, Tls(world.ours.certificate, both[1])) == ""


async def test_a_name_that_is_not_that_of_the_address_can_be_given(configured: Configured, world: World) -> None:
    named = world.ours.certify("store.example", file="named")
    async with serving(configured(**world.flags(named))) as address:
        assert await saved(address, world.tls(server_name="store.example")) == ""
        assert "is for another name than the one that was called" in await saved(address, world.tls())
        assert "--tls-server-name" in await saved(address, world.tls(server_name="other.example"))


async def test_who_does_not_trust_the_server_is_told_so(configured: Configured, world: World) -> None:
    async with serving(configured(**world.flags())) as address:
        for tls in (world.tls(ca=world.stranger.certificate), Tls()):
            assert "is of no authority that this client trusts; give the one" in await saved(address, tls)
    expired = world.ours.certify("127.0.0.1", file="expired", expired=True)
    async with serving(configured(**world.flags(expired))) as address:
        assert "has expired; renew it there" in await saved(address, world.tls())


async def test_a_watch_that_cannot_begin_for_want_of_tls_is_told_at_once(configured: Configured, world: World) -> None:
    async with (
        serving(configured(**world.flags())) as address,
        AsyncClient(address, tls=world.tls(ca=world.stranger.certificate)) as client,
    ):
        with pytest.raises(TlsError):
            await asyncio.wait_for(anext(client.watch()), 20)  # of the 30 s that one without TLS is tried for


async def test_a_side_that_has_no_tls_is_told_by_the_client(configured: Configured, world: World) -> None:
    async with serving(configured()) as address:
        assert "the server does not speak TLS" in await saved(address, world.tls())
    async with serving(configured(**world.flags())) as address:
        assert "it may want TLS (Tls(ca=...), --tls-ca)" in await saved(address, None)


async def test_what_has_tls_and_is_no_grpc_server_is_told_by_the_client(world: World) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(world.server.certificate, world.server.key)
    web = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with web:
        port = web.sockets[0].getsockname()[1]
        assert "is no gRPC server; look at the address" in await saved(f"127.0.0.1:{port}", world.tls())


async def test_with_a_client_ca_only_its_own_get_in(configured: Configured, world: World) -> None:
    expired = world.ours.certify("client", file="expired", expired=True)
    stranger = world.stranger.certify("client", file="strangers-client")
    async with serving(configured(**world.flags(client_ca=world.ours.certificate))) as address:
        assert await saved(address, world.tls(world.client)) == ""
        for tls in (world.tls(), world.tls(stranger), world.tls(expired), None):
            assert "or a client certificate of an authority that it knows" in await saved(address, tls)


async def test_a_server_that_is_not_there_is_no_matter_of_tls(world: World) -> None:
    async with AsyncClient("127.0.0.1:1", tls=world.tls(), retry=False) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.info()
    assert not isinstance(caught.value, TlsError)


async def test_new_connections_get_a_new_certificate_and_running_calls_go_on(
    configured: Configured, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        serving(configured(**world.flags())) as address,
        AsyncClient(address, tls=world.tls()) as before,
    ):
        changes = before.watch(snapshot=True)
        assert (await anext(changes)).kind is ChangeKind.SNAPSHOT_COMPLETE

        world.server.replace(world.stranger.certify("127.0.0.1", file="next"))
        strangers = world.tls(ca=world.stranger.certificate)

        assert await saved(address, strangers) == ""
        assert "is of no authority" in await saved(address, world.tls())
        # Who is connected goes on, with the call that runs and with new ones.
        assert (await anext(changes)).workflow_id == "wf-1"
        await before.save(WorkflowState("wf-2"))
        while (await anext(changes)).workflow_id != "wf-2":
            pass
        await changes.aclose()

    assert caplog.text.count("TLS: new connections get the certificate") == 1
    assert str(world.server.certificate) in caplog.text


async def test_a_server_outlives_renewals_while_many_connect(
    serve: Callable[..., ServiceProcess], world: World, rounds: Callable[[int, int], int]
) -> None:
    """gRPC frees the old certificates while a handshake may be about to begin with them (grpc/grpc#36693)."""
    server = serve(*(f"--{name.replace('_', '-')}={file}" for name, file in world.flags().items()))
    following = [world.ours.certify("127.0.0.1", file=f"next-{number}") for number in range(2)]
    done = asyncio.Event()

    async def connect_again_and_again() -> None:
        while not done.is_set():
            async with AsyncClient(server.address, tls=world.tls(), retry=False) as client:
                assert await client.load("wf-1") is None

    async def taken(count: int) -> bool:
        assert server.process.poll() is None, server.log
        return server.log.count("TLS: new connections get the certificate") >= count

    async with asyncio.TaskGroup() as callers:
        for _ in range(12):
            callers.create_task(connect_again_and_again())
        for number in range(rounds(5, 150)):
            world.server.replace(following[number % 2])
            await until(lambda number=number: taken(number + 1))
        done.set()


async def test_certificates_behind_a_link_change_when_the_link_does(configured: Configured, world: World) -> None:
    """As in a volume of Kubernetes, where a link to a directory is replaced and no file is touched."""
    for directory, authority in (("first", world.ours), ("second", world.stranger)):
        (world.folder / directory).mkdir()
        authority.certify("127.0.0.1", file=f"{directory}/tls")
    link, other = world.folder / "data", world.folder / "data-new"
    link.symlink_to("first")
    shown = Certified(link / "tls.pem", link / "tls.key")

    async with serving(configured(**world.flags(shown))) as address:
        assert await saved(address, world.tls()) == ""
        other.symlink_to("second")
        other.replace(link)
        assert await saved(address, world.tls(ca=world.stranger.certificate)) == ""


@pytest.mark.parametrize("broken", ["no file", "not PEM", "another key", "half of it"])
async def test_a_new_certificate_that_cannot_be_used_is_told_and_the_old_one_stays(
    configured: Configured, world: World, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    server = world.server
    right = server.key.read_bytes()
    async with serving(configured(**world.flags())) as address:
        assert await saved(address, world.tls()) == ""
        match broken:
            case "no file":
                server.key.unlink()
            case "not PEM":
                server.key.write_text("a key")
            case "another key":
                server.key.write_bytes(world.client.key.read_bytes())
            case "half of it":
                server.key.write_bytes(right[:-100])

        for _ in range(3):
            assert await saved(address, world.tls()) == ""
        assert caplog.text.count("TLS goes on with the certificate that it has") == 1
        assert str(server.key) in caplog.text

        server.replace(world.stranger.certify("127.0.0.1", file="next"))
        assert await saved(address, world.tls(ca=world.stranger.certificate)) == ""


def renewed_before_it_is_checked(monkeypatch: pytest.MonkeyPatch, shown: Certified, following: Certified) -> None:
    """The first half of a renewal now, and the other one between the reading of the files and OpenSSL's."""
    load = ssl.SSLContext.load_cert_chain

    def load_what_follows(context: ssl.SSLContext, *arguments: Any) -> None:
        if shown.key.read_bytes() != following.key.read_bytes():
            shown.key.write_bytes(following.key.read_bytes())
        load(context, *arguments)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_what_follows)
    shown.certificate.write_bytes(following.certificate.read_bytes())


async def test_a_server_that_reads_amid_a_renewal_never_pairs_old_and_new(
    configured: Configured, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(configured(**world.flags())) as address:
        assert await saved(address, world.tls()) == ""
        renewed_before_it_is_checked(monkeypatch, world.server, world.stranger.certify("127.0.0.1", file="next"))
        assert await saved(address, world.tls(ca=world.stranger.certificate)) == ""


async def test_a_client_that_reads_amid_a_renewal_never_pairs_old_and_new(
    configured: Configured, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        serving(configured(**world.flags(client_ca=world.ours.certificate))) as address,
        AsyncClient(address, tls=world.tls(world.client), retry=False) as client,
    ):
        await client.save(WorkflowState("wf-1"))
        renewed_before_it_is_checked(monkeypatch, world.client, world.ours.certify("client", file="next"))
        assert await client.load("wf-1") is not None
        assert len(channels_of(client)) == 1


async def test_authorities_of_clients_change_without_a_restart(configured: Configured, world: World) -> None:
    client_ca = world.folder / "clients.pem"
    client_ca.write_bytes(world.ours.certificate.read_bytes())
    newcomer = world.tls(world.stranger.certify("newcomer", file="newcomer"))
    async with serving(configured(**world.flags(client_ca=client_ca))) as address:
        assert await saved(address, newcomer) != ""
        client_ca.write_bytes(world.ours.certificate.read_bytes() + world.stranger.certificate.read_bytes())
        assert await saved(address, newcomer) == await saved(address, world.tls(world.client)) == ""
        client_ca.write_bytes(world.stranger.certificate.read_bytes())
        assert await saved(address, world.tls(world.client)) != ""


async def test_an_async_client_takes_new_files_at_its_next_call_and_its_running_ones_go_on(
    configured: Configured, world: World
) -> None:
    client_ca = world.folder / "clients.pem"
    client_ca.write_bytes(world.ours.certificate.read_bytes())
    async with (
        serving(configured(**world.flags(client_ca=client_ca))) as address,
        AsyncClient(address, tls=world.tls(world.client), retry=False) as client,
    ):
        changes = client.watch(snapshot=True)
        assert (await anext(changes)).kind is ChangeKind.SNAPSHOT_COMPLETE
        [first] = channels_of(client)

        # The server knows the client's authority no longer, so the connection of before could not be made again.
        client_ca.write_bytes(world.stranger.certificate.read_bytes())
        world.client.replace(world.stranger.certify("client", file="next"))
        await client.save(WorkflowState("wf-1"))

        assert (await anext(changes)).workflow_id == "wf-1"
        assert len(channels_of(client)) == 2
        await changes.aclose()
        [second] = channels_of(client)
        assert second is not first
        assert (await client.load("wf-1")) is not None


async def test_a_sync_client_takes_new_files_at_its_next_call_and_its_running_ones_go_on(
    configured: Configured, world: World
) -> None:
    client_ca = world.folder / "clients.pem"
    client_ca.write_bytes(world.ours.certificate.read_bytes())

    def calls(address: str) -> None:
        with Client(address, tls=world.tls(world.client), retry=False) as client:
            changes = client.watch(snapshot=True)
            assert next(changes).kind is ChangeKind.SNAPSHOT_COMPLETE

            client_ca.write_bytes(world.stranger.certificate.read_bytes())
            world.client.replace(world.stranger.certify("client", file="next"))
            client.save(WorkflowState("wf-1"))

            assert next(changes).workflow_id == "wf-1"
            assert len(channels_of(client)) == 2
            changes.close()
            assert len(channels_of(client)) == 1

    async with serving(configured(**world.flags(client_ca=client_ca))) as address:
        await asyncio.to_thread(calls, address)


def channels_of(client: AsyncClient | Client) -> list[Any]:
    """What it has open."""
    channels = client._channels
    return [channels._newest, *channels._older]


async def test_a_client_whose_new_files_cannot_be_used_goes_on_with_what_it_has(
    configured: Configured, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(configured(**world.flags(client_ca=world.ours.certificate))) as address,
        AsyncClient(address, tls=world.tls(world.client)) as client,
    ):
        await client.save(WorkflowState("wf-1"))
        world.client.key.write_text("a key")

        for _ in range(3):
            assert await client.load("wf-1") is not None
        assert caplog.text.count("calls go on with the TLS files as they were") == 1
        assert str(world.client.key) in caplog.text


async def test_a_connection_whose_certificate_was_wrong_for_a_while_comes_back(
    configured: Configured, world: World
) -> None:
    """A Watch that has begun is not given up for it."""
    right = Certified(world.folder / "right.pem", world.folder / "right.key")
    right.replace(world.server)
    # A port that is still free when the server is started again.
    config = configured(**world.flags(), listen=f"127.0.0.1:{free_ports(1)[0]}")
    async with AsyncExitServer(config) as server, AsyncClient(server.address, tls=world.tls()) as client:
        changes = client.watch(snapshot=True)
        assert (await anext(changes)).kind is ChangeKind.SNAPSHOT_COMPLETE
        world.server.replace(world.stranger.certify("127.0.0.1", file="wrong"))
        await server.again()
        coming = asyncio.create_task(anext(changes))
        await until(lambda: distrusts(client))
        assert not coming.done()

        world.server.replace(right)
        await until(lambda: gets_in(server.address, world.tls()))
        assert (await coming).workflow_id == "wf-1"
        await changes.aclose()


async def distrusts(client: AsyncClient) -> bool:
    """Whether a call is refused for TLS, and not because the server is away for a moment."""
    try:
        await client.info()
    except TlsError:
        return True
    except UnavailableError:
        return False
    raise AssertionError("the call got in")


class AsyncExitServer:
    """A server that can be stopped and started on its address."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def __aenter__(self) -> "AsyncExitServer":
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.__aexit__(None, None, None)

    async def again(self) -> None:
        await self.__aexit__()
        await self._start()

    async def _start(self) -> None:
        self._running = app.running(self._config)
        self.address = (await self._running.__aenter__()).address
        service = self._config.service
        object.__setattr__(service, "listen", self.address)


@pytest.mark.parametrize("which", ["cert", "key", "client-ca"])
@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_a_file_that_holds_something_else_is_named_at_the_start(
    configured: Configured, world: World, which: str, text: str
) -> None:
    wrong = world.folder / f"wrong-{which}.pem"
    wrong.write_text(text)
    flags = world.flags(client_ca=world.ours.certificate)

    words = await refusal(configured(**flags | {f"listen_tls_{which.replace('-', '_')}": str(wrong)}))

    assert words.startswith("cannot listen with TLS: ")
    assert str(wrong) in words


async def test_a_key_that_is_anothers_or_has_a_password_is_told_at_the_start(
    configured: Configured, world: World
) -> None:
    from cryptography.hazmat.primitives import serialization as form

    swapped = Certified(world.server.certificate, world.client.key)
    words = await refusal(configured(**world.flags(swapped)))
    assert words.endswith(
        f"{swapped.certificate} with the key in {swapped.key} cannot be used: the key is not that of the certificate"
    )

    key = form.load_pem_private_key(world.server.key.read_bytes(), None)
    secret = form.BestAvailableEncryption(b"secret")
    world.server.key.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, secret))
    words = await refusal(configured(**world.flags()))
    assert words.endswith(f"the private key in {world.server.key} has a password; give one without")


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_a_client_refuses_files_that_cannot_be_used(kind: Any, world: World) -> None:
    garbage = world.folder / "garbage.pem"
    garbage.write_text("nothing")
    with pytest.raises(FileNotFoundError, match=r"none\.pem"):
        kind(tls=Tls("none.pem"))
    with pytest.raises(ValueError, match=r"garbage\.pem has no certificates"):
        kind(tls=Tls(garbage))
    with pytest.raises(ValueError, match=r"to which the private key in .*server\.key belongs"):
        kind(tls=Tls(None, world.client.certificate, world.server.key))
    with pytest.raises(ValueError, match=r"client\.pem is no certificate \(PEM\) to which the private key in .*client"):
        kind(tls=Tls(None, world.client.certificate))
    with pytest.raises(ValueError, match=r"Tls\.key needs"):
        kind(tls=Tls(key=world.client.key))
    with pytest.raises(TypeError, match="not both"):
        kind(tls=Tls(), channel=object())
