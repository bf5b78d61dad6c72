"""What becomes of writes whose acknowledgement is lost, and of atomic batches that are cut off."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import pytest

from support.nats_server import NatsServer
from support.proxy import Proxy, proxying
from support.waiting import until
from workflowstore_server.model.errors import (
    BucketConfiguration,
    Outcome,
    StorageUnavailable,
    StoreError,
)
from workflowstore_server.model.patch import StatePatch
from workflowstore_server.model.state import HistoryEvent, WorkflowState
from workflowstore_server.store import Deleted, Draft
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection
from workflowstore_server.store.update import Updater

EAGER = NatsOptions(reconnect_wait_seconds_max=0.1)
ATOMIC = BucketOptions(allow_atomic=True)

ACKNOWLEDGEMENT = b'{"stream":"KV_beluga_workflows","seq":'
"""How the acknowledgement of a write that was stored begins."""


@asynccontextmanager
async def opened(url: str, options: NatsOptions = EAGER) -> AsyncIterator[JetStreamStore]:
    connection = OwnedConnection(options, lambda: (url,), "test")
    await connection.open()
    keeping = asyncio.create_task(connection.keep())
    store = JetStreamStore(connection, "beluga_workflows", ATOMIC)
    await store.open()
    yield store
    await store.close()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await connection.close()


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    async with proxying(nats_server.url) as proxy:
        yield proxy


async def save(store: JetStreamStore) -> object:
    return (await store.save(WorkflowState("wf-1", error="once"), None, "id-1")).revision


async def save_expecting(store: JetStreamStore) -> object:
    return (await store.save(WorkflowState("wf-1", error="once"), 1, "id-1")).revision


async def update(store: JetStreamStore) -> object:
    patch = StatePatch({}, (HistoryEvent(),))
    saved = await Updater(store).update(patch, WorkflowState("wf-1"), None, "id-1", create=False)
    return saved.revision


async def save_together(store: JetStreamStore) -> object:
    drafts = [Draft(WorkflowState("wf-1"), 1, "id-1"), Draft(WorkflowState("wf-2"), 0, "id-2")]
    return [saved.revision for saved in await store.save_together(drafts)]


async def delete(store: JetStreamStore) -> object:
    return (await store.delete("wf-1", write_id="id-1")).existed


WRITES = [save, save_expecting, update, save_together, delete]


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_whose_acknowledgement_was_lost_is_made_once_on_another_server(
    proxy: Proxy, nats_server: NatsServer, write
) -> None:
    async with opened(proxy.url) as one, opened(nats_server.url, NatsOptions()) as other:
        await other.save(WorkflowState("wf-1"))
        proxy.loses = ACKNOWLEDGEMENT
        writing = asyncio.create_task(write(one))
        await proxy.deaf.wait()
        # What waits for a reply fails at once with its connection.
        proxy.cut()
        with pytest.raises(StorageUnavailable) as caught:
            await writing
        assert caught.value.outcome is Outcome.UNKNOWN
        written = (await other.position()).last_revision
        assert written > 1, "it was stored all the same"

        expected = {"save_together": [2, 3], "delete": True}.get(write.__name__, 2)
        assert await write(other) == expected
        proxy.mend()
        await until(lambda: _writes(one, write, expected))
        assert (await other.position()).last_revision == written


async def _writes(store: JetStreamStore, write, expected: object) -> bool:
    try:
        return await write(store) == expected
    except StorageUnavailable:
        return False


@pytest.mark.timeout(300)
async def test_an_atomic_batch_is_stored_whole_or_not_at_all_whenever_nats_is_killed(nats_server: NatsServer) -> None:
    chance = random.Random(7)
    size = 40
    acknowledged: set[int] = set()
    cut_off = 0
    async with opened(nats_server.url) as store:
        for round_ in range(12):

            async def batch(number: int) -> None:
                nonlocal cut_off
                drafts = [Draft(WorkflowState(f"b{number:05d}-{n:02d}"), 0, f"{number}-{n}") for n in range(size)]
                while True:
                    try:
                        await store.save_together(drafts)
                    except StorageUnavailable:
                        # Under the same ids, until it is stored: what was stored already is not stored again.
                        cut_off += 1
                        await asyncio.sleep(0.02)
                    else:
                        acknowledged.add(number)
                        return

            numbers = range(round_ * 8, round_ * 8 + 8)
            writing = asyncio.gather(*[batch(number) for number in numbers])
            await asyncio.sleep(chance.uniform(0, 0.08))
            nats_server.kill()
            # What is in the bucket now is whole: nothing of a batch is there without the rest of it.
            nats_server.start()
            client = await nats.connect(nats_server.url)
            found = await _stored_per_batch(client)
            assert set(found.values()) <= {size}
            await client.close()
            async with asyncio.timeout(60):
                await writing
        assert cut_off, "some were under way when the server died"
        assert acknowledged == set(range(96))
        position = await store.position()
        assert position.last_revision == position.keys == 96 * size, "none was stored twice"


async def _stored_per_batch(client: nats.NATS) -> dict[str, int]:
    info = await client.jetstream().stream_info("KV_beluga_workflows", subjects_filter=">")
    found: dict[str, int] = {}
    for subject in info.state.subjects or {}:
        batch = subject.rpartition(".")[2].partition("-")[0]
        found[batch] = found.get(batch, 0) + 1
    return found


async def test_readers_see_an_atomic_batch_whole_while_others_are_stored(nats_server: NatsServer) -> None:
    async with opened(nats_server.url, NatsOptions()) as store, opened(nats_server.url, NatsOptions()) as reader:
        ids = [f"wf-{number:02d}" for number in range(30)]
        done = asyncio.Event()

        async def write() -> None:
            for round_ in range(40):
                await store.save_together([Draft(WorkflowState(id_, error=str(round_))) for id_ in ids])
            done.set()

        seen = set()

        async def read() -> None:
            while not done.is_set():
                found = await reader.last(ids, 0)
                assert len({change.document.split(b'"Error":')[1] for change in found.values() if change.document}) <= 1
                seen.add(len(found))

        await asyncio.gather(write(), read())
        assert seen <= {0, len(ids)}


async def test_many_atomic_batches_at_once_are_all_stored(nats_server: NatsServer) -> None:
    async with opened(nats_server.url, NatsOptions()) as one, opened(nats_server.url, NatsOptions()) as other:

        async def batch(number: int) -> None:
            drafts = [Draft(WorkflowState(f"wf-{number}-{n}"), 0) for n in range(5)]
            await (one, other)[number % 2].save_together(drafts)

        await asyncio.gather(*[batch(number) for number in range(150)])

        assert (await one.position()).keys == 750


async def test_batches_with_conflicting_expectations_are_stored_one_or_the_other(nats_server: NatsServer) -> None:
    async with opened(nats_server.url, NatsOptions()) as store:

        async def batch(number: int) -> bool:
            drafts = [Draft(WorkflowState(f"wf-{n}", error=str(number)), 0) for n in range(10)]
            try:
                await store.save_together(drafts)
            except StoreError:
                return False
            return True

        won = await asyncio.gather(*[batch(number) for number in range(20)])

        assert won.count(True) == 1
        errors = {(await store.load(f"wf-{n}")).state.error for n in range(10)}
        assert errors == {str(won.index(True))}


async def test_a_bucket_without_atomic_batches_refuses_them_with_the_way_out(jetstream_store: JetStreamStore) -> None:
    with pytest.raises(BucketConfiguration) as caught:
        await jetstream_store.save_together([Draft(WorkflowState("wf-1")), Draft(WorkflowState("wf-2"))])

    assert caught.value.setting == "allow_atomic=false"
    assert "KV_beluga_workflows" in caught.value.remedy
    assert (await jetstream_store.position()).last_revision == 0


async def test_a_delete_that_is_repeated_beside_its_first_attempt_is_made_once(nats_server: NatsServer) -> None:
    async with opened(nats_server.url, NatsOptions()) as one, opened(nats_server.url, NatsOptions()) as other:
        await one.save(WorkflowState("wf-1"))

        results = await asyncio.gather(*[(one, other)[n % 2].delete("wf-1", write_id="id-1") for n in range(20)])

        assert all(deleted.existed for deleted in results)
        assert results.count(Deleted(existed=True, revision=2)) == 1
        assert (await one.position()).last_revision == 2
