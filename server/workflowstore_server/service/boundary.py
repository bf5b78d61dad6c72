"""The only place that knows what happens to a failure on its way out of a call.

It wraps handlers once, when they are registered. A grpc.aio interceptor would do the same for every call anew, at a
tenth of a call's cost (docs/adr/0004).
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from workflowstore_server.codec import aside, wire
from workflowstore_server.model.errors import (
    FieldViolation,
    InvalidRequest,
    Outcome,
    ShuttingDown,
    StorageUnavailable,
    StoreError,
)
from workflowstore_server.model.limits import REQUEST_FIELDS_MAX
from workflowstore_server.service import status

log = logging.getLogger(__name__)

PREVIOUS_ATTEMPTS: Final = "grpc-previous-rpc-attempts"
"""Key in the metadata of a call that gRPC itself makes again (gRFC A6)."""

NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")
"""Trailing metadata by which a server keeps a client's gRPC from trying a call again (gRFC A6)."""

Context = grpc.aio.ServicerContext[Any, Any]
Decode = Callable[[bytes], Any]

LONG_AT_ONCE_MAX: Final = 8
"""Calls with long requests that run at once; others wait before theirs are decoded. What is made of one takes up to 40
MiB. Those that save a large state or a batch keep the storage busy with fewer."""


class Calls:
    """The calls that run: how many, and whether more may begin. A context manager around each of them."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        """Set while none runs."""
        self.idle.set()
        self.streams_end = False
        """Whether streams end after the message that they are sending."""
        self.arrived = 0
        """Calls that have arrived, those that were refused included."""
        self._closed = False
        self._running = 0

    def close(self) -> None:
        """Let no more begin."""
        self._closed = True

    def __enter__(self) -> None:
        """Raises: ShuttingDown."""
        self.arrived += 1
        if self._closed:
            raise ShuttingDown
        self._running += 1
        self.idle.clear()

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        if not self._running:
            self.idle.set()


class Boundary:
    """Registers a service's handlers at a server, each wrapped so that its failures leave as statuses of this API."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self._long = asyncio.Semaphore(LONG_AT_ONCE_MAX)
        self.calls = Calls()

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignored: the generated code registers every handler here and, by name, below."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Called by the generated `add_..._to_server`."""
        wrapped = {method: self._wrap(f"{service}/{method}", handler) for method, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    def _wrap(self, method: str, handler: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        if handler.request_streaming:
            raise NotImplementedError(f"{method} streams its request; write the wrapper before such a method")
        # The wrapper decodes the request itself: gRPC would let what fails there out as UNKNOWN with its text.
        decode = _decoder(method, handler.request_deserializer)
        if handler.response_streaming:
            stream = self._stream(method, decode, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(stream, response_serializer=_serializer(handler))
        unary = self._unary(method, decode, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(unary, response_serializer=handler.response_serializer)

    def _unary(
        self, method: str, decode: Decode, behavior: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[bytes, Context], Awaitable[Any]]:
        async def call(request: bytes, context: Context) -> Any:
            try:
                with self.calls:
                    if not aside.is_long_message(len(request)):
                        return await behavior(decode(request), context)
                    async with self._long:
                        return await behavior(await aside.run(True, decode, request), context)
            except BaseException as error:
                sent = _sent(method, error, context)
                _let_go(error)
                await context.abort_with_status(sent)

        return call

    def _stream(
        self, method: str, decode: Decode, behavior: Callable[[Any, Context], AsyncGenerator[Any]]
    ) -> Callable[[bytes, Context], AsyncIterator[Any]]:
        async def call(request: bytes, context: Context) -> AsyncIterator[Any]:
            try:
                with self.calls:
                    decoded = await aside.run(aside.is_long_message(len(request)), decode, request)
                    async with aclosing(behavior(decoded, context)) as messages:
                        async for message in messages:
                            yield message
                            if self.calls.streams_end:
                                raise ShuttingDown
            except GeneratorExit:
                raise
            except BaseException as error:
                sent = _sent(method, error, context)
                _let_go(error)
                await context.abort_with_status(sent)

        return call


def _let_go(error: BaseException) -> None:
    """Let go of what a call had in hand when it failed: a large request, say, and what was made of it.

    Its traceback has all of it, and lives until the garbage collector finds it, which is seldom.
    """
    error.__traceback__ = None


def _serializer(handler: Any) -> Callable[[Any], bytes]:
    """The handler's own serializer, for what is not bytes already: a List has its states ready for the wire."""
    serialize = handler.response_serializer
    return lambda message: message if isinstance(message, bytes) else serialize(message)


def _decoder(method: str, deserialize: Decode) -> Decode:
    service, _, rpc = method.rpartition("/")
    name = f"{rpc}Request"
    shape = wire.shape_of(descriptor_pool.Default().FindServiceByName(service).methods_by_name[rpc].input_type)

    def decode(request: bytes) -> Any:
        # A field has two bytes at least.
        if len(request) > 2 * REQUEST_FIELDS_MAX and wire.has_more_fields(request, shape, REQUEST_FIELDS_MAX):
            words = (
                f"has more than {REQUEST_FIELDS_MAX} fields, those of its items, events and labels counted; send less"
            )
            raise InvalidRequest((FieldViolation("", "TOO_MANY_FIELDS", words),))
        try:
            return deserialize(request)
        except DecodeError as error:
            words = f"the bytes are no {name}; make them with the code that is generated from this server's .proto"
            raise InvalidRequest((FieldViolation("", "UNDECODABLE", words),)) from error

    return decode


def _sent(method: str, error: BaseException, context: Context) -> grpc.Status:
    """Return what a failure is sent as, with its trailing metadata."""
    sent: Any = rpc_status.to_status(_status_of(method, error, context))
    if isinstance(error, StoreError) and status.is_for_the_caller(error):
        sent = sent._replace(trailing_metadata=(*sent.trailing_metadata, NO_RETRY))
    return cast("grpc.Status", sent)


def _status_of(method: str, error: BaseException, context: Context) -> Status:
    """Return what a failure is sent as, or raise it again when it is no failure of the call."""
    if isinstance(error, StoreError):
        retried = any(key == PREVIOUS_ATTEMPTS for key, _ in context.invocation_metadata() or ())
        return status.status_of(error, retried=retried)
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise error
        # A library's own cancellation. Let out, it would leave the client without a status until its deadline.
        log.warning("%s: a library cancelled itself", method, exc_info=error)
        return status.status_of(StorageUnavailable("", "interrupted", Outcome.UNKNOWN))
    if not isinstance(error, Exception):
        raise error
    error_id = uuid.uuid4().hex
    log.error("%s: internal error %s", method, error_id, exc_info=error)
    return status.internal(error_id)
