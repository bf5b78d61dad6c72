"""The only place that knows how a call says who makes it."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

_Channel = TypeVar("_Channel")

Token = str | Callable[[], str]
"""A bearer token, or what returns the one of the moment."""


def carrying(channel: _Channel, token: Token | None) -> _Channel:
    """A channel of grpc or grpc.aio, or one whose calls carry a token.

    gRPC's own credentials for calls are not sent on connections without TLS, and its interceptors are of two kinds.
    """
    return channel if token is None else cast("_Channel", _WithToken(channel, token))


class _WithToken:
    def __init__(self, channel: Any, token: Token) -> None:
        self._channel = channel
        self._token = token

    def unary_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return self._carrying(self._channel.unary_unary(*arguments, **options))

    def unary_stream(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return self._carrying(self._channel.unary_stream(*arguments, **options))

    def _carrying(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: Any, **options: Any) -> Any:
            token = self._token if isinstance(self._token, str) else self._token()
            return method(request, metadata=(("authorization", f"Bearer {token}"),), **options)

        return call
