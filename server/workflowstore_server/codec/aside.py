"""The only place that knows what takes too long between two turns of the event loop, and who does it instead.

A thread does, one for all of a process. It shares the interpreter with the loop, which goes on turning; and what waits
for it takes no memory beyond its bytes.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, TypeVarTuple, Unpack

from workflowstore_server.model.state import WorkflowState

MESSAGE_BYTES_MAX: Final = 8 * 1024
"""Bytes of a request that is worked on in the event loop: at worst, as 4,000 events of two bytes, they take 30 ms. A
turn to the thread and back takes 0.1 ms."""

DOCUMENT_BYTES_MAX: Final = 64 * 1024
"""Bytes of a stored document that is read in the event loop: at worst, in a spelling that Go does not write, 10 ms."""

PARTS_MAX: Final = 1000
"""Objects of a document, or events and labels of a state, that are worked on in the event loop: 5 to 10 ms."""

_thread: Final = ThreadPoolExecutor(1, "aside")

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


async def run(is_long: bool, work: Callable[[Unpack[_Ts]], _T], *arguments: *_Ts) -> _T:
    """Do a piece of work, in the thread if it is long."""
    if not is_long:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_thread, work, *arguments)


def is_long_message(size_bytes: int) -> bool:
    """Whether to read a request of so many bytes is long."""
    return size_bytes > MESSAGE_BYTES_MAX


def is_long_document(stored: bytes) -> bool:
    """Whether to read a document is long."""
    if len(stored) <= MESSAGE_BYTES_MAX:
        return False
    return len(stored) > DOCUMENT_BYTES_MAX or stored.count(b"{") > PARTS_MAX


def is_long_state(state: WorkflowState) -> bool:
    """Whether to write a state is long. Its texts, however large, are copied and no more."""
    return len(state.history) + len(state.labels) > PARTS_MAX
