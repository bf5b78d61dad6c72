"""The only place that knows how a client over grpc is connected, and how it keeps at a stream that breaks.

`make generate` writes this file from _async_connection.py.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import grpc

from workflowstore.client import _channel
from workflowstore.client._resume import Reply, Request, Resumption
from workflowstore.client._status import mapped_errors
from workflowstore.client._sync_channels import Channels, Stub
from workflowstore.client._tls import Tls
from workflowstore.client._token import Token
from workflowstore.client._told import ToldRevisions
from workflowstore.client.errors import WorkflowStoreError


class Connection:
    """What all kinds of calls of a client have in common."""

    def __init__(
        self,
        target: str | None = None,
        *,
        tls: Tls | None = None,
        channel: grpc.Channel | None = None,
        bucket: str = "",
        timeout: float | None = 30.0,
        retry: bool = True,
        token: Token | None = None,
    ) -> None:
        """Connects at the first call.

        Args:
            target: Where the server is, as gRPC names it. None = 127.0.0.1:50051.
            tls: How the connection is encrypted, and how the client says who it is. None = without encryption.
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
            TypeError: Both `channel` and one of `target` and `tls` were given.
            OSError: A file for TLS cannot be read.
            ValueError: A file for TLS does not hold what it should; the error names it.
        """
        if channel is not None and (target is not None or tls is not None):
            raise TypeError("give a channel, or a target and tls, not both")
        self._channels = Channels(target, tls, channel, token, retry=retry)
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
        """Closes the connection, which ends the calls under way, unless a channel was given. May be called again."""
        self._closed = True
        self._channels.close()

    @contextmanager
    def _calling(self, *, write: bool) -> Iterator[Stub]:
        """The stub for one call, whose failure is raised as a WorkflowStoreError; `write` tells whether it writes."""
        if self._closed:
            raise RuntimeError("the client is closed")
        with self._channels.stub() as stub, mapped_errors(write=write):
            yield stub

    def _bucket_or(self, bucket: str | None) -> str:
        return self._bucket if bucket is None else bucket

    def _deadline(self, timeout: float | None) -> float | None:
        return _channel.deadline(self._timeout if timeout is None else timeout)

    def _resumed(
        self,
        method: "Callable[[Stub], grpc.UnaryStreamMultiCallable[Request, Reply]]",
        resumption: Resumption[Request, Reply],
    ) -> Generator[Reply, None, None]:
        while True:
            try:
                with self._calling(write=False) as stub:
                    call = method(stub)(resumption.request(), timeout=resumption.timeout())
                    try:
                        for reply in call:
                            yield resumption.received(reply)
                    finally:
                        call.cancel()  # ends the call when the iteration is left early, and else does nothing
                return
            except WorkflowStoreError as error:
                if resumption.complete:
                    return
                # The end of a channel is a cancellation too, and that of one that was given nobody tells.
                here = error.code == "CANCELLED" and (self._closed or self._channels.given)
                pause_seconds = None if here else resumption.pause_seconds(error)
                if pause_seconds is None:
                    raise
            time.sleep(pause_seconds)
            if self._closed:
                raise WorkflowStoreError("the client was closed during the call", code="CANCELLED")
