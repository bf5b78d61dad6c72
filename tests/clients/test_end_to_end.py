"""Both finished clients against the real service and a real nats-server."""

import asyncio
import datetime as dt
import gc
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import grpc
import nats
import pytest
from nats.js.api import StreamConfig

from support.entries import indexed
from support.nats_server import NatsServer
from support.ports import free_ports
from support.waiting import until
from workflowstore import (
    AlreadyExistsError,
    AsyncClient,
    BucketConfigurationError,
    BucketNotFoundError,
    Client,
    ContendedError,
    DeadlineExceededError,
    Durability,
    EventType,
    HistoryEvent,
    IndexInfo,
    InternalError,
    InvalidRequestError,
    MalformedDocumentError,
    MalformedEntry,
    OrderBy,
    RevisionMismatchError,
    StateTooLargeError,
    StorageFullError,
    Timestamp,
    UnavailableError,
    WorkflowCount,
    WorkflowFilter,
    WorkflowState,
    WorkflowStatus,
    WorkflowStoreError,
    WorkflowView,
)
from workflowstore.client.errors import outcome_unknown
from workflowstore_server.index import Index
from workflowstore_server.model import state as model
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import About, Servicer
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore
from workflowstore_server.store.jetstream.store import CONTENDED_ATTEMPTS_MAX

BUCKET = "beluga_workflows"
NOW_NS = 1_795_000_000_123_456_789
NOW = Timestamp.from_datetime(dt.datetime(2026, 11, 18, 11, 6, 40, 123456, tzinfo=dt.UTC), 789)
LONG_ID = "\U0001f600" * 256

WHOLE = WorkflowState(
    "order:42",
    run_id="run-1",
    status=WorkflowStatus.FAILED,
    input={"big": 2**200, "odd": 2**53 + 1, "huge": Decimal("1e400"), "no": None},
    result=[-1, 0.1, 1e-7, True, [], {}, "\u00e9\u2028<&>\0\U0001f600"],
    error="out of stock",
    history=(
        HistoryEvent(
            id=2**63 - 1,
            type=EventType.ACTIVITY_FAILED,
            timestamp=Timestamp.from_datetime(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 1),
            activity_name="charge",
            input=Decimal("1e400"),
            result=2**64,
            error="declined",
            signal_name="stop",
            signal_payload={"at": "once"},
            duration_ns=-(2**63),
        ),
        HistoryEvent(id=-1, type=EventType.TIMER_FIRED, timestamp=NOW),
    ),
    created_at=Timestamp.from_datetime(dt.datetime(1, 1, 1, tzinfo=dt.UTC), 1),
    updated_at=Timestamp.from_datetime(dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC), 999),
    labels={"team": "a", "\u00e9": ""},
)


class Stepping:
    """Calls a client of either kind from the test's loop, in which the server runs: the synchronous one in threads."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.is_async = kind is AsyncClient

    async def __call__(self, method: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        if self.is_async:
            return await method(*arguments, **keywords)
        return await asyncio.to_thread(method, *arguments, **keywords)

    async def all(self, states: Any) -> list[WorkflowState]:
        return [state async for state in states] if self.is_async else await asyncio.to_thread(list, states)

    async def first(self, states: Any) -> WorkflowState:
        """The first state, in a loop that is left then."""
        seen = []
        if self.is_async:
            async for state in states:
                seen.append(state)
                break
            return seen[0]

        def take() -> None:
            for state in states:
                seen.append(state)
                break

        await asyncio.to_thread(take)
        return seen[0]


@pytest.fixture(params=[AsyncClient, Client], ids=["async", "sync"])
def stepping(request: pytest.FixtureRequest) -> Stepping:
    return Stepping(request.param)


def about() -> About:
    return About("1.2.3", "2.15.1", nats_embedded=False, durability=model.Durability.FSYNC_ALWAYS)


def address_to_keep() -> str:
    """One at which another server may listen later."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@asynccontextmanager
