"""A server that has no room for what is written: it says so, goes on to be read, and takes writes again by itself."""

import logging
from collections.abc import Callable

import grpc
import nats
import pytest
from nats.js.api import StreamConfig

from support.forgetful_disk import ForgetfulDisk
from support.nats_server import NatsServer
from support.statuses import Failure, failure
from support.waiting import until
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.config.sources import Config

from .conftest import Caller, running  # type: ignore[import-not-found]

SERVICE = "workflowstore.v1.WorkflowStore"
WRITES = f"{SERVICE}/writes"

Configured = Callable[..., Config]


async def refuses_writes(caller: Caller) -> bool:
    """Whether the health service says that writes are refused, and that all else is well."""
    assert await caller.serving()
    assert await caller.serving(SERVICE)
    return not await caller.serving(WRITES)


async def takes_writes(caller: Caller) -> bool:
    return await caller.serving(WRITES)


async def filled(caller: Caller, size: int) -> list[str]:
    """Save states of a size until there is no room for one more."""
    saved: list[str] = []
    while len(saved) < 1000:
        try:
            await caller.save(f"wf-{size}-{len(saved)}", error="x" * size)
        except Exception:
            break
        saved.append(f"wf-{size}-{len(saved)}")
    assert (await failure(caller.save("one more", error="x" * size))).reason == "STORAGE_FULL"
    return saved


async def delete(caller: Caller, workflow_id: str) -> None:
    await caller.stub.Delete(pb.DeleteRequest(workflow_id=workflow_id))


async def refusal_of_delete(caller: Caller, ids: list[str]) -> str:
    """Delete one of the workflows, and return why that is refused; empty if it is not."""
    try:
        await delete(caller, ids.pop(0))
    except grpc.aio.AioRpcError as error:
        return Failure(error).reason
    return ""


async def loaded(caller: Caller, workflow_id: str) -> int:
    return (await caller.stub.Load(pb.LoadRequest(workflow_id=workflow_id))).state.revision


