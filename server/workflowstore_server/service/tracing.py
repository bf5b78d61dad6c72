"""The only place that knows OpenTelemetry. It is imported when traces are asked for, and not before.

Where they go to, how many are kept and what they say of this server is told by the variables of OpenTelemetry itself.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import grpc
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from workflowstore_server import __version__
from workflowstore_server.service.access_log import SERVER_CODES

log = logging.getLogger(__name__)

APPLIED_MAX: Final = 64
"""Spans for one batch of changes, which has up to 2,048 of them. What is beyond them is applied without."""

STOP_SECONDS_MAX: Final = 5.0
"""How long the last spans may take to leave when the server stops."""

_TRACEPARENT: Final = TraceContextTextMapPropagator()


class Tracing:
    """Sends spans for calls, for what is asked of NATS for them, and for what becomes of their writes in the index."""

    def __init__(self) -> None:
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "workflowstore"}))
        resource = resource.merge(Resource({SERVICE_VERSION: __version__}))
        self._provider = TracerProvider(resource=resource)
        # In a thread of its own. What does not leave fast enough is thrown away there.
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("workflowstore", __version__)

    async def close(self) -> None:
        """Send what is left."""
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await asyncio.to_thread(self._provider.shutdown)
        except TimeoutError:
            log.warning("the last traces could not be sent within %g s", STOP_SECONDS_MAX)

    def begin(self, method: str, metadata: Mapping[str, str]) -> "RpcSpan":
        """Begin a call, in the trace that its caller says it belongs to."""
        service, _, name = method.rpartition("/")
        span = self._tracer.start_span(
            method,
            context=_TRACEPARENT.extract(metadata),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        )
        return RpcSpan(span)

    @contextmanager
    def span(self, name: str, bucket: str) -> Iterator[None]:
        """Around what is asked of NATS for the call that is current."""
        attributes = {"messaging.system": "nats", "messaging.destination.name": bucket}
        with self._tracer.start_as_current_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                # Its text may be somebody's data.
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def headers(self) -> Mapping[str, str]:
        """The header `traceparent` of the span that is current."""
        carrier: dict[str, str] = {}
        _TRACEPARENT.inject(carrier)
        # What came along beside it, in `tracestate`, can have any size.
        return {key: value for key, value in carrier.items() if key == "traceparent"}

    def applied(self, bucket: str, traceparents: Sequence[str], began_ns: int) -> None:
        """Tell that messages were applied to the index of a bucket."""
        attributes = {"workflowstore.bucket": bucket}
        for traceparent in traceparents[:APPLIED_MAX]:
            parent = _TRACEPARENT.extract({"traceparent": traceparent})
            # Whoever has written the message may have written anything.
            if trace.get_current_span(parent).get_span_context().is_valid:
                span = self._tracer.start_span(
                    "index apply", context=parent, kind=SpanKind.CONSUMER, attributes=attributes, start_time=began_ns
                )
                span.end()


class RpcSpan:
    """One call, current until its end."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token = contexts.attach(trace.set_span_in_context(span))

    @property
    def trace_id(self) -> str:
        """Of the trace that it belongs to, in hexadecimal."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @property
    def recorded(self) -> bool:
        """Whether anybody will see it."""
        return self._span.is_recording()

    def end(self, code: grpc.StatusCode) -> None:
        """It has ended so."""
        self._span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in SERVER_CODES:
            self._span.set_status(Status(StatusCode.ERROR, code.name))
        self._span.end()
        contexts.detach(self._token)