async def serving(
    stores: dict[str, JetStreamStore],
    listen: str = "127.0.0.1:0",
    drain_seconds: float = 2,
    indexes: dict[str, Index] | None = None,
) -> AsyncIterator[Service]:
    """The service over these stores, with these indexes or one of each of its own."""
    async with AsyncExitStack() as stack:
        # Tests delete a bucket underneath, and see what the next call is told.
        indexes = indexes or {
            name: await stack.enter_async_context(indexed(store, poll_seconds=math.inf))
            for name, store in stores.items()
        }
        servicer = Servicer(stores, indexes, about, lambda: NOW_NS)
        service = Service(servicer, indexes, ServiceOptions(listen, drain_seconds=drain_seconds))
        await service.start()
        try:
            yield service
        finally:
            await service.drain()


@pytest.fixture
async def service(jetstream_store: JetStreamStore, nats_client: nats.NATS) -> AsyncIterator[Service]:
    async with (
        JetStreamStore.over(nats_client, "other", BucketOptions(history=3)) as other,
        serving({BUCKET: jetstream_store, "other": other}) as service,
    ):
        yield service


@pytest.fixture
async def client(stepping: Stepping, service: Service) -> AsyncIterator[Any]:
    client = stepping.kind(service.address)
    yield client
    await stepping(client.close)


@pytest.fixture
async def once(stepping: Stepping, service: Service) -> AsyncIterator[Any]:
    """A client that makes each call once, whose errors are those of the first attempt."""
    client = stepping.kind(service.address, retry=False)
    yield client
    await stepping(client.close)


async def stored(nats_client: nats.NATS, key: str) -> bytes:
    """The bytes of a document as they lie in the bucket."""
    message = await nats_client.jetstream().get_last_msg(f"KV_{BUCKET}", f"$KV.{BUCKET}.{key}")
    return message.data or b""


async def put(nats_client: nats.NATS, key: str, document: bytes) -> int:
    """What another writer of the bucket does, to whose many writes at once a slow disk may come late."""
    return (await nats_client.jetstream().publish(f"$KV.{BUCKET}.{key}", document, timeout=60)).seq


async def raised(
    stepping: Stepping, kind: type[WorkflowStoreError], method: Any, *arguments: Any, **keywords: Any
) -> Any:
    with pytest.raises(kind) as caught:
        await stepping(method, *arguments, **keywords)
    unknown = caught.value.outcome == "unknown"
    assert type(caught.value) is (outcome_unknown(kind) if unknown else kind)
    return caught.value


async def test_a_life_of_a_workflow(stepping: Stepping, client: Any) -> None:
    assert await stepping(client.load, "wf-1") is None
    first = await stepping(client.save, WorkflowState("wf-1", status=WorkflowStatus.RUNNING, input={"items": 3}))
    assert (first.revision, first.created_at, first.updated_at) == (1, NOW, NOW)

    loaded = await stepping(client.load, "wf-1")
    assert loaded.replace(updated_at=NOW, document_bytes=0) == first
    done = loaded.replace(status=WorkflowStatus.COMPLETED, result="done", history=(HistoryEvent(id=1),))
    second = await stepping(client.save, done, expected_revision=loaded.revision)
    assert (second.revision, second.history_count, second.created_at) == (2, 1, NOW)

    summary = await stepping(client.load, "wf-1", view=WorkflowView.SUMMARY)
    assert (summary.status, summary.result, summary.history, summary.history_count) == ("completed", None, (), 1)
    [listed] = await stepping.all(client.list())
    assert listed == summary
    [full] = await stepping.all(client.list(view=WorkflowView.FULL))
    assert full == await stepping(client.load, "wf-1")

    assert await stepping(client.delete, "wf-1", expected_revision=2)
    assert not await stepping(client.delete, "wf-1")
    assert await stepping(client.load, "wf-1") is None
    assert await stepping.all(client.list()) == []


