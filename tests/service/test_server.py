"""The server around the service: health, reflection, its port, its drain, and a reader that stops reading."""

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from support.statuses import Failure, failure, rest, stream_failure
from support.waiting import in_portions, until
from workflowstore import AsyncClient, WorkflowState
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.service import server
from workflowstore_server.service.server import AddressNotAvailable, Service, ServiceOptions
from workflowstore_server.service.servicer import Servicer
from workflowstore_server.store.memory import MemoryStore

from .conftest import about, give_time_to_drain  # type: ignore[import-not-found]


@pytest.mark.parametrize("name", ["", "workflowstore.v1.WorkflowStore"])
async def test_health_tells_whether_calls_can_succeed(service: Service, channel: grpc.aio.Channel, name: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=name)

    assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    await service.set_serving(serving=False)
    assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_describes_the_api(channel: grpc.aio.Channel, version: str) -> None:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="workflowstore.v1.WorkflowStore"),
    ]

    services, file = [response async for response in call(iter(requests))]

    assert "workflowstore.v1.WorkflowStore" in {one.name for one in services.list_services_response.service}
    assert len(file.file_descriptor_response.file_descriptor_proto) > 0


async def test_reflection_can_be_left_out() -> None:
    options = ServiceOptions(listen="127.0.0.1:0", reflection=False, drain_seconds=0)
    service = Service(Servicer({"b": MemoryStore("b")}, {}, about, lambda: 0), {}, options)
    await service.start()
    async with grpc.aio.insecure_channel(service.address) as channel:
        for version in ("v1", "v1alpha"):
            method = channel.unary_unary(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
            assert (await failure(method(b""))).code is grpc.StatusCode.UNIMPLEMENTED
    await service.drain()


async def test_a_second_server_on_the_port_is_refused(service: Service) -> None:
    servicer = Servicer({"b": MemoryStore("b")}, {}, about, lambda: 0)
    with pytest.raises(AddressNotAvailable, match=f"cannot listen on {service.address}"):
        Service(servicer, {}, ServiceOptions(listen=service.address))


async def test_a_drain_lets_running_calls_finish_and_refuses_new_ones(
    service: Service, stub: WorkflowStoreStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A call that gRPC has not handed over when the server no longer waits for it ends without a reason. On a machine
    # that is busy it may be long on its way.
    monkeypatch.setattr(server, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(server, "QUIET_ATTEMPTS_MAX", 1000)
    give_time_to_drain(service, 60)
    saves = [
        asyncio.ensure_future(stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=f"wf-{n}"))))
        for n in range(100)
    ]
    await asyncio.wait(saves, return_when=asyncio.FIRST_COMPLETED)
    draining = asyncio.create_task(service.drain())

    outcomes = await asyncio.gather(*saves, return_exceptions=True)

    await asyncio.wait_for(draining, 30)  # of the 60 s that calls are given
    refused = [Failure(outcome) for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {(found.code, found.reason) for found in refused} <= {(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")}
    assert len(refused) < 100
    assert (await failure(stub.GetInfo(pb.GetInfoRequest()))).code is grpc.StatusCode.UNAVAILABLE


async def test_a_drain_does_not_wait_for_watchers_of_health(service: Service, channel: grpc.aio.Channel) -> None:
    watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING

    give_time_to_drain(service, 60)
    draining = asyncio.create_task(service.drain())

    assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await asyncio.wait_for(draining, 30)  # of the 60 s that calls are given


async def test_a_list_that_outlasts_the_drain_is_told_why_it_ends(
    service: Service, stub: WorkflowStoreStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader may be slow to take what is on its way.
    monkeypatch.setattr(server, "LAST_BYTES_SECONDS", 10)
    saves = (
        stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=f"wf-{n}", error="x" * 10_000)))
        for n in range(1500)
    )
    await in_portions(saves)
    call = stub.List(pb.ListRequest())
    await call.read()

    draining = asyncio.create_task(service.drain())
    await until(lambda: streams_end(service))
    _, found = await stream_failure(call)

    assert found.code is grpc.StatusCode.UNAVAILABLE
    assert found.reason == "SHUTTING_DOWN"
    assert found.retry_seconds
    await draining


async def streams_end(service: Service) -> bool:
    return service._calls.streams_end


async def test_clients_go_elsewhere_while_a_drained_server_still_sends_a_list(
    service: Service, stub: WorkflowStoreStub
) -> None:
    saves = (
        stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=f"wf-{n}", error="x" * 10_000)))
        for n in range(1500)
    )
    await in_portions(saves)
    call = stub.List(pb.ListRequest())
    listed = len((await call.read()).states)
    # It is read to its end within this time.
    give_time_to_drain(service, 60)
    servicer = Servicer({"b": MemoryStore("b")}, {}, about, lambda: 0)
    elsewhere = Service(servicer, {}, ServiceOptions(listen="127.0.0.1:0", drain_seconds=1))
    await elsewhere.start()
    async with AsyncClient(f"ipv4:{service.address},{elsewhere.address}") as client:
        assert (await client.info()).bucket.name == "beluga_workflows"

        draining = asyncio.create_task(service.drain())
        await until(lambda: refused(stub))

        assert (await client.save(WorkflowState("wf"), bucket="b")).revision == 1
        assert not draining.done()
        assert listed + sum([len(chunk.states) async for chunk in rest(call)]) == 1500
        await draining
    await elsewhere.drain()


async def refused(stub: WorkflowStoreStub) -> bool:
    try:
        await stub.GetInfo(pb.GetInfoRequest())
    except grpc.aio.AioRpcError:
        return True
    return False


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_reader_that_stops_reading_stops_the_pass(stub: WorkflowStoreStub, nats_client: object) -> None:
    """What it has not read stays at the NATS server: this process takes in a bounded part and then nothing."""
    document = '"' + "x" * 100_000 + '"'
    for number in range(400):
        await stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=f"wf-{number}", input_json=document)))
    assert (await stub.Count(pb.CountRequest())).count == 400
    taken = nats_client.stats  # type: ignore[attr-defined]
    begun, before = taken["in_bytes"], -1
    call = stub.List(pb.ListRequest(view=state_pb.WORKFLOW_VIEW_FULL))
    first = await call.read()

    async def at_rest() -> bool:
        nonlocal before
        before, last = taken["in_bytes"], before
        await asyncio.sleep(0.2)
        return before == last

    await until(at_rest)
    assert taken["in_bytes"] - begun < 20_000_000
    states = len(first.states) + sum([len(chunk.states) async for chunk in rest(call)])
    assert states == 400


async def test_a_list_that_is_cancelled_leaves_nothing_running(stub: WorkflowStoreStub, service: Service) -> None:
    saves = (
        stub.Save(pb.SaveRequest(state=state_pb.WorkflowState(workflow_id=f"wf-{n}", error="x" * 10_000)))
        for n in range(1500)
    )
    await in_portions(saves)
    for _ in range(20):
        call = stub.List(pb.ListRequest())
        await call.read()
        call.cancel()

    async def idle() -> bool:
        reading = [task for task in asyncio.all_tasks() if "_pages" in repr(task.get_coro())]
        return service._calls.idle.is_set() and not reading

    await until(idle)
