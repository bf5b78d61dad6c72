"""The only place that knows what happens to a failure on its way out of a call.

It wraps handlers once, when they are registered. A grpc.aio interceptor would do the same for every call anew, at a
tenth of a call's cost (docs/adr/0004).
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
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
    StorageUnavailable,
    StoreError,
)
from workflowstore_server.model.limits import QUESTION_BYTES_MAX, REQUEST_FIELDS_MAX
from workflowstore_server.service import status
from workflowstore_server.service.access import Gate
from workflowstore_server.service.attempts import is_made_again
from workflowstore_server.service.calls import Call, Calls
from workflowstore_server.service.connections import RECEIVE_BYTES_MAX
from workflowstore_server.service.observed import Method, Observation, Observed

log = logging.getLogger(__name__)

NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")
"""Trailing metadata by which a server keeps a client's gRPC from trying a call again (gRFC A6)."""

Context = grpc.aio.ServicerContext[Any, Any]
Decode = Callable[[bytes], Any]

LONG_AT_ONCE_MAX: Final = 8
"""Calls with long requests that run at once; others wait before theirs are decoded. What is made of one takes up to 40
MiB. Those that save a large state or a batch keep the storage busy with fewer."""

LONG_OF_A_BUCKET_MAX: Final = LONG_AT_ONCE_MAX // 2
"""Of them, those to one of several buckets, so that calls which wait for its storage leave room for the others'."""

BUCKET_FIELD: Final = 1
"""Number of the field `bucket` in every request."""

WRITES: Final = frozenset({"Save", "Update", "Delete", "SaveBatch", "DeleteBatch", "Import"})
"""Methods whose failures say what became of the write."""


CARRYING: Final = frozenset({"Save", "Update", "SaveBatch", "Import"})
"""Methods whose requests carry states or documents, and may be long for that."""


