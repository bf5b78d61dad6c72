"""What is too much is refused or ended with a status that says so, and the other kinds of calls go on."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support.entries import indexed
from support.statuses import failure, rest, stream_failure
from support.waiting import until
from workflowstore import AsyncClient, WorkflowView
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.service import calls
from workflowstore_server.service.calls import CallOptions
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import Servicer
from workflowstore_server.store.memory import MemoryStore

from .conftest import about  # type: ignore[import-not-found]

BUCKET = "beluga_workflows"
CHUNK_BYTES = 900_000
SMALL_WINDOW = (("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0))
"""Options of a channel that takes in 64 KiB of a stream which nobody reads."""

OWN = ("grpc.use_local_subchannel_pool", 1)
"""Option of a channel whose connection others do not share."""

Served = Callable[..., AbstractAsyncContextManager[Service]]


class SlowStore(MemoryStore):
    """A store whose saves wait until a test lets them go on."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.go_on = asyncio.Event()
        self.saves = 0
        self.cancelled = 0

    async def save(self, *arguments: Any) -> Any:
        self.saves += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().save(*arguments)


@pytest.fixture
async def store() -> SlowStore:
    return SlowStore(BUCKET)


@pytest.fixture
async def served(store: SlowStore) -> AsyncIterator[Served]:
    """Makes a server over the store with some options of its calls."""
    async with indexed(store) as index:

        @asynccontextmanager
        async def served(**options: Any) -> AsyncIterator[Service]:
            servicer = Servicer({BUCKET: store}, {BUCKET: index}, about, lambda: 0)
            listen = ServiceOptions(listen="127.0.0.1:0", drain_seconds=1, calls=CallOptions(**options))
            service = Service(servicer, {BUCKET: index}, listen)
            await service.start()
            try:
                yield service
            finally:
                await service.drain()

        yield served


@asynccontextmanager
async def stub_of(service: Service, *options: tuple[str, Any]) -> AsyncIterator[WorkflowStoreStub]:
    async with grpc.aio.insecure_channel(service.address, options=options) as channel:
        yield WorkflowStoreStub(channel)


def save(workflow_id: str = "wf") -> pb.SaveRequest:
    return pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=workflow_id))


def fill(store: MemoryStore, documents: int) -> None:
    """Store documents of which each is a chunk of a List of full states."""
    for number in range(documents):
        document = {"WorkflowID": f"wf-{number}", "Error": "x" * CHUNK_BYTES}
        store.store(f"wf-{number}", json.dumps(document).encode())


def full() -> pb.ListRequest:
    return pb.ListRequest(view=state_pb.WORKFLOW_VIEW_FULL)


async def stalled(service: Service, count: int) -> None:
    """Wait until so many Lists wait for their readers."""

    async def are() -> bool:
        return sum(1 for call in service._calls.lists.running if call.sending_bytes) == count

    await until(are)


def give_up_soon(service: Service, seconds: float = 0.1) -> None:
    """Let streams wait so long for their readers. From the start that might end one before its reader has begun."""
    service._calls._options = replace(service._calls._options, stall_seconds_max=seconds)


async def test_calls_beyond_the_limit_are_refused_and_reads_and_watches_have_their_own(
    store: SlowStore, served: Served
) -> None:
    async with served(calls_max=2) as service, stub_of(service) as stub:
        saves = [asyncio.ensure_future(stub.Save(save(f"wf-{number}"))) for number in range(2)]
        await until(lambda: _true(store.saves == 2))

        refused = await failure(stub.Load(pb.LoadRequest(workflow_id="wf-0")))

        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        assert refused.metadata == {"kind": "calls", "limit": "2"}
        assert refused.retry_seconds
        assert [chunk async for chunk in stub.List(pb.ListRequest())] == [pb.ListResponse()]
        store.go_on.set()
        await asyncio.gather(*saves)
        assert (await stub.Load(pb.LoadRequest(workflow_id="wf-0"))).state.workflow_id == "wf-0"


async def _true(value: bool) -> bool:
    return value


