"""The only place that knows what is counted of the storage, whoever publishes it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from workflowstore_server.model.durations import Durations

PUBLISH: Final = "publish"
DIRECT_GET: Final = "direct_get"
API: Final = "api"
KINDS: Final = (PUBLISH, DIRECT_GET, API)
"""Kinds of requests to NATS: writes, reads from any copy, and everything else, reads from the leader included."""

NOT_SENT: Final = "not_sent"
UNANSWERED: Final = "unanswered"
NO_RESPONDERS: Final = "no_responders"
FAILURES: Final = (NOT_SENT, UNANSWERED, NO_RESPONDERS)


class Fill(NamedTuple):
    """How full a bucket was when it was last described."""

    messages: int
    bytes: int
    bytes_max: int
    """0 = it has no limit of its own."""


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """What a NATS server says of itself."""

    memory_bytes: int = 0
    storage_bytes: int = 0
    """What all its streams take on disk."""
    storage_bytes_max: int = 0
    connections: int = 0
    slow_consumers: int = 0
    """Connections that it has closed because they did not read."""


@dataclass(slots=True)
class NatsFigures:
    """What has become of requests to NATS, and of the connection, since the start."""

    answered: dict[str, Durations] = field(default_factory=lambda: {kind: Durations() for kind in KINDS})
    """How long requests took that were answered, by their kind."""
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests that were not, by their kind and by one of FAILURES."""
    connected: bool = False
    connections_made: int = 0
    attempts_failed: int = 0
    """Attempts to connect."""
    healthy: bool | None = None
    """What the NATS server has last said of its health; False also when it has not answered. None = it is not asked."""
    server: ServerFigures | None = None
    """What the NATS server has last said of itself. None = nothing, or it does not answer any more."""
