"""A Watch misses nothing, tells nothing twice, goes on where it was, and costs what it is bounded to."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from index.test_truth import World, steps
from support.entries import everything, indexed, listed
from support.nats_server import NatsServer
from support.waiting import until
from support.watching import SNAPSHOT, Watcher, watching
from workflowstore.v1.workflow_store_pb2 import WatchResponse
from workflowstore_server.codec import rfc3339
from workflowstore_server.index import Index, IndexOptions, WatchStart, feed, follower
from workflowstore_server.index import watching as watching_module
from workflowstore_server.model.errors import (
    IndexBehind,
    RevisionForgotten,
    ShuttingDown,
    StoreError,
    WatchTooSlow,
)
from workflowstore_server.model.selection import Selection, WorkflowFilter
from workflowstore_server.model.state import MalformedEntry, WorkflowState, WorkflowStatus, WorkflowView
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection
from workflowstore_server.store.memory import MemoryStore

RUNNING = WorkflowFilter(statuses=frozenset([WorkflowStatus.RUNNING]))


@pytest.fixture(params=["memory", "jetstream", "jetstream with history"])
async def store(request: pytest.FixtureRequest, nats_client: Client) -> AsyncIterator[MemoryStore | JetStreamStore]:
    if request.param == "memory":
        yield MemoryStore("b")
        return
    history = 5 if request.param.endswith("history") else 1
    async with JetStreamStore.over(nats_client, "b", BucketOptions(history=history)) as made:
        yield made


Store = MemoryStore | JetStreamStore


async def save(store: Store, workflow_id: str, error: str = "", **fields: Any) -> int:
    return (await store.save(WorkflowState(workflow_id, error=error, **fields))).revision


async def write(store: Store, count: int, seed: int) -> int:
    """Save and delete a few workflows at random."""
    chance = random.Random(seed)
    for number in range(count):
        workflow_id = f"wf-{chance.randrange(30)}"
        if chance.random() < 0.2:
            await store.delete(workflow_id)
        else:
            await save(store, workflow_id, f"{seed}/{number}", status=chance.choice(list(WorkflowStatus)))
        await asyncio.sleep(0)
    return (await store.position()).last_revision


async def state_of(store: Store, wanted: WorkflowFilter = WorkflowFilter()) -> dict[str, str]:  # noqa: B008
    return {
        entry.state.workflow_id: entry.state.error
        for entry in await everything(store)
        if not isinstance(entry, MalformedEntry) and wanted.matches(entry.state)
    }


def in_order(watcher: Watcher, begun_at: int = 0) -> None:
    """What was told after a snapshot comes in order, each revision once, and never beyond what a message says."""
    last = begun_at
    for message in watcher.told:
        for change in WatchResponse.FromString(message.changes).changes if message.revision else ():
            assert last < change.revision <= message.revision
            last = change.revision
    revisions = [message.revision for message in watcher.told if message.revision]
    assert revisions == sorted(revisions)


async def test_the_first_message_comes_at_once_and_then_what_is_written(store: Store) -> None:
    before = await save(store, "before")
    async with indexed(store) as index, watching(index) as watcher:
        first = watcher.told[0]
        assert (first.changes, first.revision, first.snapshot_complete) == (b"", before, False)
        assert first.created_at_ns == rfc3339.parse((await store.position()).identity)
        saved = await save(store, "wf-1", "oops", input_json='{"a":1}', labels={"team": "blue"})
        await watcher.reached(saved)
        await store.delete("wf-1")
        await watcher.reached(saved + 1)

    assert watcher.kinds == [("SAVED", "wf-1", saved), ("DELETED", "wf-1", saved + 1)]
    state = watcher.changes[0].state
    assert (state.workflow_id, state.revision, state.error, state.input_json) == ("wf-1", saved, "oops", "")
    assert dict(state.labels) == {"team": "blue"}


async def test_full_states_come_whole_in_the_snapshot_and_after_it(store: Store) -> None:
    await save(store, "a b", input_json='{"a":1}')
    async with indexed(store) as index, watching(index, SNAPSHOT, view=WorkflowView.FULL) as watcher:
        await watcher.reached(await save(store, "wf-2", input_json='{"a":2}'))

    assert [change.state.input_json for change in watcher.changes] == ['{"a":1}', '{"a":2}']
    assert [message.snapshot_complete for message in watcher.told] == [False, True, False]


async def test_what_stops_matching_is_told_and_what_never_did_is_not(store: Store) -> None:
    async with indexed(store) as index, watching(index, wanted=RUNNING) as watcher:
        await save(store, "never", status=WorkflowStatus.FAILED)
        await store.delete("never")
        await watcher.reached(await save(store, "wf-1", status=WorkflowStatus.RUNNING))
        await watcher.reached(await save(store, "wf-1", status=WorkflowStatus.COMPLETED))
        await save(store, "wf-1", status=WorkflowStatus.FAILED)
        await store.delete("wf-1")
        await watcher.reached(await save(store, "wf-1", status=WorkflowStatus.RUNNING))
        await store.delete("wf-1")
        last = await save(store, "wf-2", status=WorkflowStatus.RUNNING)
        await watcher.reached(last)

    kinds = [(kind, id_) for kind, id_, _ in watcher.kinds]
    assert kinds[:2] == [("SAVED", "wf-1"), ("UNMATCHED", "wf-1")]
    assert kinds[2:] == [("SAVED", "wf-1"), ("DELETED", "wf-1"), ("SAVED", "wf-2")]
    assert watcher.changes[1].state.status != watcher.changes[0].state.status


async def test_a_bucket_with_history_tells_every_revision_in_order(nats_client: Client) -> None:
    async with (
        JetStreamStore.over(nats_client, "b", BucketOptions(history=64)) as store,
        indexed(store) as index,
        watching(index, wanted=RUNNING) as watcher,
    ):
        written = [
            await save(store, f"wf-{number % 3}", str(number), status=WorkflowStatus.RUNNING) for number in range(100)
        ]
        await watcher.reached(written[-1])

    assert [change.revision for change in watcher.changes] == written
    assert [change.state.error for change in watcher.changes] == [str(number) for number in range(100)]


async def test_several_writes_to_a_workflow_in_one_batch_are_each_told_for_what_they_are(nats_client: Client) -> None:
    async with (
        JetStreamStore.over(nats_client, "b", BucketOptions(history=64)) as store,
        indexed(store) as index,
        watching(index, wanted=RUNNING) as watcher,
    ):
        # One batch: nothing is applied before all is written.
        async with index.follower.resting():
            await save(store, "wf-1", status=WorkflowStatus.FAILED)
            await save(store, "wf-1", status=WorkflowStatus.RUNNING)
            await save(store, "wf-1", status=WorkflowStatus.FAILED)
            await save(store, "wf-1", status=WorkflowStatus.COMPLETED)
            await nats_client.jetstream().publish("$KV.b.wf-1", b"{")
            await store.delete("wf-1")
            await store.delete("wf-1")
            last = await save(store, "wf-2", status=WorkflowStatus.RUNNING)
        await watcher.reached(last)

    assert watcher.kinds == [
        ("SAVED", "wf-1", 2),
        ("UNMATCHED", "wf-1", 3),
        ("MALFORMED", "wf-1", 5),
        ("DELETED", "wf-1", 6),
        ("SAVED", "wf-2", 7),
    ]


async def test_malformed_documents_are_told_whatever_the_filter_but_for_a_prefix(nats_client: Client) -> None:
    async with JetStreamStore.over(nats_client, "b") as store:
        await nats_client.jetstream().publish("$KV.b.wf-1", b"{")
        await nats_client.jetstream().publish("$KV.b.=", b"{")
        async with (
            indexed(store) as index,
            watching(index, SNAPSHOT, RUNNING) as watcher,
            watching(index, SNAPSHOT, WorkflowFilter(workflow_id_prefix="other")) as other,
        ):
            malformed = await nats_client.jetstream().publish("$KV.b.wf-2", b"{")
            # The bucket keeps the newest revision alone: what is deleted before the index reads it is told to nobody.
            await watcher.reached(malformed.seq)
            await nats_client.jetstream().publish("$KV.b.=", b"[")
            # The document can be read again, and does not match.
            await save(store, "wf-1", status=WorkflowStatus.FAILED)
            await store.delete("wf-2")
            await nats_client.jetstream().publish("$KV.b.=", b"", headers={"KV-Operation": "DEL"})
            last = await save(store, "other", status=WorkflowStatus.RUNNING)
            await watcher.reached(last)
            await other.reached(last)

    kinds = [(kind, id_) for kind, id_, _ in watcher.kinds]
    assert kinds[:2] == [("MALFORMED", ""), ("MALFORMED", "wf-1")]
    assert [change.malformed.key for change in watcher.changes[:2]] == ["=", "wf-1"]
    assert [kind for kind in kinds[2:] if kind[1]] == [
        ("MALFORMED", "wf-2"),
        ("UNMATCHED", "wf-1"),
        ("DELETED", "wf-2"),
        ("SAVED", "other"),
    ]
    assert [(kind, id_) for kind, id_, _ in other.kinds if id_] == [("SAVED", "other")]


@pytest.mark.parametrize("view", list(WorkflowView))
@pytest.mark.parametrize("wanted", [WorkflowFilter(), RUNNING, WorkflowFilter(workflow_id_prefix="wf-1")])
async def test_a_snapshot_and_what_comes_after_it_are_the_final_state_while_many_write(
    store: Store, view: WorkflowView, wanted: WorkflowFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflowstore_server.index.pages.CHUNK_STATES_MAX", 7)
    monkeypatch.setattr(watching_module, "CHUNK_STATES_MAX", 7)
    await write(store, 100, 0)
    async with indexed(store) as index, AsyncExitStack() as stack:
        writing = [asyncio.create_task(write(store, 100, seed)) for seed in range(1, 5)]
        watchers = []
        for _ in range(10):
            watchers.append(await stack.enter_async_context(watching(index, SNAPSHOT, wanted, view)))
            await asyncio.sleep(0.005)
        last = max(await asyncio.gather(*writing))
        last = max(last, await save(store, "wf-1", status=WorkflowStatus.RUNNING))
        for watcher in watchers:
            await watcher.reached(last)
        final = await state_of(store, wanted)

    for watcher in watchers:
        assert watcher.known == final
        complete = next(message.revision for message in watcher.told if message.snapshot_complete)
        in_order(watcher, complete)


async def test_a_list_hands_over_to_a_watch_without_a_gap(store: Store) -> None:
    async with indexed(store) as index, AsyncExitStack() as stack:
        writing = [asyncio.create_task(write(store, 100, seed)) for seed in range(4)]
        watchers = []
        for _ in range(10):
            known: dict[str, str] = {}
            revision = 0
            async for chunk in index.chunks(Selection("b")):
                revision = chunk.store_revision
            states, _ = await listed(index, Selection("b"))
            known = {state.workflow_id: state.error for state in states}
            watcher = await stack.enter_async_context(watching(index, WatchStart(revision)))
            watchers.append((watcher, known))
        last = max(await asyncio.gather(*writing))
        for watcher, _ in watchers:
            await watcher.reached(last)
        final = await state_of(store)

    for watcher, known in watchers:
        changed = {change.workflow_id for change in watcher.changes}
        assert {id_: error for id_, error in known.items() if id_ not in changed} | watcher.known == final
        in_order(watcher, watcher.told[0].revision)


async def test_a_watch_goes_on_after_its_revision_on_another_server_and_after_a_restart(
    store: Store, tmp_path: Path
) -> None:
    async with indexed(store, tmp_path) as index, watching(index) as watcher:
        await save(store, "wf-2", "0")
        await watcher.reached(await save(store, "wf-1", "1"))
    revision, made = watcher.revision, watcher.told[-1].created_at_ns
    await save(store, "wf-1", "2")
    await save(store, "wf-2", "3")
    await store.delete("wf-2")
    last = (await store.position()).last_revision
    for directory in (tmp_path, None):
        async with indexed(store, directory) as index, watching(index, WatchStart(revision, made)) as resumed:
            assert (resumed.told[0].revision, resumed.told[0].changes) == (revision, b"")
            await resumed.reached(last)
        in_order(resumed, revision)
        assert resumed.known == {"wf-1": "2"}
        assert resumed.kinds[-1] == ("DELETED", "wf-2", last)


async def test_who_goes_on_within_what_was_read_at_once_is_told_what_they_may_have_seen_of_another_server() -> None:
    store = MemoryStore("b")
    await save(store, "wf-1", status=WorkflowStatus.FAILED)
    async with indexed(store) as one, indexed(store) as two, watching(two), watching(one, wanted=RUNNING) as watcher:
        async with two.follower.resting():
            await watcher.reached(await save(store, "wf-2", status=WorkflowStatus.RUNNING))
            last = await save(store, "wf-2", status=WorkflowStatus.FAILED)
        await two.count(WorkflowFilter())
        async with watching(two, WatchStart(last - 1), RUNNING) as resumed:
            await resumed.reached(last)
            assert resumed.kinds == [("UNMATCHED", "wf-2", last)]


async def test_a_watch_from_the_beginning_tells_all_there_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflowstore_server.store.memory.CHANGES_MAX", 20)
    monkeypatch.setattr("workflowstore_server.store.jetstream.store.CHANGES_MAX", 20)
    monkeypatch.setattr(watching_module, "CHUNK_STATES_MAX", 7)
    last = await write(store, 200, 1)
    async with indexed(store) as index, watching(index, WatchStart(0)) as watcher:
        await watcher.reached(last)
        assert watcher.known == await state_of(store)
        in_order(watcher)
        assert max(len(WatchResponse.FromString(told.changes).changes) for told in watcher.told) <= 7


async def test_a_revision_that_the_bucket_has_not_come_to_is_refused(store: Store) -> None:
    revision = await save(store, "wf-1")
    async with indexed(store) as index, watching(index, WatchStart(revision + 1)) as watcher:
        assert isinstance(watcher.ended, RevisionForgotten)
        assert (watcher.ended.bucket, watcher.ended.after_revision) == ("b", revision + 1)
        assert watcher.ended.earliest_revision == 0


async def test_a_revision_of_another_bucket_of_the_name_is_refused(store: Store) -> None:
    revision = await save(store, "wf-1")
    made = rfc3339.parse((await store.position()).identity)
    async with (
        indexed(store) as index,
        watching(index, WatchStart(revision, made)) as same,
        watching(index, WatchStart(revision, made - 1)) as other,
    ):
        assert same.ended is None
        assert isinstance(other.ended, RevisionForgotten)


async def test_a_revision_is_refused_when_delete_markers_after_it_may_have_gone_by_age() -> None:
    store = MemoryStore("b")
    now_ns = (await store.position()).time_ns
    for number, age_seconds in enumerate((300, 200, 100, 50), 1):
        store.store(f"wf-{number}", None, now_ns - age_seconds * 10**9)
    for options, max_age_seconds in (
        (IndexOptions(delete_marker_seconds=150), 0.0),
        (IndexOptions(), 150.0),
        (IndexOptions(delete_marker_seconds=1000), 150.0),
    ):
        position = store.position

        async def aged(position: Any = position, max_age_seconds: float = max_age_seconds) -> Any:
            return replace(await position(), max_age_seconds=max_age_seconds)

        store.position = aged  # type: ignore[method-assign]
        async with Index(store, options).following() as index:
            async with watching(index, WatchStart(1)) as refused, watching(index, WatchStart(2)) as served:
                assert isinstance(refused.ended, RevisionForgotten)
                assert refused.ended.earliest_revision == 2
                assert served.ended is None
            # Who knows nothing yet misses nothing.
            async with watching(index, WatchStart(0)) as anew:
                await anew.reached(4)
                assert len(anew.changes) == 4
        store.position = position  # type: ignore[method-assign]


async def test_what_goes_without_a_message_is_told_as_deleted_and_not_passed_over_by_those_who_come_back(
    tmp_path: Path,
) -> None:
    store = MemoryStore("b")
    await save(store, "wf-1", status=WorkflowStatus.RUNNING)
    await save(store, "wf-2", status=WorkflowStatus.FAILED)
    store.store("bad", b"{")
    await save(store, "deleted")
    await store.delete("deleted")
    for number in range(10):
        await save(store, f"kept-{number}")
    last = await save(store, "wf-3", status=WorkflowStatus.RUNNING)
    async with indexed(store, tmp_path) as index:
        async with watching(index, wanted=RUNNING) as watcher, watching(index) as other:
            store.forget(["wf-1", "wf-2", "bad"])

            async def told() -> bool:
                await index.follower.fresh()
                return len(watcher.changes) == 2 and len(other.changes) == 3

            await until(told)
            assert set(watcher.kinds) == {("DELETED", "wf-1", last), ("DELETED", "bad", last)}
            assert {id_ for _, id_, _ in other.kinds} == {"wf-1", "wf-2", "bad"}
            assert watcher.revision == last
        async with watching(index, WatchStart(last - 1)) as refused, watching(index, WatchStart(last)) as served:
            assert isinstance(refused.ended, RevisionForgotten)
            assert refused.ended.earliest_revision == last
            assert served.ended is None
    # It is remembered.
    async with indexed(store, tmp_path) as index, watching(index, WatchStart(last - 1)) as refused:
        assert isinstance(refused.ended, RevisionForgotten)


async def test_delete_markers_that_are_gone_forbid_only_what_comes_from_before_them() -> None:
    store = MemoryStore("b")
    await save(store, "wf-1")
    for number in range(20):
        await save(store, f"gone-{number}")
    markers = [f"gone-{number}" for number in range(20)]
    for workflow_id in markers:
        await store.delete(workflow_id)
    last = await save(store, "wf-2")
    async with indexed(store) as index, watching(index) as watcher:
        store.forget(markers[:10])
        assert (await index.count(WorkflowFilter())).count == 2
        assert index.follower.meta.forgotten_revision == last - 11
        async with watching(index, WatchStart(last - 12)) as refused, watching(index, WatchStart(last - 11)) as served:
            assert isinstance(refused.ended, RevisionForgotten)
            await served.reached(last)
            assert [id_ for _, id_, _ in served.kinds] == [*markers[10:], "wf-2"]
        assert not watcher.changes


async def test_an_older_revision_that_comes_to_light_again_is_told(nats_client: Client) -> None:
    async with JetStreamStore.over(nats_client, "b", BucketOptions(history=5)) as store:
        await configure(nats_client, allow_msg_ttl=True)
        await save(store, "wf-1", "older")
        async with indexed(store) as index, watching(index) as watcher:
            document = b'{"WorkflowID":"wf-1","Error":"mortal"}'
            await nats_client.jetstream().publish("$KV.b.wf-1", document, headers={"Nats-TTL": "5"})
            await watcher.reached(2)

            async def back() -> bool:
                return watcher.known == {"wf-1": "older"}

            await until(back)
            assert watcher.changes[0].state.error == "mortal"
            assert watcher.kinds[-1] == ("SAVED", "wf-1", 2)
            assert watcher.changes[-1].state.revision == 1


async def configure(client: Client, **changes: Any) -> None:
    reply = await client.request("$JS.API.STREAM.INFO.KV_b", b"", timeout=10)
    config = json.loads(reply.data)["config"]
    changed = json.dumps({**config, **changes}).encode()
    reply = await client.request("$JS.API.STREAM.UPDATE.KV_b", changed, timeout=10)
    assert "error" not in json.loads(reply.data)


async def test_a_slow_reader_ends_as_too_slow_and_goes_on_while_others_are_not_held_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHANGES_MAX", 10)
    async with indexed(store) as index, watching(index) as other:
        slow = Watcher()
        async with aclosing(index.watch(WorkflowFilter())) as messages:
            slow.take(await anext(messages))
            slow_at = await save(store, "first")
            slow.take(await anext(messages))
            for number in range(50):
                revision = await save(store, f"wf-{number % 20}", str(number))
                await other.reached(revision)
            with pytest.raises(WatchTooSlow) as caught:
                await anext(messages)
        assert (caught.value.bucket, caught.value.resume_revision) == ("b", slow_at)
        assert len(other.changes) == 51
        async with watching(index, WatchStart(slow_at)) as resumed:
            await resumed.reached(other.revision)
            in_order(resumed, slow_at)
            slow.known.update(resumed.known)
        assert slow.known == await state_of(store)


async def test_what_is_kept_for_slow_readers_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BYTES_MAX", 100_000)
    store = MemoryStore("b")
    async with indexed(store) as index, aclosing(index.watch(WorkflowFilter())) as messages:
        await anext(messages)
        for number in range(20):
            await save(store, f"wf-{number}", "x" * 20_000)
            await index.follower.fresh()
        assert len(index.follower.feed._steps) == 5
        with pytest.raises(WatchTooSlow):
            await anext(messages)
    # Nobody watches any more.
    assert not index.follower.feed._steps


async def test_what_was_found_gone_is_not_passed_over_by_a_reader_who_was_too_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "CHANGES_MAX", 1)
    store = MemoryStore("b")
    for number in range(10):
        await save(store, f"wf-{number}")
    async with indexed(store) as index, aclosing(index.watch(WorkflowFilter())) as messages:
        await anext(messages)
        for number in (0, 2):
            store.forget([f"wf-{number}", f"wf-{number + 1}"])
            await index.follower.fresh()
        with pytest.raises(WatchTooSlow) as caught:
            await anext(messages)
        async with watching(index, WatchStart(caught.value.resume_revision)) as resumed:
            assert isinstance(resumed.ended, RevisionForgotten)
        async with watching(index, SNAPSHOT) as anew:
            await anew.reached(10)
            assert anew.known == await state_of(store)


async def test_a_snapshot_that_is_overtaken_goes_on_with_what_the_bucket_has(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHANGES_MAX", 10)
    for number in range(20):
        await save(store, f"wf-{number}")
    async with indexed(store) as index:
        reader = Watcher()
        async with aclosing(index.watch(WorkflowFilter(), start=SNAPSHOT)) as messages:
            reader.take(await anext(messages))
            for number in range(30):
                last = await save(store, f"wf-{number}", "later")
                await index.follower.fresh()
            while reader.revision < last:
                reader.take(await anext(messages))
        assert reader.known == await state_of(store)


@pytest.mark.parametrize("view", list(WorkflowView))
async def test_many_at_once_come_in_order_and_whole(view: WorkflowView) -> None:
    store = MemoryStore("b")
    for number in range(200):
        await save(store, f"wf-{number:03}")
    async with (
        indexed(store) as index,
        watching(index, SNAPSHOT, view=view) as watcher,
        watching(index, WatchStart(0), view=view) as from_the_beginning,
    ):
        async with index.follower.resting():
            for number in range(200):
                last = await save(store, f"new-{number:03}")
        for one in (watcher, from_the_beginning):
            await one.reached(last)
            assert [change.state.revision for change in one.changes] == list(range(1, 401))


async def test_documents_may_be_large_and_messages_stay_bounded(store: Store) -> None:
    for number in range(5):
        await save(store, f"wf-{number}", "x" * 500_000, input_json=json.dumps("y" * 500_000))
    for view in WorkflowView:
        async with (
            indexed(store) as index,
            watching(index, SNAPSHOT, view=view) as watcher,
            watching(index, WatchStart(0), view=view) as from_the_beginning,
        ):
            for one in (watcher, from_the_beginning):
                await one.reached(5)
                assert len(one.known) == 5
                assert max(len(message.changes) for message in one.told) < 1_500_000


async def test_many_watchers_cost_one_consumer_which_goes_with_them(nats_client: Client) -> None:
    async with JetStreamStore.over(nats_client, "b") as store, indexed(store) as index:

        async def consumers() -> int:
            return (await nats_client.jetstream().stream_info("KV_b")).state.consumer_count

        async with AsyncExitStack() as stack:
            watchers = [await stack.enter_async_context(watching(index)) for _ in range(250)]
            last = await save(store, "wf-1")
            for watcher in watchers:
                await watcher.reached(last)
            assert await consumers() <= 1

        async def gone() -> bool:
            return not await consumers()

        await until(gone)
        assert not index.follower.feed._waiting


async def test_an_idle_watch_is_told_that_nothing_matched(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching_module, "PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.05)
    async with indexed(store) as index, watching(index, wanted=RUNNING) as watcher:
        last = await save(store, "wf-1", status=WorkflowStatus.FAILED)
        await watcher.reached(last)
        told = len(watcher.told)

        async def again() -> bool:
            return len(watcher.told) > told + 2

        await until(again)
    assert not watcher.changes


async def test_a_watch_is_silent_while_the_bucket_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching_module, "PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.01)
    store = MemoryStore("b")
    failed = 0
    async with indexed(store) as index, watching(index) as watcher:
        with monkeypatch.context() as patch:

            async def away() -> None:
                nonlocal failed
                failed += 1
                raise IndexBehind("b", 0, 0, 0, "")

            patch.setattr(store, "position", away)

            async def tried() -> bool:
                return failed > 3

            await until(tried)
            told, failed = len(watcher.told), 0
            # Many times as long as the longest pause.
            await until(lambda: _more_than(lambda: failed, 30))
            assert len(watcher.told) == told
        await watcher.reached(await save(store, "wf-1"))
        assert watcher.ended is None


async def _more_than(number: Any, least: int) -> bool:
    return bool(number() > least)


async def test_watches_end_at_once_when_the_server_stops_with_the_revision_to_go_on_after(store: Store) -> None:
    async with indexed(store) as index, watching(index) as watcher:
        last = await save(store, "wf-1")
        await watcher.reached(last)
        index.follower.end_watches()
        ended = await watcher.ended_with()
        assert isinstance(ended, ShuttingDown)
        assert ended.resume_revision == last
        async with watching(index, WatchStart(last)) as late:
            assert isinstance(late.ended, ShuttingDown)
            assert late.ended.resume_revision == last


async def test_a_watch_that_is_in_its_snapshot_ends_without_a_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching_module, "CHUNK_STATES_MAX", 2)
    store = MemoryStore("b")
    for number in range(5):
        await save(store, f"wf-{number}")
    async with indexed(store) as index, aclosing(index.watch(WorkflowFilter(), start=SNAPSHOT)) as messages:
        await anext(messages)
        index.follower.end_watches()
        with pytest.raises(ShuttingDown) as caught:
            await anext(messages)
    assert caught.value.resume_revision is None


async def test_watches_go_on_without_loss_when_nats_is_killed_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    nats_server = NatsServer(tmp_path / "nats")
    # A machine that is busy may take long to answer. Requests fail at once all the same when NATS is killed.
    options = NatsOptions(request_timeout_seconds=30.0)
    connection = OwnedConnection(options, lambda: (nats_server.url,), "test")
    await connection.open()
    keeping = asyncio.create_task(connection.keep())
    store = JetStreamStore(connection, "b", BucketOptions())
    await store.open()
    try:
        async with indexed(store) as index, watching(index) as watcher:
            written = []
            for _ in range(2):
                written.append(await save(store, f"wf-{len(written)}"))
                await watcher.reached(written[-1])
                nats_server.kill()
                nats_server.start()
                written.append(await until(lambda: _try_to_save(store, f"wf-{len(written)}")))
                await watcher.reached(written[-1])
        assert [change.revision for change in watcher.changes if change.revision in written] == written
        in_order(watcher)
    finally:
        keeping.cancel()
        await store.close()
        await connection.close()
        nats_server.stop()


async def _try_to_save(store: JetStreamStore, workflow_id: str) -> int:
    try:
        return await save(store, workflow_id)
    except StoreError:
        return 0


async def test_a_bucket_that_is_made_anew_ends_its_watches() -> None:
    store = MemoryStore("b")
    await save(store, "wf-1")
    async with indexed(store) as index, watching(index) as watcher:
        store.identity, store._entries, store._revision = "2027-01-01T00:00:00Z", {}, 0
        await save(store, "wf-2")
        assert isinstance(await watcher.ended_with(), RevisionForgotten)
        await index.count(WorkflowFilter())
        async with watching(index, WatchStart(1)) as resumed:
            assert isinstance(resumed.ended, RevisionForgotten)
        async with watching(index, SNAPSHOT) as anew:
            assert anew.known == {"wf-2": ""}


async def test_an_index_that_is_built_anew_lets_its_watches_go_on_after_their_revision(tmp_path: Path) -> None:
    store = MemoryStore("b")
    last = await save(store, "wf-1")
    async with indexed(store, tmp_path) as index, watching(index) as watcher:
        (tmp_path / "b.sqlite3").unlink()
        with pytest.raises(IndexBehind):
            raise await watcher.ended_with()
        last = await save(store, "wf-2")
        await index.count(WorkflowFilter())
        async with watching(index, WatchStart(watcher.revision)) as resumed:
            await resumed.reached(last)
            assert resumed.known == {"wf-2": ""}


async def test_changes_that_are_forgotten_while_they_are_read_are_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workflowstore_server.store.memory.CHANGES_MAX", 5)
    store = MemoryStore("b")
    for number in range(20):
        await save(store, f"wf-{number}")
    async with indexed(store) as index, aclosing(index.watch(WorkflowFilter(), start=WatchStart(0))) as messages:
        reader = Watcher()
        while not reader.changes:
            reader.take(await anext(messages))
        store.forget(["wf-0"])
        await index.count(WorkflowFilter())
        with pytest.raises(RevisionForgotten):
            await anext(messages)


async def test_a_bucket_that_is_replaced_while_its_past_is_read_is_not_mixed_with_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workflowstore_server.store.memory.CHANGES_MAX", 5)
    store = MemoryStore("b")
    for number in range(20):
        await save(store, f"wf-{number}")
    async with indexed(store) as index, aclosing(index.watch(WorkflowFilter(), start=WatchStart(0))) as messages:
        reader = Watcher()
        while not reader.changes:
            reader.take(await anext(messages))
        async with index.follower.resting():
            store.identity = "2027-01-01T00:00:00Z"
            with pytest.raises(RevisionForgotten):
                await anext(messages)


filters = st.builds(
    WorkflowFilter,
    statuses=st.frozensets(st.sampled_from(WorkflowStatus), max_size=2),
    workflow_id_prefix=st.sampled_from(["", "", "wf-", "order"]),
    labels=st.sampled_from([{}, {}, {"team": "blue"}]),
    updated_after_ns=st.sampled_from([None, None, 5]),
)


async def world_watched_once(folder: Path, stack: AsyncExitStack) -> tuple[World, int]:
    world = await stack.enter_async_context(World(folder, 1))
    for number in range(1, 6):
        await world.save(f"wf-{number}", WorkflowStatus.RUNNING, "")
    async with watching(world.index, start=SNAPSHOT) as watcher:
        await watcher.reached(5)
    return world, watcher.revision


async def loss_is_known(world: World) -> bool:
    return world.index.info().workflow_count == 4


async def test_what_the_bucket_lost_while_nobody_watched_is_told_to_who_goes_on_there(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world, revision = await world_watched_once(tmp_path, stack)

        await world.vanish("wf-1")
        await until(lambda: loss_is_known(world))

        async with watching(world.index, start=WatchStart(revision)) as watcher:
            await until(lambda: told(watcher))
        assert watcher.kinds == [("DELETED", "wf-1", revision)]


async def test_what_the_bucket_lost_while_no_server_ran_is_told_to_who_goes_on_there(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world, revision = await world_watched_once(tmp_path, stack)

        await world.stop_index()
        await world.vanish("wf-1")
        await world.restart_index()
        await until(lambda: loss_is_known(world))

        async with watching(world.index, start=WatchStart(revision)) as watcher:
            await until(lambda: told(watcher))
        assert watcher.kinds == [("DELETED", "wf-1", revision)]


@pytest.mark.parametrize("then", ["restart index", "save"])
async def test_nobody_goes_on_where_the_bucket_lost_what_cannot_be_told_any_more(tmp_path: Path, then: str) -> None:
    async with AsyncExitStack() as stack:
        world, revision = await world_watched_once(tmp_path, stack)
        await world.vanish("wf-1")
        await until(lambda: loss_is_known(world))

        if then == "save":
            await world.save("wf-2", WorkflowStatus.RUNNING, "")
        else:
            await world.restart_index()
        await world.index.count(WorkflowFilter())

        with pytest.raises(RevisionForgotten) as refused:
            await anext(world.index.watch(WorkflowFilter(), start=WatchStart(revision)))
        assert refused.value.earliest_revision == revision + 1


async def test_what_is_lost_in_any_number_is_not_kept_for_those_who_may_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "CHANGES_MAX", 1)
    async with AsyncExitStack() as stack:
        world, revision = await world_watched_once(tmp_path, stack)
        await world.stop_index()
        for id_ in ("wf-1", "wf-2"):
            await world.vanish(id_)
        await world.restart_index()
        await world.index.count(WorkflowFilter())

        with pytest.raises(RevisionForgotten) as refused:
            await anext(world.index.watch(WorkflowFilter(), start=WatchStart(revision)))
        assert refused.value.earliest_revision == revision + 1


async def told(watcher: Watcher) -> bool:
    return bool(watcher.changes)


class LastingClient:
    """A client that watches for ever: it goes on after breaks, and begins anew when it has to."""

    def __init__(self, world: World, wanted: WorkflowFilter, view: WorkflowView) -> None:
        self._world = world
        self._wanted = wanted
        self._view = view
        self._start = SNAPSHOT
        self.seen = Watcher()

    async def watch(self) -> None:
        while True:
            try:
                begun_at = self._start.after_revision or 0
                self.seen.told.clear()
                async with aclosing(self._world.index.watch(self._wanted, self._view, self._start)) as messages:
                    async for message in messages:
                        self.seen.take(message)
                        if message.revision:
                            self._start = WatchStart(message.revision, message.created_at_ns)
                        if message.snapshot_complete:
                            begun_at = message.revision
                            self.seen.told.clear()
                        revisions = [told.revision for told in self.seen.told if told.revision]
                        assert revisions == sorted(revisions)
                        assert not revisions or revisions[0] >= begun_at
            except RevisionForgotten:
                self._start = SNAPSHOT
                self.seen.known.clear()
            except StoreError:
                if self._start.snapshot:
                    self.seen.known.clear()
                await asyncio.sleep(0.02)

    async def knows_all(self) -> bool:
        stored = {
            entry.state.workflow_id: entry.state.error
            for entry in await everything(self._world.model)
            if not isinstance(entry, MalformedEntry) and self._wanted.matches(entry.state)
        }
        return self.seen.known == stored


@pytest.mark.timeout(600)
@given(
    history=st.sampled_from([1, 1, 3]),
    taken=st.lists(steps, min_size=3, max_size=12),
    watched=st.lists(st.tuples(filters, st.sampled_from(WorkflowView)), min_size=1, max_size=3),
)
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
async def test_who_watches_knows_in_the_end_what_there_is_whatever_has_happened(
    tmp_path_factory: Any,
    history: int,
    taken: list[tuple[Any, ...]],
    watched: list[tuple[WorkflowFilter, WorkflowView]],
) -> None:
    async with World(tmp_path_factory.mktemp("world"), history) as world:
        clients = [LastingClient(world, wanted, view) for wanted, view in watched]
        watching_tasks = [asyncio.create_task(client.watch()) for client in clients]
        try:
            for step in taken:
                await world.take(step)
            for client in clients:
                await until(client.knows_all)
        finally:
            for task in watching_tasks:
                task.cancel()
            results = await asyncio.gather(*watching_tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results
