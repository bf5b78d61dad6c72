"""The only place that knows what is noted of every call: its id, how long it took, how it ended.

What is noted are plain numbers; service/metrics.py reads them when it is asked (docs/adr/0015).
"""

import re
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self

import grpc

from workflowstore_server.model import current_call
from workflowstore_server.model.current_call import Tracer
from workflowstore_server.model.durations import Durations
from workflowstore_server.service.access_log import AccessLog
from workflowstore_server.service.calls import Calls

CALL_ID_KEY: Final = "x-request-id"
"""Key in the metadata of a call under which its caller may say what it is called, as proxies do."""

CALL_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""What a caller may call it: what an id is made of. Others are passed over."""

Context = grpc.aio.ServicerContext[Any, Any]


class CallSpan(Protocol):
    """One call as it is traced."""

    @property
    def trace_id(self) -> str: ...

    @property
    def recorded(self) -> bool: ...

    def end(self, code: grpc.StatusCode) -> None: ...


class CallTracer(Tracer, Protocol):
    """Who is told of calls, too."""

    def begin(self, method: str, metadata: Mapping[str, str]) -> CallSpan: ...


class Method:
    """The calls of one method."""

    def __init__(self, full_name: str, *, streams: bool) -> None:
        self.full_name = full_name
        self.service, _, self.name = full_name.rpartition("/")
        self.streams = streams
        self.started = 0
        self.ended: Counter[grpc.StatusCode] = Counter()
        self.durations = Durations()
        self.messages_sent = 0


class Observed:
    """The calls of a server, by method."""

    def __init__(self, running: Calls, access_log: AccessLog, tracer: CallTracer | None) -> None:
        self.running = running
        """Those that have not ended."""
        self.methods: list[Method] = []
        self._access_log = access_log
        self._tracer = tracer

    def method(self, full_name: str, *, streams: bool) -> Method:
        """Begin to count the calls of a method."""
        self.methods.append(Method(full_name, streams=streams))
        return self.methods[-1]

    def call(self, method: Method, context: Context) -> "Observation":
        """A call that arrives."""
        return Observation(method, context, self._access_log, self._tracer)


class Observation:
    """One call from its arrival to its end, as the context of all that is done for it."""

    __slots__ = ("_access_log", "_began", "_call_id", "_call_tracer", "_context", "_span", "code", "method", "tracer")

    def __init__(self, method: Method, context: Context, access_log: AccessLog, call_tracer: CallTracer | None) -> None:
        self.method = method
        self.code = grpc.StatusCode.CANCELLED
        """How it ends. Where nobody says so it was cut off."""
        self.tracer: Tracer | None = None
        self._context = context
        self._access_log = access_log
        self._call_tracer = call_tracer
        self._span: CallSpan | None = None
        self._call_id = ""

    def __enter__(self) -> Self:
        self.method.started += 1
        self._began = time.perf_counter()
        current_call.work_for(self)
        if self._call_tracer is not None:
            self._span = self._call_tracer.begin(self.method.full_name, self._metadata())
            # What is not recorded is not told any more of it.
            self.tracer = self._call_tracer if self._span.recorded else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        now = time.perf_counter()
        seconds = now - self._began
        method = self.method
        method.ended[self.code] += 1
        method.durations.add(seconds)
        self._access_log.note(method.name, self.code, seconds, now, self._context.peer)
        if self._span is not None:
            self._span.end(self.code)

    @property
    def call_id(self) -> str:
        """What it is called: by its caller, by whoever traces it, or by chance.

        Found out when it is asked for: nobody asks about most calls.
        """
        if not self._call_id:
            named = self._metadata().get(CALL_ID_KEY, "")
            traced = self._span.trace_id if self._span is not None else ""
            self._call_id = named if CALL_ID.fullmatch(named) else traced or uuid.uuid4().hex
        return self._call_id

    def _metadata(self) -> dict[str, str]:
        pairs = self._context.invocation_metadata() or ()
        return {key: value for key, value in pairs if isinstance(value, str)}
