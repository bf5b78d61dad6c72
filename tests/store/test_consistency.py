"""How new reads are of a bucket with three copies, of which some lag behind and one was the leader."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from support.entries import ids_of, indexed, listed
from support.nats_server import NatsServer
from support.waiting import until
from workflowstore_server.codec.key import BARRIER_KEY
from workflowstore_server.index import exporting
from workflowstore_server.model.errors import (
    BucketConfiguration,
    RevisionNotReached,
    StorageUnavailable,
    StoreError,
    WorkflowNotFound,
)
from workflowstore_server.model.selection import Selection, WorkflowFilter
from workflowstore_server.model.state import Consistency, WorkflowState
from workflowstore_server.store import Deleted
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, freshness

pytestmark = pytest.mark.timeout(300)

BUCKET = "beluga_workflows"

Opened = Callable[[NatsServer], Awaitable[JetStreamStore]]


@pytest.fixture
async def opened(leader: str) -> AsyncIterator[Opened]:
    """Opens a store that is connected to one server of the cluster and to no other."""
    async with AsyncExitStack() as stack:

        async def open_at(server: NatsServer) -> JetStreamStore:
            client = await nats.connect(server.url, pending_size=0, allow_reconnect=False)
            stack.push_async_callback(client.close)
            return await stack.enter_async_context(JetStreamStore.over(client, BUCKET, BucketOptions(replicas=3)))

        yield open_at


@pytest.fixture
async def client(cluster: list[NatsServer]) -> AsyncIterator[Client]:
    """A connection to whichever server of the cluster."""
    client = await nats.connect([server.url for server in cluster], pending_size=0)
    yield client
    await client.close()


def parted(cluster: list[NatsServer], leader: str) -> tuple[NatsServer, NatsServer, NatsServer]:
    """The leader of the bucket and its two followers."""
    first, *others = sorted(cluster, key=lambda server: server.configuration["server_name"] != leader)
    return first, others[0], others[1]


async def revision_of(store: JetStreamStore, consistency: Consistency, min_revision: int = 0) -> int:
    """The revision of the one workflow of these tests; 0 = there is none, -1 = nobody could tell."""
    try:
        return (await store.load("wf", min_revision, consistency)).revision
    except WorkflowNotFound:
        return 0
    except StorageUnavailable:
        return -1


async def test_what_another_server_has_saved_or_deleted_is_read_at_once(
    cluster: list[NatsServer], leader: str, opened: Opened
) -> None:
    _, one, other = parted(cluster, leader)
    writer, reader = await opened(one), await opened(other)
    stale = 0

    async def read(id_: str, revision: int) -> None:
        nonlocal stale
        # The cheapest first: what the others wait for would be there for it too.
        for consistency in reversed(Consistency):
            # Another server's revision makes even the cheapest read see it.
            for min_revision in (0, revision):
                try:
                    found = (await reader.load(id_, min_revision, consistency)).revision
                except WorkflowNotFound:
                    found = 0
                if consistency is Consistency.ANY_REPLICA and not min_revision:
                    stale += found < revision
                else:
                    assert found >= revision, (consistency, min_revision)

    async def write_and_read(worker: int) -> None:
        # Until it has been seen that there is something to be proved: the cheapest reads do read old states.
        for number in range(2_000):
            if number > 50 and stale:
                break
            for id_ in (f"new-{worker}-{number}", f"again-{worker}"):
                await read(id_, (await writer.save(WorkflowState(id_, error=str(number)))).revision)

    await asyncio.gather(*[write_and_read(worker) for worker in range(8)])
    assert stale, "a replica that lags behind was met"


async def test_a_replica_that_was_stopped_gives_no_old_answer_but_to_those_who_take_any(
    cluster: list[NatsServer], leader: str, opened: Opened
) -> None:
    _, one, other = parted(cluster, leader)
    writer, reader = await opened(one), await opened(other)
    revision = (await writer.save(WorkflowState("wf"))).revision

    async def saved() -> bool:
        nonlocal revision
        try:
            revision = (await writer.save(WorkflowState("wf", error="new"))).revision
        except StorageUnavailable:
            return False
        return True

    async def answered() -> bool:
        return await revision_of(reader, Consistency.LINEARIZABLE) >= revision

    for _ in range(5):
        other.pause()
        for _ in range(200):
            await until(saved, seconds=60)
        # They lie at the server that is stopped, which answers them before it has caught up.
        reads = [
            asyncio.create_task(revision_of(reader, *how))
            for how in (
                (Consistency.SESSION, revision),
                (Consistency.LINEARIZABLE, 0),
                (Consistency.ANY_REPLICA, revision),
                (Consistency.SESSION, 0),
            )
        ]
        await asyncio.sleep(0)
        other.resume()
        found = await asyncio.gather(*reads)
        # One that goes on may stand for election at first, and then nobody leads for a while.
        assert all(one == -1 or one >= revision for one in found), (found, revision)
        await until(answered, seconds=60)


async def test_a_leader_that_does_not_know_that_it_was_deposed_gives_no_old_answer(
    cluster: list[NatsServer], leader: str, opened: Opened
) -> None:
    deposed, other, _ = parted(cluster, leader)
    reader, writer = await opened(deposed), await opened(other)
    await writer.save(WorkflowState("wf"))
    async with indexed(reader, wait_seconds=60) as index:
        assert len((await listed(index, Selection(BUCKET)))[0]) == 1
        deposed.pause()
        revision = 0

        async def saved() -> bool:
            nonlocal revision
            try:
                revision = (await writer.save(WorkflowState("wf", error="new"))).revision
            except StorageUnavailable:
                return False
            return True

        async def newest_listed(min_revision: int, consistency: Consistency) -> int:
            try:
                await reader.anchor(min_revision, consistency)
                states, _ = await listed(index, Selection(BUCKET))
            except StoreError:
                return -1
            return max(state.revision for state in states)

        await until(saved, seconds=60)
        # They lie at the server that is stopped, and are the first that it hears of when it goes on.
        reads = [
            asyncio.create_task(read)
            for read in (
                revision_of(reader, Consistency.LINEARIZABLE),
                revision_of(reader, Consistency.SESSION, revision),
                revision_of(reader, Consistency.ANY_REPLICA, revision),
                newest_listed(0, Consistency.LINEARIZABLE),
                newest_listed(revision, Consistency.SESSION),
            )
        ]
        await asyncio.sleep(0)
        deposed.resume()
        found = await asyncio.gather(*reads)
        assert all(one == -1 or one >= revision for one in found), (found, revision)

        async def answered() -> bool:
            return await revision_of(reader, Consistency.LINEARIZABLE) >= revision

        await until(answered, seconds=60)
        assert await newest_listed(0, Consistency.LINEARIZABLE) in {-1, revision}


async def test_reads_go_on_while_a_follower_hangs(cluster: list[NatsServer], leader: str, opened: Opened) -> None:
    first, one, other = parted(cluster, leader)
    stores = [await opened(first), await opened(one)]
    revision = (await stores[0].save(WorkflowState("wf"))).revision
    # A nats-server takes its share of the reads of a bucket two seconds after it has begun to follow its leader.
    await asyncio.sleep(3)
    other.pause()
    for store in stores:
        for consistency in Consistency:
            # One after the other, because what is asked at once is one request to NATS.
            for _ in range(5):
                found = await asyncio.gather(*[revision_of(store, consistency, revision) for _ in range(10)])
                assert set(found) == {revision}
        with pytest.raises(WorkflowNotFound):
            await store.load("missing", revision)


async def test_what_is_not_there_is_told_as_such_only_by_who_knows(
    cluster: list[NatsServer], leader: str, opened: Opened
) -> None:
    _, one, other = parted(cluster, leader)
    writer, reader = await opened(one), await opened(other)
    for consistency in Consistency:
        with pytest.raises(WorkflowNotFound):
            await reader.load("never", 0, consistency)
    for number in range(300):
        saved = await writer.save(WorkflowState(f"wf-{number}"))
        deleted = await reader.delete(f"wf-{number}")
        assert deleted.existed
        assert deleted.revision > saved.revision
        with pytest.raises(WorkflowNotFound):
            await writer.load(f"wf-{number}", deleted.revision)
    assert not (await reader.delete("never")).existed


async def test_a_batch_is_as_new_as_it_was_asked_for(cluster: list[NatsServer], leader: str, opened: Opened) -> None:
    _, one, other = parted(cluster, leader)
    writer, reader = await opened(one), await opened(other)
    keys = [f"wf-{number}" for number in range(50)]
    for consistency in (Consistency.SESSION, Consistency.LINEARIZABLE):
        for number in range(20):
            saved = await asyncio.gather(*[writer.save(WorkflowState(key, error=str(number))) for key in keys])
            at_least = await reader.anchor(0, consistency)
            found = await reader.last([*keys, "missing"], at_least)
            assert [found[key].revision for key in keys] == [one.revision for one in saved]
            assert len(found) == len(keys)
    at_least = await reader.anchor(0, Consistency.LINEARIZABLE)
    assert await reader.last(["missing"], at_least) == {}


async def test_a_revision_that_the_bucket_has_not_come_to_is_waited_for_and_then_refused(
    cluster: list[NatsServer], leader: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, one, other = parted(cluster, leader)
    writer, reader = await opened(one), await opened(other)
    last = (await writer.save(WorkflowState("wf"))).revision
    for consistency in Consistency:
        with pytest.raises(RevisionNotReached) as caught:
            await reader.load("wf", last + 1_000, consistency)
        assert caught.value.min_revision == last + 1_000
        assert last < caught.value.store_revision < last + 1_000
    with pytest.raises(RevisionNotReached):
        await reader.anchor(last + 1_000)

    # A hundred writes take as long as they take.
    monkeypatch.setattr(freshness, "LATE_ATTEMPTS_MAX", 1000)
    waiting = asyncio.create_task(revision_of(reader, Consistency.SESSION, last + 100))
    await asyncio.sleep(0)
    while (saved := await writer.save(WorkflowState("wf"))).revision < last + 100:
        pass
    assert await waiting <= saved.revision
    assert await waiting >= last


@pytest.mark.parametrize("history", [1, 5])
async def test_a_barrier_leaves_nothing_behind_that_anybody_finds(client: Client, history: int, tmp_path: Path) -> None:
    options = BucketOptions(replicas=3, history=history)

    async def made() -> bool:
        try:
            async with JetStreamStore.over(client, BUCKET, options):
                return True
        except StorageUnavailable:
            return False

    await until(made, seconds=60)
    async with JetStreamStore.over(client, BUCKET, options) as store, indexed(store, tmp_path) as index:
        saved = await store.save(WorkflowState("wf"))
        begun, ended = asyncio.Event(), asyncio.Event()
        told: list[bytes] = []

        async def watch() -> None:
            async for message in index.watch(WorkflowFilter()):
                begun.set()
                told.append(message.changes)
                if b"end" in message.changes:
                    ended.set()

        watching = asyncio.create_task(watch())
        await begun.wait()
        for _ in range(20):
            await store.load("wf", 0, Consistency.LINEARIZABLE)
        last = await store.save(WorkflowState("end"))
        await ended.wait()

        assert last.revision == saved.revision + 21, "each was a write of its own"
        assert len([changes for changes in told if changes]) == 1, "the end alone was worth a change"
        assert (await index.count(WorkflowFilter())).count == 2
        assert [state.workflow_id for state in (await listed(index, Selection(BUCKET)))[0]] == ["end", "wf"]
        assert sorted(await ids_of(store)) == ["end", "wf"]
        exported = [chunk async for chunk in exporting.documents(index, Selection(BUCKET))]
        assert [change.key for chunk in exported for change in chunk.changes] == ["end", "wf"]
        assert [change.revision async for change in store.revisions("wf")] == [saved.revision]
        assert (await store.info()).revisions == 2 + history, "as many as the bucket keeps of any key"
        assert await found_by_go(client) == {"end", "wf"}
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def found_by_go(client: Client) -> set[str]:
    """The keys of a bucket as nats.go's Keys() finds them: by a consumer of the last messages, less delete markers."""
    subscription = await client.jetstream().subscribe(
        f"$KV.{BUCKET}.>", ordered_consumer=True, deliver_policy="last_per_subject"
    )  # type: ignore[arg-type]
    found: dict[str, bool] = {}
    while True:
        message = await subscription.next_msg(timeout=30)
        key = message.subject.removeprefix(f"$KV.{BUCKET}.")
        found[key] = "KV-Operation" not in (message.headers or {})
        if not message.metadata.num_pending:
            break
    await subscription.unsubscribe()
    assert BARRIER_KEY in found, "it is there to be passed over"
    return {key for key, there in found.items() if there}


