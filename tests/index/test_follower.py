"""The index is fresh, heals itself, says how far it is, and takes no more than it needs."""

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from index.test_database import LongQuery
from support.entries import indexed, listed
from support.nats_server import NatsServer
from support.waiting import in_portions, until
from workflowstore.v1.workflow_store_pb2 import ListResponse
from workflowstore_server.codec import document
from workflowstore_server.index import Index, WatchStart, database, follower, listing, schema
from workflowstore_server.model.errors import IndexBehind, StorageUnavailable
from workflowstore_server.model.selection import GroupBy, ListPosition, Selection, WorkflowFilter
from workflowstore_server.model.state import WorkflowState, WorkflowStatus, WorkflowView
from workflowstore_server.store import Change
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection
from workflowstore_server.store.memory import MemoryStore

ALL = Selection("beluga_workflows")


async def ids(index: Index, selection: Selection = ALL) -> list[str]:
    states, _ = await listed(index, selection)
    return [state.workflow_id for state in states]


@pytest.mark.parametrize("history", [1, 3])
async def test_every_write_acknowledged_before_a_list_is_in_it_whoever_made_it(
    nats_server: NatsServer, nats_client: Client, tmp_path: Path, history: int
) -> None:
    """Two servers' stores and a plain NATS client write and delete; both indexes are listed after each write."""
    options = BucketOptions(history=history)
    other_client = await nats.connect(nats_server.url, pending_size=0)
    async with (
        JetStreamStore.over(nats_client, "b", options) as one,
        JetStreamStore.over(other_client, "b", options) as two,
        indexed(one, tmp_path) as index_of_one,
        indexed(two) as index_of_two,
    ):
        there: dict[str, str] = {}
        chance = random.Random(1)
        for number in range(300):
            workflow_id, error = f"wf-{chance.randrange(20)}", str(number)
            match number % 4:
                case 0 | 1:
                    await (one, two)[number % 2].save(WorkflowState(workflow_id, error=error))
                case 2:
                    document = f'{{"WorkflowID":"{workflow_id}","Error":"{error}"}}'.encode()
                    await nats_client.jetstream().publish(f"$KV.b.{workflow_id}", document)
                case 3:
                    await (one, two)[number // 4 % 2].delete(workflow_id)
            there = (
                {**there, workflow_id: error}
                if number % 4 != 3
                else {k: v for k, v in there.items() if k != workflow_id}
            )
            for index in (index_of_one, index_of_two):
                states, _ = await listed(index, Selection("b"))
                assert {state.workflow_id: state.error for state in states} == there
                assert (await index.count(WorkflowFilter())).count == len(there)
    await other_client.close()


async def test_lists_are_fresh_while_many_write(nats_client: Client, tmp_path: Path) -> None:
    async with JetStreamStore.over(nats_client, "b") as store, indexed(store, tmp_path) as index:
        acknowledged: dict[str, int] = {}
        stop = asyncio.Event()

        async def write(number: int) -> None:
            chance = random.Random(number)
            while not stop.is_set():
                workflow_id = f"wf-{number}-{chance.randrange(50)}"
                acknowledged[workflow_id] = (await store.save(WorkflowState(workflow_id))).revision

        writers = [asyncio.create_task(write(number)) for number in range(8)]
        for _ in range(60):
            before = dict(acknowledged)
            states, _ = await listed(index, Selection("b"))
            found = {state.workflow_id: state.revision for state in states}
            assert len(found) == len(states)
            late = {workflow_id for workflow_id, revision in before.items() if found.get(workflow_id, 0) < revision}
            assert not late
        stop.set()
        await asyncio.gather(*writers)
        assert len(acknowledged) > 100


@pytest.mark.parametrize("descending", [False, True])
async def test_nothing_is_missed_or_repeated_by_id_while_everything_is_rewritten(
    nats_client: Client, tmp_path: Path, descending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CHUNK_STATES_MAX", 16)
    permanent = [f"wf-{number:03d}" for number in range(200)]
    async with JetStreamStore.over(nats_client, "b") as store, indexed(store, tmp_path) as index:
        await asyncio.gather(*(store.save(WorkflowState(workflow_id)) for workflow_id in permanent))
        stop = asyncio.Event()

        async def rewrite(chance: random.Random) -> None:
            while not stop.is_set():
                await store.save(WorkflowState(chance.choice(permanent), error="again"))
                await store.save(WorkflowState(f"wf-{chance.randrange(200):03d}-passing"))
                await store.delete(f"wf-{chance.randrange(200):03d}-passing")

        writers = [asyncio.create_task(rewrite(random.Random(seed))) for seed in range(4)]
        for view in (WorkflowView.SUMMARY, WorkflowView.FULL, WorkflowView.SUMMARY):
            position: ListPosition | None = None
            found: list[str] = []
            # Each chunk in a List of its own, as a client that resumes; the index follows between them.
            while True:
                selection = Selection("b", descending=descending)
                chunks = index.chunks(selection, view, 0, position)
                chunk = await anext(chunks)
                await chunks.aclose()
                found += [state.workflow_id for state in ListResponse.FromString(chunk.states).states]
                if chunk.position is None:
                    break
                position = chunk.position
            assert [workflow_id for workflow_id in found if workflow_id in set(permanent)] == sorted(
                permanent, reverse=descending
            )
            assert len(found) == len(set(found))
        stop.set()
        await asyncio.gather(*writers)


class Stopping(MemoryStore):
    """A store whose changes can be held back."""

    def __init__(self) -> None:
        super().__init__("beluga_workflows")
        self.flows = asyncio.Event()

    async def changes(self, after: int, until: int):  # type: ignore[no-untyped-def]
        await self.flows.wait()
        return await super().changes(after, until)


class LosingAsItIsRead(MemoryStore):
    """A store that loses something, without a trace, between the reading of its changes and the next look at it."""

    def __init__(self) -> None:
        super().__init__("beluga_workflows")
        self.lose: list[str] = []

    async def changes(self, after: int, until: int):  # type: ignore[no-untyped-def]
        batch = await super().changes(after, until)
        self.forget(self.lose)
        return batch


@pytest.mark.parametrize("lost", [["wf-1"], ["wf-0", "wf-3", "gone", "bad"], ["wf-0", "wf-1", "wf-2", "wf-3", "wf-4"]])
async def test_what_a_bucket_loses_as_the_index_is_built_is_not_listed(lost: list[str]) -> None:
    store = LosingAsItIsRead()
    for number in range(5):
        await store.save(WorkflowState(f"wf-{number}"))
    await store.save(WorkflowState("gone"))
    await store.delete("gone")
    store.store("bad", b"{")
    store.lose = lost
    async with indexed(store) as index:
        states, malformed = await listed(index, ALL)
        assert [state.workflow_id for state in states] == [f"wf-{n}" for n in range(5) if f"wf-{n}" not in lost]
        assert [entry.key for entry in malformed] == [key for key in ["bad"] if key not in lost]
        # What is lost afterwards is noticed as ever.
        store.forget(["wf-2"])
        assert "wf-2" not in await ids(index)


async def test_a_list_that_waits_too_long_is_told_how_far_behind_the_index_is() -> None:
    store = Stopping()
    for number in range(7):
        await store.save(WorkflowState(f"wf-{number}"))
    async with indexed(store) as index:
        await until(lambda: _is_building(index))
        with pytest.raises(IndexBehind) as caught, impatient(index):
            await ids(index)
        assert (caught.value.index_revision, caught.value.store_revision, caught.value.lag) == (0, 7, 7)
        assert caught.value.detail == "the index is being built"
        assert (index.info().ready, index.info().lag) == (False, 7)

        store.flows.set()
        await until(lambda: _is_ready(index))
        assert len(await ids(index)) == 7

        store.flows.clear()
        await store.save(WorkflowState("wf-7"))
        await until(lambda: _has_seen(index, 8))
        with pytest.raises(IndexBehind) as caught, impatient(index):
            await index.count(WorkflowFilter())
        assert (caught.value.index_revision, caught.value.lag) == (7, 1)
        store.flows.set()
        await until(lambda: _is_ready(index))
        assert len(await ids(index)) == 8
        assert index.info().lag == 0


async def _is_ready(index: Index) -> bool:
    return index.follower.ready


async def _is_building(index: Index) -> bool:
    return index.follower._doing == "the index is being built"


async def _has_seen(index: Index, revision: int) -> bool:
    return index.follower.store_revision == revision


@contextlib.contextmanager
def impatient(index: Index) -> Iterator[None]:
    """Let those who ask an index wait 0.2 s for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index.follower, "_wait_seconds", 0.2)
        yield


async def test_who_asks_an_index_that_has_stopped_does_not_wait_for_it() -> None:
    async with indexed(MemoryStore("b"), wait_seconds=3600) as index:
        await ids(index)

    with pytest.raises(IndexBehind, match="the server is stopping"):
        await ids(index)
    with pytest.raises(IndexBehind, match="the server is stopping"):
        await anext(index.watch(WorkflowFilter(), WorkflowView.SUMMARY, WatchStart(snapshot=True)))


async def test_who_waits_for_an_index_that_stops_before_it_has_begun_is_told_so() -> None:
    async with indexed(MemoryStore("b"), wait_seconds=3600) as index:
        asking = asyncio.create_task(ids(index))

    with pytest.raises(IndexBehind, match="the server is stopping"):
        await asking


async def test_a_list_that_waits_for_a_storage_that_hangs_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore("beluga_workflows")
    hangs = asyncio.Event()
    async with indexed(store) as index:
        await ids(index)

        async def hanging() -> None:
            hangs.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(store, "position", hanging)
        # The index looks by itself.
        await hangs.wait()
        with pytest.raises(IndexBehind) as caught, impatient(index):
            await ids(index)

    assert (caught.value.lag, caught.value.detail) == (0, "the storage has not told yet where the bucket stands")


async def test_a_crowd_of_lists_shares_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore("beluga_workflows")
    await store.save(WorkflowState("wf-1"))
    rounds = 0
    position = store.position

    async def counted():  # type: ignore[no-untyped-def]
        nonlocal rounds
        rounds += 1
        return await position()

    async with indexed(store) as index:
        await ids(index)
        monkeypatch.setattr(store, "position", counted)
        await asyncio.gather(*(ids(index) for _ in range(100)))

    assert rounds < 10


def damage_header(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"\xff" * 100)


def damage_middle(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(os.urandom(4096))


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    place = data.index(b"wf-7") + 1
    data[place] ^= 1
    file.write_bytes(data)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 3)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def delete(file: Path) -> None:
    file.unlink()


def another_version(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    file.with_name(f"{file.name}.crc32").unlink()


def another_program(file: Path) -> None:
    file.unlink()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE something (x)")
    connection.close()


DAMAGES = [damage_header, damage_middle, flip_a_bit, cut_off, empty, delete, another_version, another_program]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_file_damaged_between_two_runs_heals_without_a_wrong_answer(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    store = MemoryStore("beluga_workflows")
    names = [f"wf-{number}" for number in range(2000)]
    for name in names:
        await store.save(WorkflowState(name))
    async with indexed(store, tmp_path) as index:
        await ids(index)
    damage(tmp_path / "beluga_workflows.sqlite3")

    async with indexed(store, tmp_path) as index:
        assert await ids(index) == sorted(names)
        assert (await index.count(WorkflowFilter(), GroupBy.STATUS)).count == 2000


@pytest.mark.parametrize("damage", [damage_header, damage_middle, cut_off, empty, delete, another_program])
async def test_a_file_damaged_while_it_is_used_heals_without_a_wrong_answer(
    tmp_path: Path, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The readers keep nothing in memory here, so that they meet what was done to the file."""
    monkeypatch.setattr(database, "READER_CACHE_KIB", 1)
    store = MemoryStore("beluga_workflows")
    names = [f"wf-{number:05d}" for number in range(20_000)]
    for name in names:
        store.store(name, f'{{"WorkflowID":"{name}"}}'.encode())
    async with indexed(store, tmp_path) as index:
        assert await ids(index) == names
        damage(tmp_path / "beluga_workflows.sqlite3")
        right = 0

        async def healed() -> bool:
            nonlocal right
            name = f"wf-{len(names):05d}"
            store.store(name, f'{{"WorkflowID":"{name}"}}'.encode())
            names.append(name)
            try:
                assert await ids(index) == names
            except IndexBehind:
                right = 0
                return False
            right += 1
            return right == 3

        await until(healed, 30)


@pytest.mark.parametrize("nonsense", ["labels = x'ff'", "labels = 5", "summary = NULL"])
async def test_nonsense_in_a_sound_file_heals_without_a_wrong_answer(tmp_path: Path, nonsense: str) -> None:
    store = MemoryStore("beluga_workflows")
    for number in range(3):
        await store.save(WorkflowState(f"wf-{number}", labels={"n": str(number)}))
    async with indexed(store, tmp_path) as index:
        opened, _ = await index.follower.fresh()

        def spoil(connection: sqlite3.Connection) -> None:
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE workflows SET {nonsense}")

        await opened.look(spoil)
        await store.save(WorkflowState("wf-1", labels={"n": "new"}))
        states, _ = await listed(index, ALL)

        assert {state.workflow_id: state.labels["n"] for state in states} == {"wf-0": "0", "wf-1": "new", "wf-2": "2"}


async def test_an_index_that_was_deleted_by_hand_is_built_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore("beluga_workflows")
    await store.save(WorkflowState("wf-1"))
    file = tmp_path / "beluga_workflows.sqlite3"
    with caplog.at_level(logging.INFO):
        async with indexed(store, tmp_path) as index:
            await ids(index)
            file.unlink()
            await until(lambda: _exists(file))
            assert await ids(index) == ["wf-1"]

    assert "its file was removed or replaced" in caplog.text


async def _exists(file: Path) -> bool:
    return file.exists()


async def test_a_warm_start_reads_only_what_is_new(
    nats_client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with JetStreamStore.over(nats_client, "b") as store:
        await in_portions(store.save(WorkflowState(f"wf-{number}", error="x" * 1000)) for number in range(2000))
        async with indexed(store, tmp_path) as index:
            assert (await index.count(WorkflowFilter())).count == 2000
        await store.save(WorkflowState("new"))
        before = nats_client.stats["in_bytes"]
        with caplog.at_level(logging.INFO):
            async with indexed(store, tmp_path) as index:
                assert (await index.count(WorkflowFilter())).count == 2001

    assert nats_client.stats["in_bytes"] - before < 150_000
    assert "built" not in caplog.text


async def test_a_bucket_of_another_identity_is_not_mistaken(tmp_path: Path) -> None:
    one, other = MemoryStore("beluga_workflows"), MemoryStore("beluga_workflows")
    other.identity = "another"
    for store, name in ((one, "a"), (other, "b")):
        await store.save(WorkflowState(name))
    async with indexed(one, tmp_path) as index:
        assert await ids(index) == ["a"]
    async with indexed(other, tmp_path) as index:
        assert await ids(index) == ["b"]


async def test_another_past_is_noticed_though_the_bucket_has_come_as_far(tmp_path: Path) -> None:
    """As a bucket that was restored from a backup and written to again, before this server looked."""
    lived, restored = MemoryStore("beluga_workflows"), MemoryStore("beluga_workflows")
    for store in (lived, restored):
        for number in range(50):
            await store.save(WorkflowState(f"wf-{number}"))
    for number in range(10):
        await lived.save(WorkflowState(f"wf-{number}", error="after the backup"))
        await restored.save(WorkflowState(f"wf-{number}", status=WorkflowStatus.FAILED, error="after the restore "))
    await restored.save(WorkflowState("new"))
    async with indexed(lived, tmp_path) as index:
        await ids(index)
    async with indexed(restored, tmp_path) as index:
        states, _ = await listed(index, ALL)
        assert {state.error for state in states} == {"", "after the restore "}


async def test_a_bucket_that_is_replaced_while_it_is_read_is_not_mixed_with_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore("beluga_workflows")
    for number in range(600):
        await store.save(WorkflowState(f"old-{number}"))
    changes = store.changes

    async def replaced_meanwhile(after: int, until: int):  # type: ignore[no-untyped-def]
        if after == 256 and store.identity != "another":
            store.identity, store._entries = "another", {}
            await store.save(WorkflowState("new"))
        return await changes(after, until)

    monkeypatch.setattr(store, "changes", replaced_meanwhile)
    async with indexed(store, tmp_path) as index:
        assert await ids(index) == ["new"]


async def test_a_crowd_of_lists_of_large_states_does_not_cost_the_connection(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """NATS closes a connection that has more than 64 MiB to fetch; each list may have up to 2 MiB under way."""
    connection = OwnedConnection(NatsOptions(), lambda: (nats_server.url,), "test")
    await connection.open()
    store = JetStreamStore(connection, "b")
    await store.open()
    for number in range(60):
        await store.save(WorkflowState(f"wf-{number}", input_json=f'"{"x" * 1_000_000}"'))
    link = connection.link
    async with indexed(store, tmp_path) as index:

        async def count() -> int:
            return len((await listed(index, Selection("b"), WorkflowView.FULL))[0])

        assert set(await asyncio.gather(*(count() for _ in range(40)))) == {60}
    assert connection.link is link
    await store.close()
    await connection.close()


async def test_nats_that_is_away_fails_lists_at_once_and_is_caught_up_with(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    connection = OwnedConnection(NatsOptions(reconnect_wait_seconds_max=0.1), lambda: (nats_server.url,), "test")
    await connection.open()
    keeping = asyncio.create_task(connection.keep())
    store = JetStreamStore(connection, "b")
    await store.open()
    await store.save(WorkflowState("wf-1"))
    async with indexed(store, tmp_path) as index:
        assert await ids(index, Selection("b")) == ["wf-1"]
        nats_server.kill()
        with pytest.raises(StorageUnavailable):
            await asyncio.wait_for(ids(index, Selection("b")), 10)
        assert isinstance(index.follower.trouble, StorageUnavailable)
        assert not index.follower.ready
        nats_server.start()
        await until(lambda: _is_ready(index), 10)
        await store.save(WorkflowState("wf-2"))
        assert await ids(index, Selection("b")) == ["wf-1", "wf-2"]
        assert index.follower.trouble is None
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await store.close()
    await connection.close()


async def test_a_disk_that_is_full_fails_lists_with_the_reason_and_is_got_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite's own limit of pages stands for the end of the disk."""
    store = MemoryStore("beluga_workflows")
    await store.save(WorkflowState("wf"))
    async with indexed(store, tmp_path) as index:
        await ids(index)
        opened = index.follower._database
        assert opened is not None
        pages = await opened.look(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        await opened.look(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}"))
        for number in range(1000):
            store.store(f"wf-{number}", f'{{"WorkflowID":"wf-{number}","Error":"{"x" * 1000}"}}'.encode())
        with pytest.raises(IndexBehind) as caught:
            await ids(index)
        assert "full" in caught.value.detail
        assert "cannot be written" in caplog.text
        await opened.look(lambda connection: connection.execute("PRAGMA max_page_count = 1000000"))
        await until(lambda: _is_ready(index))
        assert len(await ids(index)) == 1001


async def test_a_build_goes_on_where_the_storage_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore("beluga_workflows")
    for number in range(1000):
        await store.save(WorkflowState(f"wf-{number}"))
    changes = store.changes
    asked: list[int] = []

    async def failing_once(after: int, until: int):  # type: ignore[no-untyped-def]
        asked.append(after)
        if asked == [0, 256, 512]:
            raise StorageUnavailable("beluga_workflows", "away")
        return await changes(after, until)

    monkeypatch.setattr(store, "changes", failing_once)
    async with indexed(store) as index:
        await until(lambda: _is_ready(index))
        assert len(await ids(index)) == 1000

    assert asked.count(0) == 1


async def test_a_bucket_that_counts_more_keys_than_it_has_is_not_built_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore("beluga_workflows")
    await store.save(WorkflowState("wf-1"))
    position = store.position

    async def counting_more():  # type: ignore[no-untyped-def]
        found = await position()
        return replace(found, keys=found.keys + 2)

    monkeypatch.setattr(store, "position", counting_more)
    with caplog.at_level(logging.INFO):
        async with indexed(store) as index:
            for _ in range(3):
                assert await ids(index) == ["wf-1"]
            await store.save(WorkflowState("wf-2"))
            assert await ids(index) == ["wf-1", "wf-2"]
            store.forget(["wf-1"])
            assert await ids(index) == ["wf-2"]

    assert caplog.text.count("was built in") == 1
    assert "bucket beluga_workflows counts 3 keys, and 1 were found in it" in caplog.text


async def test_delete_markers_that_somebody_has_purged_are_taken_out_without_a_build(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore("beluga_workflows")
    await store.save(WorkflowState("oldest"))
    for number in range(1500):
        await store.save(WorkflowState(f"wf-{number}"))
        if number % 2:
            await store.delete(f"wf-{number}")
    with caplog.at_level(logging.INFO):
        async with indexed(store) as index:
            assert len(await ids(index)) == 751
            assert index.follower.meta.markers == 750
            store.forget([f"wf-{number}" for number in range(1, 1400, 2)])
            assert len(await ids(index)) == 751
            assert index.follower.meta.markers == 50

    assert caplog.text.count("was built in") == 1


async def test_most_keys_may_go_when_they_were_delete_markers(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore("beluga_workflows")
    for number in range(300):
        await store.save(WorkflowState(f"wf-{number}"))
        if number >= 20:
            await store.delete(f"wf-{number}")
    with caplog.at_level(logging.INFO):
        async with indexed(store) as index:
            assert len(await ids(index)) == 20
            store.forget([f"wf-{number}" for number in range(30, 300)])
            assert len(await ids(index)) == 20
            assert index.follower.meta.markers == 10

    assert caplog.text.count("was built in") == 1


async def test_progress_is_told_while_an_index_is_built(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(follower, "PROGRESS_SECONDS", 0.0)
    store = MemoryStore("beluga_workflows")
    for number in range(600):
        await store.save(WorkflowState(f"wf-{number}"))
    with caplog.at_level(logging.INFO):
        async with indexed(store, tmp_path) as index:
            await ids(index)

    assert "the index of bucket beluga_workflows is at revision 256 of 600 (43 % of the way), " in caplog.text
    assert "the index of bucket beluga_workflows was built in " in caplog.text
    assert "has caught up at revision 600: 600 workflows, 0 malformed entries" in caplog.text


async def test_no_consumer_is_left_at_nats(nats_client: Client, tmp_path: Path) -> None:
    async with JetStreamStore.over(nats_client, "b") as store, indexed(store, tmp_path) as index:
        for number in range(20):
            await store.save(WorkflowState(f"wf-{number}"))
            await ids(index, Selection("b"))
        info = await nats_client.jetstream().stream_info("KV_b")

    assert info.state.consumer_count == 0


async def test_what_nobody_foresaw_costs_lists_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore("beluga_workflows")
    await store.save(WorkflowState("wf-1"))
    async with indexed(store) as index:
        await ids(index)
        with monkeypatch.context() as patch:

            async def broken() -> None:
                raise ValueError("secret detail 42")

            patch.setattr(store, "position", broken)
            with pytest.raises(IndexBehind) as caught:
                await ids(index)
        assert "secret" not in caught.value.detail
        assert "secret detail 42" in caplog.text
        await until(lambda: _is_ready(index))
        assert await ids(index) == ["wf-1"]


async def test_a_list_that_is_given_up_interrupts_its_query(tmp_path: Path) -> None:
    store = MemoryStore("beluga_workflows")
    await store.save(WorkflowState("wf-1"))
    async with indexed(store, tmp_path) as index:
        opened, _ = await index.follower.fresh()
        query = LongQuery()
        reading = asyncio.create_task(opened.read(query))
        await query.running.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

        assert reading.cancelled()
        assert await ids(index) == ["wf-1"]


def test_the_schema_has_its_number() -> None:
    """A change of the tables, or of what the rows mean, needs another SCHEMA_VERSION, and then another line here."""
    example = WorkflowState(
        "order:42", "run-1", WorkflowStatus.RUNNING, '{"a":1}', None, "oops", (), -1, 2**63, {"team": "blue"}
    )
    changes = [
        Change("=b3JkZXI6NDI", 7, document.encode(example)),
        Change("bad", 8, b"{"),
        Change("gone", 9, None),
        Change("gone", 10, None, 5, stored_at="2026-01-02T03:04:05.000000006Z"),
    ]
    meaning = repr((schema.TABLES, schema.INDEXES, [schema.entry_of(change) for change in changes]))
    assert {schema.SCHEMA_VERSION: hashlib.sha256(meaning.encode()).hexdigest()[:16]} == {2: "c13ac1900a9a0661"}
