"""Each limit of a connection holds: gRPC takes options that it does not know without a word."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from support import http2
from support.certificates import Authority
from support.entries import indexed
from support.statuses import failure
from support.waiting import until
from workflowstore import AsyncClient, WorkflowState, WorkflowStoreError
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.service import connections
from workflowstore_server.service.connections import ConnectionOptions
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import Servicer
from workflowstore_server.service.transport import TlsOptions
from workflowstore_server.store.memory import MemoryStore

from .conftest import about  # type: ignore[import-not-found]

BUCKET = "beluga_workflows"
WATCH = "/workflowstore.v1.WorkflowStore/Watch"
INFO = "/workflowstore.v1.WorkflowStore/GetInfo"

Served = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(BUCKET)


@pytest.fixture
async def served(store: MemoryStore) -> AsyncIterator[Served]:
    """Makes a server over the store with some options of its connections."""
    async with indexed(store) as index:

        @asynccontextmanager
        async def served(tls: TlsOptions | None = None, **options: Any) -> AsyncIterator[Service]:
            servicer = Servicer({BUCKET: store}, {BUCKET: index}, about, lambda: 0)
            listen = ServiceOptions("127.0.0.1:0", drain_seconds=1, connections=ConnectionOptions(**options), tls=tls)
            service = Service(servicer, {BUCKET: index}, listen)
            await service.start()
            try:
                yield service
            finally:
                await service.drain()

        yield served


@asynccontextmanager
async def stub_of(service: Service, *options: tuple[str, Any]) -> AsyncIterator[WorkflowStoreStub]:
    async with grpc.aio.insecure_channel(service.address, options=options) as channel:
        yield WorkflowStoreStub(channel)


async def test_the_streams_and_the_metadata_of_a_connection_are_told(served: Served) -> None:
    async with served() as service, http2.connected(service.address) as connection:
        await connection.begin()

        settings = (await connection.frame()).settings

    assert settings[http2.MAX_CONCURRENT_STREAMS] == connections.STREAMS_MAX
    assert settings[http2.MAX_HEADER_LIST_SIZE] == connections.METADATA_BYTES_MAX_HARD


async def test_a_client_with_more_calls_than_a_connection_takes_is_served(served: Served) -> None:
    async with served() as service, stub_of(service) as stub:
        for _ in range(2):
            infos = await asyncio.gather(
                *[stub.GetInfo(pb.GetInfoRequest()) for _ in range(3 * connections.STREAMS_MAX)]
            )
            assert {info.server_version for info in infos} == {"1.2.3"}


async def test_what_is_beyond_the_streams_of_a_connection_is_refused(served: Served) -> None:
    async with served() as service, http2.connected(service.address) as connection:
        await connection.begin()
        await connection.until(http2.SETTINGS)
        # Their requests do not come.
        begun = [http2.headers(2 * number + 1, INFO) for number in range(connections.STREAMS_MAX + 1)]

        await connection.send(b"".join(begun))

        refused = await connection.until(http2.RST_STREAM)
        assert refused.stream == 2 * connections.STREAMS_MAX + 1
        assert int.from_bytes(refused.payload, "big") == http2.REFUSED_STREAM
        await until(lambda: _true(len(service._calls.arriving.running) == connections.STREAMS_MAX))


async def _true(value: bool) -> bool:
    return value


async def test_a_connection_without_calls_is_closed(served: Served) -> None:
    async with served(idle_seconds_max=0.2) as service:
        async with http2.connected(service.address) as connection:
            await connection.begin()
            await connection.until(http2.GOAWAY)
        async with stub_of(service) as stub:
            await stub.GetInfo(pb.GetInfoRequest())
            await asyncio.sleep(1)
            await stub.GetInfo(pb.GetInfoRequest())


async def test_a_connection_ends_by_its_age_and_then_by_force(served: Served) -> None:
    async with (
        served(age_seconds_max=0.2, age_grace_seconds=0.2) as service,
        http2.connected(service.address) as connection,
    ):
        await connection.begin()
        await connection.send(http2.headers(1, INFO))  # a call that does not end by itself

        await connection.until(http2.GOAWAY)
        await connection.until_closed()


async def test_clients_get_on_whatever_the_age_of_their_connection(
    store: MemoryStore, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten connections or so come and go under a list, a watch, and saves."""
    # Not given up on a machine that is busy, where more connections than those may end without any use.
    monkeypatch.setattr("workflowstore.client._resume.RESUME_SECONDS", 300)
    for number in range(200):
        document = {"WorkflowID": f"old-{number:03}", "Error": "x" * 100_000}
        store.store(f"old-{number:03}", json.dumps(document).encode())
    async with (
        served(age_seconds_max=0.2, age_grace_seconds=0.8) as service,
        AsyncClient(service.address) as client,
        grpc.aio.insecure_channel(
            service.address, (("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0))
        ) as narrow,
    ):
        watched: list[str] = []
        ages: list[str] = []

        async def watch() -> None:
            async for change in client.watch(after_revision=200):
                watched.append(change.workflow_id)

        async def list_() -> None:
            # A List of which nothing has come is its caller's to repeat. After that the client has to go on by itself.
            while not ages:
                try:
                    async for state in AsyncClient(channel=narrow).list():
                        ages.append(state.workflow_id)
                        await asyncio.sleep(0.01)
                except WorkflowStoreError as error:
                    if ages or error.code not in ("UNAVAILABLE", "CANCELLED"):
                        raise

        await client.count()  # the index is there
        watching, listing = asyncio.create_task(watch()), asyncio.create_task(list_())
        saved = [f"new-{number}" for number in range(100)]
        for workflow_id in saved:
            await client.save(WorkflowState(workflow_id))
            await asyncio.sleep(0.02)
        await listing
        await until(lambda: _true(len(watched) >= len(saved)))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    assert watched == saved
    assert [name for name in ages if name.startswith("old")] == [f"old-{number:03}" for number in range(200)]
    assert len(ages) == len(set(ages))


async def test_a_client_that_is_gone_is_noticed_and_its_watch_ends(served: Served) -> None:
    async with (
        # Who is there has time to answer, however busy the machine is.
        served(keepalive_seconds=0.2, keepalive_timeout_seconds=5) as service,
        stub_of(service) as stub,
        http2.connected(service.address) as connection,
    ):
        alive = stub.Watch(pb.WatchRequest())
        await alive.read()
        await connection.begin()
        await connection.send(http2.headers(1, WATCH) + http2.message(1))
        await connection.until(http2.DATA)
        assert len(service._calls.watches.running) == 2

        await connection.until_closed()  # it does not answer pings

        await until(lambda: _true(len(service._calls.watches.running) == 1))
        await asyncio.sleep(1)
        assert not alive.done()
        alive.cancel()


@pytest.mark.parametrize("with_call", [False, True])
async def test_a_client_that_pings_too_often_loses_its_connection(served: Served, with_call: bool) -> None:
    async with served() as service, http2.connected(service.address) as connection:
        await connection.begin()
        if with_call:
            await connection.send(http2.headers(1, INFO))
        # What the server sends of its own makes it forget pings, which it does not after its first frames.
        await connection.send(http2.frame(http2.PING, bytes(8)) * 20)

        assert (await connection.until(http2.GOAWAY)).goaway_code == http2.ENHANCE_YOUR_CALM


async def test_a_client_may_ping_as_often_as_is_said(served: Served) -> None:
    async with served(ping_seconds_min=0.05) as service, http2.connected(service.address) as connection:
        await connection.begin()
        for _ in range(10):
            await connection.send(http2.frame(http2.PING, bytes(8)))
            await connection.until(http2.PING, flags=http2.ACK)
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("begun", [b"", http2.PREFACE[:10], http2.PREFACE], ids=["nothing", "half", "no settings"])
async def test_who_does_not_begin_with_http2_is_closed(served: Served, begun: bytes) -> None:
    async with served(handshake_seconds_max=0.3) as service, http2.connected(service.address) as connection:
        await connection.send(begun)

        await connection.until_closed()


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00", http2.PREFACE], ids=["nothing", "half", "no TLS"])
async def test_who_does_not_begin_with_tls_is_closed(served: Served, begun: bytes, tmp_path: Path) -> None:
    certified = Authority(tmp_path, "ca").certify("127.0.0.1", file="server")
    tls = TlsOptions(certified.certificate, certified.key)
    async with served(tls, handshake_seconds_max=0.3) as service, http2.connected(service.address) as connection:
        await connection.send(begun)

        await connection.until_closed()


async def test_what_is_too_large_for_a_connection_is_refused(store: MemoryStore, served: Served) -> None:
    unlimited = ("grpc.max_receive_message_length", -1)
    document = {"WorkflowID": "large", "Error": "x" * connections.SEND_BYTES_MAX}
    store.store("large", json.dumps(document).encode())
    async with served() as service, stub_of(service, unlimited) as stub:
        fields = state_pb.WorkflowState(workflow_id="w", error="x" * connections.RECEIVE_BYTES_MAX)
        for call in (
            stub.Save(pb.SaveRequest(state=fields)),
            stub.Load(pb.LoadRequest(workflow_id="large"), timeout=20),
            stub.GetInfo(pb.GetInfoRequest(), metadata=(("x", "y" * connections.METADATA_BYTES_MAX_HARD),), timeout=20),
        ):
            assert (await failure(call)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await stub.GetInfo(pb.GetInfoRequest(), metadata=(("x", "y" * (connections.METADATA_BYTES_MAX - 1000)),))


async def test_metadata_of_more_than_half_of_the_most_are_refused_now_and_then(served: Served) -> None:
    async with served() as service, stub_of(service) as stub:
        much = (("x", "y" * (connections.METADATA_BYTES_MAX_HARD - 1000)),)
        calls = [stub.GetInfo(pb.GetInfoRequest(), metadata=much) for _ in range(50)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_there_are_no_more_connections_than_files(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "connections_max", lambda: 2)
    async with served() as service, http2.connected(service.address) as one, http2.connected(service.address) as two:
        for connection in (one, two):
            await connection.begin()
            await connection.until(http2.SETTINGS)
        async with http2.connected(service.address) as third:
            await third.begin()
            await third.until_closed()