async def test_an_index_comes_to_the_end_of_a_bucket_whose_newest_messages_are_gone(
    cluster: list[NatsServer], leader: str, opened: Opened, tmp_path: Path
) -> None:
    _, one, other = parted(cluster, leader)
    writer, reader = await opened(one), await opened(other)
    await writer.save(WorkflowState("wf"))
    async with indexed(reader, tmp_path) as index:
        for number in range(20):
            last = await writer.save(WorkflowState(f"gone-{number}"))
            await writer.compact(f"gone-{number}", last.revision)

            assert [state.workflow_id for state in (await listed(index, Selection(BUCKET)))[0]] == ["wf"]
            assert await ids_of(reader) == ["wf"]


async def test_a_bucket_without_direct_reads_is_read_from_its_leader_and_proves_nothing(
    client: Client, leader: str
) -> None:
    await client.jetstream().add_stream(
        name="KV_plain", subjects=["$KV.plain.>"], num_replicas=3, max_msgs_per_subject=1, allow_direct=False
    )
    async with JetStreamStore.over(client, "plain", BucketOptions(create=False)) as store:
        saved = await store.save(WorkflowState("wf"))

        for consistency in (Consistency.SESSION, Consistency.ANY_REPLICA):
            assert (await store.load("wf", saved.revision, consistency)).revision == saved.revision
        with pytest.raises(BucketConfiguration) as caught:
            await store.load("wf", 0, Consistency.LINEARIZABLE)
        assert caught.value.setting == "allow_direct=false"
        with pytest.raises(RevisionNotReached):
            await store.load("wf", saved.revision + 1_000)
        assert await store.delete("missing") == Deleted(existed=False)


async def test_reads_that_must_see_everything_share_barriers(
    cluster: list[NatsServer], leader: str, opened: Opened
) -> None:
    store = await opened(cluster[0])
    await store.save(WorkflowState("wf"))
    before = (await store.position()).last_revision

    await asyncio.gather(*[store.load("wf", 0, Consistency.LINEARIZABLE) for _ in range(1_000)])
    await asyncio.gather(*[store.anchor(0, Consistency.LINEARIZABLE) for _ in range(1_000)])

    assert (await store.position()).last_revision - before < 50
