"""The only place that knows what a program does that uses nats-py and nats-server directly.

It puts documents into a bucket and lists it with one get per key, as the Go provider does.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client

from bench import documents
from workflowstore_server.embedded.directory import DataDirectory
from workflowstore_server.embedded.server import EmbeddedOptions, EmbeddedServer
from workflowstore_server.store.jetstream.stream import Names

FILL_BLOCK: Final = 1_000
"""Messages sent before one waits for its acknowledgement: nats-server drops what it cannot queue."""

KEYS_MAX: Final = 500_000
"""Beyond 524,288 messages that wait in a subscription, nats-py drops them, and its keys() waits for the last one."""


@dataclass(frozen=True, slots=True)
class Nats:
    """A nats-server configured as the embedded one is, and a connection to it."""

    url: str
    """With the credential in it."""

    process: int
    client: Client
    system_client: Client
    """Of the account that may ask what the server does."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket with the documents of `size` workflows."""

    nats: Nats
    name: str
    size: int


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Nats]:
    """A nats-server with its data in `folder`, and a client of it."""
    directory = DataDirectory(folder)
    async with AsyncExitStack() as stack:
        stack.callback(directory.release)
        server = EmbeddedServer(directory, EmbeddedOptions())
        stack.push_async_callback(server.stop)
        await server.start()
        urls = [
            f"nats://{user.user}:{user.password}@{urlsplit(server.address).netloc}"
            for user in (server.user, server.system_user)
        ]
        clients = [await nats.connect(url) for url in urls]
        for client in clients:
            stack.push_async_callback(client.close)
        yield Nats(urls[0], server.pid, *clients)


async def create_bucket(client: Client, bucket: str, *, fsync: bool = True) -> None:
    """Create a bucket exactly as a server does. Without `fsync` it is filled fast; reading it makes no difference."""
    names = Names(bucket)
    configuration = json.loads(names.creation(history=1, replicas=1, allow_atomic=False, max_bytes=0))
    if not fsync:
        configuration["persist_mode"] = "async"
    reply = json.loads((await client.request(names.create, json.dumps(configuration).encode())).data)
    if "error" in reply:
        raise RuntimeError(f"cannot create bucket {bucket}: {reply['error']}")


async def messages_in(nats_server: Nats) -> int:
    """How many messages the clients of a nats-server have sent to it, this question included."""
    reply = await nats_server.system_client.request("$SYS.REQ.SERVER.PING.VARZ", b"{}")
    count: int = json.loads(reply.data)["data"]["in_msgs"]
    return count


async def consumers(nats_server: Nats, bucket: str) -> int:
    """How many JetStream consumers a bucket has."""
    return (await nats_server.client.jetstream().stream_info(Names(bucket).stream)).state.consumer_count


class Puts:
    """Puts documents, each acknowledged: what KeyValue.put does."""

    def __init__(self, client: Client, bucket: str) -> None:
        self._jetstream = client.jetstream()
        names = Names(bucket)
        self._messages = [
            (names.subject(documents.id_of(number)), documents.stored(number)) for number in range(documents.IDS)
        ]

    async def put(self, number: int) -> None:
        subject, document = self._messages[number % documents.IDS]
        await self._jetstream.publish(subject, document)


async def filled(nats_server: Nats, size: int) -> Bucket:
    """A new bucket with the documents of `size` workflows."""
    bucket = Bucket(nats_server, f"states_{size}", size)
    await create_bucket(nats_server.client, bucket.name, fsync=False)
    names, jetstream = Names(bucket.name), nats_server.client.jetstream()
    for number in range(size):
        subject, document = names.subject(documents.id_of(number)), documents.stored(number)
        if number % FILL_BLOCK == FILL_BLOCK - 1 or number == size - 1:
            await jetstream.publish(subject, document)
        else:
            await nats_server.client.publish(subject, document)
    messages = (await jetstream.stream_info(names.stream)).state.messages
    if messages != size:
        raise RuntimeError(f"bucket {bucket.name} has {messages} documents instead of {size}")
    return bucket


async def keys(bucket: Bucket) -> list[str]:
    """All keys, in revision order."""
    return await (await bucket.nats.client.jetstream().key_value(bucket.name)).keys()


async def get_one_by_one(bucket: Bucket, wanted: list[str]) -> int:
    """Get and decode the documents of these keys, one after the other, and count them."""
    store = await bucket.nats.client.jetstream().key_value(bucket.name)
    count = 0
    for key in wanted:
        entry = await store.get(key)
        with contextlib.suppress(ValueError):  # the provider skips it
            json.loads(entry.value or b"")
            count += 1
    return count
