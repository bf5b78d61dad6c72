"""The only place that knows what an empty gRPC call is: a reply of nothing to a request of nothing, on our event loop.

Run as a program it serves, and prints its address once it does.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import uvloop
from google.protobuf.empty_pb2 import Empty

from bench import processes

SERVICE: Final = "bench.Echo"
METHOD: Final = "Echo"


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, int]]:
    """A server of empty calls in its own process: its address and the process."""
    async with processes.running([sys.executable, "-m", "bench.echo"]) as process:
        yield await processes.next_line(process), process.pid


def stub(channel: grpc.aio.Channel) -> "grpc.aio.UnaryUnaryMultiCallable[Empty, Empty]":
    """The call."""
    return channel.unary_unary(f"/{SERVICE}/{METHOD}", Empty.SerializeToString, Empty.FromString)


async def _echo(request: Empty, _context: "grpc.aio.ServicerContext[Any, Any]") -> Empty:
    return request


async def _serve() -> None:
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    handler = grpc.unary_unary_rpc_method_handler(_echo, Empty.FromString, Empty.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve())
