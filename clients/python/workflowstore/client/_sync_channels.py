"""The only place that knows which channel a call over grpc goes through, and when that is another one.

`make generate` writes this file from _async_channels.py.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc

from workflowstore.client import _channel
from workflowstore.client._tls import Credentials, Tls
from workflowstore.client._token import Token, carrying
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

Stub: TypeAlias = "WorkflowStoreStub"


class _OpenChannel:
    def __init__(self, channel: grpc.Channel, token: Token | None) -> None:
        self.channel = channel
        self.stub: Stub = WorkflowStoreStub(carrying(channel, token))
        self.calls = 0
        """How many run over it."""


class Channels:
    """The channels of one client.

    There is one until the files for TLS change: gRPC takes no other certificates for a channel that it has. Then new
    calls go through a new one, and the old one is closed when the last of its calls has ended.
    """

    def __init__(
        self, target: str | None, tls: Tls | None, channel: grpc.Channel | None, token: Token | None, *, retry: bool
    ) -> None:
        """Make the first one, or take the one that is given, which stays its owner's.

        Raises:
            OSError: A file for TLS cannot be read.
            ValueError: A file for TLS does not hold what it should.
        """
        self._target = target or _channel.TARGET_DEFAULT
        self._credentials = None if tls is None else Credentials(tls)
        self._options = _channel.options(retry=retry, tls=tls)
        self.given = channel is not None
        """Whether the channel is its owner's to close."""
        self._token = token
        self._lock = threading.Lock()
        self._newest = _OpenChannel(self._open() if channel is None else channel, token)
        self._older: list[_OpenChannel] = []

    @contextmanager
    def stub(self) -> Iterator[Stub]:
        """The stub to make one call with, until which has ended the channel stays open."""
        with self._lock:
            if self._credentials is not None and self._credentials.renew():
                self._older.append(self._newest)
                self._newest = _OpenChannel(self._open(), self._token)
            taken = self._newest
            taken.calls += 1
        try:
            yield taken.stub
        finally:
            with self._lock:
                taken.calls -= 1
                unused = [older for older in self._older if not older.calls]
                self._older = [older for older in self._older if older.calls]
            for older in unused:
                older.channel.close()

    def close(self) -> None:
        """Close them, which ends the calls under way, but for one that was given."""
        with self._lock:
            left = [] if self.given else [self._newest, *self._older]
            self._older = []
        for one in left:
            one.channel.close()

    def _open(self) -> grpc.Channel:
        return opened(self._target, self._credentials, self._options)


def opened(target: str, credentials: Credentials | None, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
    """A channel, encrypted with these credentials or not at all."""
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials.current, options=options)
