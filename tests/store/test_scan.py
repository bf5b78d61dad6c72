"""A scan while the bucket changes under it, and what it leaves behind."""

import asyncio
import random
from collections import Counter
from contextlib import aclosing

import nats
import pytest

from support.nats_server import NatsServer
from workflowstore_server.model.errors import StorageUnavailable
from workflowstore_server.model.state import WorkflowState
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection

WORKFLOWS = 2_000


@pytest.mark.parametrize("history", [1, 3])
async def test_nothing_is_missed_or_repeated_while_everything_is_rewritten(
    nats_client: nats.NATS, history: int
) -> None:
    ids = [f"wf-{number}" for number in range(WORKFLOWS)]
    async with JetStreamStore.over(nats_client, "b", BucketOptions(history=history)) as store:
        await asyncio.gather(*(store.save(WorkflowState(workflow_id)) for workflow_id in ids))
        stop = asyncio.Event()
        rewritten = 0

        async def rewrite(chance: random.Random) -> None:
            nonlocal rewritten
            while not stop.is_set():
                await store.save(WorkflowState(chance.choice(ids), error="again"))
                rewritten += 1

        writers = [asyncio.create_task(rewrite(random.Random(seed))) for seed in range(16)]
        seen: list[Counter[str]] = []
        while len(seen) < 5 or rewritten <= WORKFLOWS:
            found: Counter[str] = Counter()
            async with aclosing(store.scan()) as batches:
                async for batch in batches:
                    found.update(entry.state.workflow_id for entry in batch.entries)  # type: ignore[union-attr]
            seen.append(found)
        stop.set()
        await asyncio.gather(*writers)

    assert rewritten > WORKFLOWS
    for found in seen:
        assert set(found) == set(ids)
        assert set(found.values()) == {1}


async def test_a_scan_sees_every_write_that_was_acknowledged_before_it(jetstream_store: JetStreamStore) -> None:
    for number in range(200):
        revision = await jetstream_store.save(WorkflowState(f"wf-{number % 7}", error=str(number)))
        async with aclosing(jetstream_store.scan()) as batches:
            entries = [entry async for batch in batches for entry in batch.entries]
        assert entries[-1].revision == revision


async def test_no_consumer_is_left_behind(nats_client: nats.NATS, jetstream_store: JetStreamStore) -> None:
    for number in range(600):
        await jetstream_store.save(WorkflowState(f"wf-{number}"))
    for _ in range(5):
        async with aclosing(jetstream_store.scan()) as batches:
            await anext(batches)
        _ = [batch async for batch in jetstream_store.scan()]

    info = await nats_client.jetstream().stream_info("KV_beluga_workflows")
    assert info.state.consumer_count == 0


async def test_a_consumer_that_waits_makes_the_scan_wait(
    nats_client: nats.NATS, jetstream_store: JetStreamStore
) -> None:
    """At most one batch is read ahead: what has not been asked for stays at the NATS server."""
    await asyncio.gather(*(jetstream_store.save(WorkflowState(f"wf-{n}", error="x" * 1000)) for n in range(4000)))
    async with aclosing(jetstream_store.scan()) as batches:
        await anext(batches)
        await asyncio.sleep(0.2)
        before = nats_client.stats["in_bytes"]
        await asyncio.sleep(0.3)

        assert nats_client.stats["in_bytes"] == before
        assert before < 4_000_000


async def test_a_bucket_replaced_during_a_scan_ends_it_with_an_error(
    nats_client: nats.NATS, jetstream_store: JetStreamStore
) -> None:
    await asyncio.gather(*(jetstream_store.save(WorkflowState(f"wf-{number}")) for number in range(2000)))
    async with aclosing(jetstream_store.scan()) as batches:
        await anext(batches)
        await nats_client.jetstream().delete_stream("KV_beluga_workflows")
        async with JetStreamStore.over(nats_client, "beluga_workflows") as successor:
            await successor.save(WorkflowState("new"))
            with pytest.raises(StorageUnavailable, match="replaced"):
                _ = [batch async for batch in batches]


async def test_a_crowd_of_large_scans_does_not_cost_the_connection(nats_server: NatsServer) -> None:
    """NATS closes a connection that has more than 64 MiB to fetch; each scan may have up to 6 MiB under way."""
    connection = OwnedConnection(NatsOptions(), lambda: (nats_server.url,), "test")
    await connection.open()
    store = JetStreamStore(connection, "beluga_workflows")
    await store.open()
    for number in range(60):
        await store.save(WorkflowState(f"wf-{number}", error="x" * 1_000_000))
    link = connection.link

    async def scan() -> int:
        return sum([len(batch.entries) async for batch in store.scan()])

    counts = await asyncio.gather(*(scan() for _ in range(40)))

    assert set(counts) == {60}
    assert connection.link is link
    await store.close()
    await connection.close()
