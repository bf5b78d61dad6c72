"""The only place that knows how a client over grpc is connected, and how it keeps at a stream that breaks.

`make generate` writes this file from _async_connection.py.
"""

import time
from collections.abc import Generator
from types import TracebackType
from typing import Self

import grpc

from workflowstore.client import _channel
from workflowstore.client._resume import Reply, Request, Resumption
from workflowstore.client._status import mapped_errors
from workflowstore.client._token import Token, carrying
from workflowstore.client._told import ToldRevisions
from workflowstore.client.errors import WorkflowStoreError
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub


class Connection:
    """What all kinds of calls of a client have in common."""

    def __init__(
        self,
        target: str | None = None,
        *,
        channel: grpc.Channel | None = None,
        bucket: str = "",
        timeout: float | None = 30.0,
        retry: bool = True,
        token: Token | None = None,
    ) -> None:
        """Connects at the first call.

        Args:
            target: Where the server is, as gRPC names it, without encryption. None = 127.0.0.1:50051. This version
                makes no channels with TLS: give one as `channel`.
            channel: A channel to use instead. It remains its owner's to close, and has the options that its owner gave
                it: without the service config, none of its calls is tried again.
            bucket: The bucket of calls that name none. Empty = the server's first.
            timeout: The deadline in seconds of calls that give none. None = none. It does not bound the iterations:
                `list`, `list_chunks`, `list_revisions`, `watch` and `export`.
            retry: Whether calls that fail as UNAVAILABLE are tried again; see the class. The iterations that go on by
                themselves do so in any case.
            token: The bearer token that tells the server who calls. A function is asked for it at each call, so that it
                may change; it should not take long. Without TLS whoever is on the way can read it. None = none.

        Raises:
            TypeError: Both `target` and `channel` were given.
        """
        if target is not None and channel is not None:
            raise TypeError("give a target or a channel, not both")
        self._owned_channel = None
        if channel is None:
            channel = grpc.insecure_channel(target or _channel.TARGET_DEFAULT, options=_channel.options(retry=retry))
            self._owned_channel = channel
        self._open_stub = WorkflowStoreStub(carrying(channel, token))
        self._closed = False
        self._bucket = bucket
        self._timeout = timeout
        self._told = ToldRevisions()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel, which ends the calls under way, unless it was given. May be called again."""
        self._closed = True
        if self._owned_channel is not None:
            self._owned_channel.close()

    @property
    def _stub(self) -> WorkflowStoreStub:
        if self._closed:
            raise RuntimeError("the client is closed")
        return self._open_stub

    def _bucket_or(self, bucket: str | None) -> str:
        return self._bucket if bucket is None else bucket

    def _deadline(self, timeout: float | None) -> float | None:
        return _channel.deadline(self._timeout if timeout is None else timeout)

    def _resumed(
        self, method: "grpc.UnaryStreamMultiCallable[Request, Reply]", resumption: Resumption[Request, Reply]
    ) -> Generator[Reply, None, None]:
        while True:
            call = method(resumption.request(), timeout=resumption.timeout())
            try:
                with mapped_errors(write=False):
                    for reply in call:
                        yield resumption.received(reply)
                return
            except WorkflowStoreError as error:
                if resumption.complete:
                    return
                pause_seconds = resumption.pause_seconds(error)
                if pause_seconds is None:
                    raise
            finally:
                call.cancel()  # ends the call when the iteration is left early, and else does nothing
            time.sleep(pause_seconds)
            if self._closed:
                raise WorkflowStoreError("the client was closed during the call", code="CANCELLED")