async def test_who_takes_all_that_is_to_be_had_leaves_places_for_others(store: SlowStore, served: Served) -> None:
    async with served(calls_max=8) as service, stub_of(service, OWN) as greedy, stub_of(service) as modest:
        many = [asyncio.ensure_future(greedy.Save(save(f"wf-{number}"))) for number in range(8)]
        await until(lambda: _true(sum(call.done() for call in many) == 3))

        one = asyncio.ensure_future(modest.Save(save("one")))

        await until(lambda: _true(store.saves == 6))
        store.go_on.set()
        await one
        outcomes = await asyncio.gather(*many, return_exceptions=True)
        assert sum(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes) == 3


async def test_lists_that_nobody_reads_take_the_places_of_lists_alone(
    store: SlowStore, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long it takes here until another List comes.
    monkeypatch.setattr(calls, "PRESSED_SECONDS", 60)
    fill(store, 12)
    store.go_on.set()
    async with (
        served(lists_max=2) as service,
        stub_of(service, *SMALL_WINDOW) as hostile,
        stub_of(service) as stub,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        unread = [hostile.List(full()) for _ in range(2)]
        await asyncio.gather(*[call.read() for call in unread])
        await stalled(service, 2)

        _, refused = await stream_failure(stub.List(pb.ListRequest()))

        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        assert refused.metadata == {"kind": "lists", "limit": "2"}
        await stub.Save(save("another"))
        assert (await stub.Load(pb.LoadRequest(workflow_id="another"))).state.workflow_id == "another"
        assert (await stub.Count(pb.CountRequest())).count == 13
        watch = stub.Watch(pb.WatchRequest())
        await watch.read()
        check = health_pb2_grpc.HealthStub(channel).Check
        assert (await check(health_pb2.HealthCheckRequest())).status
        watch.cancel()
        for call in unread:
            call.cancel()


async def test_a_list_that_is_read_gets_the_place_of_one_that_is_not(store: SlowStore, served: Served) -> None:
    fill(store, 12)
    async with (
        served(lists_max=2) as service,
        stub_of(service, *SMALL_WINDOW) as hostile,
        AsyncClient(service.address) as client,
    ):
        unread = [hostile.List(full()) for _ in range(2)]
        first = await asyncio.gather(*[call.read() for call in unread])
        await stalled(service, 2)

        # The client tries again until the others have been stalled for a second.
        ids = [state.workflow_id async for state in client.list()]

        assert len(ids) == 12
        await stalled(service, 1)
        ends = [await asyncio.wait_for(_rest_and_failure(call), 20) for call in unread]
        ended = [(chunks, found) for chunks, found in ends if found is not None]
        assert len(ended) == 1
        ((chunks, found),) = ended
        assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "READER_STALLED")
        assert found.retry_seconds
        # It goes on after the last chunk that came, and nothing is missing.
        last = chunks[-1] if chunks else first[0]
        seen = [state.workflow_id for chunk in (first[0], *chunks) for state in chunk.states]
        async with stub_of(service) as stub:
            request = full()
            request.page_token = last.next_page_token
            seen += [state.workflow_id async for chunk in stub.List(request) for state in chunk.states]
        assert sorted(seen) == sorted(ids)


async def _rest_and_failure(call: Any) -> tuple[list[Any], Any]:
    messages = []
    try:
        async for message in rest(call):
            messages.append(message)
    except grpc.aio.AioRpcError:
        return messages, (await stream_failure(call))[1]
    return messages, None


async def test_a_stream_that_nobody_reads_ends_and_frees_what_it_holds(store: SlowStore, served: Served) -> None:
    fill(store, 12)
    async with served() as service, stub_of(service, *SMALL_WINDOW) as stub:
        call = stub.List(full())
        await call.read()
        await stalled(service, 1)
        give_up_soon(service)

        async def gone() -> bool:
            reading = [task for task in asyncio.all_tasks() if "_page" in repr(task.get_coro())]
            return not service._calls.lists.running and not reading

        await until(gone)
        assert 0 < service._calls._unread_bytes < 2 * CHUNK_BYTES
        _, found = await stream_failure(call)

        assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "READER_STALLED")
        await until(lambda: _true(service._calls._unread_bytes == 0))


