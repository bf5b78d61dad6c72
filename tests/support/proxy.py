"""A TCP proxy that a test can make deaf: requests go through, and what is replied gets lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    def __init__(self, port: int) -> None:
        self._target = port
        self.loses = b""
        """From a reply on that contains this, no reply goes through. Empty = all do."""
        self.deaf = asyncio.Event()
        """Set when such a reply has come."""
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def mend(self) -> None:
        """Let everything through again, over new connections."""
        self.loses = b""
        self.deaf.clear()
        self.cut()

    def cut(self) -> None:
        """Break all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for task in (
            asyncio.create_task(self._pump(reader, back)),
            asyncio.create_task(self._pump(there, writer, replies=True)),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if replies and self.loses and self.loses in data:
                    self.deaf.set()
                if replies and self.deaf.is_set():
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxying(url: str) -> AsyncIterator[Proxy]:
    """A proxy before the nats-server at `url`."""
    proxy = Proxy(int(url.rpartition(":")[2]))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
