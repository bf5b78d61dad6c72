"""List and Count of whole servers: fresh whoever wrote, resumable on another server and after a restart."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
from grpc_health.v1 import health_pb2

from support.nats_server import NatsServer
from support.statuses import failure
from support.waiting import until
from workflowstore import AsyncClient, Client, OrderBy, WorkflowFilter, WorkflowState
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter as FilterMessage
from workflowstore_server import app
from workflowstore_server.config.sources import Config
from workflowstore_server.index import IndexOptions
from workflowstore_server.index import follower as follower_module
from workflowstore_server.store.jetstream import JetStreamStore

from .conftest import calling, running  # type: ignore[import-not-found]

Configured = Callable[..., Config]


async def test_two_servers_list_in_a_tight_loop_what_anybody_has_written(
    nats_server: NatsServer, configured: Configured, tmp_path: Path
) -> None:
    """Writes by one server, the other, a KV client and as a Go provider does; a list from each server after each."""
    config = configured(nats_url=[nats_server.url])
    other_config = replace(config, data_directory=tmp_path / "other", index=IndexOptions(tmp_path / "other"))
    client = await nats.connect(nats_server.url)
    go = (
        '{{"WorkflowID":"{}","RunID":"run-1","Status":"running","Input":null,"Result":null,"Error":"","History":null,'
        '"CreatedAt":"2026-04-22T04:21:23.123456789+01:00","UpdatedAt":"2026-04-22T03:21:23Z"}}'
    )
    async with running(config) as one, running(other_config) as two:
        store = await client.jetstream().key_value("beluga_workflows")
        for number in range(200):
            workflow_id = f"wf-{number % 30}"
            match number % 4:
                case 0:
                    revision = (await one.save(workflow_id)).revision
                case 1:
                    revision = (await two.save(workflow_id)).revision
                case 2:
                    revision = await store.put(workflow_id, go.format(workflow_id).encode())
                case _:
                    await one.stub.Delete(pb.DeleteRequest(workflow_id=workflow_id))
                    revision = 0
            for server in (one, two):
                found = await server.revisions()
                assert found.get(workflow_id, 0) == revision
                counted = await server.stub.Count(pb.CountRequest(filter=FilterMessage(workflow_id_prefix=workflow_id)))
                prefixed = [name for name in found if name.startswith(workflow_id)]
                assert counted.count == len(prefixed)
                assert counted.store_revision >= revision
    await client.close()


@pytest.mark.parametrize("order", [pb.ORDER_BY_WORKFLOW_ID, pb.ORDER_BY_CREATED_AT, pb.ORDER_BY_UPDATED_AT])
async def test_a_list_goes_on_after_any_chunk_on_another_server(
    nats_server: NatsServer, configured: Configured, tmp_path: Path, order: Any
) -> None:
    config = configured(nats_url=[nats_server.url])
    async with running(config) as one:
        await asyncio.gather(*(one.save(f"wf-{number:04d}", labels={"n": str(number % 3)}) for number in range(1500)))
        request = pb.ListRequest(order_by=order, filter=FilterMessage(labels={"n": "1"}), descending=True)
        whole = [chunk async for chunk in one.stub.List(request)]
        small = pb.ListRequest()
        small.CopyFrom(request)
        small.limit = 7
        first = [chunk async for chunk in one.stub.List(small)][-1]

    ids = [state.workflow_id for chunk in whole for state in chunk.states]
    assert len(ids) == len(set(ids)) == 500
    assert [bool(chunk.next_page_token) for chunk in whole] == [True] * (len(whole) - 1) + [False]
    # Another server, whose index is built now; the one before is gone.
    other = replace(config, data_directory=tmp_path / "other", index=IndexOptions())
    async with running(other) as two:
        request.page_token = first.next_page_token
        rest = [state.workflow_id async for chunk in two.stub.List(request) for state in chunk.states]
        assert rest == ids[7:]

        for change in ({"descending": False}, {"order_by": pb.ORDER_BY_UNSPECIFIED}, {"filter": FilterMessage()}):
            mixed = pb.ListRequest(page_token=first.next_page_token, order_by=order, descending=True)
            mixed.filter.labels["n"] = "1"
            if "filter" in change:
                mixed.ClearField("filter")
            elif order == pb.ORDER_BY_WORKFLOW_ID and "order_by" in change:
                continue
            else:
                for name, value in change.items():
                    setattr(mixed, name, value)
            refused = await _list_failure(two.stub, mixed)
            assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
            assert refused.fields == {"page_token": "OTHER_LIST"}
        for token in ("?", "AAAA", first.next_page_token[:-4], first.next_page_token + "AAAA"):
            refused = await _list_failure(two.stub, pb.ListRequest(page_token=token))
            assert refused.fields["page_token"] in {"INVALID_TOKEN", "OTHER_LIST"}


async def _list_failure(stub: Any, request: pb.ListRequest) -> Any:
    call = stub.List(request)
    return await failure(call.read())


async def test_wrong_filters_are_named_at_once(configured: Configured) -> None:
    wrong = FilterMessage(
        statuses=[99],  # type: ignore[list-item]
        workflow_id_prefix="x" * 1025,
        run_id="y" * 1025,
        labels={"": "x", **{f"k{number}": "v" for number in range(16)}},
    )
    wrong.created_after.nanos = -1
    wrong.updated_before.seconds = 2**40
    async with running(configured()) as caller:
        found = await _list_failure(caller.stub, pb.ListRequest(filter=wrong, order_by=99, limit=-1))  # type: ignore[arg-type]
        counted = await failure(caller.stub.Count(pb.CountRequest(filter=wrong, label="")))

    of_filter = {
        "filter.statuses[0]": "UNKNOWN_VALUE",
        "filter.workflow_id_prefix": "TOO_LONG",
        "filter.run_id": "TOO_LONG",
        "filter.labels": "TOO_MANY",
        "filter.labels[]": "REQUIRED",
        "filter.created_after": "OUT_OF_RANGE",
        "filter.updated_before": "OUT_OF_RANGE",
    }
    assert found.fields == {**of_filter, "order_by": "UNKNOWN_VALUE", "limit": "OUT_OF_RANGE"}
    assert counted.fields == {**of_filter, "label": "REQUIRED"}


async def test_info_and_health_tell_how_far_the_index_is(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody looks by himself.
    monkeypatch.setattr(follower_module, "POLL_SECONDS", 3600.0)
    async with running(configured(bucket=["one", "two"])) as caller:
        for number in range(3):
            await caller.save(f"wf-{number}")
        before = (await caller.info()).index
        await caller.revisions()
        after = (await caller.info()).index
        check = caller.health.Check(health_pb2.HealthCheckRequest())
        await check
        told = [value for key, value in await check.trailing_metadata() if key == "workflowstore-index"]

    assert (before.revision, before.lag, before.ready) == (0, 3, True)
    assert (after.revision, after.lag, after.workflow_count, after.on_disk) == (3, 0, 3, True)
    assert sorted(told) == ["bucket=one revision=3 lag=0 ready=true", "bucket=two revision=0 lag=0 ready=true"]


async def test_health_waits_for_the_first_catch_up_and_other_calls_do_not(
    nats_server: NatsServer, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = asyncio.Event()
    changes = JetStreamStore.changes

    async def held_back(self: JetStreamStore, after: int, until: int) -> Any:
        await flows.wait()
        return await changes(self, after, until)

    config = configured(nats_url=[nats_server.url], index_wait_seconds=0.2)
    async with running(config) as caller:
        await caller.save("wf-1")
    monkeypatch.setattr(JetStreamStore, "changes", held_back)
    in_memory = replace(config, index=replace(config.index, directory=None))
    async with app.running(in_memory) as service, calling(service.address) as caller:
        await until(caller.away)
        assert (await caller.save("wf-2")).revision == 2
        late = await _list_failure(caller.stub, pb.ListRequest())
        assert (late.code, late.reason) == (grpc.StatusCode.UNAVAILABLE, "INDEX_BEHIND")
        assert late.metadata["lag"] == late.metadata["store_revision"] != "0"
        assert late.retry_seconds
        await until(caller.away)
        flows.set()
        await until(caller.serving)
        await until(lambda: _lists(caller, {"wf-1": 1, "wf-2": 2}))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_the_python_clients_go_on_with_a_list_over_a_restart_of_the_server(serve: Any, how: int) -> None:
    """Every state once, though the server is stopped or killed twice while they read slowly."""
    server = serve("--drain-seconds", "1")
    address = server.address
    names = [f"wf-{number:05d}" for number in range(1500)]
    async with AsyncClient(address) as client:
        for first in range(0, len(names), 500):
            await asyncio.gather(
                *(client.save(WorkflowState(name, error="x" * 10_000)) for name in names[first : first + 500])
            )
        found: list[str] = []
        async for state in client.list(WorkflowFilter(workflow_id_prefix="wf"), order_by=OrderBy.CREATED_AT):
            found.append(state.workflow_id)
            if len(found) in {125, 625}:
                server.signal(how)
                await asyncio.to_thread(server.wait)
                server = serve("--listen", address, "--drain-seconds", "1")
    assert sorted(found) == names

    def read() -> list[str]:
        nonlocal server
        seen: list[str] = []
        with Client(address) as client:
            for state in client.list(descending=True, limit=750):
                seen.append(state.workflow_id)
                if len(seen) == 175:
                    server.signal(how)
                    server.wait()
                    server = serve("--listen", address, "--drain-seconds", "1")
        return seen

    assert await asyncio.to_thread(read) == names[:749:-1]


async def test_a_bucket_that_cannot_be_indexed_serves_all_other_calls(
    nats_server: NatsServer, configured: Configured
) -> None:
    client = await nats.connect(nats_server.url)
    await client.jetstream().create_key_value(bucket="beluga_workflows", direct=False)
    async with running(configured(nats_url=[nats_server.url])) as caller:
        assert (await caller.save("wf-1")).revision == 1
        refused = await _list_failure(caller.stub, pb.ListRequest())
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BUCKET_CONFIGURATION")
        assert refused.metadata["setting"] == "allow_direct=false"
        assert await caller.serving()

        # Once it is allowed, everything is answered.
        info = await client.jetstream().stream_info("KV_beluga_workflows")
        info.config.allow_direct = True
        await client.jetstream().update_stream(info.config)
        await until(lambda: _lists(caller, {"wf-1": 1}))
    await client.close()


async def _lists(caller: Any, expected: dict[str, int]) -> bool:
    try:
        return await caller.revisions() == expected
    except grpc.aio.AioRpcError:
        return False