class Boundary:
    """Registers a service's handlers at a server, each wrapped so that its failures leave as statuses of this API."""

    def __init__(
        self, server: grpc.aio.Server, calls: Calls, observed: Observed, buckets: Sequence[str], gate: Gate | None
    ) -> None:
        self._server = server
        self._calls = calls
        self._observed = observed
        self._gate = gate
        """None = nobody is asked who calls."""
        self._long = asyncio.Semaphore(LONG_AT_ONCE_MAX)
        # One bucket alone need leave nothing to others. An empty name means the first.
        named = [(name, name) for name in buckets] + [("", buckets[0])] if len(buckets) > 1 else []
        self._shares = {name: f"bucket {bucket}" for name, bucket in named}
        """What the places of calls to a bucket are counted under, by its name in the request."""
        turns = {bucket: asyncio.Semaphore(LONG_OF_A_BUCKET_MAX) for bucket in buckets}
        self._long_to = {name: turns[bucket] for name, bucket in named}
        self._long_to_others = asyncio.Semaphore(LONG_AT_ONCE_MAX if len(buckets) == 1 else LONG_OF_A_BUCKET_MAX)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignored: the generated code registers every handler here and, by name, below."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Called by the generated `add_..._to_server`."""
        wrapped = {method: self._wrap(f"{service}/{method}", handler) for method, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    def _wrap(self, method: str, handler: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        if handler.request_streaming:
            raise NotImplementedError(f"{method} streams its request; write the wrapper before such a method")
        # The wrapper decodes the request itself: gRPC would let what fails there out as UNKNOWN with its text. And it
        # asks for it itself, as if requests were streams: gRPC would wait for it for ever, and then hand it over
        # whether there is a place for the call or not.
        decode = _decoder(method, handler.request_deserializer)
        seen = self._observed.method(method, streams=handler.response_streaming)
        if handler.response_streaming:
            stream = self._stream(seen, decode, handler.unary_stream, handler.response_serializer)
            return grpc.stream_stream_rpc_method_handler(stream)
        unary = self._unary(seen, decode, handler.unary_unary)
        return grpc.stream_unary_rpc_method_handler(unary, response_serializer=handler.response_serializer)

    def _unary(
        self, method: Method, decode: Decode, behavior: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[object, Context], Awaitable[Any]]:
        writes = method.name in WRITES

        async def handle(_: object, context: Context) -> Any:
            call = Call(self._calls, self._calls.unary, context.peer(), writes=writes)
            with self._observed.call(method, context) as seen:
                try:
                    with call:
                        request = await self._request(call, context)
                        if _is_long(request):
                            reply = await self._long_call(
                                call, method.name, decode, request, lambda it: behavior(it, context)
                            )
                        else:
                            decoded = decode(request)
                            self._begin(call, method.name, decoded)
                            reply = await behavior(decoded, context)
                    seen.code = grpc.StatusCode.OK
                    return reply
                except BaseException as error:
                    sent = _sent(seen, call.failure(error), context)
                return await self._end(call, sent, context)

        return handle

    async def _request(self, call: Call, context: Context) -> Any:
        """Read the request of a caller who is known, if callers have to be."""
        if self._gate is None:
            return await context.read()
        call.caller = self._gate.caller(context)
        request = await context.read()
        if isinstance(request, bytes):
            self._gate.take_bytes(call.caller, len(request))
        return request

    def _begin(self, call: Call, rpc: str, decoded: Any) -> None:
        self._admit(call, rpc, decoded)
        call.begin(self._shares.get(decoded.bucket))

    def _admit(self, call: Call, rpc: str, decoded: Any) -> None:
        if self._gate is not None and call.caller is not None:
            call.permit = self._gate.admit(call.caller, rpc, decoded)

    async def _long_call(
        self, call: Call, rpc: str, decode: Decode, request: bytes, answer: Callable[[Any], Awaitable[Any]]
    ) -> Any:
        """Answer a long request when it is its turn, and its bucket's."""
        bucket = wire.leading_text(request, BUCKET_FIELD)
        call.begin(self._shares.get(bucket))
        while True:
            async with self._long_to.get(bucket, self._long_to_others), self._long:
                decoded = await aside.run(True, decode, request)
                if decoded.bucket == bucket:
                    self._admit(call, rpc, decoded)
                    return await answer(decoded)
            # Its fields are in another order than encoders write them, and it has waited for another bucket's turn.
            bucket = decoded.bucket
            del decoded

    def _stream(
        self,
        method: Method,
        decode: Decode,
        behavior: Callable[[Any, Context], AsyncGenerator[Any]],
        serialize: Callable[[Any], bytes],
    ) -> Callable[[object, Context], Awaitable[None]]:
        budget = self._calls.watches if method.name == "Watch" else self._calls.lists

        async def send(call: Call, context: Context) -> None:
            with call:
                request = await self._request(call, context)
                decoded = await aside.run(_is_long(request), decode, request)
                self._begin(call, method.name, decoded)
                async with aclosing(behavior(decoded, context)) as messages:
                    async for message in messages:
                        # A List has its states ready for the wire.
                        sent = message if isinstance(message, bytes) else serialize(message)
                        call.sending(len(sent))
                        await _write(sent, context)
                        method.messages_sent += 1
                        call.sent()

        async def handle(_: object, context: Context) -> None:
            call = Call(self._calls, budget, context.peer())
            with self._observed.call(method, context) as seen:
                try:
                    await send(call, context)
                except BaseException as error:
                    sent = _sent(seen, call.failure(error), context)
                else:
                    seen.code = grpc.StatusCode.OK
                    return
                # Neither the messages nor the failure are kept until the status gets through.
                await self._end(call, sent, context)

        return handle

    async def _end(self, call: Call, sent: grpc.Status, context: Context) -> None:
        try:
            # It waits behind a message that the reader has not taken, maybe for long.
            await context.abort_with_status(sent)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            raise asyncio.CancelledError from error
        finally:
            self._calls.told(call)


class _ClientGone(Exception):
    """There is nobody to tell any more, which is no failure of this server's."""


async def _write(message: bytes, context: Context) -> None:
    try:
        await context.write(message)
    except Exception as error:
        raise _ClientGone from error


def _has_too_many_fields(request: object, shape: wire.Shape) -> bool:
    # A field has two bytes at least.
    if not isinstance(request, bytes) or len(request) <= 2 * REQUEST_FIELDS_MAX:
        return False
    return wire.has_more_fields(request, shape, REQUEST_FIELDS_MAX)


def _is_long(request: object) -> bool:
    # What is no bytes is gRPC's sign that no request came.
    return isinstance(request, bytes) and aside.is_long_message(len(request))


def _decoder(method: str, deserialize: Decode) -> Decode:
    service, _, rpc = method.rpartition("/")
    name = f"{rpc}Request"
    shape = wire.shape_of(descriptor_pool.Default().FindServiceByName(service).methods_by_name[rpc].input_type)

    bytes_max = RECEIVE_BYTES_MAX if rpc in CARRYING else QUESTION_BYTES_MAX

    def decode(request: bytes) -> Any:
        # What is no bytes is gRPC's sign that no request came.
        if len(request or b"") > bytes_max:
            words = f"has {len(request)} bytes, more than the {bytes_max} that a {name} may have; ask for less at once"
            raise InvalidRequest((FieldViolation("", "TOO_LONG", words),))
        if _has_too_many_fields(request, shape):
            words = (
                f"has more than {REQUEST_FIELDS_MAX} fields, those of its items, events and labels counted; send less"
            )
            raise InvalidRequest((FieldViolation("", "TOO_MANY_FIELDS", words),))
        try:
            return deserialize(request)
        except (DecodeError, TypeError) as error:
            words = f"the bytes are no {name}; make them with the code that is generated from this server's .proto"
            raise InvalidRequest((FieldViolation("", "UNDECODABLE", words),)) from error

    return decode


def _sent(seen: Observation, error: BaseException, context: Context) -> grpc.Status:
    """Return what a failure is sent as, with its trailing metadata."""
    sent: Any = rpc_status.to_status(_status_of(seen, error, context))
    seen.code = sent.code
    if isinstance(error, StoreError) and status.is_for_the_caller(error):
        sent = sent._replace(trailing_metadata=(*sent.trailing_metadata, NO_RETRY))
    return cast("grpc.Status", sent)


def _status_of(seen: Observation, error: BaseException, context: Context) -> Status:
    """Return what a failure is sent as, or raise it again when it is no failure of the call."""
    if isinstance(error, StoreError):
        return status.status_of(error, seen.call_id, retried=is_made_again(context))
    if isinstance(error, _ClientGone):
        raise asyncio.CancelledError from error
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise error
        # A library's own cancellation. Let out, it would leave the client without a status until its deadline.
        log.warning("%s: a library cancelled itself", seen.method.full_name, exc_info=error)
        return status.status_of(StorageUnavailable("", "interrupted", Outcome.UNKNOWN), seen.call_id)
    if not isinstance(error, Exception):
        raise error
    log.error("%s: internal error %s", seen.method.full_name, seen.call_id, exc_info=error)
    return status.internal(seen.call_id)