async def test_a_whole_state_is_loaded_as_it_was_saved(stepping: Stepping, client: Any) -> None:
    saved = await stepping(client.save, WHOLE)
    loaded = await stepping(client.load, "order:42")

    assert loaded.replace(updated_at=WHOLE.updated_at, document_bytes=0) == saved
    assert saved.replace(updated_at=WHOLE.updated_at, revision=0, history_count=0) == WHOLE
    for moment in (loaded.created_at, loaded.updated_at, loaded.history[0].timestamp):
        assert moment.tzinfo is dt.UTC
        assert moment.nanosecond in {1, 999}


async def test_what_is_loaded_and_saved_again_is_stored_in_the_same_bytes(
    stepping: Stepping, client: Any, nats_client: nats.NATS
) -> None:
    await stepping(client.save, WHOLE)
    key = "=b3JkZXI6NDI"  # order:42
    before = await stored(nats_client, key)
    for _ in range(3):
        await stepping(client.save, await stepping(client.load, "order:42"))

        assert await stored(nats_client, key) == before
    document = json.loads(before, parse_float=Decimal)
    assert document["Input"]["big"] == 2**200
    assert document["Input"]["huge"] == document["History"][0]["Input"] == Decimal("1e400")
    assert document["CreatedAt"] == "0001-01-01T00:00:00.000000001Z"
    assert document["UpdatedAt"] == "9999-12-31T23:59:59.999999999Z"


async def test_what_a_go_provider_wrote_is_saved_without_loss(
    stepping: Stepping, client: Any, nats_client: nats.NATS
) -> None:
    document = (
        b'{"WorkflowID":"go-1","RunID":"r","Status":"running","Input":{"id":9007199254740993,"x":"\\u003cb\\u003e"},'
        b'"Result":12345678901234567890,"Error":"","History":null,"CreatedAt":"2026-01-01T00:00:00.123456789Z",'
        b'"UpdatedAt":"2026-01-01T00:00:00Z"}'
    )
    await put(nats_client, "go-1", document)

    loaded = await stepping(client.load, "go-1")
    await stepping(client.save, loaded)

    assert loaded.input == {"id": 9007199254740993, "x": "<b>"}
    assert loaded.created_at.nanosecond == 789
    again = json.loads(await stored(nats_client, "go-1"))
    assert {**again, "Labels": None} == {**json.loads(document), "Labels": None}


@pytest.mark.parametrize("workflow_id", [LONG_ID, "order:42", "a b", "..", "*", ">", "=x", "a", "\u00e9"])
async def test_any_id_saves_loads_lists_and_deletes(stepping: Stepping, client: Any, workflow_id: str) -> None:
    await stepping(client.save, WorkflowState("another"))
    await stepping(client.save, WorkflowState(workflow_id, input=1), expected_revision=0)

    assert (await stepping(client.load, workflow_id)).workflow_id == workflow_id
    assert {state.workflow_id for state in await stepping.all(client.list())} == {"another", workflow_id}
    assert await stepping(client.delete, workflow_id)
    assert [state.workflow_id for state in await stepping.all(client.list())] == ["another"]


async def test_list_is_filtered_limited_and_of_the_bucket_asked_for(stepping: Stepping, client: Any) -> None:
    for number, status in enumerate((WorkflowStatus.RUNNING, WorkflowStatus.FAILED, WorkflowStatus.RUNNING)):
        await stepping(client.save, WorkflowState(f"wf-{number}", status=status))
    await stepping(client.save, WorkflowState("elsewhere"), bucket="other")

    async def ids(**keywords: Any) -> list[str]:
        return [state.workflow_id for state in await stepping.all(client.list(**keywords))]

    assert await ids() == ["wf-0", "wf-1", "wf-2"]
    assert await ids(filter=WorkflowFilter(statuses=["running"])) == ["wf-0", "wf-2"]
    assert await ids(filter=WorkflowFilter(statuses=[WorkflowStatus.FAILED, WorkflowStatus.CANCELED])) == ["wf-1"]
    assert await ids(limit=2) == ["wf-0", "wf-1"]
    assert await ids(bucket="other") == ["elsewhere"]


