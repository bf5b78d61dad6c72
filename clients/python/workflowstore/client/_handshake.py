"""The only place that knows what gRPC says of a connection that was not encrypted as it should be.

gRPC has no other way to tell than the message of UNAVAILABLE. The tests have each of these from a real handshake.
"""

from typing import Final

# Of several that match the first one counts.
_MEANINGS: Final = (
    (
        "certificate has expired",
        "the server's certificate, or that of its authority, has expired; renew it there",
    ),
    (
        "certificate is not yet valid",
        "the server's certificate is not valid yet; look at the clock of this machine",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the server's certificate is of no authority that this client trusts; give the one that it is of: "
        "Tls(ca=...), --tls-ca",
    ),
    (
        "Hostname Verification Check failed",
        "the server's certificate is for another name than the one that was called; call it by a name in the "
        "certificate, or say which: Tls(server_name=...), --tls-server-name",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "the server does not speak TLS; call it without, or start it with --listen-tls-cert",
    ),
    (
        "missing selected ALPN property",
        "what answers there speaks TLS and is no gRPC server; look at the address",
    ),
    (
        "Tls handshake failed",
        "the server and this client did not agree on how to encrypt",
    ),
)

_CLOSED_AT_ONCE: Final = (
    "the server has closed the connection at once; it may want TLS (Tls(ca=...), --tls-ca), or a client certificate of "
    "an authority that it knows (Tls(certificate=..., key=...), --tls-cert, --tls-key)"
)


def meaning_of(message: str) -> str | None:
    """What the message of a call that failed as UNAVAILABLE says about TLS. None = nothing."""
    if not message.startswith("failed to connect to all addresses"):
        return None
    for words, meaning in _MEANINGS:
        if words in message:
            return meaning
    # A server that closes what it does not understand tells no more than that.
    return _CLOSED_AT_ONCE if "Socket closed" in message or "Connection reset" in message else None