async def test_a_disk_that_is_nearly_full_is_told_and_writes_come_back(
    configured: Configured, disk: ForgetfulDisk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(configured(data_dir=str(disk.path / "data"))) as caller:
        revision = (await caller.save("wf-1")).revision
        assert await takes_writes(caller)
        disk.leave(600 * 1024**2)
        await until(lambda: low(caller))
        assert await takes_writes(caller)
        disk.leave(0)
        await until(lambda: refuses_writes(caller))

        refused = await failure(caller.save("wf-2"))
        assert (refused.code.name, refused.reason) == ("RESOURCE_EXHAUSTED", "STORAGE_FULL")
        room = (await caller.info()).room
        assert room.full in refused.message
        assert (room.disk_free_bytes, room.disk_reserve_bytes) == (0, 256 * 1024**2)
        assert await caller.revisions() == {"wf-1": revision}
        assert await loaded(caller, "wf-1") == revision
        disk.free()
        await until(lambda: takes_writes(caller))
        await caller.save("wf-2")
        assert not (await caller.info()).room.full
    words = "bucket beluga_workflows will be full soon", "bucket beluga_workflows is full", "takes writes again"
    assert all(caplog.text.count(text) == 1 for text in words), caplog.text


async def low(caller: Caller) -> str:
    return (await caller.info()).room.low


async def test_a_server_begins_on_a_disk_that_is_nearly_full(configured: Configured, disk: ForgetfulDisk) -> None:
    config = configured(data_dir=str(disk.path / "data"))
    async with running(config) as caller:
        revision = (await caller.save("wf-1")).revision
    disk.leave(0)
    async with running(config) as caller:
        assert (await failure(caller.save("wf-2"))).reason == "STORAGE_FULL"
        assert await caller.revisions() == {"wf-1": revision}
        assert await refuses_writes(caller)


@pytest.mark.parametrize(("history", "way_out"), [(1, "delete"), (1, "raise"), (5, "raise")])
async def test_a_bucket_at_its_limit_is_told_and_writes_come_back(
    nats_server: NatsServer, nats_client: nats.NATS, configured: Configured, history: int, way_out: str
) -> None:
    config = configured(nats_url=[nats_server.url], bucket_bytes_max=100_000, history=history)
    async with running(config) as caller:
        large = await filled(caller, 10_000)
        small = await filled(caller, 10)
        await until(lambda: refuses_writes(caller))

        assert "maximum bytes exceeded" in (await caller.info()).room.full
        assert await loaded(caller, large[0])
        assert set(await caller.revisions()) == {*large, *small}
        if way_out == "delete":
            await delete(caller, large[0])
        else:
            # Markers take their place beside the states, and there is none for all of them.
            if history > 1:
                assert await until(lambda: refusal_of_delete(caller, large)) == "STORAGE_FULL"
            jetstream = nats_client.jetstream()
            config = (await jetstream.stream_info("KV_beluga_workflows")).config
            await jetstream.update_stream(config.evolve(max_bytes=200_000))
        await caller.save("again")
        await until(lambda: takes_writes(caller))


async def test_a_bucket_that_is_nearly_at_its_limit_is_told(nats_server: NatsServer, configured: Configured) -> None:
    async with running(configured(nats_url=[nats_server.url], bucket_bytes_max=100_000)) as caller:
        assert not await low(caller)
        for number in range(18):
            await caller.save(f"wf-{number}", error="x" * 5_000)
        assert await until(lambda: low(caller)) == "it has more than 90% of its max_bytes 100000"
        assert await takes_writes(caller)


async def test_an_account_at_its_limit_is_told_and_writes_come_back(configured: Configured) -> None:
    async with running(configured(data_bytes_max=1024 * 1024)) as caller:
        large = await filled(caller, 100_000)
        await until(lambda: refuses_writes(caller))

        assert await loaded(caller, large[0])
        assert set(await caller.revisions()) == set(large)
        await delete(caller, large[0])
        await caller.save("again", error="x" * 50_000)
        await until(lambda: takes_writes(caller))


async def test_who_writes_no_more_is_told_after_a_while_that_there_may_be_room(
    nats_server: NatsServer, configured: Configured
) -> None:
    async with running(configured(nats_url=[nats_server.url], bucket_bytes_max=100_000)) as caller:
        large = await filled(caller, 10_000)
        await until(lambda: refuses_writes(caller))
        await delete(caller, large[0])

        await until(lambda: takes_writes(caller))


async def test_a_bucket_that_would_lose_its_oldest_workflows_is_warned_of(
    nats_server: NatsServer, nats_client: nats.NATS, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    await nats_client.jetstream().add_stream(
        StreamConfig(
            name="KV_beluga_workflows", subjects=["$KV.beluga_workflows.>"], max_bytes=100_000, allow_direct=True
        )
    )
    async with running(configured(nats_url=[nats_server.url])):
        pass
    assert "bucket beluga_workflows removes its oldest workflows when it is full" in caplog.text


async def test_an_index_without_room_fails_lists_and_goes_on_by_itself(
    nats_server: NatsServer, configured: Configured, disk: ForgetfulDisk
) -> None:
    async with running(configured(nats_url=[nats_server.url], data_dir=str(disk.path / "data"))) as caller:
        await caller.save("wf-1")
        assert set(await caller.revisions()) == {"wf-1"}
        disk.fill()
        # What SQLite has for itself is used up first.
        ids = ["wf-1"]
        for number in range(200):
            ids.append(f"wf-{number + 2}")
            await caller.save(ids[-1], error="x" * 10_000)
        refused = await failure(caller.revisions())
        assert refused.reason == "INDEX_BEHIND"
        assert "the index cannot be written" in refused.message

        # All else goes on.
        assert await loaded(caller, "wf-1")
        assert await caller.serving()
        assert await takes_writes(caller)
        disk.free()
        await until(lambda: lists(caller, ids))


async def lists(caller: Caller, ids: list[str]) -> bool:
    try:
        return set(await caller.revisions()) == set(ids)
    except Exception:
        return False
