"""The only place that knows which channel a call over grpc.aio goes through, and when that is another one."""

import threading
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from workflowstore.client import _channel
from workflowstore.client._tls import Credentials, Tls
from workflowstore.client._token import Token, carrying
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

if TYPE_CHECKING:
    from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreAsyncStub

Stub: TypeAlias = "WorkflowStoreAsyncStub"


class _OpenChannel:
    def __init__(self, channel: grpc.aio.Channel, token: Token | None) -> None:
        self.channel = channel
        self.stub: Stub = WorkflowStoreStub(carrying(channel, token))
        self.calls = 0
        """How many run over it."""


class AsyncChannels:
    """The channels of one client.

    There is one until the files for TLS change: gRPC takes no other certificates for a channel that it has. Then new
    calls go through a new one, and the old one is closed when the last of its calls has ended.
    """

    def __init__(
        self, target: str | None, tls: Tls | None, channel: grpc.aio.Channel | None, token: Token | None, *, retry: bool
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

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[Stub]:
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
                await older.channel.close()

    async def close(self) -> None:
        """Close them, which ends the calls under way, but for one that was given."""
        with self._lock:
            left = [] if self.given else [self._newest, *self._older]
            self._older = []
        for one in left:
            await one.channel.close()

    def _open(self) -> grpc.aio.Channel:
        get_running_loop()  # grpc.aio would take a loop that never runs, and hang
        return opened(self._target, self._credentials, self._options)


def opened(target: str, credentials: Credentials | None, options: Sequence[tuple[str, Any]]) -> grpc.aio.Channel:
    """A channel, encrypted with these credentials or not at all."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, credentials.current, options=options)
