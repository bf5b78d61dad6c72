"""A bucket with three copies on a NATS cluster of three."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest

from support.entries import everything, ids_of, indexed, listed
from support.nats_server import NatsServer
from support.waiting import until
from workflowstore_server.model.errors import IndexBehind, StorageUnavailable, WorkflowNotFound
from workflowstore_server.model.selection import Selection
from workflowstore_server.model.state import WorkflowState, WorkflowView
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[NatsServer]]:
    ports = free_ports(3)
    routes = [f"nats://127.0.0.1:{port}" for port in ports]
    servers = []
    for number, port in enumerate(ports):
        folder = tmp_path / str(number)
        folder.mkdir()
        gossip = {"name": "test", "listen": f"127.0.0.1:{port}", "routes": routes}
        servers.append(NatsServer(folder, server_name=f"node-{number}", cluster=gossip))
    yield servers
    for server in servers:
        if server.process.returncode is None:
            server.stop()


@pytest.fixture
async def leader(cluster: list[NatsServer]) -> AsyncIterator[str]:
    """Make the bucket and tell which server leads it."""
    client = await nats.connect([server.url for server in cluster], pending_size=0)

    async def opened() -> bool:
        try:
            async with JetStreamStore.over(client, "beluga_workflows", BucketOptions(replicas=3)):
                return True
        except StorageUnavailable:  # the cluster has no leader yet
            return False

    await until(opened)
    info = await client.jetstream().stream_info("KV_beluga_workflows")
    assert info.cluster is not None
    yield info.cluster.leader
    await client.close()


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
        revision = await store.save(WorkflowState("wf-1", error=str(number)))

        assert (await store.load("wf-1")).revision == revision
        assert [entry.revision for entry in await everything(store)] == [revision]
        assert (await store.last(["wf-1", "wf-2"], revision))["wf-1"].revision == revision
    assert await store.delete("wf-1")
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
