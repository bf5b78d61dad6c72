"""Both finished clients against the real service: updates, retries, batches, revisions, watches and backups."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import nats
import pytest

from support.entries import indexed
from support.waiting import until
from workflowstore import (
    AlreadyExistsError,
    AsyncClient,
    BucketConfigurationError,
    ChangeKind,
    Client,
    EventType,
    HistoryEvent,
    ImportOutcome,
    InvalidRequestError,
    MalformedDocumentError,
    OnConflict,
    OutcomeUnknownError,
    RevisionForgottenError,
    RevisionMismatchError,
    StoredDocument,
    UnavailableError,
    WorkflowChange,
    WorkflowFilter,
    WorkflowNotFoundError,
    WorkflowState,
    WorkflowStatus,
    WorkflowStoreError,
    WorkflowView,
)
from workflowstore_server.model import state as model
from workflowstore_server.model.errors import Outcome, StorageUnavailable
from workflowstore_server.service.server import Service
from workflowstore_server.store import Deleted, Saved
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore

from .test_end_to_end import BUCKET, NOW, Stepping, address_to_keep, put, serving, stored


@pytest.fixture(params=[AsyncClient, Client], ids=["async", "sync"])
def stepping(request: pytest.FixtureRequest) -> Stepping:
    return Stepping(request.param)


class Losing(JetStreamStore):
    """A store whose acknowledgements get lost: `lose` of them, after what they acknowledge is stored."""

    lose = 0

    async def save(self, *arguments: Any) -> Saved:
        saved = await super().save(*arguments)
        self._lose()
        return saved

    async def delete(self, *arguments: Any, **keywords: Any) -> Deleted:
        deleted = await super().delete(*arguments, **keywords)
        self._lose()
        return deleted

    def _lose(self) -> None:
        if self.lose:
            self.lose -= 1
            raise StorageUnavailable(self.bucket, "the acknowledgement was lost", Outcome.UNKNOWN)


@pytest.fixture
async def store(nats_client: nats.NATS) -> AsyncIterator[Losing]:
    async with Losing.over(nats_client, BUCKET) as store:
        yield store


@pytest.fixture
async def service(store: Losing, nats_client: nats.NATS) -> AsyncIterator[Service]:
    options = BucketOptions(history=5, allow_atomic=True)
    async with (
        JetStreamStore.over(nats_client, "other", options) as other,
        serving({BUCKET: store, "other": other}) as service,
    ):
        yield service


@pytest.fixture
async def client(stepping: Stepping, service: Service) -> AsyncIterator[Any]:
    client = stepping.kind(service.address)
    yield client
    await stepping(client.close)


async def revisions_of(stepping: Stepping, client: Any) -> int:
    info = await stepping(client.info)
    return int(info.store_revision)


async def test_writes_whose_acknowledgement_is_lost_are_applied_once(
    stepping: Stepping, client: Any, store: Losing
) -> None:
    store.lose = 1
    created = await stepping(client.save, WorkflowState("wf-1"), expected_revision=0)
    assert (created.revision, created.created_at) == (1, NOW)
    store.lose = 1
    updated = await stepping(
        client.update, "wf-1", append_history=[HistoryEvent(type=EventType.TIMER_FIRED)], expected_revision=1
    )
    assert (updated.revision, [event.id for event in updated.history]) == (2, [1])
    store.lose = 1
    assert await stepping(client.delete, "wf-1", expected_revision=2) is True
    store.lose = 1
    states = [WorkflowState("wf-1"), WorkflowState("wf-2")]
    batch = await stepping(client.save_batch, states, expected_revisions={"wf-1": 0, "wf-2": 0})
    assert {state.revision for state in batch} == {4, 5}
    store.lose = 1
    assert await stepping(client.delete_batch, ["wf-1", "missing"]) == [True, False]
    assert store.lose == 0
    assert await revisions_of(stepping, client) == 6


async def test_an_item_of_unknown_outcome_says_so_where_its_batch_cannot_be_sent_again(
    stepping: Stepping, client: Any, store: Losing
) -> None:
    store.lose = 1
    (lost,) = await stepping(client.save_batch, [WorkflowState("wf-1")], request_id="")
    assert isinstance(lost, UnavailableError)
    assert isinstance(lost, OutcomeUnknownError)
    assert await revisions_of(stepping, client) == 1


async def test_the_same_request_made_again_gets_the_first_result(stepping: Stepping, client: Any) -> None:
    event = HistoryEvent(type=EventType.TIMER_FIRED)
    for _ in range(2):
        saved = await stepping(client.save, WorkflowState("wf-1"), expected_revision=0, request_id="save")
        assert (saved.revision, saved.created_at) == (1, NOW)
    for _ in range(2):
        updated = await stepping(client.update, "wf-1", append_history=[event], request_id="update")
        assert (updated.revision, updated.history_count) == (2, 1)
    await stepping(client.update, "wf-1", append_history=[event])
    late = await stepping(client.update, "wf-1", append_history=[event], request_id="update")
    assert late == WorkflowState("wf-1", revision=2, view=WorkflowView.SUMMARY)
    for _ in range(2):
        assert await stepping(client.delete, "wf-1", request_id="delete") is True
    assert await revisions_of(stepping, client) == 4


async def test_a_write_of_unknown_outcome_says_so_and_can_be_made_again(
    stepping: Stepping, service: Service, store: Losing
) -> None:
    once = stepping.kind(service.address, retry=False)
    store.lose = 1
    for caught_as in (OutcomeUnknownError, UnavailableError):
        store.lose = 1
        with pytest.raises(caught_as):
            await stepping(once.save, WorkflowState("wf-1"), expected_revision=0, request_id="mine")
    saved = await stepping(once.save, WorkflowState("wf-1"), expected_revision=0, request_id="mine")
    assert (saved.revision, await revisions_of(stepping, once)) == (1, 1)
    await stepping(once.close)


@asynccontextmanager
async def connected(stepping: Stepping, address: str) -> AsyncIterator[Any]:
    """A client that is closed whatever happens: a synchronous watch would keep its thread for ever."""
    client = stepping.kind(address)
    try:
        yield client
    finally:
        await stepping(client.close)


async def test_calls_outlive_a_restart_of_their_server(
    stepping: Stepping, store: Losing, nats_client: nats.NATS
) -> None:
    async with AsyncExitStack() as stack:
        # Made before: calls are tried again for no more than a second and a half.
        indexes = {BUCKET: await stack.enter_async_context(indexed(store, poll_seconds=math.inf))}
        async with serving({BUCKET: store}, address_to_keep(), drain_seconds=0) as before:
            client = await stack.enter_async_context(connected(stepping, before.address))
            await stepping(client.save, WorkflowState("wf-1"))
        calls = [asyncio.create_task(stepping(client.load, "wf-1")) for _ in range(2)]
        await asyncio.sleep(0)
        async with serving({BUCKET: store}, before.address, indexes=indexes):
            assert [state.workflow_id for state in await asyncio.gather(*calls)] == ["wf-1"] * 2


async def test_an_update_changes_what_it_names_and_nothing_else(stepping: Stepping, client: Any) -> None:
    whole = WorkflowState(
        "wf-1", run_id="r", status=WorkflowStatus.RUNNING, input={"big": 2**70}, labels={"a": "1", "b": "2"}
    )
    await stepping(client.save, whole)
    updated = await stepping(
        client.update,
        "wf-1",
        status=WorkflowStatus.FAILED,
        error="no stock",
        result=None,
        append_history=[HistoryEvent(type=EventType.ACTIVITY_FAILED, activity_name="charge")],
        set_labels={"b": "3", "c": "4"},
        remove_labels=["a", "z"],
    )
    loaded = await stepping(client.load, "wf-1")
    assert loaded == updated
    assert (loaded.run_id, loaded.status, loaded.error) == ("r", WorkflowStatus.FAILED, "no stock")
    assert (loaded.input, loaded.labels) == ({"big": 2**70}, {"b": "3", "c": "4"})
    assert [(event.id, event.activity_name, event.timestamp) for event in loaded.history] == [(1, "charge", NOW)]


async def test_an_update_of_what_does_not_exist_makes_it_only_when_it_may(stepping: Stepping, client: Any) -> None:
    with pytest.raises(WorkflowNotFoundError):
        await stepping(client.update, "wf-1", error="e")
    made = await stepping(client.update, "wf-1", error="e", expected_revision=0, allow_missing=True)
    assert (made.revision, made.created_at, made.error) == (1, NOW, "e")
    with pytest.raises(AlreadyExistsError):
        await stepping(client.update, "wf-1", error="e", expected_revision=0, allow_missing=True)
    with pytest.raises(RevisionMismatchError):
        await stepping(client.update, "wf-1", error="e", expected_revision=7)


async def test_concurrent_updates_lose_none(stepping: Stepping, client: Any) -> None:
    await stepping(client.save, WorkflowState("wf-1"))
    event = HistoryEvent(type=EventType.SIGNAL_RECEIVED)
    await asyncio.gather(*(stepping(client.update, "wf-1", append_history=[event]) for _ in range(100)))
    loaded = await stepping(client.load, "wf-1")
    assert [event.id for event in loaded.history] == list(range(1, 101))


async def test_a_batch_has_a_result_or_an_error_for_each_item(stepping: Stepping, client: Any) -> None:
    await stepping(client.save, WorkflowState("b"))
    states = [WorkflowState(name, input=name) for name in "abc"]
    saved, exists, other = await stepping(client.save_batch, states, expected_revisions={"b": 0, "c": 0})
    assert (saved.input, saved.created_at, other.workflow_id) == ("a", NOW, "c")
    assert (type(exists), exists.actual_revision, exists.outcome) == (AlreadyExistsError, 1, "not_applied")

    loaded = await stepping(client.load_batch, ["c", "missing", "a"])
    assert [state and (state.workflow_id, state.input) for state in loaded] == [
        ("c", "c"), None, ("a", "a"),
    ]  # fmt: skip

    existed, missing, mismatch = await stepping(
        client.delete_batch, ["a", "missing", "c"], expected_revisions={"c": saved.revision + 100}
    )
    assert (existed, missing, type(mismatch)) == (True, False, RevisionMismatchError)
    assert [state.workflow_id for state in await stepping.all(client.list())] == ["b", "c"]


async def test_an_atomic_batch_is_all_or_nothing_where_the_bucket_allows_it(stepping: Stepping, client: Any) -> None:
    states = [WorkflowState("a"), WorkflowState("b")]
    assert not (await stepping(client.info)).bucket.allow_atomic
    with pytest.raises(BucketConfigurationError):
        await stepping(client.save_batch, states, atomic=True)
    assert (await stepping(client.info, bucket="other")).bucket.allow_atomic
    await stepping(client.save, WorkflowState("b"), bucket="other")
    with pytest.raises(AlreadyExistsError):
        await stepping(client.save_batch, states, expected_revisions={"b": 0}, atomic=True, bucket="other")
    assert await stepping(client.load_batch, ["a"], bucket="other") == [None]
    for _ in range(2):
        saved = await stepping(client.save_batch, states, atomic=True, request_id="mine", bucket="other")
        assert [state.workflow_id for state in saved] == ["a", "b"]
    assert (await stepping(client.info, bucket="other")).store_revision == 3


async def test_states_that_fill_more_than_one_reply_are_all_loaded(stepping: Stepping, client: Any) -> None:
    sizes = [900_000, 10, *[900_000] * 10, 10]
    for number, size in enumerate(sizes):
        await stepping(client.save, WorkflowState(f"wf-{number}", input="x" * size))
    loaded = await stepping(client.load_batch, [f"wf-{number}" for number in range(len(sizes))])
    assert [len(state.input) for state in loaded] == sizes


async def test_a_batch_that_is_too_large_or_empty_is_refused(stepping: Stepping, client: Any) -> None:
    for call, argument in (
        (client.load_batch, [f"w{n}" for n in range(1001)]),
        (client.load_batch, []),
        (client.load_batch, ["w", "w"]),
        (client.save_batch, [WorkflowState("w"), WorkflowState("w")]),
        (client.delete_batch, []),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            await stepping(call, argument)
        assert caught.value.violations
    with pytest.raises(InvalidRequestError):
        await stepping(client.delete_matching, WorkflowFilter(), limit=1001)


async def test_what_matches_is_deleted_up_to_the_limit(stepping: Stepping, client: Any) -> None:
    states = [WorkflowState(f"wf-{n}", status=WorkflowStatus.COMPLETED) for n in range(5)] + [WorkflowState("wf-9")]
    await stepping(client.save_batch, states)
    wanted = WorkflowFilter(statuses=[WorkflowStatus.COMPLETED])
    dry = await stepping(client.delete_matching, wanted, limit=2, dry_run=True)
    assert (dry.workflow_ids, dry.remaining_count) == (("wf-0", "wf-1"), 5)
    for _ in range(2):
        deleted = await stepping(client.delete_matching, wanted, limit=2, request_id="mine")
        assert (deleted.workflow_ids, deleted.errors, deleted.remaining_count) == (("wf-0", "wf-1"), {}, 3)
    rest = await stepping(client.delete_matching, wanted, limit=1000, purge=True)
    assert (rest.workflow_ids, rest.remaining_count) == (("wf-2", "wf-3", "wf-4"), 0)
    assert [state.workflow_id for state in await stepping.all(client.list())] == ["wf-9"]


async def test_the_revisions_of_a_workflow_are_those_that_the_bucket_keeps(
    stepping: Stepping, client: Any, nats_client: nats.NATS
) -> None:
    for number in range(4):
        await stepping(client.save, WorkflowState("wf-1", input=number), bucket="other")
    await nats_client.jetstream().publish("$KV.other.wf-1", b"{")
    await stepping(client.delete, "wf-1", bucket="other")

    kept = await stepping.all(client.list_revisions("wf-1", bucket="other"))
    assert [revision.revision for revision in kept] == [2, 3, 4, 5, 6]
    assert [revision.state and revision.state.input for revision in kept] == [1, 2, 3, None, None]
    assert [revision.deleted for revision in kept] == [False] * 4 + [True]
    assert (kept[3].malformed.key, kept[3].malformed.revision) == ("wf-1", 5)
    assert all(revision.stored_at for revision in kept)

    newest = await stepping.all(client.list_revisions("wf-1", newest_first=True, limit=2, bucket="other"))
    assert [revision.revision for revision in newest] == [6, 5]
    with pytest.raises(WorkflowNotFoundError):
        await stepping.all(client.list_revisions("missing", bucket="other"))


class Watching:
    """Reads a watch in the background, until its client is closed."""

    def __init__(self, stepping: Stepping, client: Any, **keywords: Any) -> None:
        self.changes: list[WorkflowChange] = []
        self.progress: list[int] = []
        watch = client.watch(on_progress=self.progress.append, **keywords)
        self.task = asyncio.create_task(stepping(self._read_async if stepping.is_async else self._read_sync, watch))

    async def _read_async(self, watch: Any) -> None:
        async for change in watch:
            self.changes.append(change)

    def _read_sync(self, watch: Any) -> None:
        for change in watch:
            self.changes.append(change)

    @property
    def facts(self) -> list[tuple[str, str, int]]:
        return [(change.kind.value, change.workflow_id, change.revision) for change in self.changes]

    async def reach(self, revision: int) -> None:
        async def reached() -> bool:
            return self.task.done() or (bool(self.progress) and self.progress[-1] >= revision)

        await until(reached)

    async def ended(self) -> WorkflowStoreError:
        with pytest.raises(WorkflowStoreError) as caught:
            await self.task
        return caught.value


async def test_a_watch_begins_with_what_matches_and_goes_on_with_what_changes(
    stepping: Stepping, client: Any, nats_client: nats.NATS
) -> None:
    await stepping(client.save, WorkflowState("a", status=WorkflowStatus.RUNNING, input=1))
    await stepping(client.save, WorkflowState("b"))
    wanted = WorkflowFilter(statuses=[WorkflowStatus.RUNNING])
    watching = Watching(stepping, client, filter=wanted, snapshot=True, view=WorkflowView.FULL)
    await watching.reach(2)
    await stepping(client.save, WorkflowState("c", status=WorkflowStatus.RUNNING))
    # The bucket keeps one revision of each: a Watch that comes later than the next one may not tell of this one.
    await watching.reach(3)
    await stepping(client.update, "a", status=WorkflowStatus.COMPLETED)
    await stepping(client.delete, "c")
    bad = await put(nats_client, "bad", b"{")
    await stepping(client.count)  # the index learns of what others have written
    await watching.reach(bad)
    await stepping(client.close)
    assert (await watching.ended()).code == "CANCELLED"

    assert watching.facts == [
        ("saved", "a", 1),
        ("snapshot_complete", "", 2),
        ("saved", "c", 3),
        ("unmatched", "a", 4),
        ("deleted", "c", 5),
        ("malformed", "bad", 6),
    ]
    assert watching.changes[0].state is not None
    assert (watching.changes[0].state.input, watching.changes[0].state.revision) == (1, 1)
    assert watching.changes[5].malformed is not None
    assert watching.progress == sorted(set(watching.progress))


async def test_a_watch_outlives_a_restart_of_its_server_without_loss(stepping: Stepping, store: Losing) -> None:
    async with AsyncExitStack() as stack:
        async with serving({BUCKET: store}, address_to_keep(), drain_seconds=0) as before:
            client = await stack.enter_async_context(connected(stepping, before.address))
            watching = Watching(stepping, client)
            await watching.reach(0)
            await stepping(client.save, WorkflowState("wf-1"))
            await watching.reach(1)
        async with serving({BUCKET: store}, before.address):
            for number in (2, 3):
                await store.save(model.WorkflowState(f"wf-{number}"))
            await watching.reach(3)
            await stepping(client.close)
            await watching.ended()
    assert watching.facts == [("saved", f"wf-{number}", number) for number in (1, 2, 3)]


async def test_a_watch_goes_on_after_what_a_list_or_another_watch_has_told(stepping: Stepping, client: Any) -> None:
    for number in range(3):
        await stepping(client.save, WorkflowState(f"wf-{number}"))
    revision = (await stepping(client.count)).store_revision
    await stepping(client.save, WorkflowState("wf-3"))
    watching = Watching(stepping, client, after_revision=revision)
    await watching.reach(4)
    with pytest.raises(RevisionForgottenError) as caught:
        await stepping.all(client.watch(after_revision=99))
    assert caught.value.after_revision == 99
    await stepping(client.close)
    await watching.ended()
    assert watching.facts == [("saved", "wf-3", 4)]


async def test_what_is_exported_is_imported_byte_for_byte(
    stepping: Stepping, client: Any, nats_client: nats.NATS
) -> None:
    await stepping(client.save, WorkflowState("order:42", input={"big": 2**70}))
    await put(nats_client, "go-1", b'{"WorkflowID":"go-1", "Status":"running"}')
    await put(nats_client, "bad", b"\xff{")
    chunks = await stepping.all(client.export())
    documents = [document for chunk in chunks for document in chunk.documents]
    assert {document.key: document.revision for document in documents} == {"=b3JkZXI6NDI": 1, "go-1": 2, "bad": 3}
    assert {document.key: document.document for document in documents} == {
        key: await stored(nats_client, key) for key in ("=b3JkZXI6NDI", "go-1", "bad")
    }
    some = await stepping.all(client.export(WorkflowFilter(workflow_id_prefix="order")))
    assert [document.key for chunk in some for document in chunk.documents] == ["=b3JkZXI6NDI"]

    written = await stepping(client.import_documents, documents, bucket="other")
    again = await stepping(client.import_documents, documents, bucket="other")
    assert {result.outcome for result in written} == {ImportOutcome.WRITTEN}
    assert {result.outcome for result in again} == {ImportOutcome.UNCHANGED}
    assert [result.revision for result in again] == [result.revision for result in written]
    copied = await stepping.all(client.export(bucket="other"))
    assert {document.key: document.document for chunk in copied for document in chunk.documents} == {
        document.key: document.document for document in documents
    }
    (state,) = await stepping(client.load_batch, ["order:42"], bucket="other")
    assert state.input == {"big": 2**70}
    (malformed,) = await stepping(client.load_batch, ["bad"], bucket="other")
    assert type(malformed) is MalformedDocumentError


@pytest.mark.parametrize(
    ("on_conflict", "outcome", "left"),
    [
        (OnConflict.FAIL, ImportOutcome.NONE, 1),
        (OnConflict.SKIP, ImportOutcome.SKIPPED, 1),
        ("overwrite", "written", 2),
    ],
)
async def test_an_import_that_meets_another_document_does_as_it_is_told(
    stepping: Stepping, client: Any, on_conflict: OnConflict, outcome: ImportOutcome, left: int
) -> None:
    await stepping(client.save, WorkflowState("wf-1", input=1))
    document = StoredDocument(key="wf-1", document=b'{"WorkflowID":"wf-1","Input":2}')
    (result,) = await stepping(client.import_documents, [document], on_conflict=on_conflict)
    assert result.outcome == outcome
    assert type(result.error) is (AlreadyExistsError if on_conflict is OnConflict.FAIL else type(None))
    assert (await stepping(client.load, "wf-1")).input == left


async def test_info_tells_how_long_request_ids_are_known_and_what_is_removed(stepping: Stepping, client: Any) -> None:
    info = await stepping(client.info)
    assert info.bucket.request_id_seconds == 120
    assert (info.retention.rules, info.retention.deleted_count, info.retention.compacted_count) == ({}, 0, 0)


def test_a_change_has_a_kind_that_may_be_compared_with_its_text() -> None:
    assert ChangeKind.SNAPSHOT_COMPLETE == "snapshot_complete"