async def test_every_condition_of_a_filter_holds(stepping: Stepping, client: Any) -> None:
    early, late = (Timestamp.from_datetime(dt.datetime(2026, 1, day, tzinfo=dt.UTC), day) for day in (1, 2))
    await stepping(client.save, WorkflowState("a:1", run_id="r", labels={"team": "x"}, created_at=early))
    await stepping(client.save, WorkflowState("a:2", labels={"team": "y"}, created_at=late, updated_at=early))
    await stepping(client.save, WorkflowState("b:1", created_at=late, updated_at=late))

    for wanted, expected in (
        (WorkflowFilter(workflow_id_prefix="a:"), ["a:1", "a:2"]),
        (WorkflowFilter(run_id="r"), ["a:1"]),
        (WorkflowFilter(labels={"team": "y"}), ["a:2"]),
        (WorkflowFilter(created_after=late), ["a:2", "b:1"]),
        (WorkflowFilter(created_before=late), ["a:1"]),
        (WorkflowFilter(updated_after=late), ["a:1", "b:1"]),
        (WorkflowFilter(updated_before=late), ["a:2"]),
        (WorkflowFilter(created_after=late, updated_before=late), ["a:2"]),
    ):
        listed = await stepping.all(client.list(wanted))
        assert [state.workflow_id for state in listed] == expected
        assert (await stepping(client.count, wanted)).count == len(expected)


async def test_states_come_in_the_order_asked_for(stepping: Stepping, client: Any) -> None:
    for number, (created, updated) in enumerate(((3, 1), (1, 2), (2, 3))):
        moments = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (created, updated)]
        await stepping(client.save, WorkflowState(f"wf-{number}", created_at=moments[0], updated_at=moments[1]))

    for order_by, expected in (
        (OrderBy.WORKFLOW_ID, ["wf-0", "wf-1", "wf-2"]),
        (OrderBy.CREATED_AT, ["wf-1", "wf-2", "wf-0"]),
        (OrderBy.UPDATED_AT, ["wf-0", "wf-1", "wf-2"]),
    ):
        up = await stepping.all(client.list(order_by=order_by))
        down = await stepping.all(client.list(order_by=order_by, descending=True))
        assert [state.workflow_id for state in up] == expected
        assert down == up[::-1]


async def test_a_list_is_read_page_by_page(stepping: Stepping, client: Any) -> None:
    for number in range(5):
        await stepping(client.save, WorkflowState(f"wf-{number}"))

    pages, token = [], ""
    while True:
        chunks = await stepping.all(client.list_chunks(limit=2, page_token=token, descending=True))
        pages.append([state.workflow_id for chunk in chunks for state in chunk.states])
        token = chunks[-1].next_page_token
        if not token:
            break

    assert pages == [["wf-4", "wf-3"], ["wf-2", "wf-1"], ["wf-0"]]
    assert {chunk.store_revision for chunk in chunks} == {5}
    with pytest.raises(InvalidRequestError, match="page_token"):
        await stepping.all(client.list(page_token="no token"))


async def test_count_tells_how_many_in_all_and_apart(stepping: Stepping, client: Any, nats_client: nats.NATS) -> None:
    for number, (status, labels) in enumerate(
        ((WorkflowStatus.RUNNING, {"team": "b"}), (WorkflowStatus.RUNNING, {"team": "a"}), (WorkflowStatus.FAILED, {}))
    ):
        await stepping(client.save, WorkflowState(f"wf-{number}", status=status, labels=labels))
    revision = await put(nats_client, "bad", b"{")

    whole = await stepping(client.count)
    statuses = await stepping(client.count, by_status=True)
    teams = await stepping(client.count, by_label="team")
    failed = await stepping(client.count, WorkflowFilter(statuses=["failed"]), by_label="team")

    assert whole == WorkflowCount(count=3, groups=(), omitted_groups=0, malformed_count=1, store_revision=revision)
    assert [(group.key, group.count) for group in statuses.groups] == [("running", 2), ("failed", 1)]
    assert [(group.key, group.count) for group in teams.groups] == [("a", 1), ("b", 1), (None, 1)]
    assert (failed.count, [(group.key, group.count) for group in failed.groups]) == (1, [(None, 1)])


