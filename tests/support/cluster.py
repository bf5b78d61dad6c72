"""Three nats-servers that form a cluster, over a network that can cut each of them off."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import nats

from support.nats_server import NatsServer
from support.ports import free_ports
from support.proxy import Proxy, proxying
from support.waiting import until
from workflowstore_server.model.errors import StorageUnavailable
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore

NODES: Final = 3


class Cluster:
    """The nodes and what is between them."""

    def __init__(self, nodes: list[NatsServer], between: dict[tuple[int, int], Proxy]) -> None:
        self.nodes = nodes
        self._between = between

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    async def leader(self, bucket: str) -> int:
        """Which node leads a bucket's stream, once there is one."""
        client = await nats.connect(self.urls, pending_size=0)

        async def told() -> str | None:
            try:
                info = await client.jetstream().stream_info(f"KV_{bucket}")
            except (nats.errors.Error, TimeoutError):  # none leads at the moment
                return None
            assert info.cluster is not None
            return info.cluster.leader

        try:
            name = await until(told, seconds=60)
        finally:
            await client.close()
        return [node.configuration["server_name"] for node in self.nodes].index(name)

    def cut_off(self, number: int) -> None:
        """Let a node and the others hear nothing of each other."""
        for ends, proxy in self._between.items():
            if number in ends:
                proxy.passes.clear()

    def join(self, number: int) -> None:
        """Let them hear each other again, and what was said meanwhile."""
        for ends, proxy in self._between.items():
            if number in ends:
                proxy.passes.set()


@asynccontextmanager
async def clustered(folder: Path, bucket: str = "beluga_workflows") -> AsyncIterator[Cluster]:
    """A cluster with a bucket of three copies."""
    ports = free_ports(NODES)
    async with AsyncExitStack() as stack:
        between = {}
        for from_, to in ((from_, to) for from_ in range(NODES) for to in range(NODES) if from_ != to):
            between[from_, to] = await stack.enter_async_context(proxying(f"nats://127.0.0.1:{ports[to]}"))
        nodes = []
        for number, port in enumerate(ports):
            (folder / str(number)).mkdir()
            # Nobody may find a way past the proxies.
            gossip = {"name": "test", "listen": f"127.0.0.1:{port}", "advertise": "127.0.0.1:1", "no_advertise": True}
            gossip["routes"] = [proxy.url for ends, proxy in between.items() if ends[0] == number]
            nodes.append(NatsServer(folder / str(number), server_name=f"node-{number}", cluster=gossip))
            stack.callback(_stop, nodes[-1])
        cluster = Cluster(nodes, between)
        await until(lambda: _made(cluster, bucket), seconds=60)
        yield cluster


async def _made(cluster: Cluster, bucket: str) -> bool:
    client = await nats.connect(cluster.urls, pending_size=0)
    try:
        async with JetStreamStore.over(client, bucket, BucketOptions(replicas=NODES, allow_atomic=True)):
            return True
    except StorageUnavailable:  # the cluster has no leader yet
        return False
    finally:
        await client.close()


def _stop(node: NatsServer) -> None:
    if node.process.returncode is None:
        node.stop()
