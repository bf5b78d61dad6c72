"""The service over a NATS that others run: every way in, how durable it is, and what is shared through it."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest

from support.certificates import Authority
from support.jwt_auth import Nkey, Operator
from support.nats_server import NatsServer
from support.statuses import failure
from support.waiting import until
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server import app
from workflowstore_server.config.sources import Config
from workflowstore_server.index import IndexOptions
from workflowstore_server.store.jetstream import NatsOptions, OwnedConnection

from .conftest import refusal, running  # type: ignore[import-not-found]

Configured = Callable[..., Config]
IN_MEMORY = IndexOptions()

Start = Callable[..., NatsServer]

SECRET = "s3cret"
USER = {"authorization": {"user": "u", "password": SECRET}}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts NATS servers with a configuration of the test's own."""
    servers: list[NatsServer] = []

    def start(**configuration: Any) -> NatsServer:
        folder = tmp_path / f"nats-{len(servers)}"
        folder.mkdir()
        if isinstance(configuration.get("jetstream"), dict):
            configuration["jetstream"] = {"store_dir": str(folder), **configuration["jetstream"]}
        servers.append(NatsServer(folder, **configuration))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.returncode is None:
            server.stop()


def with_user(server: NatsServer, user: str) -> str:
    return server.url.replace("//", f"//{user}@")


async def test_nothing_is_embedded_beside_it(nats_server: NatsServer, configured: Configured, tmp_path: Path) -> None:
    async with running(configured(nats_url=[nats_server.url])) as caller:
        assert (await caller.save("wf-1")).revision == 1
        info = await caller.info()

    assert not info.nats_embedded
    assert info.nats_server_version.startswith("2.")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["index", "lock"]


async def test_an_index_in_memory_leaves_no_file(
    nats_server: NatsServer, configured: Configured, tmp_path: Path
) -> None:
    async with running(configured(nats_url=[nats_server.url], index=":memory:")) as caller:
        await caller.save("wf-1")
        assert await caller.revisions() == {"wf-1": 1}
        assert not (await caller.info()).index.on_disk

    assert not (tmp_path / "data").exists()


async def test_two_servers_do_not_share_a_data_directory(nats_server: NatsServer, configured: Configured) -> None:
    async with running(configured(nats_url=[nats_server.url])):
        words = await refusal(configured(nats_url=[nats_server.url]))

    assert words.endswith("stop that server or choose another directory")