@pytest.mark.parametrize("view", WorkflowView)
async def test_a_list_outlives_a_restart_of_its_server(
    stepping: Stepping, jetstream_store: JetStreamStore, nats_client: nats.NATS, view: WorkflowView
) -> None:
    # Long ones, so that they are not all under way when the server stops.
    documents = {f"wf-{n:04}": json.dumps({"WorkflowID": f"wf-{n:04}", "Error": "x" * 5_000}) for n in range(1500)}
    await asyncio.gather(*(put(nats_client, key, text.encode()) for key, text in documents.items()))
    await put(nats_client, "bad", b"{")
    seen: list[str] = []
    entries: list[MalformedEntry] = []

    async with AsyncExitStack() as stack:
        before = await stack.enter_async_context(serving({BUCKET: jetstream_store}, address_to_keep(), drain_seconds=0))
        client = stepping.kind(before.address)
        states = client.list(view=view, on_malformed=entries.append)
        seen.append((await stepping(anext if stepping.is_async else next, states)).workflow_id)
    async with serving({BUCKET: jetstream_store}, before.address):
        seen += [state.workflow_id for state in await stepping.all(states)]
        await stepping(client.close)

    assert seen == sorted(documents)
    assert [entry.key for entry in entries] == ["bad"]


async def test_a_purge_removes_old_revisions(stepping: Stepping, client: Any) -> None:
    for _ in range(3):
        await stepping(client.save, WorkflowState("wf-1"), bucket="other")
    assert (await stepping(client.info, bucket="other")).bucket.revisions == 3

    assert await stepping(client.delete, "wf-1", purge=True, bucket="other")

    assert (await stepping(client.info, bucket="other")).bucket.revisions == 1


async def test_info_tells_of_the_server_and_the_bucket(stepping: Stepping, client: Any) -> None:
    await stepping(client.save, WorkflowState("wf-1"))
    await stepping(client.count)  # the index has caught up then

    info = await stepping(client.info)

    assert (info.server_version, info.nats_server_version, info.nats_embedded) == ("1.2.3", "2.15.1", False)
    assert info.durability is Durability.FSYNC_ALWAYS
    assert info.buckets == (BUCKET, "other")
    assert (info.bucket.name, info.bucket.history, info.bucket.replicas) == (BUCKET, 1, 1)
    assert (info.bucket.on_disk, info.bucket.allow_direct, info.bucket.max_bytes) == (True, True, 0)
    assert (info.bucket.revisions, info.store_revision) == (1, 1)
    assert info.document_bytes_max > 1_000_000
    assert info.index == IndexInfo(revision=1, lag=0, ready=True, workflow_count=1, malformed_count=0, on_disk=False)


async def test_a_lost_compare_and_set_is_told_with_the_revisions(stepping: Stepping, client: Any) -> None:
    first = await stepping(client.save, WorkflowState("wf-1"), expected_revision=0)
    second = await stepping(client.save, first)

    exists = await raised(stepping, AlreadyExistsError, client.save, first, expected_revision=0)
    stale_save = await raised(stepping, RevisionMismatchError, client.save, first, expected_revision=first.revision)
    stale_delete = await raised(
        stepping, RevisionMismatchError, client.delete, "wf-1", expected_revision=first.revision
    )
    missing = await raised(stepping, RevisionMismatchError, client.save, WorkflowState("no"), expected_revision=9)

    assert (exists.workflow_id, exists.actual_revision) == ("wf-1", second.revision)
    for error in (stale_save, stale_delete):
        assert (error.workflow_id, error.expected_revision, error.actual_revision) == ("wf-1", 1, 2)
    assert (missing.expected_revision, missing.actual_revision) == (9, 0)
    for error in (exists, stale_save, stale_delete, missing):
        assert error.outcome == "not_applied"


