"""The only place that knows how raw bytes are sent to the service, and which answers are none of its own."""

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import grpc
import nats
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from fuzz.targets import BUCKET
from support.nats_server import NatsServer
from workflowstore.v1 import error_reason_pb2 as reasons
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import add_WorkflowStoreServicer_to_server
from workflowstore_server.index import Index, IndexOptions
from workflowstore_server.model.state import Durability
from workflowstore_server.service.access_log import AccessLog, Logged
from workflowstore_server.service.boundary import Boundary
from workflowstore_server.service.calls import CallOptions, Calls
from workflowstore_server.service.observed import Observed
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import About, Servicer
from workflowstore_server.store import StateStore
from workflowstore_server.store.jetstream import JetStreamStore
from workflowstore_server.store.memory import MemoryStore

SERVICE: Final = pb.DESCRIPTOR.services_by_name["WorkflowStore"]
METHODS: Final = tuple(method.name for method in SERVICE.methods)
STREAMING: Final = frozenset({"List", "Watch", "ListRevisions", "Export"})

KEYS_MAX: Final = 200
"""Keys after which the store is begun anew, so that a List stays short."""

TRAILERS_BYTES_MAX: Final = 8 * 1024
"""What clients take."""

NEVER: Final = frozenset({reasons.ERROR_REASON_INTERNAL, reasons.ERROR_REASON_UNSPECIFIED})

CASE_SECONDS_MAX: Final = 30.0

Send = Callable[..., Awaitable[list[bytes]]]
"""Sends a request to a method, and returns the messages of the answer; none if it was refused."""


def about() -> About:
    return About("1.2.3", "2.15.1", nats_embedded=False, durability=Durability.UNKNOWN)


def method_of(data: bytes) -> tuple[str, bytes]:
    """The first byte chooses the method, the others are the request."""
    return METHODS[data[0] % len(METHODS)], data[1:]


def check_failure(status: Status) -> None:
    """Raises AssertionError for what no request may be answered with."""
    info = error_details_pb2.ErrorInfo()
    assert status.details, f"a status without a reason: {status}"
    assert status.details[0].Unpack(info)
    assert info.domain == "workflowstore"
    assert reasons.ErrorReason.Value(info.reason) not in NEVER, status
    assert status.code not in {grpc.StatusCode.INTERNAL.value[0], grpc.StatusCode.UNKNOWN.value[0]}, status
    assert len(base64.b64encode(status.SerializeToString())) + 3 * len(status.message.encode()) < TRAILERS_BYTES_MAX


class Refused(grpc.aio.AbortError):  # type: ignore[misc]
    """A call has ended with this status."""

    def __init__(self, status: Status) -> None:
        self.status = status


class _Context:
    """What a handler uses of a call."""

    def __init__(self, request: bytes, enough: Callable[[bytes], bool]) -> None:
        self._request = request
        self._enough = enough
        self.task: asyncio.Task[Any] | None = None
        """Where the handler runs; it is cancelled once it has sent enough."""
        self.has_enough = False

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    async def read(self) -> bytes:
        return self._request

    async def write(self, message: bytes) -> None:
        assert self.task is not None, "it runs"
        if self._enough(message):
            self.has_enough = True
            self.task.cancel()

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def abort_with_status(self, status: Any) -> None:
        trailers = dict(status.trailing_metadata)
        raise Refused(Status.FromString(trailers["grpc-status-details-bin"]))


class _Handlers:
    """Takes the handlers that a Boundary registers at a server."""

    def __init__(self) -> None:
        self.found: Any = None

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        (self.found,) = handlers

    def of(self, method: str) -> Any:
        details = type("Details", (), {"method": f"/{SERVICE.full_name}/{method}", "invocation_metadata": ()})
        return self.found.service(details)


