"""The only place that knows how a NATS server reports on itself: its configuration, its health, what it stores."""

import asyncio
import http.client
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from workflowstore_server.model.state import Durability
from workflowstore_server.store.figures import NatsFigures, ServerFigures
from workflowstore_server.store.jetstream.connection import CannotConnect, NatsOptions, OwnedConnection
from workflowstore_server.store.jetstream.link import NoRespondersError, NotSentError, UnansweredError

WRITE_ERROR: Final = "write error"
"""In the words of a nats-server one of whose streams takes no writes any more, because one has failed."""

WATCH_SECONDS: Final = 10.0
"""How often a server is asked for its figures: more often than they are usually collected, and 2 ms of work."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a NATS server says of itself."""

    version: str
    durability: Durability


async def over_system_account(connection: OwnedConnection) -> ServerReport:
    """Ask a server through a user of its system account.

    Raises: CannotConnect when it does not answer.
    """
    (varz,) = await _ask(connection, "VARZ")
    return _report(varz)


async def watch(connection: OwnedConnection, figures: NatsFigures) -> None:
    """Note every now and then what a server says of itself to a user of its system account, until cancelled."""
    while True:
        try:
            health, varz = await _ask(connection, "HEALTHZ", "VARZ")
        except CannotConnect:
            figures.healthy, figures.server = False, None
        else:
            figures.healthy, figures.server = health.get("status") == "ok", _figures(varz)
        await asyncio.sleep(WATCH_SECONDS)


async def condition(connection: OwnedConnection) -> tuple[str, int]:
    """Ask a server, through a user of its system account, what it has failed to write and how much it stores.

    The first is empty when it has failed at nothing, the second is bytes.

    Raises: CannotConnect when it does not answer.
    """
    health, usage = await _ask(connection, "HEALTHZ", "JSZ")
    said = health.get("error", "")
    # It is not well either while it starts, and says what is wrong in words alone (nats-server 2.15, stream.go).
    return said if WRITE_ERROR in said else "", usage["storage"]


async def _ask(connection: OwnedConnection, *questions: str) -> list[dict[str, Any]]:
    try:
        replies = [await connection.link.request(f"$SYS.REQ.SERVER.PING.{name}", b"{}") for name in questions]
    except (NoRespondersError, NotSentError, UnansweredError) as error:
        raise CannotConnect("the embedded nats-server does not report on itself") from error
    return [msgspec.json.decode(reply.data)["data"] for reply in replies]


async def over_monitor(url: str, options: NatsOptions) -> ServerReport:
    """Ask a server through its monitoring endpoint, such as `http://127.0.0.1:8222`.

    The certificate of one with `https` is checked as that of NATS itself, by what `options` name.

    Raises: OSError when it does not answer, ValueError when it answers something else.
    """

    def fetch() -> bytes:
        where, tls = f"{url.rstrip('/')}/varz", options.tls_context()
        with urllib.request.urlopen(where, timeout=5, context=tls) as response:  # noqa: S310 (config checks it)
            body: bytes = response.read()
            return body

    try:
        return _report(msgspec.json.decode(await asyncio.to_thread(fetch)))
    except (http.client.HTTPException, msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{url}/varz is not the report of a NATS server with JetStream") from error


def _report(varz: dict[str, Any]) -> ServerReport:
    always = varz["jetstream"]["config"].get("sync_always", False)
    return ServerReport(varz["version"], Durability.FSYNC_ALWAYS if always else Durability.FSYNC_INTERVAL)


def _figures(varz: dict[str, Any]) -> ServerFigures:
    return ServerFigures(
        memory_bytes=varz["mem"],
        storage_bytes=varz["jetstream"]["stats"]["storage"],
        storage_bytes_max=varz["jetstream"]["config"]["max_storage"],
        connections=varz["connections"],
        slow_consumers=varz["slow_consumers"],
    )
