"""Concurrent reads of single keys share requests, and each gets its own answer."""

import asyncio
from pathlib import Path

import nats

from support.nats_server import NatsServer
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.errors import WorkflowNotFound
from workflowstore_server.model.state import StoredState, WorkflowState
from workflowstore_server.store.jetstream import JetStreamStore


async def test_a_crowd_of_reads_is_answered_each_with_its_own_state(jetstream_store: JetStreamStore) -> None:
    await asyncio.gather(*(jetstream_store.save(WorkflowState(f"wf-{number}")) for number in range(0, 600, 2)))

    answers = await asyncio.gather(
        *(jetstream_store.load(f"wf-{number}") for number in range(600)), return_exceptions=True
    )

    for number, answer in enumerate(answers):
        if number % 2:
            assert isinstance(answer, WorkflowNotFound)
        else:
            assert isinstance(answer, StoredState)
            assert answer.state.workflow_id == f"wf-{number}"


async def test_a_crowd_shares_requests(nats_client: nats.NATS, jetstream_store: JetStreamStore) -> None:
    await asyncio.gather(*(jetstream_store.save(WorkflowState(f"wf-{number}")) for number in range(500)))
    before = nats_client.stats["out_msgs"]

    await asyncio.gather(*(jetstream_store.load(f"wf-{number}") for number in range(500)))

    assert nats_client.stats["out_msgs"] - before < 10


async def test_large_states_are_read_in_several_replies(jetstream_store: JetStreamStore) -> None:
    """One reply is bounded in bytes; what it has no room for is asked for again."""
    ids = [f"wf-{number}" for number in range(15)]
    for workflow_id in ids:
        await jetstream_store.save(WorkflowState(workflow_id, error=workflow_id * 150_000))

    answers = await asyncio.gather(*(jetstream_store.load(workflow_id) for workflow_id in ids))

    assert [answer.state.error for answer in answers] == [workflow_id * 150_000 for workflow_id in ids]


async def test_a_reader_that_gives_up_does_not_disturb_the_others(jetstream_store: JetStreamStore) -> None:
    await jetstream_store.save(WorkflowState("wf-1"))
    reads = [asyncio.create_task(jetstream_store.load("wf-1")) for _ in range(10)]
    await asyncio.sleep(0)
    for read in reads[::2]:
        read.cancel()

    answers = await asyncio.gather(*reads, return_exceptions=True)

    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert all(isinstance(answer, StoredState) for answer in answers[1::2])


async def test_a_read_sees_every_write_that_was_acknowledged_before_it(jetstream_store: JetStreamStore) -> None:
    async def write_and_read(workflow_id: str) -> None:
        for _ in range(50):
            revision = (await jetstream_store.save(WorkflowState(workflow_id))).revision
            assert (await jetstream_store.load(workflow_id)).revision == revision

    await asyncio.gather(*(write_and_read(f"wf-{number}") for number in range(20)))


async def test_more_and_longer_keys_than_nats_takes_in_one_request_are_read_in_several(tmp_path: Path) -> None:
    nats_server = NatsServer(tmp_path, max_payload=32 * 1024)
    client = await nats.connect(nats_server.url, pending_size=0)
    async with JetStreamStore.over(client, "beluga_workflows") as store:
        ids = ["\N{GRINNING FACE}" * 250 + f"{number:03d}" for number in range(100)]
        for id_ in ids[::2]:
            await store.save(WorkflowState(id_))
        newest = (await store.position()).last_revision

        found = await store.last([key_of(id_) for id_ in ids], newest)
        loaded = await asyncio.gather(*[store.load(id_) for id_ in ids], return_exceptions=True)

        assert sorted(change.revision for change in found.values()) == list(range(1, 51))
        assert [one.revision for one in loaded[::2]] == list(range(1, 51))  # type: ignore[union-attr]
        assert all(isinstance(one, WorkflowNotFound) for one in loaded[1::2])
    await client.close()
    nats_server.stop()