async def test_every_wrong_field_of_a_request_is_told(stepping: Stepping, client: Any) -> None:
    state = WorkflowState("x" * 1025, run_id="y" * 1025, labels={"": "z"})

    save = await raised(stepping, InvalidRequestError, client.save, state)
    bucket = await raised(stepping, InvalidRequestError, client.load, "wf-1", bucket="unknown")
    load = await raised(stepping, InvalidRequestError, client.load, "")

    fields = {violation.field for violation in save.violations}
    assert {"state.workflow_id", "state.run_id"} < fields
    assert len(fields) == 3
    assert save.outcome == "not_applied"
    assert [violation.field for violation in bucket.violations] == ["bucket"]
    assert [violation.field for violation in load.violations] == ["workflow_id"]
    assert all(violation.reason and violation.description for violation in save.violations)
    assert load.outcome is None


async def test_a_state_that_is_too_large_is_told_with_its_size(stepping: Stepping, client: Any) -> None:
    error = await raised(stepping, StateTooLargeError, client.save, WorkflowState("wf-1", error="x" * 2_000_000))

    assert error.size_bytes > 2_000_000
    assert error.limit_bytes == (await stepping(client.info)).document_bytes_max
    assert (error.workflow_id, error.outcome) == ("wf-1", "not_applied")


async def test_a_full_bucket_is_told(stepping: Stepping, client: Any, nats_client: nats.NATS) -> None:
    await stepping(client.save, WorkflowState("wf-1"))
    config = (await nats_client.jetstream().stream_info(f"KV_{BUCKET}")).config
    await nats_client.jetstream().update_stream(config.evolve(max_bytes=4096))

    error = await raised(stepping, StorageFullError, client.save, WorkflowState("wf-2", error="x" * 8192))

    assert error.detail
    assert error.outcome == "not_applied"
    assert (await stepping(client.load, "wf-1")).workflow_id == "wf-1"


async def test_what_the_configuration_of_a_bucket_does_not_allow_is_told(
    stepping: Stepping, client: Any, nats_client: nats.NATS
) -> None:
    jetstream = nats_client.jetstream()
    await jetstream.delete_stream(f"KV_{BUCKET}")
    await jetstream.add_stream(
        StreamConfig(name=f"KV_{BUCKET}", subjects=[f"$KV.{BUCKET}.>"], max_msgs_per_subject=1, allow_direct=False)
    )
    await stepping(client.save, WorkflowState("wf-1"))

    with pytest.raises(BucketConfigurationError) as caught:
        await stepping.all(client.list())

    error = caught.value
    assert error.setting == "allow_direct=false"
    assert error.remedy == f"nats stream edit KV_{BUCKET} --allow-direct"


async def test_a_malformed_document_is_told(stepping: Stepping, client: Any, nats_client: nats.NATS) -> None:
    revision = await put(nats_client, "bad", b'{"WorkflowID":7}')

    error = await raised(stepping, MalformedDocumentError, client.load, "bad")

    assert (error.key, error.revision, error.count) == ("bad", revision, 1)
    assert "WorkflowID" in error.detail
    await stepping(client.save, WorkflowState("bad"))
    assert (await stepping(client.load, "bad")).workflow_id == "bad"


async def test_a_list_tells_of_malformed_documents_after_the_last_state(
    stepping: Stepping, client: Any, nats_client: nats.NATS
) -> None:
    for number in range(3):
        await put(nats_client, f"bad-{number}", b"{")
        await stepping(client.save, WorkflowState(f"wf-{number}"))
    seen: list[str] = []
    entries: list[MalformedEntry] = []

    async def look() -> None:
        states = client.list()
        if stepping.is_async:
            async for state in states:
                seen.append(state.workflow_id)
        else:
            await asyncio.to_thread(lambda: [seen.append(state.workflow_id) for state in states])

    with pytest.raises(MalformedDocumentError) as caught:
        await look()
    tolerant = await stepping.all(client.list(on_malformed=entries.append))

    assert seen == [state.workflow_id for state in tolerant] == ["wf-0", "wf-1", "wf-2"]
    assert caught.value.count == 3
    assert list(caught.value.entries) == entries
    assert [(entry.key, entry.revision) for entry in entries] == [("bad-0", 1), ("bad-1", 3), ("bad-2", 5)]
    assert all(entry.reason for entry in entries)


