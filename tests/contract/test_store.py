"""What every StateStore promises, asked of the memory store and of JetStream's on a real nats-server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import nats
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.entries import everything
from support.least_privilege import create_bucket, least_privileged, service_client
from support.nats_server import NatsServer
from support.strategies import states
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.errors import (
    MalformedDocument,
    RevisionMismatch,
    RevisionNotReached,
    StateTooLarge,
    StoreError,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from workflowstore_server.model.state import Consistency, StoredState, WorkflowState, WorkflowStatus
from workflowstore_server.store import Changes, StateStore
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore
from workflowstore_server.store.memory import MemoryStore

AWKWARD_IDS = [
    "order:42",
    "a b",
    "..",
    "*",
    ">",
    "=x",
    ".",
    "a..b",
    "a.",
    "\U0001f600" * 256,
    "x\n",
    "-",
    "/",
    "a" * 1024,
]

Put = Callable[[str, bytes], Awaitable[int]]


@pytest.fixture
def least_privileged_server(tmp_path: Path) -> Iterator[NatsServer]:
    server = least_privileged(tmp_path)
    yield server
    server.stop()


@pytest.fixture(params=["memory", "jetstream", "jetstream with history", "jetstream with few permissions"])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[tuple[StateStore, Put]]:
    """A store, and how another writer of its bucket would store any bytes under any key."""
    if request.param == "memory":
        memory = MemoryStore("beluga_workflows")

        async def put_in_memory(key: str, document: bytes) -> int:
            return memory.store(key, document)

        yield memory, put_in_memory
        return
    options = BucketOptions(history=5 if request.param == "jetstream with history" else 1)
    if request.param == "jetstream with few permissions":
        server = request.getfixturevalue("least_privileged_server")
        await create_bucket(server)
        client = await service_client(server)
    else:
        client = await nats.connect(request.getfixturevalue("nats_server").url, pending_size=0)
    async with JetStreamStore.over(client, "beluga_workflows", options) as store:

        async def put(key: str, document: bytes) -> int:
            acknowledgement = await client.jetstream().publish(f"$KV.beluga_workflows.{key}", document)
            return acknowledgement.seq

        yield store, put
    await client.close()


@pytest.fixture
def store(opened: tuple[StateStore, Put]) -> StateStore:
    return opened[0]


@pytest.fixture
def put(opened: tuple[StateStore, Put]) -> Put:
    return opened[1]


async def test_a_saved_state_is_loaded_as_it_was_saved(store: StateStore) -> None:
    state = WorkflowState("wf-1", status=WorkflowStatus.RUNNING, input_json='{"a":12345678901234567890}')

    revision = (await store.save(state)).revision

    stored = await store.load("wf-1")
    assert stored.state == state
    assert stored.revision == revision
    assert stored.document_bytes > 0


@pytest.mark.parametrize("workflow_id", AWKWARD_IDS)
async def test_any_id_saves_loads_lists_and_deletes(store: StateStore, workflow_id: str) -> None:
    await store.save(WorkflowState(workflow_id))

    assert (await store.load(workflow_id)).state.workflow_id == workflow_id
    assert [entry.state.workflow_id for entry in await everything(store)] == [workflow_id]  # type: ignore[union-attr]
    assert (await store.delete(workflow_id)).existed
    with pytest.raises(WorkflowNotFound):
        await store.load(workflow_id)


async def test_awkward_ids_do_not_meet_one_another(store: StateStore) -> None:
    for workflow_id in AWKWARD_IDS:
        await store.save(WorkflowState(workflow_id))

    await store.delete("*", purge=True)
    await store.delete(">", purge=True)

    left = {entry.state.workflow_id for entry in await everything(store)}  # type: ignore[union-attr]
    assert left == set(AWKWARD_IDS) - {"*", ">"}


@pytest.mark.parametrize("consistency", Consistency)
async def test_a_read_is_of_a_revision_or_a_later_one(store: StateStore, consistency: Consistency) -> None:
    revision = (await store.save(WorkflowState("wf-1"))).revision
    later = (await store.save(WorkflowState("wf-2"))).revision
    deleted = await store.delete("wf-2")

    for min_revision in (0, revision, later, deleted.revision):
        assert (await store.load("wf-1", min_revision, consistency)).revision == revision
        assert min_revision <= await store.anchor(min_revision, consistency) <= deleted.revision
        with pytest.raises(WorkflowNotFound):
            await store.load("wf-2", min_revision, consistency)


@pytest.mark.parametrize("consistency", Consistency)
@pytest.mark.parametrize("workflow_id", ["wf-1", "missing"])
async def test_a_revision_that_there_has_not_been_yet_is_refused(
    store: StateStore, consistency: Consistency, workflow_id: str
) -> None:
    revision = (await store.save(WorkflowState("wf-1"))).revision

    with pytest.raises(RevisionNotReached) as caught:
        await store.load(workflow_id, revision + 1, consistency)
    assert (caught.value.min_revision, caught.value.store_revision) == (revision + 1, revision)
    with pytest.raises(RevisionNotReached):
        await store.anchor(revision + 1, consistency)


async def test_a_delete_tells_the_revision_of_its_marker(store: StateStore) -> None:
    assert (await store.delete("wf-1")).revision == 0
    saved = await store.save(WorkflowState("wf-1"))

    assert [(await store.delete("wf-1")).revision for _ in range(2)] == [saved.revision + 1] * 2


async def test_a_state_that_is_not_there_is_not_found(store: StateStore) -> None:
    with pytest.raises(WorkflowNotFound) as caught:
        await store.load("missing")

    assert caught.value.workflow_id == "missing"


async def test_revisions_grow_over_the_whole_bucket(store: StateStore) -> None:
    revisions = [(await store.save(WorkflowState(f"wf-{number % 2}"))).revision for number in range(4)]

    assert revisions == sorted(set(revisions))


async def test_the_last_writer_wins_without_an_expected_revision(store: StateStore) -> None:
    await store.save(WorkflowState("wf-1", error="first"))
    await store.save(WorkflowState("wf-1", error="second"))

    assert (await store.load("wf-1")).state.error == "second"


async def test_expected_revision_0_wants_no_such_workflow(store: StateStore) -> None:
    revision = (await store.save(WorkflowState("wf-1"), 0)).revision

    with pytest.raises(WorkflowAlreadyExists) as caught:
        await store.save(WorkflowState("wf-1", error="again"), 0)

    assert caught.value.actual_revision == revision
    assert (await store.load("wf-1")).state.error == ""


async def test_a_deleted_workflow_does_not_exist_for_expected_revision_0(store: StateStore) -> None:
    await store.save(WorkflowState("wf-1"))
    await store.delete("wf-1")

    revision = (await store.save(WorkflowState("wf-1"), 0)).revision

    assert (await store.load("wf-1")).revision == revision


async def test_expected_revision_n_wants_the_state_to_be_at_n(store: StateStore) -> None:
    first = (await store.save(WorkflowState("wf-1"))).revision
    second = (await store.save(WorkflowState("wf-1", error="second"), first)).revision

    with pytest.raises(RevisionMismatch) as caught:
        await store.save(WorkflowState("wf-1", error="third"), first)

    assert (caught.value.expected_revision, caught.value.actual_revision) == (first, second)
    assert (await store.load("wf-1")).state.error == "second"


async def test_a_mismatch_with_a_missing_workflow_names_revision_0(store: StateStore) -> None:
    with pytest.raises(RevisionMismatch) as caught:
        await store.save(WorkflowState("wf-1"), 7)

    assert caught.value.actual_revision == 0


async def test_delete_tells_whether_the_workflow_existed_and_is_idempotent(store: StateStore) -> None:
    await store.save(WorkflowState("wf-1"))
    before = (await store.info()).store_revision

    assert not (await store.delete("wf-2")).existed
    assert (await store.info()).store_revision == before
    assert (await store.delete("wf-1")).existed
    assert not (await store.delete("wf-1")).existed
    assert await everything(store) == []


async def test_delete_takes_an_expected_revision(store: StateStore) -> None:
    first = (await store.save(WorkflowState("wf-1"))).revision
    second = (await store.save(WorkflowState("wf-1"))).revision

    with pytest.raises(RevisionMismatch) as caught:
        await store.delete("wf-1", first)
    assert (caught.value.expected_revision, caught.value.actual_revision) == (first, second)

    assert (await store.delete("wf-1", second)).existed
    with pytest.raises(RevisionMismatch):
        await store.delete("wf-1", second)


async def test_a_state_that_is_too_large_is_refused_with_its_size_and_the_limit(store: StateStore) -> None:
    with pytest.raises(StateTooLarge) as caught:
        await store.save(WorkflowState("wf-1", error="x" * store.document_bytes_max))

    assert caught.value.limit_bytes == store.document_bytes_max
    assert caught.value.size_bytes > caught.value.limit_bytes
    await store.save(WorkflowState("wf-1"))


async def test_the_largest_state_that_fits_is_kept(store: StateStore) -> None:
    await store.save(WorkflowState("wf-1", error="x"))
    rest = store.document_bytes_max - (await store.load("wf-1")).document_bytes + 1
    await store.save(WorkflowState("wf-1", error="x" * rest))

    assert (await store.load("wf-1")).document_bytes == store.document_bytes_max
    with pytest.raises(StateTooLarge):
        await store.save(WorkflowState("wf-1", error="x" * (rest + 1)))


async def test_changes_come_in_the_order_of_writes_and_end_with_the_newest(store: StateStore) -> None:
    for number in range(1500):
        await store.save(WorkflowState(f"wf-{number % 1000}", error=str(number)))

    entries = await everything(store)

    assert [entry.state.error for entry in entries] == [str(number) for number in range(500, 1500)]  # type: ignore[union-attr]
    assert [entry.revision for entry in entries] == sorted(entry.revision for entry in entries)


async def test_changes_go_on_after_any_revision(store: StateStore) -> None:
    revisions = [(await store.save(WorkflowState(f"wf-{number}"))).revision for number in range(10)]

    batch = await store.changes(revisions[6], revisions[-1])

    assert [change.revision for change in batch.entries] == revisions[7:]
    assert batch.at_end
    assert await store.changes(revisions[-1], revisions[-1]) == Changes((), at_end=True)


async def test_a_delete_is_a_change_without_a_document(store: StateStore) -> None:
    await store.save(WorkflowState("wf-1"))
    await store.delete("wf-1")

    batch = await store.changes(0, 2)

    assert [(change.key, change.revision, change.document) for change in batch.entries[-1:]] == [("wf-1", 2, None)]


async def test_the_position_tells_where_the_bucket_stands(store: StateStore) -> None:
    empty = await store.position()
    await store.save(WorkflowState("wf-1"))
    await store.save(WorkflowState("wf-2"))
    await store.delete("wf-1")
    full = await store.position()

    assert (empty.last_revision, empty.keys) == (0, 0)
    assert (full.last_revision, full.keys) == (3, 2)  # the marker counts
    assert 0 < full.first_revision <= 2
    assert (full.identity, full.session) == (empty.identity, empty.session)
    assert full.time_ns >= empty.time_ns


async def test_the_last_changes_of_keys_are_the_newest_and_missing_ones_are_left_out(store: StateStore) -> None:
    for number in range(1100):
        await store.save(WorkflowState(f"wf-{number}"))
    revision = (await store.save(WorkflowState("wf-0", error="again"))).revision
    await store.delete("wf-1")

    found = await store.last([f"wf-{number}" for number in range(1200)], revision)

    assert len(found) == 1100
    assert found["wf-0"].revision == revision
    assert found["wf-1"].document is None
    assert await store.last(["missing"], revision) == {}


@pytest.mark.parametrize("purge", [False, True])
async def test_purge_is_idempotent_and_final(store: StateStore, purge: bool) -> None:
    for _ in range(3):
        await store.save(WorkflowState("wf-1"))

    assert (await store.delete("wf-1", purge=purge)).existed
    assert not (await store.delete("wf-1", purge=True)).existed
    revision = (await store.info()).store_revision
    assert not (await store.delete("wf-1", purge=True)).existed

    assert (await store.info()).store_revision == revision
    assert await everything(store) == []


async def test_a_malformed_entry_is_reported_and_not_skipped(store: StateStore, put: Put) -> None:
    await store.save(WorkflowState("good"))
    revision = await put("bad", b'{"WorkflowID":"bad","Status":7}')
    await put("other", b'{"WorkflowID":"somebody else"}')

    entries = await everything(store)

    assert isinstance(entries[0], StoredState)
    assert [(entry.key, entry.revision) for entry in entries[1:]] == [("bad", revision), ("other", revision + 1)]  # type: ignore[union-attr]
    with pytest.raises(MalformedDocument) as caught:
        await store.load("bad")
    assert (caught.value.key, caught.value.revision) == ("bad", revision)
    assert "Status" in caught.value.detail


async def test_a_malformed_entry_can_be_saved_over_and_deleted(store: StateStore, put: Put) -> None:
    await put("bad", b"{")
    assert (await store.delete("bad")).existed
    revision = await put("bad", b"{")
    await store.save(WorkflowState("bad"), revision)

    assert (await store.load("bad")).state == WorkflowState("bad")


async def test_what_another_writer_stored_is_found(store: StateStore, put: Put) -> None:
    await put("wf-7", b'{"WorkflowID":"wf-7","Status":"running"}')

    assert (await store.load("wf-7")).state.status is WorkflowStatus.RUNNING
    assert len(await everything(store)) == 1


@given(state=states)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_state_is_kept_as_it_is(store: StateStore, state: WorkflowState) -> None:
    await store.save(state)

    assert (await store.load(state.workflow_id)).state == state


@pytest.mark.parametrize("history", [1, 3])
async def test_jetstream_answers_as_the_memory_store_does(history: int, nats_client: object) -> None:
    """Any sequence of calls on a few workflows has the same outcomes on both, up to the numbers of revisions."""
    calls = st.lists(
        st.tuples(st.sampled_from(["save", "delete", "purge", "load"]), st.sampled_from("ab"), st.integers(-1, 4)),
        min_size=1,
        max_size=30,
    )
    examples = 0

    async def outcome(store: StateStore, kind: str, workflow_id: str, expected: int | None) -> object:
        try:
            match kind:
                case "save":
                    return await store.save(WorkflowState(workflow_id), expected)
                case "load":
                    return (await store.load(workflow_id)).revision
                case _:
                    return await store.delete(workflow_id, expected or None, purge=kind == "purge")
        except StoreError as error:
            return repr(error)

    for number, sequence in enumerate(_examples(calls, 40)):
        examples += 1
        bucket = f"bucket-{history}-{number}"
        memory = MemoryStore(bucket)
        async with JetStreamStore.over(nats_client, bucket, BucketOptions(history=history)) as real:  # type: ignore[arg-type]
            for kind, workflow_id, wish in sequence:
                # A purge of what is deleted already writes a marker where older revisions may lie: no news to anybody.
                if kind == "purge":
                    kind = "delete"
                entry = memory._entries.get(key_of(workflow_id))
                last = entry.revision if entry else 0
                expected = None if wish < 0 else 0 if wish == 0 else last if wish < 4 else last + 1
                if expected == last and kind == "save" and entry and entry.document is None:
                    expected = 0
                assert await outcome(real, kind, workflow_id, expected) == await outcome(
                    memory, kind, workflow_id, expected
                )
            assert await everything(real) == await everything(memory)
    assert examples == 40


def _examples(strategy: st.SearchStrategy[list[tuple[str, str, int]]], count: int) -> list[list[tuple[str, str, int]]]:
    """Draw examples outside of a test function, which may be async and own a server."""
    drawn: list[list[tuple[str, str, int]]] = []

    @given(strategy)
    @settings(max_examples=count * 2, database=None, deadline=None)
    def draw(sequence: list[tuple[str, str, int]]) -> None:
        drawn.append(sequence)

    draw()
    return drawn[-count:]
