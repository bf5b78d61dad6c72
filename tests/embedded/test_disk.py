"""The disk of the embedded nats-server: it is not filled to the brim, and one that was full is gone on with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from support.entries import ids_of
from support.forgetful_disk import ForgetfulDisk
from support.waiting import until
from workflowstore_server.embedded.directory import DataDirectory
from workflowstore_server.embedded.disk import DiskWatch
from workflowstore_server.embedded.server import MIB, RESERVE_BYTES, EmbeddedOptions, EmbeddedServer
from workflowstore_server.model.errors import Outcome, StorageFull, StorageUnavailable
from workflowstore_server.model.state import Room, WorkflowState
from workflowstore_server.store import Draft
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection, report

from .conftest import kept  # type: ignore[import-not-found]

LOW = 4 * RESERVE_BYTES


class Watched:
    """A store on a disk that is looked after from the moment on that `watch` runs."""

    def __init__(self, store: JetStreamStore, watch: DiskWatch, server: EmbeddedServer) -> None:
        self.store = store
        self.watch = watch
        self.server = server

    async def saved(self, workflow_id: str = "again") -> bool:
        try:
            await self.store.save(WorkflowState(workflow_id))
        except (StorageFull, StorageUnavailable):
            return False
        return True

    async def is_full(self) -> bool:
        return bool(self.store.room.full)

    async def has_room(self) -> bool:
        return not self.store.room.full


@pytest.fixture
async def watched(disk: ForgetfulDisk) -> AsyncIterator[Watched]:
    directory = DataDirectory(disk.path / "data")
    server = EmbeddedServer(directory, EmbeddedOptions())
    await server.start()
    async with _connected(server, server.user) as connection, _connected(server, server.system_user) as system:
        watch = DiskWatch(server, directory.path, RESERVE_BYTES, 100 * MIB, partial(report.condition, system))
        options = BucketOptions(allow_atomic=True)
        store = JetStreamStore(connection, "beluga_workflows", options, lambda: watch.room)
        await store.open()
        async with kept(server.keep):
            yield Watched(store, watch, server)
        await store.close()
    disk.free()
    await server.stop()
    directory.release()


@asynccontextmanager
async def _connected(server: EmbeddedServer, credential) -> AsyncIterator[OwnedConnection]:
    options = NatsOptions(
        user=credential.user,
        password=credential.password,
        request_timeout_seconds=10,
        reconnect_wait_seconds_max=0.1,
    )
    connection = OwnedConnection(options, lambda: (server.address,), "test")
    await connection.open()
    async with kept(connection.keep):
        yield connection
    await connection.close()


async def test_before_the_disk_is_full_saves_are_refused_and_all_else_goes_on(
    watched: Watched, disk: ForgetfulDisk
) -> None:
    store = watched.store
    await store.save(WorkflowState("wf-1", error="here"), write_id="first")
    async with kept(watched.watch.run):
        disk.leave(RESERVE_BYTES - 1)
        await until(watched.is_full)

        for refused in (store.save(WorkflowState("wf-2")), store.save_together([Draft(WorkflowState("wf-2"))])):
            with pytest.raises(StorageFull, match=f"less left than the {RESERVE_BYTES} bytes kept free") as caught:
                await refused
            assert caught.value.outcome is None
        assert (await store.load("wf-1")).state.error == "here"
        # What was applied before is not told to be refused.
        assert (await store.save(WorkflowState("wf-1", error="here"), write_id="first")).revision == 1
        assert (await store.delete("wf-1")).existed
        disk.free()
        await until(watched.has_room)
        await store.save(WorkflowState("wf-2"))
    assert await ids_of(store) == ["wf-2"]


async def test_room_is_told_before_it_ends(watched: Watched, disk: ForgetfulDisk) -> None:
    await watched.watch.look()
    disk.leave(LOW - MIB)
    await watched.watch.look()
    low = watched.store.room
    disk.leave(RESERVE_BYTES - MIB)
    await watched.watch.look()
    full = watched.store.room
    # A little more than the reserve is not enough to begin again.
    disk.leave(RESERVE_BYTES + MIB)
    await watched.watch.look()
    still = watched.store.room
    disk.leave(2 * RESERVE_BYTES)
    await watched.watch.look()

    assert (bool(low.low), low.full) == (True, "")
    assert (low.disk_free_bytes, low.disk_reserve_bytes) == (LOW - MIB, RESERVE_BYTES)
    assert (bool(full.full), full.frozen) == (True, False)
    assert still.full == full.full
    assert not watched.store.room.full


async def test_what_all_buckets_may_take_is_told_before_it_ends(watched: Watched) -> None:
    for number in range(31):
        await watched.store.save(WorkflowState(f"wf-{number}", error="x" * 3 * MIB))
    await watched.watch.ask()
    await watched.watch.look()

    assert watched.store.room.low == f"all buckets together have more than 90% of the {100 * MIB} bytes they may"


async def test_a_stream_that_met_a_full_disk_takes_writes_again_by_itself(
    watched: Watched, disk: ForgetfulDisk
) -> None:
    store, pid = watched.store, watched.server.pid
    await store.save(WorkflowState("wf-1", error="here"), write_id="first")
    disk.fill()
    with pytest.raises(StorageUnavailable) as unknown:
        await store.save(WorkflowState("wf-2"))
    assert unknown.value.outcome is Outcome.UNKNOWN
    async with kept(watched.watch.run):
        await until(watched.is_full)

        # Refused at once, and not as applied or not where that cannot be known.
        with pytest.raises(StorageFull, match="has failed to write") as plain:
            await store.save(WorkflowState("wf-3"))
        with pytest.raises(StorageFull) as repeated:
            await store.save(WorkflowState("wf-1", error="here"), write_id="first")
        with pytest.raises(StorageFull):
            await store.delete("wf-1")
        with pytest.raises(StorageFull) as together:
            await store.save_together([Draft(WorkflowState("wf-3"), write_id="third")])
        assert (await store.load("wf-1")).state.error == "here"
        assert watched.server.pid == pid
        disk.free()
        await until(watched.saved)
        assert watched.server.pid != pid
    assert (plain.value.outcome, repeated.value.outcome) == (None, Outcome.UNKNOWN)
    assert together.value.outcome is Outcome.UNKNOWN
    assert (await store.load("wf-1")).revision == 1
    assert await has(store, "again")


async def has(store: JetStreamStore, workflow_id: str) -> bool:
    return workflow_id in await ids_of(store)


async def test_of_the_disk_of_another_server_nothing_is_known(jetstream_store: JetStreamStore) -> None:
    assert jetstream_store.room == Room()
