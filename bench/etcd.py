"""The only place that knows etcd: how one node is run, and the part of its API that stands beside ours.

The messages are made here (etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto): no package of etcd is needed.
"""

import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bench import documents, processes

_BYTES: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_BOOL: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
_INT64: Final = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_UINT64: Final = descriptor_pb2.FieldDescriptorProto.TYPE_UINT64
_MESSAGES: Final[dict[str, tuple[tuple[str, int, int | str], ...]]] = {
    "ResponseHeader": (
        ("cluster_id", 1, _UINT64),
        ("member_id", 2, _UINT64),
        ("revision", 3, _INT64),
        ("raft_term", 4, _UINT64),
    ),
    "KeyValue": (
        ("key", 1, _BYTES),
        ("create_revision", 2, _INT64),
        ("mod_revision", 3, _INT64),
        ("version", 4, _INT64),
        ("value", 5, _BYTES),
        ("lease", 6, _INT64),
    ),
    "PutRequest": (("key", 1, _BYTES), ("value", 2, _BYTES)),
    "PutResponse": (("header", 1, "ResponseHeader"),),
    "RangeRequest": (("key", 1, _BYTES), ("range_end", 2, _BYTES), ("limit", 3, _INT64)),
    "RangeResponse": (("header", 1, "ResponseHeader"), ("kvs", 2, "KeyValue"), ("count", 4, _INT64)),
    "RequestOp": (("request_put", 2, "PutRequest"),),
    "TxnRequest": (("success", 2, "RequestOp"),),
    "TxnResponse": (("header", 1, "ResponseHeader"), ("succeeded", 2, _BOOL)),
}
"""Fields by message: name, number, and a type or the name of a message. Names are not sent."""

_REPEATED: Final = frozenset({"kvs", "success"})

READY_SECONDS_MAX: Final = 30.0
STORED_BYTES_MAX: Final = 16 * 1024**3
"""Beyond it etcd refuses writes; its own 2 GiB are full with a million documents."""

PUTS_AT_ONCE: Final = 500
"""Puts of one transaction of a fill. etcd takes requests of up to 1.5 MiB."""

CHANNEL_OPTIONS: Final = (("grpc.max_receive_message_length", -1),)
"""For a channel to etcd: the Range of a bucket is one message."""


def program() -> str | None:
    """The etcd of this machine; None = not installed."""
    return shutil.which("etcd")


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """One node with its data in `folder`, and etcd's defaults but for room: its address and its process."""
    etcd = program()
    assert etcd is not None, "asked for only where it is installed"
    clients, peers = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
    arguments = {
        "--data-dir": str(folder),
        "--listen-client-urls": clients,
        "--advertise-client-urls": clients,
        "--listen-peer-urls": peers,
        "--initial-advertise-peer-urls": peers,
        "--initial-cluster": f"default={peers}",
        "--log-level": "error",
        "--quota-backend-bytes": str(STORED_BYTES_MAX),
        "--max-txn-ops": str(PUTS_AT_ONCE),
    }
    async with processes.running([etcd, *(part for argument in arguments.items() for part in argument)]) as process:
        yield clients.removeprefix("http://"), process.pid


class KeyValues:
    """Puts and gets the documents over a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        classes = _classes()
        self._put = channel.unary_unary(
            "/etcdserverpb.KV/Put", classes["PutRequest"].SerializeToString, classes["PutResponse"].FromString
        )
        self._range = channel.unary_unary(
            "/etcdserverpb.KV/Range", classes["RangeRequest"].SerializeToString, classes["RangeResponse"].FromString
        )
        ids = [documents.id_of(number).encode() for number in range(documents.IDS)]
        self._puts = [classes["PutRequest"](key=key, value=documents.stored(n)) for n, key in enumerate(ids)]
        self._ranges = [classes["RangeRequest"](key=key) for key in ids]

    async def ready(self) -> None:
        """Wait until it answers."""
        await self._range(self._ranges[0], wait_for_ready=True, timeout=READY_SECONDS_MAX)

    async def put(self, number: int) -> None:
        await self._put(self._puts[number % documents.IDS])

    async def get(self, number: int) -> None:
        """Get a document that is there; the read is linearizable, as by etcd's default."""
        if len((await self._range(self._ranges[number % documents.IDS])).kvs) != 1:
            raise RuntimeError("etcd has lost a document")


class Ranges:
    """Ranges over the values of numbered workflows, over a channel made with `CHANNEL_OPTIONS`."""

    def __init__(self, channel: grpc.aio.Channel, prefix: str, value: Callable[[int], bytes]) -> None:
        """`prefix` is that of the keys, by which several of these share an etcd."""
        self._prefix = prefix
        self._value = value
        self._classes = _classes()
        self._range = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            self._classes["RangeRequest"].SerializeToString,
            self._classes["RangeResponse"].FromString,
        )
        self._txn = channel.unary_unary(
            "/etcdserverpb.KV/Txn",
            self._classes["TxnRequest"].SerializeToString,
            self._classes["TxnResponse"].FromString,
        )
        self._count = 0

    async def fill(self, count: int) -> None:
        """Put `count` values."""
        self._count = count
        put = self._classes["PutRequest"]
        for first in range(0, count, PUTS_AT_ONCE):
            numbers = range(first, min(first + PUTS_AT_ONCE, count))
            puts = [put(key=self._key(number), value=self._value(number)) for number in numbers]
            request = self._classes["TxnRequest"](success=[{"request_put": one} for one in puts])
            await self._txn(request, wait_for_ready=True)

    async def whole(self, add: Callable[[int], None]) -> None:
        """Get all values in one reply; `add` is told how many have come."""
        request = self._classes["RangeRequest"](key=self._key(0), range_end=self._key(self._count))
        add(len((await self._range(request)).kvs))

    async def pages(self, numbers: Iterable[int], size: int, add: Callable[[int], None]) -> None:
        """Get these of the pages of `size` values, as a reader of all pages would get them, one after the other.

        Each is the rest of the range with a limit. What it costs depends on how much is left of the range.
        """
        end = self._key(self._count)
        for number in numbers:
            request = self._classes["RangeRequest"](key=self._key(number * size), range_end=end, limit=size)
            add(len((await self._range(request)).kvs))

    def _key(self, number: int) -> bytes:
        return f"{self._prefix}/{documents.id_of(number)}".encode()


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="bench/etcd.proto", package="etcdserverpb", syntax="proto3")
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = "LABEL_REPEATED" if field in _REPEATED else "LABEL_OPTIONAL"
            of_message = isinstance(kind, str)
            described.field.add(
                name=field,
                number=number,
                label=descriptor_pb2.FieldDescriptorProto.Label.Value(label),
                type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE if of_message else kind,
                type_name=f".etcdserverpb.{kind}" if of_message else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"etcdserverpb.{name}")) for name in _MESSAGES
    }


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
