"""The generated stubs over a real channel."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub


class Caller:
    """The generated stubs over a real channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub = WorkflowStoreStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    def save(self, workflow_id: str, **fields: Any) -> Any:
        return self.stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=workflow_id, **fields)))

    async def saved(self, workflow_id: str) -> bool:
        """Whether a save succeeds; False when the storage cannot be used at the moment."""
        try:
            await self.save(workflow_id)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    async def revisions(self) -> dict[str, int]:
        """The revision of every state."""
        return {
            state.workflow_id: state.revision
            async for chunk in self.stub.List(pb.ListRequest())
            for state in chunk.states
        }

    async def info(self) -> pb.GetInfoResponse:
        return await self.stub.GetInfo(pb.GetInfoRequest())

    async def serving(self, service: str = "") -> bool:
        return await self._status(service) == health_pb2.HealthCheckResponse.SERVING

    async def away(self) -> bool:
        """Whether the health service says that calls cannot succeed."""
        return await self._status("") == health_pb2.HealthCheckResponse.NOT_SERVING

    async def _status(self, service: str) -> Any:
        """What the health service says; None when the call did not get through, as the first one on a channel may."""
        try:
            return (await self.health.Check(health_pb2.HealthCheckRequest(service=service))).status
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return None


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield Caller(channel)
