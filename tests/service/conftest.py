"""The service over a real channel and a store on a real nats-server."""

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from nats.aio.client import Client

from support.entries import indexed
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.model.state import Durability
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import About, Servicer
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore

NOW_NS = 1_795_000_000_123_456_789


def about() -> About:
    return About("1.2.3", "2.15.1", nats_embedded=False, durability=Durability.FSYNC_ALWAYS)


def give_time_to_drain(service: Service, seconds: float) -> None:
    """Let the running calls of a server have so long when it stops."""
    service._options = replace(service._options, drain_seconds=seconds)


@pytest.fixture
async def service(jetstream_store: JetStreamStore, nats_client: Client, tmp_path: Path) -> AsyncIterator[Service]:
    async with JetStreamStore.over(nats_client, "other", BucketOptions(history=3)) as other:
        stores = {jetstream_store.bucket: jetstream_store, "other": other}
        # Tests delete a bucket underneath, and see what the next call is told.
        async with (
            indexed(jetstream_store, tmp_path, poll_seconds=math.inf) as index,
            indexed(other, poll_seconds=math.inf) as other_index,
        ):
            indexes = {jetstream_store.bucket: index, "other": other_index}
            options = ServiceOptions(listen="127.0.0.1:0", drain_seconds=5)
            service = Service(Servicer(stores, indexes, about, lambda: NOW_NS), indexes, options)
            await service.start()
            await service.set_serving(serving=True)
            yield service
            await service.drain()


@pytest.fixture
async def channel(service: Service) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(service.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> WorkflowStoreStub:
    return WorkflowStoreStub(channel)