async def test_a_user_and_a_password_may_stand_in_the_url(
    start: Start, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(**USER)

    with caplog.at_level(logging.DEBUG):
        async with running(configured(nats_url=[with_user(server, f"u:{SECRET}")])) as caller:
            assert (await caller.save("wf-1")).revision == 1
            server.kill()
            await until(caller.away)
            server.start()
            await until(lambda: caller.saved("wf-2"))

    assert SECRET not in caplog.text


async def test_a_password_in_a_url_may_have_any_character(start: Start, configured: Configured) -> None:
    server = start(authorization={"user": "u", "password": "p@s/s:w%"})

    async with running(configured(nats_url=[with_user(server, "u:p%40s%2Fs%3Aw%25")])) as caller:
        assert (await caller.save("wf-1")).revision == 1


async def test_a_token_may_stand_in_the_url(start: Start, configured: Configured) -> None:
    server = start(authorization={"token": SECRET})

    async with running(configured(nats_url=[with_user(server, SECRET)])) as caller:
        assert (await caller.save("wf-1")).revision == 1


@pytest.mark.parametrize("user", ["u:wrong-s3cret", "somebody:s3cret", None])
async def test_a_credential_that_nats_refuses_is_told_without_it(
    start: Start, configured: Configured, user: str | None
) -> None:
    server = start(**USER)

    words = await refusal(configured(nats_url=[with_user(server, user) if user else server.url]))

    assert words.startswith("cannot connect to NATS at nats://")
    assert "authorization" in words.lower()
    assert SECRET not in words


async def test_a_nats_that_is_not_there_is_told(configured: Configured) -> None:
    words = await refusal(configured(nats_url=["nats://127.0.0.1:1", "nats://127.0.0.1:2"]))

    assert words.startswith("cannot connect to NATS at nats://127.0.0.1:1, nats://127.0.0.1:2: ")
    assert "Connect call failed" in words


async def test_a_nats_that_comes_first_in_no_order_is_found(nats_server: NatsServer, configured: Configured) -> None:
    async with running(configured(nats_url=["nats://127.0.0.1:1", nats_server.url])) as caller:
        assert (await caller.save("wf-1")).revision == 1


async def test_a_server_found_through_another_one_is_given_the_same_credential(start: Start) -> None:
    """NATS servers of a cluster name each other; the one that was named by the operator may be the one that is down."""
    cluster = {"name": "c", "listen": "127.0.0.1:-1"}
    second = start(**USER, jetstream="disabled", server_name="second", cluster=cluster)
    routes = {**cluster, "routes": second.ports["cluster"]}
    named = start(**USER, jetstream="disabled", server_name="named", cluster=routes)

    async def known() -> bool:
        client = await nats.connect(with_user(named, f"u:{SECRET}"))
        await client.close()
        return second.url in {address.geturl() for address in client.discovered_servers}

    await until(known)
    connection = OwnedConnection(
        NatsOptions(reconnect_wait_seconds_max=0.1), lambda: (with_user(named, f"u:{SECRET}"),), "test"
    )
    await connection.open()
    keeping = asyncio.create_task(connection.keep())
    link = connection.link
    named.kill()

    async def elsewhere() -> bool:
        return connection.connected and connection.link is not link

    try:
        await until(elsewhere)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await connection.close()


class Certificates:
    """A private authority, and what it has certified; and a stranger's."""

    def __init__(self, folder: Path) -> None:
        ours, stranger = Authority(folder, "ca"), Authority(folder, "stranger")
        self.authority, self.strangers_authority = ours.certificate, stranger.certificate
        self.server = ours.certify("127.0.0.1", "localhost", file="server")
        self.client = ours.certify("client", file="client")
        self.strangers_client = stranger.certify("client", file="strangers-client")

    def flags(self, ca: str = "", cert: str = "", key: str = "") -> dict[str, str]:
        """The flags that name these files."""
        files = {"authority": self.authority, "strangers_authority": self.strangers_authority, "key": self.server.key}
        files |= {"client": self.client.certificate, "strangers_client": self.strangers_client.certificate}
        keys = {"client": self.client.key, "strangers_client": self.strangers_client.key}
        found = {"nats_tls_ca": files.get(ca), "nats_tls_cert": files.get(cert), "nats_tls_key": keys.get(key or cert)}
        return {name: str(file) for name, file in found.items() if file is not None}

    @property
    def nats(self) -> dict[str, Any]:
        """TLS for NATS, which asks its clients for certificates."""
        server = self.server
        files = {"cert_file": str(server.certificate), "key_file": str(server.key), "ca_file": str(self.authority)}
        return {"tls": {**files, "verify": True}}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def tls(server: NatsServer) -> str:
    return f"tls://{server.url.partition('//')[2]}"


async def test_tls_with_a_private_authority_and_a_client_certificate(
    start: Start, configured: Configured, certificates: Certificates
) -> None:
    flags = certificates.flags(ca="authority", cert="client")

    async with running(configured(nats_url=[tls(start(**certificates.nats))], **flags)) as caller:
        assert (await caller.save("wf-1")).revision == 1


async def test_a_certificate_and_its_key_may_lie_in_one_file(
    start: Start, configured: Configured, certificates: Certificates, tmp_path: Path
) -> None:
    server = start(**certificates.nats)
    both = tmp_path / "both.pem"
    both.write_text(certificates.client.certificate.read_text() + certificates.client.key.read_text())

    flags = {"nats_url": [tls(server)], "nats_tls_ca": str(certificates.authority), "nats_tls_cert": str(both)}
    async with running(configured(**flags)) as caller:
        assert (await caller.save("wf-1")).revision == 1


async def test_a_certificate_that_was_wrong_for_a_while_does_not_cost_the_connection(
    start: Start, configured: Configured, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(**certificates.nats)
    right = server.configuration["tls"]
    stranger = certificates.strangers_client
    wrong = {**right, "cert_file": str(stranger.certificate), "key_file": str(stranger.key)}
    flags = certificates.flags(ca="authority", cert="client")

    def start_again(settings: dict[str, Any]) -> None:
        server.kill()
        server.configuration |= {"tls": settings, "listen": server.url.partition("//")[2]}
        server.start()

    async def refused() -> bool:
        return "cannot connect to NATS: " in caplog.text and "certificate verify failed" in caplog.text

    async with running(configured(nats_url=[tls(server)], **flags)) as caller:
        await caller.save("wf-1")
        start_again(wrong)
        await until(refused)
        start_again(right)
        await until(lambda: caller.saved("wf-2"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, "certificate verify failed"),
        ({"ca": "strangers_authority"}, "certificate verify failed"),
        ({"ca": "authority"}, ""),
        ({"ca": "authority", "cert": "strangers_client"}, ""),
        ({"ca": "authority", "cert": "client", "key": "strangers_client"}, "key values mismatch"),
        ({"ca": "key"}, "no certificate"),
        ({"ca": "authority", "cert": "key"}, ""),
    ],
    ids=["no authority", "another authority", "no certificate", "another's", "another key", "no such", "a key only"],
)
async def test_what_tls_refuses_is_told(
    start: Start, configured: Configured, certificates: Certificates, flags: dict[str, str], words: str
) -> None:
    server = start(**certificates.nats)

    refused = await asyncio.wait_for(refusal(configured(nats_url=[tls(server)], **certificates.flags(**flags))), 60)

    assert refused.startswith("cannot connect to NATS at tls://127.0.0.1:")
    assert words in refused.lower()


async def test_a_credentials_file(start: Start, configured: Configured, tmp_path: Path) -> None:
    operator = Operator()
    server = start(**operator.configuration)
    creds = tmp_path / "user.creds"
    creds.write_text(operator.credentials("service"))

    async with running(configured(nats_url=[server.url], nats_creds=str(creds))) as caller:
        assert (await caller.save("wf-1")).revision == 1
        server.kill()
        await until(caller.away)
        # Credentials are renewed by replacing the file.
        creds.write_text(operator.credentials("service, later"))
        server.start()
        await until(lambda: caller.saved("wf-2"))


async def test_a_credentials_file_that_is_being_replaced_does_not_cost_the_connection(
    start: Start, configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operator = Operator()
    server = start(**operator.configuration)
    creds = tmp_path / "user.creds"
    creds.write_text(operator.credentials("service"))

    async def refused() -> bool:
        return caplog.text.count("cannot connect to NATS: ") > attempts + 2

    async with running(configured(nats_url=[server.url], nats_creds=str(creds))) as caller:
        await caller.save("wf-1")
        server.kill()
        creds.write_text("")
        server.start()
        attempts = caplog.text.count("cannot connect to NATS: ")
        await until(refused)
        creds.write_text(operator.credentials("service"))
        await until(lambda: caller.saved("wf-2"))


async def test_credentials_of_a_stranger_are_refused(start: Start, configured: Configured, tmp_path: Path) -> None:
    server = start(**Operator().configuration)
    (tmp_path / "user.creds").write_text(Operator().credentials("stranger"))

    words = await refusal(configured(nats_url=[server.url], nats_creds=str(tmp_path / "user.creds")))

    assert "authorization" in words.lower()


@pytest.mark.parametrize("flaw", ["empty", "something else", "a wrong seed", "no token", "cut off"])
def test_a_file_that_is_no_credentials_file_is_told(start: Start, tmp_path: Path, flaw: str) -> None:
    """In a process of its own: what reads such a file for ever cannot be interrupted."""
    operator = Operator()
    server = start(**operator.configuration)
    valid = operator.credentials("service")
    token, seed = valid.split("\n\n")
    texts = {
        "empty": "",
        "something else": "nothing of the kind\n",
        "a wrong seed": f"{token}\n\n{seed.replace('SU', '!!', 1)}",
        "no token": seed,
        "cut off": valid[:100],
    }
    (tmp_path / "user.creds").write_text(texts[flaw])
    own = ("--listen", "127.0.0.1:0", "--metrics-listen", "off")
    command = (sys.executable, "-m", "workflowstore_server", "serve", *own)

    ended = subprocess.run(
        [*command, "--nats-url", server.url, "--nats-creds", str(tmp_path / "user.creds")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "workflowstore: cannot connect to NATS at " in ended.stderr


def knowing(nkey: Nkey) -> dict[str, Any]:
    """The configuration of a NATS that lets this nkey in, and nobody else."""
    return {"authorization": {"users": [{"nkey": nkey.public}]}}


async def test_an_nkey(start: Start, configured: Configured, tmp_path: Path) -> None:
    first, second = Nkey(), Nkey()
    server = start(**knowing(first))
    seed = tmp_path / "seed.nk"
    seed.write_text(first.seed + "\n")

    async with running(configured(nats_url=[server.url], nats_nkey=str(seed))) as caller:
        assert (await caller.save("wf-1")).revision == 1
        server.kill()
        await until(caller.away)
        # One that is renewed is so by replacing the file.
        server.configuration |= knowing(second)
        seed.write_text(second.seed)
        server.start()
        await until(lambda: caller.saved("wf-2"))


async def test_an_nkey_over_tls_that_asks_for_certificates(
    start: Start, configured: Configured, certificates: Certificates, tmp_path: Path
) -> None:
    nkey, seed = Nkey(), tmp_path / "seed.nk"
    seed.write_text(nkey.seed)
    server = start(**knowing(nkey), **certificates.nats)
    flags = {"nats_url": [tls(server)], "nats_nkey": str(seed), **certificates.flags(ca="authority", cert="client")}

    async with running(configured(**flags)) as caller:
        assert (await caller.save("wf-1")).revision == 1


async def test_an_nkey_of_a_stranger_is_refused(start: Start, configured: Configured, tmp_path: Path) -> None:
    server = start(**knowing(Nkey()))
    (tmp_path / "seed.nk").write_text(Nkey().seed)

    words = await refusal(configured(nats_url=[server.url], nats_nkey=str(tmp_path / "seed.nk")))

    assert "authorization" in words.lower()


@pytest.mark.parametrize("flaw", ["empty", "something else", "the public half", "cut off"])
async def test_a_file_that_holds_no_nkey_is_told_without_what_is_in_it(
    start: Start, configured: Configured, tmp_path: Path, flaw: str
) -> None:
    nkey = Nkey()
    server = start(**knowing(nkey))
    texts = {"empty": "", "something else": "nothing", "the public half": nkey.public, "cut off": nkey.seed[:20]}
    (tmp_path / "seed.nk").write_text(texts[flaw])

    words = await refusal(configured(nats_url=[server.url], nats_nkey=str(tmp_path / "seed.nk")))

    assert words.endswith("seed.nk is not the seed of an nkey, which is one line that begins with SU")


async def test_certificates_towards_nats_are_renewed_by_replacing_the_files(
    start: Start, configured: Configured, certificates: Certificates
) -> None:
    server = start(**certificates.nats)
    flags = certificates.flags(ca="authority", cert="client")

    async with running(configured(nats_url=[tls(server)], **flags)) as caller:
        await caller.save("wf-1")
        server.kill()
        await until(caller.away)
        server.configuration["tls"]["ca_file"] = str(certificates.strangers_authority)
        server.configuration["listen"] = server.url.partition("//")[2]
        certificates.client.replace(certificates.strangers_client)
        server.start()
        await until(lambda: caller.saved("wf-2"))


async def test_a_monitoring_endpoint_with_tls_is_checked_by_the_same_authority(
    start: Start, configured: Configured, certificates: Certificates
) -> None:
    server = start(https="127.0.0.1:-1", **certificates.nats)
    monitor = server.ports["monitoring"][0]
    assert monitor.startswith("https://")
    flags = certificates.flags(ca="authority", cert="client")

    async with running(configured(nats_url=[tls(server)], nats_monitor_url=monitor, **flags)) as caller:
        assert pb.Durability.Name((await caller.info()).durability) == "DURABILITY_FSYNC_ALWAYS"


@pytest.mark.parametrize(
    ("sync_interval", "durability", "warned"),
    [("always", "DURABILITY_FSYNC_ALWAYS", False), ("2m", "DURABILITY_FSYNC_INTERVAL", True)],
)
async def test_its_monitoring_endpoint_tells_how_durable_writes_are(
    start: Start,
    configured: Configured,
    caplog: pytest.LogCaptureFixture,
    sync_interval: str,
    durability: str,
    warned: bool,
) -> None:
    server = start(jetstream={"sync_interval": sync_interval}, http="127.0.0.1:-1")

    flags = {"nats_url": [server.url], "nats_monitor_url": server.ports["monitoring"][0]}
    with caplog.at_level(logging.WARNING):
        async with running(configured(**flags)) as caller:
            assert pb.Durability.Name((await caller.info()).durability) == durability

    assert ("a power cut loses acknowledged writes" in caplog.text) == warned


async def test_without_a_monitoring_endpoint_durability_is_not_known_and_that_is_warned_of(
    nats_server: NatsServer, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with running(configured(nats_url=[nats_server.url])) as caller:
            assert (await caller.info()).durability == pb.DURABILITY_UNSPECIFIED

    assert "whether NATS syncs acknowledged writes to disk is not known" in caplog.text
    assert "--nats-monitor-url" in caplog.text


async def test_a_monitoring_endpoint_that_is_none_is_told(
    nats_server: NatsServer, start: Start, configured: Configured
) -> None:
    url = [nats_server.url]
    no_jetstream = start(jetstream="disabled", http="127.0.0.1:-1").ports["monitoring"][0]
    for_clients = nats_server.url.replace("nats:", "http:")

    nobody = await refusal(configured(nats_url=url, nats_monitor_url="http://127.0.0.1:1"))
    without = await refusal(configured(nats_url=url, nats_monitor_url=no_jetstream))
    # The port that clients use is the likeliest mistake.
    mistaken = await refusal(configured(nats_url=url, nats_monitor_url=for_clients))

    assert nobody.startswith("--nats-monitor-url: ")
    assert "refused" in nobody
    assert without == f"--nats-monitor-url: {no_jetstream}/varz is not the report of a NATS server with JetStream"
    assert mistaken == f"--nats-monitor-url: {for_clients}/varz is not the report of a NATS server with JetStream"


async def test_a_nats_without_jetstream_is_refused(start: Start, configured: Configured) -> None:
    words = await refusal(configured(nats_url=[start(jetstream="disabled").url]))

    assert words.startswith("bucket beluga_workflows cannot be used: ")
    assert "JetStream" in words


async def test_more_replicas_than_the_cluster_has_are_refused(nats_server: NatsServer, configured: Configured) -> None:
    words = await refusal(configured(nats_url=[nats_server.url], replicas=3))

    assert words.startswith("bucket beluga_workflows cannot be used: cannot create the bucket: ")
    assert "replicas" in words


async def test_a_nats_that_is_too_old_is_refused(
    nats_server: NatsServer, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "EXTERNAL_VERSION_MIN", (99, 0))

    assert "use 2.11 or newer" in await refusal(configured(nats_url=[nats_server.url]))


async def test_two_servers_share_a_bucket(nats_server: NatsServer, configured: Configured, tmp_path: Path) -> None:
    config = configured(nats_url=[nats_server.url])
    async with (
        running(config) as one,
        running(replace(config, data_directory=tmp_path / "other", index=IN_MEMORY)) as other,
    ):
        saved = await one.save("wf-1", error="by one")
        loaded = (await other.stub.Load(pb.LoadRequest(workflow_id="wf-1"))).state
        assert (loaded.revision, loaded.error) == (saved.revision, "by one")

        state = state_pb.WorkflowState(workflow_id="wf-1")
        await other.stub.Save(pb.SaveRequest(state=state, expected_revision=saved.revision))
        lost = await failure(one.stub.Save(pb.SaveRequest(state=state, expected_revision=saved.revision)))
        assert lost.reason == "REVISION_MISMATCH"
        assert lost.metadata["actual_revision"] == str(saved.revision + 1)
        assert await one.revisions() == await other.revisions()


async def test_two_servers_do_not_share_a_port(nats_server: NatsServer, configured: Configured) -> None:
    async with app.running(configured(nats_url=[nats_server.url])) as service:
        words = await refusal(configured(nats_url=[nats_server.url], listen=service.address, index=":memory:"))

    assert words.startswith(f"cannot listen on {service.address}; is another server there?")


async def test_health_tells_that_nats_is_away_and_that_it_is_back(
    nats_server: NatsServer, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    service_name = "workflowstore.v1.WorkflowStore"
    with caplog.at_level(logging.INFO):
        async with running(configured(nats_url=[nats_server.url])) as caller:
            await caller.save("wf-1")
            assert await caller.serving()
            assert await caller.serving(service_name)

            nats_server.stop()
            await until(caller.away)
            assert not await caller.serving(service_name)
            write = await failure(caller.save("wf-2"))
            nats_server.start()
            await until(caller.serving)
            assert await caller.serving(service_name)

            assert (await caller.save("wf-2")).revision == 2

    assert (write.code, write.metadata["outcome"]) == (grpc.StatusCode.UNAVAILABLE, "not_applied")
    assert "calls cannot succeed: bucket beluga_workflows cannot be used: not connected to NATS" in caplog.text
    assert "calls can succeed again" in caplog.text


async def test_a_bucket_deleted_underneath_is_made_again_and_calls_go_on(
    nats_server: NatsServer, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    client = await nats.connect(nats_server.url)
    async with running(configured(nats_url=[nats_server.url], bucket=["one", "two"])) as caller:
        await caller.save("wf-1")
        for bucket in ("one", "two"):
            await client.jetstream().delete_stream(f"KV_{bucket}")

        # Without a call as well: the server looks after its buckets.
        async def there_again() -> bool:
            found = await client.jetstream().streams_info()
            return {info.config.name for info in found} == {"KV_one", "KV_two"}

        await until(there_again)
        assert (await caller.save("wf-2")).revision == 1
        assert await caller.revisions() == {"wf-2": 1}
        await until(caller.serving)
    await client.close()

    assert "bucket one had been deleted and was created again, empty" in caplog.text


async def test_a_bucket_that_may_not_be_made_is_refused_at_the_start_and_later(
    nats_server: NatsServer, configured: Configured
) -> None:
    config = configured(nats_url=[nats_server.url], create_buckets=False)
    words = await refusal(config)
    assert words == "bucket beluga_workflows does not exist; create it, or drop --no-create-buckets"

    client = await nats.connect(nats_server.url)
    async with running(configured(nats_url=[nats_server.url])):
        pass
    async with running(config) as caller:
        await caller.save("wf-1")
        await client.jetstream().delete_stream("KV_beluga_workflows")

        found = await failure(caller.save("wf-2"))
        assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BUCKET_NOT_FOUND")
        await until(caller.away)
        assert await client.jetstream().streams_info() == []

        async with running(configured(nats_url=[nats_server.url], index=":memory:")):
            await until(caller.serving)
        assert (await caller.save("wf-3")).revision == 1
    await client.close()