async def test_a_client_that_pauses_loses_nothing_of_its_list(store: SlowStore, served: Served) -> None:
    fill(store, 12)
    async with served() as service:
        channel = grpc.aio.insecure_channel(service.address, options=SMALL_WINDOW)
        seen = []
        async for state in AsyncClient(channel=channel).list(view=WorkflowView.FULL):
            seen.append(state.workflow_id)
            if len(seen) in (2, 5):
                await stalled(service, 1)
                give_up_soon(service)
                await until(lambda: _true(not service._calls.lists.running))
                give_up_soon(service, 30)
        await channel.close()

    assert sorted(seen) == sorted({f"wf-{number}" for number in range(12)})


async def test_a_watch_that_nobody_reads_ends_and_a_client_goes_on(store: SlowStore, served: Served) -> None:
    store.go_on.set()
    async with served(stall_seconds_max=0.1) as service:
        channel = grpc.aio.insecure_channel(service.address, options=SMALL_WINDOW)
        watching = AsyncClient(channel=channel).watch(after_revision=0, view=WorkflowView.FULL)
        fill(store, 12)
        seen = [(await anext(watching)).workflow_id]
        await until(lambda: _true(not service._calls.watches.running))
        seen += [(await anext(watching)).workflow_id for _ in range(11)]
        await watching.aclose()
        await channel.close()

    assert seen == [f"wf-{number}" for number in range(12)]


async def test_no_more_is_kept_for_readers_who_do_not_read(
    store: SlowStore, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "UNREAD_BYTES_MAX", CHUNK_BYTES + 100_000)
    fill(store, 12)
    async with served(lists_max=2) as service, stub_of(service, *SMALL_WINDOW) as hostile:
        unread = [hostile.List(full()) for _ in range(2)]
        await asyncio.gather(*[call.read() for call in unread])
        await stalled(service, 2)
        give_up_soon(service)
        await until(lambda: _true(len(service._calls.lists.running) == 1))
        unread.append(hostile.List(full()))
        await unread[-1].read()

        await stalled(service, 2)

        # However long they have waited.
        monkeypatch.setattr(calls, "PRESSED_SECONDS", 0)
        async with stub_of(service) as stub:
            _, refused = await stream_failure(stub.List(pb.ListRequest()))
            assert refused.reason == "TOO_MANY_CALLS"
        for call in unread:
            call.cancel()
        await until(lambda: _true(not service._calls.lists.running and not service._calls._unread_bytes))


@pytest.mark.parametrize("timeout", [None, 3600.0])
async def test_a_call_without_a_sensible_deadline_gets_one_of_the_server(
    store: SlowStore, served: Served, timeout: float | None
) -> None:
    async with served(call_seconds_max=0.2) as service, stub_of(service) as stub:
        write = await failure(stub.Save(save(), timeout=timeout))

        assert (write.code, write.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "CALL_TOO_LONG")
        assert write.metadata == {"limit_seconds": "0.2", "outcome": "unknown"}
        assert store.cancelled == 1
        store.go_on.set()
        await stub.Save(save())


async def test_what_a_caller_no_longer_waits_for_is_not_done(store: SlowStore, served: Served) -> None:
    async with served() as service, stub_of(service) as stub:
        timeout = 0.2
        # Again with more time, if it has passed before the call had come here.
        while not store.saves:
            found = await failure(stub.Save(save(), timeout=timeout))
            assert found.code is grpc.StatusCode.DEADLINE_EXCEEDED
            timeout *= 2

        await until(lambda: _true(store.cancelled == store.saves))
        await until(lambda: _true(service._calls.idle.is_set()))


async def test_a_call_whose_deadline_has_passed_is_not_begun(store: SlowStore, served: Served) -> None:
    async with served() as service:
        with grpc.insecure_channel(service.address) as channel:
            stub: Any = WorkflowStoreStub(channel)
            await asyncio.to_thread(stub.GetInfo, pb.GetInfoRequest())
            late = [stub.Save.future(save(f"wf-{number}"), timeout=0.2) for number in range(20)]
            # The server's event loop comes to nothing else meanwhile, as under too much work.
            time.sleep(1)

            codes = [await asyncio.to_thread(call.code) for call in late]

        assert set(codes) == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert store.saves == 0
