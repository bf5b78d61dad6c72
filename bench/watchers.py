"""The only place that knows how many watchers of one server are run, and when each of them is told of a change.

Run as a program it watches, in a process of its own, and over several channels: what is measured shall not be how busy
the saving process is. It prints that it is ready, then, when it has been told all that it waits for, that it is done;
then it waits to be ended.
"""

import asyncio
import sys
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import uvloop

from bench import documents, processes
from workflowstore.v1 import workflow_filter_pb2
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub

CHANNELS: Final = 8

SHARES: Final = 100
"""Watchers that are told a part are told one in so many saves."""

WORKFLOWS_OF_A_SHARE: Final = 10

READY: Final = "ready"
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many watchers of summaries: each of all workflows, or each of one share of them."""

    watchers: int
    whole: bool

    def told(self, saves: int) -> int:
        """How often they are told, all together, of so many saves of workflows numbered by `workflow`."""
        return self.watchers * saves // (1 if self.whole else SHARES)


@dataclass(frozen=True, slots=True)
class Watching:
    """Watchers that watch. The file is where they write what they are told."""

    process: asyncio.subprocess.Process
    file: Path

    async def told(self) -> list[tuple[int, int]]:
        """Wait until they have been told all, and return of which revision, and when by time.time_ns, each time."""
        if await processes.next_line(self.process) != DONE:
            raise RuntimeError("the watchers have not been told all that was saved")
        pairs = array("Q", self.file.read_bytes())
        return list(zip(pairs[::2], pairs[1::2], strict=True))


def workflow(save: int) -> int:
    """The workflow of a save: one of each share comes in turn."""
    return save % SHARES * WORKFLOWS_OF_A_SHARE + save // SHARES % WORKFLOWS_OF_A_SHARE


@asynccontextmanager
async def running(address: str, crowd: Crowd, saves: int, file: Path) -> AsyncIterator[Watching]:
    """Watchers that wait to be told of so many saves. All of them watch when the block begins."""
    numbers = (crowd.watchers, int(crowd.whole), crowd.told(saves))
    command = [sys.executable, "-m", "bench.watchers", address, str(file), *map(str, numbers)]
    async with processes.running(command) as process:
        if await processes.next_line(process) != READY:
            raise RuntimeError("the watchers are not ready")
        yield Watching(process, file)


class _Told:
    """What all watchers have been told, until it is enough."""

    def __init__(self, watchers: int, expected: int) -> None:
        self.pairs = array("Q")
        self.all_watch = asyncio.Event()
        self.all_told = asyncio.Event()
        self._still_to_watch = watchers
        self._expected = expected
        if not watchers:
            self.all_watch.set()
            self.all_told.set()

    async def watch(self, stub: Any, request: pb.WatchRequest) -> None:
        messages = aiter(stub.Watch(request, wait_for_ready=True))
        # The first message tells of no change, but that it watches.
        await anext(messages)
        self._still_to_watch -= 1
        if not self._still_to_watch:
            self.all_watch.set()
        async for message in messages:
            now_ns = time.time_ns()
            for change in message.changes:
                self.pairs.extend((change.revision, now_ns))
            if len(self.pairs) >= 2 * self._expected:
                self.all_told.set()


async def _watch(address: str, file: Path, watchers: int, whole: bool, expected: int) -> None:
    told = _Told(watchers, expected)
    async with AsyncExitStack() as stack:
        # Channels with the same options would share one connection.
        options = [(("bench.channel", number), ("grpc.use_local_subchannel_pool", 1)) for number in range(CHANNELS)]
        stubs = [
            WorkflowStoreStub(await stack.enter_async_context(grpc.aio.insecure_channel(address, options=one)))
            for one in options
        ]
        async with asyncio.TaskGroup() as watching:
            for number in range(watchers):
                watching.create_task(told.watch(stubs[number % CHANNELS], _request(number, whole=whole)))
            await told.all_watch.wait()
            print(READY, flush=True)
            await told.all_told.wait()
            file.write_bytes(told.pairs.tobytes())
            print(DONE, flush=True)
            await asyncio.get_running_loop().create_future()  # until it is ended


def _request(number: int, *, whole: bool) -> pb.WatchRequest:
    if whole:
        return pb.WatchRequest()
    # The ids of a share differ in their last digit.
    prefix = documents.id_of(number % SHARES * WORKFLOWS_OF_A_SHARE)[:-1]
    return pb.WatchRequest(filter=workflow_filter_pb2.WorkflowFilter(workflow_id_prefix=prefix))


if __name__ == "__main__":
    _, _address, _file, *_numbers = sys.argv
    _watchers, _whole, _expected = map(int, _numbers)
    uvloop.run(_watch(_address, Path(_file), _watchers, bool(_whole), _expected))
