"""What every StateStore promises of writes that are made again under the same id, of updates and of batches."""

import asyncio

import nats
import pytest
from nats.aio.client import Client

from support.entries import ids_of
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.errors import (
    RevisionMismatch,
    StateTooLarge,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from workflowstore_server.model.patch import StatePatch
from workflowstore_server.model.state import HistoryEvent, WorkflowState, WorkflowStatus
from workflowstore_server.store import Change, Deleted, Draft, StateStore
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore
from workflowstore_server.store.memory import MemoryStore
from workflowstore_server.store.update import Updater


@pytest.fixture(params=["memory", "jetstream", "jetstream with history"])
async def store(request: pytest.FixtureRequest):
    if request.param == "memory":
        yield MemoryStore("beluga_workflows")
        return
    history = 5 if request.param == "jetstream with history" else 1
    client = await nats.connect(request.getfixturevalue("nats_server").url, pending_size=0)
    options = BucketOptions(history=history, allow_atomic=True)
    async with JetStreamStore.over(client, "beluga_workflows", options) as store:
        yield store
    await client.close()


async def last_revision(store: StateStore) -> int:
    return (await store.position()).last_revision


@pytest.mark.parametrize("expected", ["any", "none", "its own"])
async def test_a_save_under_the_same_id_is_made_once(store: StateStore, expected: str) -> None:
    first = (await store.save(WorkflowState("wf-1"))).revision if expected == "its own" else 0
    wanted = {"any": None, "none": 0, "its own": first}[expected]

    one = await store.save(WorkflowState("wf-1", error="one"), wanted, "id-1")
    again = await store.save(WorkflowState("wf-1", error="again"), wanted, "id-1")

    assert again == one
    assert (await store.load("wf-1")).state.error == "one"
    assert await last_revision(store) == one.revision


@pytest.mark.parametrize("expected", ["any", "none", "its own"])
async def test_a_save_is_not_made_again_over_what_others_have_saved_since(store: StateStore, expected: str) -> None:
    first = (await store.save(WorkflowState("wf-1"))).revision if expected == "its own" else 0
    wanted = {"any": None, "none": 0, "its own": first}[expected]
    one = await store.save(WorkflowState("wf-1", error="one"), wanted, "id-1")
    await store.save(WorkflowState("wf-1", error="other"))

    again = await store.save(WorkflowState("wf-1", error="one"), wanted, "id-1")

    assert again.revision == one.revision
    assert (await store.load("wf-1")).state.error == "other"
    kept = [change.revision async for change in store.revisions("wf-1")]
    assert (again.state is not None) == (one.revision in kept)


async def test_a_save_that_was_refused_is_made_when_it_can_be(store: StateStore) -> None:
    saved = await store.save(WorkflowState("wf-1"))
    with pytest.raises(WorkflowAlreadyExists):
        await store.save(WorkflowState("wf-1"), 0, "id-1")
    with pytest.raises(RevisionMismatch):
        await store.save(WorkflowState("wf-1"), saved.revision + 1, "id-1")
    await store.delete("wf-1")

    assert (await store.save(WorkflowState("wf-1", error="made"), 0, "id-1")).state is not None
    assert (await store.load("wf-1")).state.error == "made"


async def test_saves_under_different_ids_are_different_saves(store: StateStore) -> None:
    one = await store.save(WorkflowState("wf-1"), None, "id-1")
    two = await store.save(WorkflowState("wf-1"), None, "id-2")

    assert two.revision > one.revision


@pytest.mark.parametrize("with_revision", [False, True])
@pytest.mark.parametrize("since", ["nothing", "saved", "saved and deleted"])
async def test_a_delete_under_the_same_id_is_made_once(store: StateStore, with_revision: bool, since: str) -> None:
    revision = (await store.save(WorkflowState("wf-1"))).revision
    expected = revision if with_revision else None
    first = await store.delete("wf-1", expected, write_id="id-1")
    assert first == Deleted(existed=True, revision=revision + 1)
    if since != "nothing":
        await store.save(WorkflowState("wf-1", error="anew"))
    if since == "saved and deleted":
        await store.delete("wf-1")
    before = await last_revision(store)

    assert await store.delete("wf-1", expected, write_id="id-1") == first._replace(repeated=True)
    assert await last_revision(store) == before
    assert await ids_of(store) == (["wf-1"] if since == "saved" else [])


async def test_a_delete_that_found_nothing_finds_what_comes_later(store: StateStore) -> None:
    assert await store.delete("wf-1", write_id="id-1") == Deleted(existed=False)
    saved = await store.save(WorkflowState("wf-1"))

    assert await store.delete("wf-1", write_id="id-1") == Deleted(existed=True, revision=saved.revision + 1)


async def test_what_was_written_under_an_id_is_told(store: StateStore) -> None:
    assert await store.written("id-1") is None
    saved = await store.save(WorkflowState("wf 1"), None, "id-1")

    change = await store.written("id-1")

    assert change is not None
    assert (change.key, change.revision) == (key_of("wf 1"), saved.revision)
    assert await last_revision(store) == saved.revision, "the question itself is not stored"


async def test_what_was_written_under_an_id_and_overwritten_is_told_without_its_key() -> None:
    store = MemoryStore("b")
    saved = await store.save(WorkflowState("wf-1"), None, "id-1")
    await store.save(WorkflowState("wf-1"))

    assert await store.written("id-1") == Change("", saved.revision, None)


async def test_states_are_saved_together(store: StateStore) -> None:
    await store.save(WorkflowState("deleted"))
    await store.delete("deleted")
    there = (await store.save(WorkflowState("there"))).revision
    drafts = [
        Draft(WorkflowState("deleted", error="anew"), 0),
        Draft(WorkflowState("there", error="changed"), there),
        Draft(WorkflowState("any")),
    ]

    saved = await store.save_together(drafts)

    assert [(one.state, one.revision) for one in saved] == [
        (draft.state, there + number) for number, draft in enumerate(drafts, 1)
    ]
    for draft, one in zip(drafts, saved, strict=True):
        stored = await store.load(draft.state.workflow_id)
        assert (stored.state, stored.revision, stored.document_bytes) == (draft.state, one.revision, one.document_bytes)


@pytest.mark.parametrize("count", [1, 2, 1000])
async def test_any_number_of_states_is_saved_together(store: StateStore, count: int) -> None:
    saved = await store.save_together([Draft(WorkflowState(f"wf-{number:04d}"), 0) for number in range(count)])

    assert [one.revision for one in saved] == list(range(1, count + 1))
    assert len(await ids_of(store)) == count


async def test_one_conflict_keeps_all_from_being_saved_together(store: StateStore) -> None:
    await store.save(WorkflowState("there"))
    before = await last_revision(store)

    for drafts, error in (
        ([Draft(WorkflowState("new")), Draft(WorkflowState("there"), 0)], WorkflowAlreadyExists),
        ([Draft(WorkflowState("there"), before + 1), Draft(WorkflowState("new"))], RevisionMismatch),
        ([Draft(WorkflowState("new")), Draft(WorkflowState("missing"), 3)], RevisionMismatch),
        ([Draft(WorkflowState("new")), Draft(WorkflowState("big", error="x" * 5_000_000))], StateTooLarge),
    ):
        with pytest.raises(error):
            await store.save_together(drafts)

    assert await last_revision(store) == before
    assert await ids_of(store) == ["there"]


async def test_states_are_saved_together_once_under_the_same_ids(store: StateStore) -> None:
    drafts = [Draft(WorkflowState(f"wf-{number}"), 0, f"id-{number}") for number in range(3)]
    saved = await store.save_together(drafts)
    await store.save(WorkflowState("wf-1", error="other"))
    before = await last_revision(store)

    again = await store.save_together(drafts)

    assert [one.revision for one in again] == [one.revision for one in saved]
    assert await last_revision(store) == before


async def test_any_bytes_are_put_under_any_key(store: StateStore) -> None:
    first = await store.put("=x", b"{", 0)
    second = await store.put("=x", b"[", first)

    with pytest.raises(RevisionMismatch):
        await store.put("=x", b"{", first)
    with pytest.raises(StateTooLarge):
        await store.put("k", b"x" * 5_000_000, 0)
    found = await store.last(["=x"], second)
    assert found["=x"][1:3] == (second, b"[")


async def test_the_revisions_of_a_workflow_are_told_oldest_first(store: StateStore) -> None:
    await store.save(WorkflowState("other"))
    for number in range(7):
        await store.save(WorkflowState("wf.1", error=str(number)))
    await store.delete("wf.1")
    history = (await store.info()).history

    changes = [change async for change in store.revisions("wf.1")]

    assert [change.revision for change in changes] == list(range(2, 10))[-history:]
    assert changes[-1].document is None
    assert all(change.document and b"wf.1" in change.document for change in changes[:-1])
    for change in changes:
        assert change.stored_at
        assert await store.revision("wf.1", change.revision) == change
    assert await store.revision("wf.1", 1) is None
    assert [change async for change in store.revisions("wf")] == []


async def test_a_delete_marker_is_compacted_and_what_came_later_stays(store: StateStore) -> None:
    await store.save(WorkflowState("gone"))
    await store.delete("gone")
    gone = await last_revision(store)
    await store.save(WorkflowState("back"))
    await store.delete("back")
    back = await last_revision(store)
    await store.save(WorkflowState("back", error="again"))

    await store.compact("gone", gone)
    await store.compact("back", back)

    assert await store.last(["gone", "back"], back) == {"back": (await store.last(["back"], back))["back"]}
    assert (await store.load("back")).state.error == "again"
    assert (await store.position()).keys == 1
    assert (await store.save(WorkflowState("gone"), 0)).revision == back + 2


async def test_the_revision_before_a_time_is_told(store: StateStore) -> None:
    await store.save(WorkflowState("wf-1"))
    await store.save(WorkflowState("wf-2"))
    position = await store.position()

    assert await store.revision_before(position.time_ns - 3_600_000_000_000) == 0
    assert await store.revision_before(position.time_ns + 3_600_000_000_000) == 2


async def test_writes_are_announced(store: StateStore) -> None:
    told = asyncio.Event()
    async with store.announced(told.set):
        for number in range(3):
            told.clear()
            await store.save(WorkflowState(f"wf-{number}"))
            async with asyncio.timeout(10):
                await told.wait()


async def update(store: StateStore, patch: StatePatch, workflow_id: str = "wf-1", **options):
    arguments = {"expected_revision": None, "write_id": "", "create": False} | options
    return await Updater(store).update(patch, WorkflowState(workflow_id, created_at_ns=7), **arguments)


async def test_an_update_changes_what_it_names(store: StateStore) -> None:
    state = WorkflowState(
        "wf-1",
        status=WorkflowStatus.RUNNING,
        input_json='{"n":1}',
        history=(HistoryEvent(4),),
        labels={"a": "1", "b": "2"},
    )
    await store.save(state)

    patch = StatePatch(
        {"status": WorkflowStatus.COMPLETED, "updated_at_ns": 5},
        (HistoryEvent(activity_name="one"), HistoryEvent(activity_name="two")),
        {"c": "3"},
        frozenset({"a", "missing"}),
    )
    saved = await update(store, patch)

    stored = await store.load("wf-1")
    assert stored.state == saved.state
    assert (stored.revision, stored.document_bytes) == (saved.revision, saved.document_bytes)
    assert stored.state.status is WorkflowStatus.COMPLETED
    assert (stored.state.input_json, stored.state.updated_at_ns) == ('{"n":1}', 5)
    assert [event.id for event in stored.state.history] == [4, 5, 6]
    assert stored.state.labels == {"b": "2", "c": "3"}


async def test_an_update_wants_a_workflow_or_leave_to_make_it(store: StateStore) -> None:
    patch = StatePatch({"error": "x"})
    with pytest.raises(WorkflowNotFound):
        await update(store, patch)
    with pytest.raises(RevisionMismatch):
        await update(store, patch, create=True, expected_revision=3)

    saved = await update(store, patch, create=True, expected_revision=0)

    assert saved.state == WorkflowState("wf-1", error="x", created_at_ns=7)
    with pytest.raises(WorkflowAlreadyExists):
        await update(store, patch, create=True, expected_revision=0)
    with pytest.raises(RevisionMismatch):
        await update(store, patch, expected_revision=saved.revision + 1)
    assert (await update(store, patch, expected_revision=saved.revision)).revision == saved.revision + 1


async def test_a_hundred_updates_at_once_by_two_servers_are_all_kept(store: StateStore) -> None:
    await store.save(WorkflowState("wf-1"))
    one, two = Updater(store), Updater(store)

    async def append(number: int) -> None:
        patch = StatePatch({}, (HistoryEvent(activity_name=str(number)),), {f"label-{number % 50}": "x"})
        await (one, two)[number % 2].update(patch, WorkflowState("wf-1"), None, f"id-{number}", create=False)

    await asyncio.gather(*[append(number) for number in range(100)])

    history = (await store.load("wf-1")).state.history
    assert sorted(int(event.activity_name) for event in history) == list(range(100))
    assert [event.id for event in history] == list(range(1, 101))


@pytest.mark.parametrize("since", ["nothing", "saved", "deleted"])
@pytest.mark.parametrize("with_revision", [False, True])
async def test_an_update_under_the_same_id_is_made_once(store: StateStore, since: str, with_revision: bool) -> None:
    revision = (await store.save(WorkflowState("wf-1"))).revision
    options = {"write_id": "id-1", "expected_revision": revision if with_revision else None}
    patch = StatePatch({}, (HistoryEvent(),))
    first = await update(store, patch, **options)
    if since == "saved":
        await store.save(WorkflowState("wf-1", error="other"))
    if since == "deleted":
        await store.delete("wf-1")
    before = await last_revision(store)

    again = await update(store, patch, **options)

    assert again.revision == first.revision
    assert again.state in ((first.state,) if since == "nothing" else (first.state, None))
    assert await last_revision(store) == before


async def test_an_update_leaves_a_status_and_types_that_it_does_not_know(nats_client: Client) -> None:
    async with JetStreamStore.over(nats_client, "b") as store:
        stored = b'{"WorkflowID":"wf-1","Status":"paused","History":[{"ID":1,"Type":"workflow_paused"}]}'
        await store.put("wf-1", stored, 0)

        await update(store, StatePatch({"error": "x"}, (HistoryEvent(),)))

        change = (await store.last(["wf-1"], 0))["wf-1"]
        assert change.document is not None
        assert b'"Status":"paused"' in change.document
        assert b'"Type":"workflow_paused"' in change.document
        await update(store, StatePatch({"status": WorkflowStatus.FAILED}))
        assert b'"Status":"failed"' in ((await store.last(["wf-1"], 0))["wf-1"].document or b"")
