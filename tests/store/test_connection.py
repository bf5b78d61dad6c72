"""A connection that is never lost for good: what calls meet while NATS is away, and that they succeed afterwards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import nats
import pytest

from support.entries import everything, ids_of
from support.nats_server import NatsServer
from support.waiting import until
from workflowstore_server.model.errors import (
    BucketConfiguration,
    BucketNotFound,
    BucketRecreated,
    Outcome,
    StateTooLarge,
    StorageFull,
    StorageUnavailable,
    StoreError,
)
from workflowstore_server.model.state import WorkflowState
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection, writer
from workflowstore_server.store.jetstream.link import NotSentError, Replies, UnansweredError

EAGER = NatsOptions(reconnect_wait_seconds_max=0.1)


@pytest.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[OwnedConnection]:
    connection = OwnedConnection(EAGER, lambda: (nats_server.url,), "test")
    await connection.open()
    keeping = asyncio.create_task(connection.keep())
    yield connection
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await connection.close()


@pytest.fixture
async def store(connection: OwnedConnection) -> AsyncIterator[JetStreamStore]:
    store = JetStreamStore(connection, "beluga_workflows")
    await store.open()
    yield store
    await store.close()


async def saved(store: JetStreamStore, workflow_id: str) -> bool:
    try:
        await store.save(WorkflowState(workflow_id))
    except StorageUnavailable:
        return False
    return True


async def test_calls_fail_at_once_while_nats_is_away_and_nothing_is_written_later(
    store: JetStreamStore, connection: OwnedConnection, nats_server: NatsServer
) -> None:
    nats_server.kill()
    await until(lambda: _async(not connection.connected))

    with pytest.raises(StorageUnavailable) as write:
        await store.save(WorkflowState("ghost"))
    with pytest.raises(StorageUnavailable) as read:
        await store.load("ghost")
    nats_server.start()
    await until(lambda: saved(store, "wf-1"))

    assert write.value.outcome is Outcome.NOT_APPLIED
    assert read.value.outcome is None
    ids = await ids_of(store)
    assert ids == ["wf-1"]


async def test_nothing_acknowledged_is_lost_when_nats_is_killed_again_and_again_under_load(
    store: JetStreamStore, nats_server: NatsServer
) -> None:
    acknowledged: dict[str, int] = {}
    stop = asyncio.Event()
    unknown = 0

    async def write(writer: int) -> None:
        nonlocal unknown
        number = 0
        while not stop.is_set():
            number += 1
            workflow_id = f"wf-{writer}-{number}"
            try:
                acknowledged[workflow_id] = (await store.save(WorkflowState(workflow_id))).revision
            except StorageUnavailable as error:
                unknown += error.outcome is Outcome.UNKNOWN
                await asyncio.sleep(0.005)

    writers = [asyncio.create_task(write(writer)) for writer in range(16)]
    for round_number in range(5):
        enough = len(acknowledged) + 200
        await until(lambda enough=enough: _async(len(acknowledged) >= enough))
        (nats_server.stop if round_number % 2 else nats_server.kill)()
        nats_server.start()
    stop.set()
    await asyncio.gather(*writers)
    await until(lambda: saved(store, "last"))

    found = {entry.state.workflow_id: entry.revision for entry in await everything(store)}  # type: ignore[union-attr]
    assert acknowledged.items() <= found.items()


async def test_a_nats_server_that_hangs_makes_writes_unknown_and_is_used_again_when_it_goes_on(
    store: JetStreamStore, connection: OwnedConnection, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From now on only: what has to succeed needs its time on a machine that is busy.
    monkeypatch.setattr(connection.link, "_timeout", 0.5)
    nats_server.pause()
    with pytest.raises(StorageUnavailable) as caught:
        await store.save(WorkflowState("wf-1"))
    nats_server.resume()
    await until(lambda: saved(store, "wf-2"))

    assert caught.value.outcome is Outcome.UNKNOWN


async def test_requests_in_flight_fail_the_moment_the_connection_does(
    connection: OwnedConnection, nats_server: NatsServer
) -> None:
    patient = OwnedConnection(NatsOptions(request_timeout_seconds=60), lambda: (nats_server.url,), "patient")
    await patient.open()
    store = JetStreamStore(patient, "beluga_workflows")
    await store.open()
    nats_server.pause()
    saving = asyncio.create_task(store.save(WorkflowState("wf-1")))
    await asyncio.sleep(0.05)

    nats_server.kill()

    with pytest.raises(StorageUnavailable) as caught:
        await asyncio.wait_for(saving, 10)
    assert caught.value.outcome is Outcome.UNKNOWN
    await store.close()
    await patient.close()


async def test_an_oversize_value_is_refused_before_it_can_cost_the_connection(
    store: JetStreamStore, connection: OwnedConnection
) -> None:
    link = connection.link
    with pytest.raises(StateTooLarge):
        await store.save(WorkflowState("wf-1", error="x" * link.max_payload_bytes))

    await store.save(WorkflowState("wf-1"))
    assert connection.link is link


async def test_a_connection_that_the_server_closed_for_a_protocol_error_is_replaced(
    store: JetStreamStore, connection: OwnedConnection
) -> None:
    """Headers count towards max_payload, which nats-py does not check: the server closes the connection."""
    link = connection.link
    future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
    await link.post(future, "$KV.beluga_workflows.x", b"x" * link.max_payload_bytes, {"A": "b" * 100})
    with pytest.raises(UnansweredError):
        await future

    await until(lambda: saved(store, "wf-1"))
    assert connection.link is not link


async def test_a_connection_that_breaks_while_something_is_sent_is_replaced(
    connection: OwnedConnection, store: JetStreamStore, nats_server: NatsServer
) -> None:
    """nats-py then closes without a word: it fails at what it had still to send, before it tells that it is closed."""
    client = connection._client
    assert client is not None
    nats_server.kill()
    nats_server.start()
    sending = asyncio.create_task(send_until_closed(client))

    await until(lambda: reachable(store))
    await sending
    # Nor does it end what hands over the messages of its subscriptions, which would be found when it is forgotten.
    assert len([task for task in asyncio.all_tasks() if "_wait_for_msgs" in repr(task.get_coro())]) == 1


async def send_until_closed(client: nats.NATS) -> None:
    while not client.is_closed:
        # What publish leaves there when it cannot be sent at once.
        client._pending.append(b"PUB x 1\r\nx\r\n")
        client._pending_data_size += 13
        await asyncio.sleep(0)


async def reachable(store: JetStreamStore) -> bool:
    try:
        await store.info()
    except StorageUnavailable:
        return False
    return True


async def test_the_embedded_server_may_come_back_on_another_port(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first = NatsServer(tmp_path / "a")
    current = first
    connection = OwnedConnection(EAGER, lambda: (current.url,), "test")
    await connection.open()
    keeping = asyncio.create_task(connection.keep())
    first.kill()
    await until(lambda: _async(not connection.connected))
    (tmp_path / "b").mkdir()
    current = NatsServer(tmp_path / "b")
    await until(lambda: _async(connection.connected))

    store = JetStreamStore(connection, "beluga_workflows")
    await store.open()
    await store.save(WorkflowState("wf-1"))

    await store.close()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await connection.close()
    current.stop()


async def test_a_closed_connection_says_that_nothing_was_sent(nats_server: NatsServer) -> None:
    connection = OwnedConnection(EAGER, lambda: (nats_server.url,), "test")
    await connection.open()
    link = connection.link
    await connection.close()

    with pytest.raises(NotSentError):
        await link.request("$JS.API.INFO", b"")
    with pytest.raises(NotSentError):
        _ = connection.link


@pytest.mark.parametrize("refused", ["credential", "port"])
async def test_a_first_connection_that_fails_says_why(tmp_path: Path, refused: str) -> None:
    server = NatsServer(tmp_path, authorization={"user": "u", "password": "p"})
    url = server.url if refused == "credential" else "nats://127.0.0.1:1"
    connection = OwnedConnection(EAGER, lambda: (url,), "test")

    with pytest.raises((OSError, nats.errors.Error), match=r"(?i)authorization|connect"):
        await connection.open()

    await connection.close()
    server.stop()


async def test_a_bucket_deleted_underneath_is_told_and_created_again(
    store: JetStreamStore, nats_client: nats.NATS
) -> None:
    for call in (
        lambda: store.save(WorkflowState("wf-1")),
        lambda: store.load("wf-1"),
        lambda: store.delete("wf-1"),
        store.info,
        store.position,
        lambda: store.changes(0, 1),
        lambda: store.last(["wf-1"], 1),
    ):
        await store.save(WorkflowState("wf-1"))
        await nats_client.jetstream().delete_stream("KV_beluga_workflows")
        with pytest.raises(BucketRecreated):
            await call()
        await store.save(WorkflowState("wf-1"))


async def test_what_is_saved_into_a_bucket_created_again_is_not_deleted_with_the_old_one(
    store: JetStreamStore, nats_client: nats.NATS, nats_server: NatsServer
) -> None:
    jetstream = nats_client.jetstream()
    # nats-server deletes a stream while its name is free already. Consumers make that take long enough to be met.
    for number in range(500):
        await jetstream.add_consumer("KV_beluga_workflows", durable_name=f"consumer-{number}")
    deleting = asyncio.create_task(jetstream.delete_stream("KV_beluga_workflows"))

    async def recreated() -> bool:
        try:
            await store.info()
        except BucketRecreated:
            return True
        except StorageUnavailable:  # NATS is busy deleting
            return False
        return False

    await until(recreated)
    await deleting
    await store.save(WorkflowState("wf-1"))
    nats_server.kill()
    nats_server.start()

    await until(lambda: reachable(store))
    assert (await store.load("wf-1")).state == WorkflowState("wf-1")


async def test_a_bucket_deleted_underneath_is_refused_where_creating_is_not_allowed(
    connection: OwnedConnection, store: JetStreamStore, nats_client: nats.NATS
) -> None:
    strict = JetStreamStore(connection, "beluga_workflows", BucketOptions(create=False))
    await strict.open()
    await nats_client.jetstream().delete_stream("KV_beluga_workflows")

    for call in (lambda: strict.save(WorkflowState("wf-1")), lambda: strict.load("wf-1"), strict.info):
        with pytest.raises(BucketNotFound):
            await call()
    with pytest.raises(BucketNotFound):
        await JetStreamStore(connection, "other", BucketOptions(create=False)).open()

    await strict.close()


async def test_a_full_bucket_refuses_writes_and_answers_reads(store: JetStreamStore, nats_client: nats.NATS) -> None:
    await store.save(WorkflowState("wf-1"))
    jetstream = nats_client.jetstream()
    config = (await jetstream.stream_info("KV_beluga_workflows")).config
    await jetstream.update_stream(config.evolve(max_bytes=4096))

    with pytest.raises(StorageFull):
        await store.save(WorkflowState("wf-2", error="x" * 8192))

    assert (await store.load("wf-1")).state.workflow_id == "wf-1"


async def test_a_bucket_that_bounds_the_size_of_a_message_says_so(
    store: JetStreamStore, nats_client: nats.NATS
) -> None:
    jetstream = nats_client.jetstream()
    config = (await jetstream.stream_info("KV_beluga_workflows")).config
    await jetstream.update_stream(config.evolve(max_msg_size=1024))

    with pytest.raises(BucketConfiguration) as caught:
        await store.save(WorkflowState("wf-2", error="x" * 8192))

    assert caught.value.setting == "max_msg_size"


async def test_a_borrowed_connection_stays_open(nats_client: nats.NATS) -> None:
    async with JetStreamStore.over(nats_client, "beluga_workflows") as store:
        await store.save(WorkflowState("wf-1"))

    await nats_client.flush()
    assert nats_client.is_connected


async def test_a_borrowed_connection_that_is_lost_fails_calls_without_a_ghost(
    nats_client: nats.NATS, nats_server: NatsServer
) -> None:
    async with JetStreamStore.over(nats_client, "beluga_workflows") as store:
        nats_server.kill()
        await until(lambda: _async(not nats_client.is_connected))
        with pytest.raises(StorageUnavailable) as caught:
            await store.save(WorkflowState("ghost"))
        nats_server.start()
        await until(lambda: saved(store, "wf-1"))

        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert (await store.info()).revisions == 1


async def test_reads_that_wait_when_the_store_is_closed_are_cancelled(
    connection: OwnedConnection, nats_server: NatsServer
) -> None:
    store = JetStreamStore(connection, "beluga_workflows")
    await store.open()
    nats_server.pause()
    reads = [asyncio.create_task(store.load(f"wf-{number}")) for number in range(3)]
    await asyncio.sleep(0.01)

    await store.close()

    outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError | StoreError) for outcome in outcomes)
    nats_server.resume()


async def test_a_store_that_is_closed_says_so(nats_client: nats.NATS) -> None:
    async with JetStreamStore.over(nats_client, "beluga_workflows") as store:
        await store.save(WorkflowState("wf-1"))

    with pytest.raises(StorageUnavailable, match="the store is closed") as caught:
        await store.save(WorkflowState("wf-2"))
    with pytest.raises(StorageUnavailable, match="the store is closed"):
        await store.load("wf-1")

    assert caught.value.outcome is Outcome.NOT_APPLIED


async def test_a_write_that_has_not_left_when_the_store_is_closed_is_not_applied(
    connection: OwnedConnection, store: JetStreamStore, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes wait for those before them to be acknowledged, so some of these have been sent and some have not."""
    monkeypatch.setattr(writer, "GATHER_SECONDS", 60)
    closing = JetStreamStore(connection, "beluga_workflows")
    await closing.open()
    writes = closing._bucket._writer
    nats_server.pause()
    first = asyncio.create_task(closing.save(WorkflowState("sent")))
    await until(lambda: _async(writes._unacknowledged))
    second = asyncio.create_task(closing.save(WorkflowState("waiting")))
    await until(lambda: _async(writes._waiting))

    await closing.close()
    nats_server.resume()

    with pytest.raises(StorageUnavailable) as caught:
        await second
    assert caught.value.outcome is Outcome.NOT_APPLIED
    await first
    ids = await ids_of(store)
    assert ids == ["sent"]


async def _async(value: object) -> object:
    return value


@pytest.mark.parametrize("ask", ["post", "send", "listen"])
async def test_what_nats_py_fails_with_as_it_finds_its_connection_gone_is_no_internal_error(
    nats_server: NatsServer, ask: str
) -> None:
    connection = OwnedConnection(NatsOptions(), lambda: (nats_server.url,), "test")
    await connection.open()
    link, client = connection.link, connection.link._client
    await link.request("$JS.API.INFO", b"")
    # The moment between the end of the task that sends and that of the one that reads, which tells of the loss.
    for task in (client._flusher_task, client._reading_task):
        assert task is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    nats_server.kill()
    transport = client._transport
    assert transport is not None
    await until(lambda: _at_eof(transport))
    transport.close()
    await transport.wait_closed()

    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "post": lambda: link.request("subject", b""),
        "send": lambda: link.send("subject", b"", {}),
        "listen": lambda: link.listening(lambda _: None).__aenter__(),
    }
    with pytest.raises(UnansweredError, match="connection"):
        await asked[ask]()
    client._pending_data_size = 0
    await connection.close()


async def _at_eof(transport) -> bool:
    return transport.at_eof()