async def test_a_list_that_is_left_early_leaves_nothing_running(
    stepping: Stepping, client: Any, service: Service, nats_client: nats.NATS
) -> None:
    document = json.dumps({"WorkflowID": "", "Error": "x" * 10_000})
    puts = (put(nats_client, f"wf-{n}", document.replace('""', f'"wf-{n}"', 1).encode()) for n in range(1500))
    await asyncio.gather(*puts)

    def calls() -> bool:
        return not service._calls.idle.is_set()

    for _ in range(5):
        assert (await stepping.first(client.list())).workflow_id == "wf-0"
    gc.collect()

    async def idle() -> bool:
        return not calls()

    await until(idle)
    before = nats_client.stats["in_msgs"]
    await asyncio.sleep(0.1)
    assert nats_client.stats["in_msgs"] == before
    # The control: a list that goes on does have a call.
    states = client.list()
    await stepping(anext if stepping.is_async else next, states)
    assert calls()
    await stepping(states.aclose if stepping.is_async else states.close)
    await until(idle)


async def test_nats_away_is_told_with_what_became_of_a_write(
    stepping: Stepping, once: Any, nats_server: NatsServer, nats_client: nats.NATS
) -> None:
    await stepping(once.save, WorkflowState("wf-1"))
    nats_server.kill()

    async def noticed() -> bool:
        return not nats_client.is_connected

    await until(noticed)
    save = await raised(stepping, UnavailableError, once.save, WorkflowState("wf-2"))
    delete = await raised(stepping, UnavailableError, once.delete, "wf-1")
    load = await raised(stepping, UnavailableError, once.load, "wf-1")

    assert save.outcome == "not_applied"
    assert delete.outcome in {"not_applied", "unknown"}
    assert load.outcome is None
    for error in (save, delete, load):
        assert error.reason == "ERROR_REASON_STORAGE_UNAVAILABLE"
        assert error.retry_after_seconds


async def test_a_write_that_nats_does_not_answer_in_time_is_unknown(
    stepping: Stepping, client: Any, nats_server: NatsServer
) -> None:
    await stepping(client.save, WorkflowState("wf-1"))
    nats_server.pause()

    save = await raised(stepping, DeadlineExceededError, client.save, WorkflowState("wf-2"), timeout=0.2)
    load = await raised(stepping, DeadlineExceededError, client.load, "wf-1", timeout=0.2)
    nats_server.resume()

    assert (save.outcome, load.outcome) == ("unknown", None)


async def test_a_bucket_that_was_deleted_is_told_and_used_again(
    stepping: Stepping, client: Any, nats_client: nats.NATS
) -> None:
    await stepping(client.save, WorkflowState("wf-1"))
    await nats_client.jetstream().delete_stream(f"KV_{BUCKET}")

    error = await raised(stepping, UnavailableError, client.save, WorkflowState("wf-2"))

    assert (error.reason, error.outcome) == ("ERROR_REASON_BUCKET_RECREATED", "not_applied")
    assert (await stepping(client.save, WorkflowState("wf-2"))).revision == 1


async def test_a_server_that_drains_tells_so(stepping: Stepping, once: Any, service: Service) -> None:
    await stepping(once.save, WorkflowState("wf-1"))
    # What a drain does first. It would end the connection as well, if the call came later than it waits for one.
    service._calls.close()

    error = await raised(stepping, UnavailableError, once.save, WorkflowState("wf-2"))
    await service.drain()
    gone = await raised(stepping, UnavailableError, once.save, WorkflowState("wf-2"), timeout=5)

    assert (error.reason, error.outcome) == ("ERROR_REASON_SHUTTING_DOWN", "not_applied")
    assert (gone.reason, gone.outcome) == (None, "unknown")


