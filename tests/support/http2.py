"""HTTP/2 (RFC 9113) frame by frame, for a client that keeps to no rules."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE = 3, 6
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 7, 8, 11
SECONDS_MAX = 30


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def settings(self) -> dict[int, int]:
        return dict(struct.iter_unpack(">HI", self.payload))

    @property
    def goaway_code(self) -> int:
        return int.from_bytes(self.payload[4:8], "big")


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def headers(stream: int, method: str, fields: Mapping[str, str] | None = None, *, end: bool = False) -> bytes:
    """The beginning of a gRPC call."""
    all_fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "x", "te": "trailers",
                  "content-type": "application/grpc", **(fields or {})}  # fmt: skip
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in all_fields.items())
    return frame(HEADERS, block, flags=END_HEADERS | (END_STREAM if end else 0), stream=stream)


def message(stream: int, body: bytes = b"", *, end: bool = True) -> bytes:
    """One gRPC message."""
    return frame(DATA, struct.pack(">BI", 0, len(body)) + body, flags=END_STREAM if end else 0, stream=stream)


def _text(text: str) -> bytes:
    """A literal of HPACK (RFC 7541, section 5.2), not compressed."""
    encoded = text.encode()
    size = bytes([len(encoded)]) if len(encoded) < 127 else b"\x7f" + _varint(len(encoded) - 127)
    return size + encoded


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def begin(self) -> None:
        """What every client sends first."""
        await self.send(PREFACE + frame(SETTINGS))

    async def frame(self) -> Frame:
        """Raises: asyncio.IncompleteReadError or ConnectionError when the server has closed the connection."""
        async with asyncio.timeout(SECONDS_MAX):
            head, flags, stream = struct.unpack(">IBI", await self._reader.readexactly(9))
            return Frame(head & 255, flags, stream, await self._reader.readexactly(head >> 8))

    async def until(self, kind: int, *, flags: int = 0) -> Frame:
        """The next frame of this kind. Settings are acknowledged, as clients do."""
        while True:
            found = await self.frame()
            if found.kind == SETTINGS and not found.flags & ACK:
                await self.send(frame(SETTINGS, flags=ACK))
            if found.kind == kind and found.flags & flags == flags:
                return found

    async def until_closed(self) -> None:
        """Read until the server closes the connection."""
        try:
            while True:
                await self.frame()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Connection]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()
