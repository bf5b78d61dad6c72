"""A server that says what the test wants it to say, and clients of both colours to call it."""

import asyncio
import math
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from workflowstore import AsyncClient, Client, WorkflowStoreError
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreServicer, add_WorkflowStoreServicer_to_server

PATIENCE_SECONDS = 10


def unary(name):
    async def method(self, request, context):
        self.requests.append(request)
        self.started.set()
        try:
            return await getattr(self, name)(request, context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    return method


def streaming(name):
    async def method(self, request, context):
        self.requests.append(request)
        self.started.set()
        try:
            async for reply in getattr(self, name)(request, context):
                yield reply
        except (asyncio.CancelledError, GeneratorExit):  # the latter when the call ends while a reply is being sent
            self.cancelled.set()
            raise

    return method


class Script(WorkflowStoreServicer):
    """Each call runs what the test put there, and tells when it was cancelled."""

    def __init__(self):
        self.requests = []
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    Save = unary("save")
    Update = unary("update")
    Load = unary("load")
    Delete = unary("delete")
    Count = unary("count")
    SaveBatch = unary("save_batch")
    LoadBatch = unary("load_batch")
    DeleteBatch = unary("delete_batch")
    Import = unary("import_documents")
    GetInfo = unary("info")
    List = streaming("list")
    Watch = streaming("watch")
    ListRevisions = streaming("list_revisions")
    Export = streaming("export")


class Colour:
    """Drives a client of either colour from a test: calls of the synchronous one run in a thread."""

    def __init__(self, kind):
        self.is_async = kind is AsyncClient
        self.kind = kind

    def channel(self, target):
        return grpc.aio.insecure_channel(target) if self.is_async else grpc.insecure_channel(target)

    async def call(self, method, *arguments, **keywords):
        if self.is_async:
            return await method(*arguments, **keywords)
        return await asyncio.to_thread(method, *arguments, **keywords)

    async def take(self, states, count=math.inf):
        """The first `count` states and the error that ended them, leaving the iteration without closing it."""
        taken = []

        async def take_async(states):
            async for state in states:
                taken.append(state)
                if len(taken) == count:
                    break

        def take_sync(states):
            for state in states:
                taken.append(state)
                if len(taken) == count:
                    break

        try:
            await self.call(take_async if self.is_async else take_sync, states)
        except WorkflowStoreError as error:
            return taken, error
        return taken, None


async def within_patience(event):
    async with asyncio.timeout(PATIENCE_SECONDS):
        await event.wait()


async def for_ever(request, context):
    await asyncio.Event().wait()


def refusal(code, reason="", retry_after_seconds=0, **metadata):
    """What a servicer does to fail with this reason, and to ask for a pause before the next attempt."""

    async def refuse(request, context):
        status = status_pb2.Status(code=code.value[0], message="refused")
        if reason:
            info = error_details_pb2.ErrorInfo(reason=reason, domain="workflowstore", metadata=metadata)
            status.details.add().Pack(info)
        if retry_after_seconds:
            status.details.add().Pack(
                error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=retry_after_seconds))
            )
        details = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(code, "refused", details)

    return refuse


def in_turn(*answers):
    """Answers each call by the next of these, and those after the last by the last."""
    left = [*answers]

    async def answer(request, context):
        return await (left.pop(0) if len(left) > 1 else left[0])(request, context)

    return answer


def replying(reply):
    async def answer(request, context):
        return reply

    return answer


def chunk_of(*ids, malformed=(), token="", revision=0):
    return pb.ListResponse(
        states=[{"workflow_id": name} for name in ids],
        store_revision=revision,
        malformed=[{"key": key, "revision": 7, "reason": "not JSON"} for key in malformed],
        next_page_token=token,
    )


def chunks(*replies, then=None):
    async def answer(request, context):
        for reply in replies:
            yield reply
        if then is not None:
            await then(request, context)

    return answer


@asynccontextmanager
async def serving(script, port=0):
    """Answers by a script until it is stopped, at once and amid its calls."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_WorkflowStoreServicer_to_server(script, server)
    script.target = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.fixture(params=[AsyncClient, Client])
def colour(request):
    return Colour(request.param)


@pytest.fixture
async def server():
    script = Script()
    async with serving(script):
        yield script


@pytest.fixture
async def client(colour, server):
    client = colour.kind(server.target)
    yield client
    await colour.call(client.close)
