"""The only place that knows the load under which nothing of a server may grow: what good, hasty and bad clients do."""

import asyncio
import contextlib
import math
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from nats.aio.client import Client

from bench import documents
from workflowstore import AsyncClient, MalformedDocumentError, WorkflowState, WorkflowStatus, WorkflowStoreError
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

WORKFLOWS: Final = 400
"""Ids that are in use: so many that a List has chunks, and so few that the bucket stays as large as it is."""

PAUSE_SECONDS: Final = 0.05
STALLED_SECONDS: Final = 10.0
CALL_SECONDS_MAX: Final = 30.0

_RESET: Final = struct.pack("ii", 1, 0)


class Load:
    """Clients of one server that work until they are cancelled. `done` counts what they did, and how it ended."""

    def __init__(self, address: str, writer: Client, bucket: str) -> None:
        self.done: Counter[str] = Counter()
        self._address = address
        self._writer = writer
        self._bucket = bucket
        self._random = random.Random(1)

    async def run(self) -> None:
        """Work."""
        async with AsyncClient(self._address, timeout=CALL_SECONDS_MAX) as client, self._channel() as channel:
            stub: Any = WorkflowStoreStub(channel)
            pieces: dict[str, tuple[int, Callable[[], Awaitable[object]]]] = {
                "states": (4, lambda: self._states(client)),
                "batches": (1, lambda: self._batches(client)),
                "lists": (2, lambda: self._lists(client)),
                # As long as somebody watches, the server keeps recent changes: soon as many as it ever does.
                "lasting watches": (1, lambda: self._lasting_watch(client)),
                "watches": (4, lambda: self._watches(client)),
                "cut streams": (3, lambda: self._cut_streams(stub)),
                "stalled readers": (3, lambda: self._stalled(stub)),
                "late calls": (1, lambda: self._late(stub)),
                "wrong calls": (2, lambda: self._wrong(stub)),
                "foreign documents": (1, self._foreign),
                "channels": (2, self._churn),
                "reset connections": (2, self._reset),
            }
            async with asyncio.TaskGroup() as workers:
                for name, (count, piece) in pieces.items():
                    for _ in range(count):
                        workers.create_task(self._again(name, piece))

    async def _again(self, name: str, piece: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await piece()
                self.done[name] += 1
            except (WorkflowStoreError, grpc.aio.AioRpcError, OSError) as error:
                code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
                self.done[f"{name}: {code}"] += 1
            await asyncio.sleep(PAUSE_SECONDS * self._random.random())

    def _channel(self) -> grpc.aio.Channel:
        # Channels of one process share connections, unless they are told not to.
        return grpc.aio.insecure_channel(self._address, options=(("grpc.use_local_subchannel_pool", 1),))

    def _id(self) -> str:
        return documents.id_of(self._random.randrange(WORKFLOWS))

    async def _states(self, client: AsyncClient) -> None:
        id_ = self._id()
        state = WorkflowState(id_, status=WorkflowStatus.RUNNING, input={"n": 1}, labels={"customer": "c-001"})
        saved = await client.save(state)
        await client.update(id_, error="x" * self._random.randrange(2000), expected_revision=saved.revision)
        await client.load(id_)
        await client.count()
        if self._random.random() < 0.2:
            await client.delete(id_)

    async def _batches(self, client: AsyncClient) -> None:
        ids = list({self._id() for _ in range(50)})
        await client.save_batch([WorkflowState(id_, status=WorkflowStatus.COMPLETED, labels={"a": "b"}) for id_ in ids])
        await client.load_batch(ids)
        await client.delete_batch(ids[:10])

    async def _lists(self, client: AsyncClient) -> None:
        with contextlib.suppress(MalformedDocumentError):
            async for _ in client.list():
                pass
        chunks = client.list_chunks(limit=20)
        async for chunk in chunks:
            token = chunk.next_page_token
        async for _ in client.list_chunks(limit=20, page_token=token):
            pass
        async for _ in client.export():
            pass

    async def _watches(self, client: AsyncClient) -> None:
        wanted = self._random.randrange(100)
        async with contextlib.aclosing(client.watch(snapshot=wanted % 2 == 0)) as changes:
            async for _ in changes:
                wanted -= 1
                if wanted < 0:
                    break

    async def _lasting_watch(self, client: AsyncClient) -> None:
        async for _ in client.watch(timeout=math.inf):
            pass

    async def _cut_streams(self, stub: Any) -> None:
        full = state_pb.WORKFLOW_VIEW_FULL
        streams = (
            stub.List(pb.ListRequest(view=full)), stub.Export(pb.ExportRequest()), stub.List(pb.ListRequest()),
            stub.ListRevisions(pb.ListRevisionsRequest(workflow_id=self._id())),
            stub.Watch(pb.WatchRequest(snapshot=True)),
        )  # fmt: skip
        for call in streams:
            if self._random.random() < 0.5:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await call.read()
            await asyncio.sleep(self._random.random() * 0.01)
            call.cancel()

    async def _stalled(self, stub: Any) -> None:
        full = state_pb.WORKFLOW_VIEW_FULL
        if self._random.random() < 0.5:
            call = stub.List(pb.ListRequest(view=full))
        else:
            call = stub.Watch(pb.WatchRequest(view=full, snapshot=True))
        await call.read()
        await asyncio.sleep(STALLED_SECONDS * self._random.random())
        call.cancel()

    async def _late(self, stub: Any) -> None:
        seconds = self._random.random() * 0.01
        with contextlib.suppress(grpc.aio.AioRpcError):
            await stub.Save(pb.SaveRequest(state=documents.state(1)), timeout=seconds)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in stub.List(pb.ListRequest(), timeout=seconds):
                pass

    async def _wrong(self, stub: Any) -> None:
        state = documents.state(self._random.randrange(WORKFLOWS))
        state.labels.update({str(n): "" for n in range(65)})
        calls = (
            stub.Save(pb.SaveRequest(state=state)),
            stub.Save(pb.SaveRequest(state=documents.state(2), expected_revision=2**60)),
            stub.Load(pb.LoadRequest(workflow_id="missing")),
            stub.Count(pb.CountRequest(bucket="other")),
            stub.Update(pb.UpdateRequest(state=state_pb.WorkflowState(workflow_id="missing"))),
            stub.List(pb.ListRequest(page_token="AAAA")).read(),
            stub.Watch(pb.WatchRequest(after_revision=2**60)).read(),
            stub.List(pb.ListRequest(filter=WorkflowFilter(statuses=[1] * 100))).read(),
            stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id="w", input_json="[" * 100_000))),
        )
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, grpc.aio.AioRpcError):
                self.done[f"refused: {result.code().name}"] += 1
            else:
                raise AssertionError(f"a wrong call was answered with {result!r}")

    async def _foreign(self) -> None:
        subject = f"$KV.{self._bucket}.{self._id()}"
        await self._writer.request(subject, self._random.choice([b"no document", b"{}", b'{"History":[{"ID":"x"}]}']))
        await asyncio.sleep(1)

    async def _churn(self) -> None:
        async with self._channel() as channel:
            stub: Any = WorkflowStoreStub(channel)
            await stub.GetInfo(pb.GetInfoRequest())
            watch = stub.Watch(pb.WatchRequest(snapshot=True))
            await watch.read()

    async def _reset(self) -> None:
        """Let a connection that is in use end with a reset."""
        host, _, port = self._address.rpartition(":")
        ends: list[asyncio.StreamWriter] = []

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server_reader, server_writer = await asyncio.open_connection(host, int(port))
            ends.extend((writer, server_writer))
            # The listener's end cancels what still forwards.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))

        async with await asyncio.start_server(forward, "127.0.0.1", 0) as listener:
            place = listener.sockets[0].getsockname()[1]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{place}") as channel:
                stub: Any = WorkflowStoreStub(channel)
                watch = stub.Watch(pb.WatchRequest(snapshot=True))
                await watch.read()
                listed = stub.List(pb.ListRequest(view=state_pb.WORKFLOW_VIEW_FULL))
                await asyncio.sleep(self._random.random() * 0.05)
                for end in ends:
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    end.transport.abort()
                listed.cancel()
                watch.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
