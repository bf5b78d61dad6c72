"""A TCP proxy in whose hands a network is as bad as a test wants it."""

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
        self.delay_seconds = 0.0
        """How long everything takes, each way."""
        self.passes = asyncio.Event()
        """Cleared, nothing goes through, and nobody is told; what was sent meanwhile arrives when it is set again."""
        self.passes.set()
        self.bytes_left: int | None = None
        """After so many more bytes all connections break, wherever a message is then. None = they do not."""
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._half_closed: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def mend(self) -> None:
        """Let everything through again, over new connections."""
        self.loses = b""
        self.deaf.clear()
        self.delay_seconds = 0.0
        self.bytes_left = None
        self.cut()
        self.passes.set()

    def cut(self) -> None:
        """Break all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    def half_close(self) -> None:
        """Say on all connections, to both sides, that the other one sends no more, which is then so."""
        for writer in self._writers - self._half_closed:
            if not writer.is_closing():
                writer.write_eof()
        self._half_closed |= self._writers

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
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self.passes.wait()
                await self._pass_on(data, writer)
        writer.transport.abort()
        self._writers.discard(writer)
        self._half_closed.discard(writer)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if writer in self._half_closed:
            return
        if self.bytes_left is None or len(data) <= self.bytes_left:
            if self.bytes_left is not None:
                self.bytes_left -= len(data)
            writer.write(data)
            await writer.drain()
            return
        writer.write(data[: self.bytes_left])
        await writer.drain()
        self.bytes_left = None
        self.cut()

    async def close(self) -> None:
        self.passes.set()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxying(url: str) -> AsyncIterator[Proxy]:
    """A proxy before whoever listens at `url`, whose port its last colon is before."""
    proxy = Proxy(int(url.rpartition(":")[2]))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
