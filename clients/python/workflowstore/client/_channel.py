"""The only place that knows how a client's channel is configured."""

import importlib.resources
import math
from functools import cache
from typing import Any, Final

from workflowstore.client._tls import Tls

TARGET_DEFAULT: Final = "127.0.0.1:50051"

_REPLY_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest reply that is accepted. A chunk of a List is one state and 1 MiB, and a state is less than the 64 MiB
that a NATS message may have at most. gRPC's own limit of 4 MiB would refuse what a server may well send."""

_RECONNECT_MS_MIN: Final = 100
_RECONNECT_MS_MAX: Final = 2000
"""Pauses between attempts to connect, so that a server that was restarted is found again within 2 s. gRPC's own grow to
2 minutes."""

_RETRY_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest request that is tried again. The largest that a server takes is a batch of 8 MiB; of gRPC's own 256 KiB,
larger ones would never be tried again. It is no memory of its own: the request is kept, not copied."""


def options(*, retry: bool, tls: Tls | None) -> tuple[tuple[str, Any], ...]:
    """The channel options of a client; `retry` tells whether gRPC tries calls again as the service config says."""
    server_name = None if tls is None else tls.server_name
    return (
        ("grpc.max_receive_message_length", _REPLY_BYTES_MAX),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS_MIN),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS_MAX),
        ("grpc.service_config", _service_config()),
        ("grpc.enable_retries", int(retry)),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BYTES_MAX),
        *([] if server_name is None else [("grpc.ssl_target_name_override", server_name)]),
    )


def deadline(timeout: float | None) -> float | None:
    """What gRPC takes for a timeout in seconds, of which None and infinity mean none."""
    return None if timeout is None or math.isinf(timeout) else timeout


@cache
def _service_config() -> str:
    return (importlib.resources.files("workflowstore") / "service_config.json").read_text()
