"""A write that is made again is applied once, or not at all, also when NATS has forgotten what was written before."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats
import pytest

from support.nats_server import NatsServer
from support.waiting import until
from workflowstore_server.model.errors import Outcome, RevisionMismatch, StorageUnavailable, WriteForgotten
from workflowstore_server.model.patch import StatePatch
from workflowstore_server.model.state import HistoryEvent, WorkflowState
from workflowstore_server.store import Draft
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection
from workflowstore_server.store.update import Updater


@asynccontextmanager
async def opened(url: str, **options: int) -> AsyncIterator[JetStreamStore]:
    connection = OwnedConnection(NatsOptions(reconnect_wait_seconds_max=0.1), lambda: (url,), "test")
    await connection.open()
    keeping = asyncio.create_task(connection.keep())
    store = JetStreamStore(connection, "beluga_workflows", BucketOptions(allow_atomic=True, **options))
    await store.open()
    yield store
    await store.close()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await connection.close()


async def save(store: JetStreamStore, again_after: int | None = None) -> int:
    return (await store.save(WorkflowState("wf-1", error="once"), None, "id-1", again_after)).revision


async def save_expecting(store: JetStreamStore, again_after: int | None = None) -> int:
    return (await store.save(WorkflowState("wf-1", error="once"), 1, "id-1", again_after)).revision


async def update(store: JetStreamStore, again_after: int | None = None) -> int:
    patch = StatePatch({}, (HistoryEvent(),))
    missing = WorkflowState("wf-1")
    return (await Updater(store).update(patch, missing, None, "id-1", again_after, create=False)).revision


async def save_together(store: JetStreamStore, again_after: int | None = None) -> int:
    (saved,) = await store.save_together([Draft(WorkflowState("wf-1"), None, "id-1", again_after)])
    return saved.revision


async def delete(store: JetStreamStore, again_after: int | None = None) -> int:
    return (await store.delete("wf-1", write_id="id-1", again_after=again_after)).revision


Write = Callable[..., "asyncio.Future[int]"]
WRITES = [save, save_expecting, update, save_together, delete]


def restart(nats_server: NatsServer) -> None:
    nats_server.kill()
    nats_server.start()


async def saved(store: JetStreamStore) -> bool:
    try:
        await store.save(WorkflowState("other"))
    except StorageUnavailable:
        return False
    return True


async def shorten_memory(nats_server: NatsServer, seconds: float) -> None:
    """Have the bucket know ids for so long only."""
    client = await nats.connect(nats_server.url)
    config = (await client.jetstream().stream_info("KV_beluga_workflows")).config
    config.duplicate_window = seconds
    await client.jetstream().update_stream(config)
    await client.close()


@pytest.mark.parametrize("write", WRITES)
async def test_what_was_overwritten_before_a_restart_is_not_written_again(
    nats_server: NatsServer, write: Write
) -> None:
    async with opened(nats_server.url) as store:
        await store.save(WorkflowState("wf-1"))
        assert await write(store) == 2
        await store.save(WorkflowState("wf-1", error="by another"))
        restart(nats_server)
        await until(lambda: saved(store))
        before = (await store.position()).last_revision

        with pytest.raises(WriteForgotten) as caught:
            await write(store, again_after=1)

        assert (caught.value.workflow_id, caught.value.revision) == ("wf-1", 3)
        assert caught.value.outcome is Outcome.UNKNOWN
        assert (await store.load("wf-1")).state.error == "by another"
        assert (await store.position()).last_revision == before


@pytest.mark.parametrize("write", WRITES)
async def test_what_was_overwritten_and_is_remembered_gets_its_first_result(
    nats_server: NatsServer, write: Write
) -> None:
    async with opened(nats_server.url) as store:
        await store.save(WorkflowState("wf-1"))
        assert await write(store) == 2
        await store.save(WorkflowState("wf-1", error="by another"))

        assert await write(store, again_after=1) == 2
        assert (await store.position()).last_revision == 3


@pytest.mark.parametrize("write", WRITES)
async def test_what_is_still_there_after_a_restart_gets_its_first_result(nats_server: NatsServer, write: Write) -> None:
    async with opened(nats_server.url) as store:
        await store.save(WorkflowState("wf-1"))
        assert await write(store) == 2
        restart(nats_server)
        await until(lambda: saved(store))

        assert await write(store, again_after=1) == 2
        assert (await store.load("other")).revision == (await store.position()).last_revision


@pytest.mark.parametrize("write", WRITES)
async def test_what_nobody_can_have_overwritten_is_written(nats_server: NatsServer, write: Write) -> None:
    async with opened(nats_server.url) as store:
        await store.save(WorkflowState("wf-1"))
        restart(nats_server)
        await until(lambda: saved(store))

        assert await write(store, again_after=1) == (await store.position()).last_revision


@pytest.mark.parametrize("write", [save, save_together, update])
async def test_what_others_wrote_before_the_first_attempt_can_have_been_made_is_written_over(
    nats_server: NatsServer, write: Write
) -> None:
    async with opened(nats_server.url) as store:
        await store.save(WorkflowState("wf-1"))

        async def written() -> bool:
            try:
                # Neither the connection nor the write of others is old enough at first, and both become so at once.
                await write(store, again_after=0)
            except WriteForgotten:
                return False
            return True

        assert not await written()
        await shorten_memory(nats_server, 1.0)
        await until(written)


async def test_a_revision_that_the_bucket_has_not_come_to_proves_nothing(nats_server: NatsServer) -> None:
    async with opened(nats_server.url) as store:
        await store.save(WorkflowState("wf-1"))

        with pytest.raises(WriteForgotten):
            await save(store, again_after=1000)


async def test_what_was_not_applied_is_refused_for_its_expectation_and_not_as_forgotten(
    nats_server: NatsServer,
) -> None:
    async with opened(nats_server.url) as store:
        for _ in range(2):
            await store.save(WorkflowState("wf-1"))

        with pytest.raises(RevisionMismatch):
            await save_expecting(store, again_after=2)


async def test_a_leader_that_has_led_for_longer_remembers(cluster: list[NatsServer], leader: str) -> None:
    async with opened(cluster[0].url, replicas=3) as store:
        await store.save(WorkflowState("wf-1"))
        with pytest.raises(WriteForgotten):
            await save(store, again_after=0)
        await shorten_memory(cluster[0], 1.0)

        async def remembers() -> bool:
            # A write of others that is never old enough.
            await store.save(WorkflowState("wf-1"))
            try:
                await save(store, again_after=0)
            except WriteForgotten:
                return False
            return True

        await until(remembers, seconds=60)
