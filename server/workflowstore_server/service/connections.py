"""The only place that knows what one connection may cost, and how many there may be.

Options that gRPC's transport was seen to obey: tests/service/test_connections.py has the proof of each.
"""

import logging
import resource
from dataclasses import dataclass
from typing import Final

from workflowstore_server.model.limits import BATCH_BYTES_MAX

log = logging.getLogger(__name__)

RECEIVE_BYTES_MAX: Final = BATCH_BYTES_MAX + 1024 * 1024
"""Bytes of one request. More than may be sent, so that a batch or a state that is somewhat too large gets the answer
that tells its size and the limit, instead of gRPC's own; and no more than protobuf decodes in 50 ms, whatever is in
them."""

SEND_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of one reply: what our clients take. A chunk of a List is one state and 1 MiB, and a state is less than the
64 MiB that a NATS message may have at most."""

METADATA_BYTES_MAX: Final = 8 * 1024
METADATA_BYTES_MAX_HARD: Final = 16 * 1024
"""Bytes of a call's metadata, gRPC's own limits: from the first on calls are refused, at random and ever more of them,
and beyond the second all are."""

STREAMS_MAX: Final = 1024
"""Calls at once on one connection. A client keeps back what is beyond it, until others have ended. HTTP/2 advises 100
at least (RFC 9113, section 6.5.2); gRPC has no limit of its own."""

PENDING_CALLS_MAX: Final = 16 * STREAMS_MAX
"""Calls that have arrived and were not looked at. Beyond it gRPC ends calls at random, as CANCELLED and without a word;
its own default, 1,000, is met by one client that sends 1,100 calls at once."""

FILES_RESERVED: Final = 256
"""Files that are kept for others than connections: the index, NATS, the log."""

CONNECTIONS_FEW: Final = 1000
"""So few connections are told of at the start."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How long a connection may last, and be silent. They hold for every client, so each has to live with them."""

    idle_seconds_max: float = 900.0
    """How long one may be without a call. Clients connect again at their next call."""

    age_seconds_max: float = 1800.0
    """How long one may last, a tenth more or less by chance, so that clients spread over the servers there are. Its
    calls may still end; new ones go to a new connection, and clients resume their streams."""

    age_grace_seconds: float = 60.0
    """How long calls have to end on a connection that has become too old; as long as one reply may take."""

    keepalive_seconds: float = 60.0
    """How long a client may be silent before it is asked whether it is there."""

    keepalive_timeout_seconds: float = 20.0
    """How long it may take to answer. Then its calls are cancelled: a Watch whose client is gone ends by that."""

    ping_seconds_min: float = 20.0
    """How far apart a client's own questions have to be, with or without calls. Two that come sooner are let pass, and
    at the third the connection ends (gRFC A8). Less than the 30 s that are common for clients."""

    handshake_seconds_max: float = 20.0
    """How long a client may take to begin with HTTP/2."""


def channel_options(options: ConnectionOptions) -> tuple[tuple[str, int], ...]:
    """The options of a grpc.aio server."""
    return (
        # Two servers on one port would share its connections at random.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        ("grpc.max_send_message_length", SEND_BYTES_MAX),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX_HARD),
        ("grpc.max_concurrent_streams", STREAMS_MAX),
        # With it gRPC also counts calls that have ended and that it has not tidied up, and so refuses those of clients
        # that keep to the limit.
        ("grpc.http.overload_protection", 0),
        ("grpc.server.max_pending_requests", PENDING_CALLS_MAX),
        ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS_MAX),
        ("grpc.max_allowed_incoming_connections", connections_max()),
        ("grpc.max_connection_idle_ms", _ms(options.idle_seconds_max)),
        ("grpc.max_connection_age_ms", _ms(options.age_seconds_max)),
        ("grpc.max_connection_age_grace_ms", _ms(options.age_grace_seconds)),
        ("grpc.keepalive_time_ms", _ms(options.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout_seconds)),
        # Of pings that gRPC sends to measure the connection; while one is not answered it sends none to keep it alive.
        ("grpc.http2.ping_timeout_ms", _ms(options.keepalive_timeout_seconds)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(options.ping_seconds_min)),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.server_handshake_timeout_ms", _ms(options.handshake_seconds_max)),
    )


def connections_max() -> int:
    """How many connections the files suffice for that this process may open."""
    return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_RESERVED)


def open_files() -> None:
    """Let this process open as many files as it may, and tell when that is for few connections only."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if connections_max() < CONNECTIONS_FEW:
        log.warning(
            "this process may open %d files, which is enough for %d connections; raise the limit (ulimit -n)",
            hard,
            connections_max(),
        )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
