"""The only place that knows for which call something is done, however deep below the service that is.

It is kept where Python keeps what belongs to a task, so that nobody in between has to pass it on. Tasks that serve many
calls at once work for none.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Final, Protocol


class Tracer(Protocol):
    """Who is told what is done for a call, and how long it takes."""

    def span(self, name: str, bucket: str) -> AbstractContextManager[object]:
        """Around what is done for the call that this task works for."""
        ...

    def headers(self) -> Mapping[str, str]:
        """What goes along with a message, so that who reads it can go on with the trace."""
        ...

    def applied(self, bucket: str, traceparents: Sequence[str], began_ns: int) -> None:
        """Tell that messages which such headers came with were applied to an index, from a time (since 1970) to now."""
        ...


class CurrentCall(Protocol):
    """One call."""

    @property
    def call_id(self) -> str:
        """What it is called in the log, in its traces, and in the details of its failure."""
        ...

    @property
    def tracer(self) -> Tracer | None:
        """None = nobody traces it."""
        ...


_NOT_TRACED: Final = nullcontext()
_current: Final[ContextVar[CurrentCall | None]] = ContextVar("current call", default=None)


def work_for(call: CurrentCall) -> None:
    """Let this task, and those that it starts, work for a call from now on."""
    _current.set(call)


def call_id() -> str:
    """The id of the call that this task works for; empty when it works for none."""
    call = _current.get()
    return "" if call is None else call.call_id


def span(name: str, bucket: str) -> AbstractContextManager[object]:
    """Around what is to be seen in the trace of the call, if it is traced."""
    call = _current.get()
    if call is None or call.tracer is None:
        return _NOT_TRACED
    return call.tracer.span(name, bucket)


def with_trace(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Headers of a message, with those by which its trace goes on, if the call is traced."""
    call = _current.get()
    if call is None or call.tracer is None:
        return headers
    return {**(headers or {}), **call.tracer.headers()}