class Direct:
    """The service's handlers, called without a channel, over a store in memory and an index."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._runner.run(self._begin())

    def case(self, data: bytes) -> None:
        """Send one request."""
        if data:
            self._runner.run(self._send(*method_of(data)))

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    async def _begin(self) -> None:
        await self._stack.aclose()
        self.store = MemoryStore(BUCKET)
        index = await self._stack.enter_async_context(Index(self.store, IndexOptions()).following())
        self._handlers = _Handlers()
        servicer = Servicer({BUCKET: self.store}, {BUCKET: index}, about, lambda: 0)
        calls = Calls(CallOptions())
        boundary = Boundary(self._handlers, calls, Observed(calls, AccessLog(Logged.OFF), None), (BUCKET,), None)  # type: ignore[arg-type]
        add_WorkflowStoreServicer_to_server(servicer, boundary)  # type: ignore[arg-type]
        self._handler = {method: self._handlers.of(method) for method in METHODS}

    async def _send(self, method: str, request: bytes) -> None:
        if (await self.store.position()).keys > KEYS_MAX:
            await self._begin()
        handler = self._handler[method]
        context = _Context(request, partial(_is_last, method))
        if method in STREAMING:
            context.task = asyncio.create_task(handler.stream_stream(None, context))
        else:
            context.task = asyncio.create_task(handler.stream_unary(None, context))
        async with asyncio.timeout(CASE_SECONDS_MAX):
            try:
                reply = await context.task
            except Refused as refused:
                check_failure(refused.status)
            except asyncio.CancelledError:
                if not context.has_enough:
                    raise
            else:
                if method not in STREAMING:
                    handler.response_serializer(reply)


@asynccontextmanager
async def served(store: StateStore) -> AsyncIterator[Send]:
    """A server over a store; yields how raw bytes are sent to one of its methods over a real channel."""
    async with AsyncExitStack() as stack:
        index = await stack.enter_async_context(Index(store, IndexOptions()).following())
        servicer = Servicer({BUCKET: store}, {BUCKET: index}, about, lambda: 0)
        service = Service(servicer, {BUCKET: index}, ServiceOptions(listen="127.0.0.1:0", drain_seconds=1))
        await service.start()
        stack.push_async_callback(service.drain)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.address))
        calls = {
            method: (channel.unary_stream if method in STREAMING else channel.unary_unary)(
                f"/{SERVICE.full_name}/{method}"
            )
            for method in METHODS
        }

        async def send(method: str, request: bytes, changes: int = 0) -> list[bytes]:
            return await _answer(method, calls[method](request, timeout=CASE_SECONDS_MAX), changes)

        yield send


def _is_last(method: str, message: bytes, changes: int = 0) -> bool:
    """Whether no more is read: a Watch has no end. `changes` = how many it has to tell, 0 = until it tells none."""
    if method != "Watch":
        return False
    told = len(pb.WatchResponse.FromString(message).changes)
    return told >= changes if changes else not told


async def _answer(method: str, call: Any, changes: int) -> list[bytes]:
    """Read what a call answers. Raises AssertionError when it fails as no call may."""
    messages: list[bytes] = []
    try:
        if method not in STREAMING:
            return [await call]
        async for message in call:
            messages.append(message)
            if _is_last(method, message, changes):
                call.cancel()
                break
    except grpc.aio.AioRpcError as error:
        trailers = error.trailing_metadata()
        check_failure(Status.FromString(dict(trailers).get("grpc-status-details-bin", b"")))
    return messages


@asynccontextmanager
async def _memory() -> AsyncIterator[StateStore]:
    yield MemoryStore(BUCKET)


@asynccontextmanager
async def _bucket() -> AsyncIterator[StateStore]:
    with tempfile.TemporaryDirectory() as folder:
        nats_server = NatsServer(Path(folder))
        try:
            client = await nats.connect(nats_server.url, pending_size=0)
            async with JetStreamStore.over(client, BUCKET) as store:
                yield store
            await client.close()
        finally:
            nats_server.stop()


class Served:
    """The service over a real channel."""

    def __init__(self, store: AbstractAsyncContextManager[StateStore]) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._runner.run(self._begin(store))

    async def _begin(self, store: AbstractAsyncContextManager[StateStore]) -> None:
        self._store = await self._stack.enter_async_context(store)
        self._send = await self._stack.enter_async_context(served(self._store))

    @classmethod
    def of(cls, target: str) -> Self:
        """What a target needs: a store in memory, or a real bucket."""
        return cls(_bucket() if target == "foreign_documents" else _memory())

    def case_of(self, target: str) -> Callable[[bytes], None]:
        """What makes one case of a target."""
        return self.documents_case if target == "foreign_documents" else self.case

    def case(self, data: bytes) -> None:
        """Send one request."""
        if data:
            self._runner.run(self._send(*method_of(data)))

    def documents_case(self, data: bytes) -> None:
        """Store a document as another writer would, and read it in every way."""
        self._runner.run(read_foreign(self._store, self._send, data))

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


async def read_foreign(store: StateStore, send: Send, document: bytes) -> None:
    """Raises AssertionError when what is read of one workflow differs, or fails as no call may."""
    last = (await store.last(["wf-1"], 0)).get("wf-1")
    if not document:
        return  # to a bucket it is no delete marker, and no document either
    revision = await store.put("wf-1", document, last.revision if last is not None else 0)
    loaded = await send("Load", pb.LoadRequest(workflow_id="wf-1").SerializeToString())
    listed: dict[int, pb.ListResponse] = {}
    for view in (state_pb.WORKFLOW_VIEW_SUMMARY, state_pb.WORKFLOW_VIEW_FULL):
        listed[view] = pb.ListResponse()
        for message in await send("List", pb.ListRequest(view=view).SerializeToString()):
            listed[view].MergeFromString(message)
    exported = await send("Export", pb.ExportRequest().SerializeToString())
    requests = (pb.WatchRequest(after_revision=revision - 1), pb.WatchRequest(snapshot=True))
    watched = [message for request in requests for message in await send("Watch", request.SerializeToString(), 1)]
    counted = pb.CountResponse.FromString((await send("Count", b""))[0])
    (stored,) = pb.ExportResponse.FromString(exported[0]).documents
    assert (stored.key, stored.revision, stored.document) == ("wf-1", revision, document)
    kinds = [change.kind for message in watched for change in pb.WatchResponse.FromString(message).changes]
    if loaded:
        state = pb.LoadResponse.FromString(loaded[0]).state
        assert list(listed[state_pb.WORKFLOW_VIEW_FULL].states) == [state]
        assert (listed[state_pb.WORKFLOW_VIEW_SUMMARY].states[0].labels, counted.count) == (state.labels, 1)
        assert kinds == [pb.CHANGE_KIND_SAVED] * 2
    else:
        assert [entry.revision for entry in listed[state_pb.WORKFLOW_VIEW_SUMMARY].malformed] == [revision]
        assert (counted.count, counted.malformed_count) == (0, 1)
        assert kinds == [pb.CHANGE_KIND_MALFORMED] * 2