class Interfering(JetStreamStore):
    """A store that another writer is always faster than, or that meets what nobody foresaw."""

    interfere: Callable[[], Any]

    async def _write(self, *arguments: Any) -> int | None:
        await self.interfere()
        return await super()._write(*arguments)


@pytest.fixture
async def interfering(
    nats_client: nats.NATS, jetstream_store: JetStreamStore, stepping: Stepping
) -> AsyncIterator[tuple[Any, Interfering]]:
    async with (
        Interfering.over(nats_client, BUCKET, BucketOptions(create=False)) as store,
        serving({BUCKET: store}, drain_seconds=0) as service,
    ):
        client = stepping.kind(service.address)
        yield client, store
        await stepping(client.close)


async def test_a_delete_that_others_keep_outrunning_gives_up_and_says_so(
    stepping: Stepping, interfering: tuple[Any, Interfering], jetstream_store: JetStreamStore
) -> None:
    client, store = interfering
    times = 0

    async def save_first() -> None:
        nonlocal times
        times += 1
        await jetstream_store.save(model.WorkflowState("wf-1"))

    await save_first()
    store.interfere = save_first

    error = await raised(stepping, ContendedError, client.delete, "wf-1")

    assert (error.workflow_id, error.outcome) == ("wf-1", "not_applied")
    assert times == CONTENDED_ATTEMPTS_MAX + 1
    assert error.retry_after_seconds


async def test_what_the_server_did_not_foresee_has_an_id(
    stepping: Stepping, interfering: tuple[Any, Interfering], caplog: pytest.LogCaptureFixture
) -> None:
    client, store = interfering

    async def fail() -> None:
        raise RuntimeError("secret")

    store.interfere = fail

    error = await raised(stepping, InternalError, client.save, WorkflowState("wf-1"))

    assert len(error.error_id) == 32
    assert error.error_id in caplog.text
    assert "secret" not in str(error)
    assert error.outcome == "unknown"


async def test_a_bucket_that_may_not_be_made_again_is_told(
    stepping: Stepping, interfering: tuple[Any, Interfering], nats_client: nats.NATS
) -> None:
    client, _ = interfering
    await nats_client.jetstream().delete_stream(f"KV_{BUCKET}")

    error = await raised(stepping, BucketNotFoundError, client.load, "wf-1")

    assert error.bucket == BUCKET


async def test_a_channel_that_was_given_is_not_closed(stepping: Stepping, service: Service) -> None:
    if stepping.is_async:
        async with grpc.aio.insecure_channel(service.address) as channel:
            for number in range(2):
                async with AsyncClient(channel=channel) as client:
                    await client.save(WorkflowState(f"wf-{number}"))
        return

    def twice() -> None:
        with grpc.insecure_channel(service.address) as channel:
            for number in range(2):
                with Client(channel=channel) as client:
                    client.save(WorkflowState(f"wf-{number}"))

    await asyncio.to_thread(twice)


async def test_a_hundred_calls_at_once_each_get_their_own_answer(stepping: Stepping, client: Any) -> None:
    await asyncio.gather(*(stepping(client.save, WorkflowState(f"wf-{n}", input=n)) for n in range(100)))

    loaded = await asyncio.gather(*(stepping(client.load, f"wf-{n}") for n in range(100)))

    assert [(state.workflow_id, state.input) for state in loaded] == [(f"wf-{n}", n) for n in range(100)]


async def test_concurrent_changes_with_expected_revisions_lose_none(stepping: Stepping, client: Any) -> None:
    await stepping(client.save, WorkflowState("counter", result=0))

    async def add_one() -> None:
        while True:
            state = await stepping(client.load, "counter")
            try:
                await stepping(client.save, state.replace(result=state.result + 1), expected_revision=state.revision)
            except RevisionMismatchError:
                continue
            return

    await asyncio.gather(*(add_one() for _ in range(20)))

    assert (await stepping(client.load, "counter")).result == 20
