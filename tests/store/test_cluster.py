"""A bucket with three copies on a NATS cluster of three."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from support.entries import everything, ids_of, indexed, listed
from support.nats_server import NatsServer
from support.waiting import until
from workflowstore_server.model.errors import IndexBehind, RevisionMismatch, StorageUnavailable, WorkflowNotFound
from workflowstore_server.model.patch import StatePatch
from workflowstore_server.model.selection import Selection
from workflowstore_server.model.state import HistoryEvent, WorkflowState, WorkflowView
from workflowstore_server.store import Deleted, Draft
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore
from workflowstore_server.store.update import Updater

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def store(cluster: list[NatsServer], leader: str) -> AsyncIterator[JetStreamStore]:
    """A store that is connected to a follower, which answers direct gets itself."""
    follower = next(server for server in cluster if server.configuration["server_name"] != leader)
    client = await nats.connect(follower.url, pending_size=0)
    async with JetStreamStore.over(client, "beluga_workflows", BucketOptions(replicas=3)) as store:
        yield store
    await client.close()


async def test_a_bucket_with_three_copies_is_saved_loaded_listed_and_deleted_from(store: JetStreamStore) -> None:
    assert (await store.info()).replicas == 3
    for number in range(100):
        revision = (await store.save(WorkflowState("wf-1", error=str(number)))).revision

        assert (await store.load("wf-1")).revision == revision
        assert [entry.revision for entry in await everything(store)] == [revision]
        assert (await store.last(["wf-1", "wf-2"], revision))["wf-1"].revision == revision
    assert (await store.delete("wf-1")).existed
    with pytest.raises(WorkflowNotFound):
        await store.load("wf-1")


async def test_calls_succeed_again_when_the_leader_was_killed(
    store: JetStreamStore, cluster: list[NatsServer], leader: str
) -> None:
    await store.save(WorkflowState("wf-1"))
    next(server for server in cluster if server.configuration["server_name"] == leader).kill()

    async def saved() -> bool:
        try:
            await store.save(WorkflowState("wf-2"))
        except StorageUnavailable:
            return False
        return True

    await until(saved, seconds=60)

    assert (await store.load("wf-1")).state.workflow_id == "wf-1"
    assert await ids_of(store) == ["wf-1", "wf-2"]


async def test_an_index_of_a_bucket_with_three_copies_is_fresh_and_outlives_the_leader(
    store: JetStreamStore, cluster: list[NatsServer], leader: str, tmp_path: Path
) -> None:
    selection = Selection("beluga_workflows")
    async with indexed(store, tmp_path, wait_seconds=60) as index:
        for number in range(100):
            await store.save(WorkflowState(f"wf-{number % 7}", error=str(number)))
            for view in WorkflowView:
                states, _ = await listed(index, selection, view)
                assert str(number) in {state.error for state in states}
                assert len(states) == min(number + 1, 7)
        next(server for server in cluster if server.configuration["server_name"] == leader).kill()

        async def listed_again() -> bool:
            try:
                await store.save(WorkflowState("after"))
                states, _ = await listed(index, selection)
            except (StorageUnavailable, IndexBehind):
                return False
            return "after" in {state.workflow_id for state in states}

        await until(listed_again, seconds=60)
        assert len((await listed(index, selection, WorkflowView.FULL))[0]) == 8


async def test_writes_under_an_id_are_made_once_on_a_cluster(cluster: list[NatsServer], leader: str) -> None:
    client = await nats.connect([server.url for server in cluster], pending_size=0)
    async with JetStreamStore.over(client, "beluga_workflows") as store:
        first = await store.save(WorkflowState("wf-1", error="first"), 0, "id-1")
        other = await store.save(WorkflowState("wf-1", error="other"), first.revision)

        assert (await store.save(WorkflowState("wf-1", error="first"), 0, "id-1")).revision == first.revision
        assert (await store.load("wf-1")).state.error == "other"
        with pytest.raises(RevisionMismatch):
            await store.save(WorkflowState("wf-1"), first.revision, "id-2")
        again = await store.save(WorkflowState("wf-1"), other.revision, "id-2")
        assert again.revision > other.revision, "what was refused under an id is made under it later"
        deleted = await store.delete("wf-1", write_id="id-3")
        assert deleted == Deleted(existed=True, revision=again.revision + 1)
        assert await store.delete("wf-1", write_id="id-3") == deleted._replace(repeated=True)
        drafts = [Draft(WorkflowState(f"wf-{number}"), 0, f"batch-{number}") for number in range(1, 20)]
        saved = await store.save_together(drafts)
        assert [one.revision for one in await store.save_together(drafts)] == [one.revision for one in saved]
        changes = [change async for change in store.revisions("wf-1")]
        assert [change.revision for change in changes] == [saved[0].revision]
        found = await store.last([f"wf-{number}" for number in range(1, 20)], saved[-1].revision)
        assert sorted(change.revision for change in found.values()) == [one.revision for one in saved]
    await client.close()


async def test_updates_at_once_are_all_kept_on_a_cluster(cluster: list[NatsServer], leader: str) -> None:
    client = await nats.connect([server.url for server in cluster], pending_size=0)
    async with (
        JetStreamStore.over(client, "beluga_workflows") as one,
        JetStreamStore.over(client, "beluga_workflows") as two,
    ):
        await one.save(WorkflowState("wf-1"))
        updaters = (Updater(one), Updater(two))

        async def append(number: int) -> None:
            patch = StatePatch({}, (HistoryEvent(activity_name=str(number)),))
            await updaters[number % 2].update(patch, WorkflowState("wf-1"), None, f"id-{number}", create=False)

        await asyncio.gather(*[append(number) for number in range(60)])

        history = (await one.load("wf-1")).state.history
        assert sorted(int(event.activity_name) for event in history) == list(range(60))
    await client.close()
