"""A cluster of three NATS servers, and a bucket with three copies on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest

from support.nats_server import NatsServer
from support.ports import free_ports
from support.waiting import until
from workflowstore_server.model.errors import StorageUnavailable
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore


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
            async with JetStreamStore.over(client, "beluga_workflows", BucketOptions(replicas=3, allow_atomic=True)):
                return True
        except StorageUnavailable:  # the cluster has no leader yet
            return False

    await until(opened, seconds=60)
    info = await client.jetstream().stream_info("KV_beluga_workflows")
    assert info.cluster is not None
    yield info.cluster.leader
    await client.close()
