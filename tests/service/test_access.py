"""Who may not do something learns nothing by trying: every RPC, and every boundary."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from support.entries import indexed
from support.statuses import failure, rest, stream_failure
from support.waiting import until
from workflowstore import AsyncClient, Client, PermissionDeniedError, UnauthenticatedError
from workflowstore import WorkflowState as ClientState
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore.v1.workflow_store_pb2_grpc import WorkflowStoreStub
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.errors import Unauthenticated
from workflowstore_server.model.state import WorkflowState, WorkflowStatus
from workflowstore_server.service import access, tokens
from workflowstore_server.service.access import AccessOptions
from workflowstore_server.service.calls import CallOptions
from workflowstore_server.service.policy import Access
from workflowstore_server.service.rules import RULES
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import Servicer
from workflowstore_server.store.memory import MemoryStore

from .conftest import about  # type: ignore[import-not-found]

METHODS = pb.DESCRIPTOR.services_by_name["WorkflowStore"].methods_by_name
STREAMS = {name for name, method in METHODS.items() if method.server_streaming}

POLICY = """
[[grant]]
identity = "admin"
bucket = "*"
access = "admin"

[[grant]]
identity = "billing"
bucket = "one"
prefix = "billing-"
access = "admin"

[[grant]]
identity = "billing"
bucket = "one"
prefix = "invoice-"
access = "admin"

[[grant]]
identity = "writer"
bucket = "one"
access = "write"

[[grant]]
identity = "reader"
bucket = "one"
access = "read"
"""
IDENTITIES = ("admin", "billing", "writer", "reader", "nobody")


@dataclass
class World:
    """A server of two buckets that asks who calls, and the files by which it knows."""

    service: Service
    one: MemoryStore
    two: MemoryStore
    policy: Path
    tokens: Path
    of: dict[str, str]
    """Tokens by identity."""
    channel: grpc.aio.Channel

    async def call(self, method: str, request: Message, identity: str | None, **metadata: str) -> Any:
        """Make a call, and return its reply or the list of its messages."""
        if identity is not None:
            metadata["authorization"] = f"Bearer {self.of[identity]}"
        # Else each call is told another id.
        metadata["x-request-id"] = "test"
        call = getattr(WorkflowStoreStub(self.channel), method)(request, metadata=tuple(metadata.items()))
        if method == "Watch":
            return [await call.read()]
        return [message async for message in rest(call)] if method in STREAMS else await call

    async def refusal(self, method: str, request: Message, identity: str | None, **metadata: str) -> bytes:
        """All that a caller who must be refused is told, byte for byte."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request, identity, **metadata)
        status = rpc_status.from_call(caught.value)
        assert status is not None
        trailing = sorted(key for key, _ in caught.value.trailing_metadata())
        return repr((caught.value.code().name, status.SerializeToString(deterministic=True), trailing)).encode()

    async def revisions(self) -> list[int]:
        return [(await store.position()).last_revision for store in (self.one, self.two)]


@asynccontextmanager
async def served(
    folder: Path,
    policy: str = POLICY,
    one: MemoryStore | None = None,
    two: MemoryStore | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    one, two = one or MemoryStore("one"), two or MemoryStore("two")
    policy_file, tokens_file = folder / "policy.toml", folder / "tokens"
    policy_file.write_text(policy)
    of = {}
    for identity in IDENTITIES:
        of[identity], token = tokens.new(identity)
        tokens.add(tokens_file, token)
    async with AsyncExitStack() as stack:
        indexes = {store.bucket: await stack.enter_async_context(indexed(store)) for store in (one, two)}
        servicer = Servicer({"one": one, "two": two}, indexes, about, lambda: 0)
        listen = ServiceOptions(
            "127.0.0.1:0", drain_seconds=1, access=AccessOptions(policy_file, tokens_file), **options
        )
        service = Service(servicer, indexes, listen)
        await service.start()
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.address))
        try:
            yield World(service, one, two, policy_file, tokens_file, of, channel)
        finally:
            await service.drain()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with served(tmp_path) as world:
        yield world


def document(workflow_id: str) -> bytes:
    return json.dumps({"WorkflowID": workflow_id}).encode()


def about_one(bucket: str, id_: str) -> dict[str, list[Message]]:
    """For every RPC the requests that are about one workflow, or what begins with its id."""
    state = state_pb.WorkflowState(workflow_id=id_)
    wanted = WorkflowFilter(workflow_id_prefix=id_)
    stored = pb.StoredDocument(key=key_of(id_), document=document(id_))
    return {
        "Save": [pb.SaveRequest(bucket=bucket, state=state)],
        "Update": [
            pb.UpdateRequest(bucket=bucket, state=state, set_labels={"a": "b"}),
            pb.UpdateRequest(bucket=bucket, state=state, set_labels={"a": "b"}, allow_missing=True),
        ],
        "Load": [pb.LoadRequest(bucket=bucket, workflow_id=id_)],
        "List": [pb.ListRequest(bucket=bucket, filter=wanted)],
        "Watch": [
            pb.WatchRequest(bucket=bucket, filter=wanted, snapshot=True),
            pb.WatchRequest(bucket=bucket, filter=wanted, after_revision=0),
        ],
        "ListRevisions": [pb.ListRevisionsRequest(bucket=bucket, workflow_id=id_)],
        "Count": [pb.CountRequest(bucket=bucket, filter=wanted)],
        "Delete": [
            pb.DeleteRequest(bucket=bucket, workflow_id=id_),
            pb.DeleteRequest(bucket=bucket, workflow_id=id_, purge=True),
        ],
        "SaveBatch": [
            pb.SaveBatchRequest(bucket=bucket, items=[pb.SaveBatchItem(state=state)]),
            pb.SaveBatchRequest(bucket=bucket, items=[pb.SaveBatchItem(state=state)], atomic=True),
        ],
        "LoadBatch": [pb.LoadBatchRequest(bucket=bucket, workflow_ids=[id_])],
        "DeleteBatch": [
            pb.DeleteBatchRequest(bucket=bucket, items=[pb.DeleteBatchItem(workflow_id=id_)]),
            pb.DeleteBatchRequest(bucket=bucket, filter=wanted, limit=1000),
            pb.DeleteBatchRequest(bucket=bucket, filter=wanted, limit=1000, dry_run=True),
            pb.DeleteBatchRequest(bucket=bucket, filter=wanted, limit=1000, purge=True),
        ],
        "Export": [pb.ExportRequest(bucket=bucket, filter=wanted)],
        "Import": [pb.ImportRequest(bucket=bucket, documents=[stored], on_conflict=pb.ON_CONFLICT_OVERWRITE)],
        "GetInfo": [pb.GetInfoRequest(bucket=bucket)],
    }


def requests(bucket: str, id_: str, *, but: Iterable[str] = ()) -> list[tuple[str, Message]]:
    every = about_one(bucket, id_)
    # A new RPC has to find its place here and in the rules.
    assert every.keys() == set(METHODS) == RULES.keys()
    return [(method, request) for method, ones in every.items() if method not in but for request in ones]


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer wst_unknown", "Basic YTpi"])
async def test_who_is_not_known_gets_one_answer_to_everything(world: World, value: str | None) -> None:
    await world.one.save(WorkflowState("there"))
    before = await world.revisions()
    metadata = {} if value is None else {"authorization": value}
    asked = [*requests("one", "there"), *requests("one", "none"), *requests("nix", "x"), *requests("", "")]

    told = {await world.refusal(method, request, None, **metadata) for method, request in asked}

    assert len(told) == 1
    assert b"UNAUTHENTICATED" in told.pop()
    assert await world.revisions() == before


@pytest.mark.parametrize("identity", ["nobody", "reader", "writer", "billing"])
async def test_a_bucket_out_of_reach_is_as_one_that_is_not_there(world: World, identity: str) -> None:
    await world.two.save(WorkflowState("billing-1"))
    before = await world.revisions()

    for id_ in ("billing-1", "none", ""):
        for (method, request), (_, elsewhere) in zip(requests("two", id_), requests("nix", id_), strict=True):
            told = await world.refusal(method, request, identity)
            assert b"PERMISSION_DENIED" in told
            assert told.replace(b"two", b"nix") == await world.refusal(method, elsewhere, identity), method
    assert await world.revisions() == before


async def test_a_workflow_out_of_reach_is_as_one_that_is_not_there(world: World) -> None:
    await world.one.save(WorkflowState("other-there", labels={"team": "x"}))
    world.one.store("other-wrong", b"{")
    before = await world.revisions()
    asked = [requests("one", f"other-{name}", but=["GetInfo"]) for name in ("there", "wrong", "nixxx")]

    for (method, there), (_, malformed), (_, none) in zip(*asked, strict=True):
        told = await world.refusal(method, none, "billing")
        assert b"PERMISSION_DENIED" in told
        assert told.replace(b"nixxx", b"there") == await world.refusal(method, there, "billing"), method
        assert told.replace(b"nixxx", b"wrong") == await world.refusal(method, malformed, "billing"), method
    assert await world.revisions() == before


@pytest.mark.parametrize(
    ("identity", "level"), [("reader", Access.READ), ("writer", Access.WRITE), ("admin", Access.ADMIN)]
)
async def test_each_call_needs_the_access_that_its_rule_says(world: World, identity: str, level: int) -> None:
    for method, request in requests("one", "wf"):
        await world.one.save(WorkflowState("wf"))
        if RULES[method].access(request) <= level:
            await world.call(method, request, identity)
        else:
            before = await world.revisions()
            assert b"PERMISSION_DENIED" in await world.refusal(method, request, identity)
            assert await world.revisions() == before


async def test_a_refusal_of_the_longest_names_gets_through(world: World) -> None:
    for request in (
        pb.LoadRequest(bucket="x" * 1_000_000, workflow_id="wf"),
        pb.LoadRequest(bucket="one", workflow_id="\u00e9" * 1_000_000),
    ):
        found = await failure(_call(world, request, "nobody"))
        assert found.reason == "PERMISSION_DENIED"
        assert found.metadata["bucket"] == request.bucket[:256]
        assert found.metadata["workflow_id"] == request.workflow_id[:256]


async def test_one_item_out_of_reach_refuses_the_whole_batch(world: World) -> None:
    states = [state_pb.WorkflowState(workflow_id=id_) for id_ in ("billing-1", "other-1")]
    batches: list[tuple[str, Message]] = [
        ("SaveBatch", pb.SaveBatchRequest(bucket="one", items=[pb.SaveBatchItem(state=state) for state in states])),
        ("LoadBatch", pb.LoadBatchRequest(bucket="one", workflow_ids=["billing-1", "other-1"])),
        (
            "DeleteBatch",
            pb.DeleteBatchRequest(
                bucket="one", items=[pb.DeleteBatchItem(workflow_id=state.workflow_id) for state in states]
            ),
        ),
        (
            "Import",
            pb.ImportRequest(
                bucket="one",
                documents=[pb.StoredDocument(key=id_, document=document(id_)) for id_ in ("billing-1", "other-1")],
            ),
        ),
        # A key that stands for no workflow belongs to those who have the whole bucket.
        ("Import", pb.ImportRequest(bucket="one", documents=[pb.StoredDocument(key="=", document=b"{}")])),
    ]
    for method, request in batches:
        assert b"PERMISSION_DENIED" in await world.refusal(method, request, "billing")
    assert await world.revisions() == [0, 0]
    assert (await world.call("Import", batches[-1][1], "admin")).results[0].revision == 1


NAMES_WORKFLOWS = {"workflow_id", "workflow_ids", "workflow_id_prefix", "key"}
"""Fields of requests that say which workflows they are about."""


def named_in(message: Message, path: str = "") -> Iterator[tuple[str, Message, Any, int | None]]:
    """Where a request says which workflow it is about: path, message, field, and place in the field if that repeats."""
    for field, value in message.ListFields():
        values = list(enumerate(value)) if field.is_repeated else [(None, value)]
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for _, part in values:
                yield from named_in(part, f"{path}{field.name}.")
        elif field.name in NAMES_WORKFLOWS:
            for place, _ in values:
                yield f"{path}{field.name}", message, field, place


def paths_of(message: Any, path: str = "") -> Iterator[str]:
    """Where requests of a type can say which workflow they are about."""
    for field in message.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from paths_of(field.message_type, f"{path}{field.name}.")
        elif field.name in NAMES_WORKFLOWS:
            yield f"{path}{field.name}"


async def test_every_field_that_names_a_workflow_is_looked_at(world: World) -> None:
    looked_at = set()
    for method, request in requests("one", "billing-1"):
        for path, message, field, place in list(named_in(request)):
            looked_at.add((method, path))
            before = getattr(message, field.name) if place is None else getattr(message, field.name)[place]
            for other in ("other-1", "Billing-1"):
                _set(message, field.name, place, other)
                assert b"PERMISSION_DENIED" in await world.refusal(method, request, "billing"), (method, path)
            _set(message, field.name, place, before)
        await world.one.save(WorkflowState("billing-1"))
        await world.call(method, request, "billing")

    # None of those that there are is missing in the requests above.
    assert looked_at == {(name, path) for name, method in METHODS.items() for path in paths_of(method.input_type)}


def _set(message: Message, name: str, place: int | None, value: str) -> None:
    if place is None:
        setattr(message, name, value)
    else:
        getattr(message, name)[place] = value


async def fill(world: World, others: bool) -> None:
    """Store what `billing` may know of, and beside it what it may not, or as many other writes."""
    for number in range(6):
        id_ = f"other-{number}" if others else "zzz"
        status = WorkflowStatus.FAILED if number % 2 else WorkflowStatus.RUNNING
        state = WorkflowState(id_, run_id="run", status=status, labels={"team": f"t{number}"}, updated_at_ns=number)
        await (world.one.save(state) if others else world.one.save(WorkflowState(id_)))
    for key in ("other-wrong", "=wrong", "bill", "a"):
        world.one.store(key if others else "zzz", b"{" if others else document("zzz"))
    for number, prefix in enumerate(("billing-", "invoice-", "billing-", "invoice-")):
        labels = {"team": f"t{number % 2}"}
        await world.one.save(WorkflowState(f"{prefix}{number}", run_id="run", labels=labels, updated_at_ns=-number))
    world.one.store("billing-wrong", b"{")


def selecting() -> list[tuple[str, Message]]:
    """Requests for all that can be selected, in all the ways there are."""
    found: list[tuple[str, Message]] = []
    for wanted in (
        None,
        WorkflowFilter(),
        WorkflowFilter(workflow_id_prefix="b"),
        WorkflowFilter(workflow_id_prefix="billing-0"),
        WorkflowFilter(run_id="run"),
        WorkflowFilter(labels={"team": "t1"}),
        WorkflowFilter(statuses=[0, 1]),
    ):
        for view in (state_pb.WORKFLOW_VIEW_SUMMARY, state_pb.WORKFLOW_VIEW_FULL):
            for order_by in pb.OrderBy.values():
                for descending in (False, True):
                    found.append(
                        (
                            "List",
                            pb.ListRequest(
                                bucket="one", filter=wanted, view=view, order_by=order_by, descending=descending
                            ),
                        )
                    )
            found.append(("Watch", pb.WatchRequest(bucket="one", filter=wanted, view=view, snapshot=True)))
        found += [
            ("Count", pb.CountRequest(bucket="one", filter=wanted)),
            ("Count", pb.CountRequest(bucket="one", filter=wanted, status=True)),
            ("Count", pb.CountRequest(bucket="one", filter=wanted, label="team")),
            ("Export", pb.ExportRequest(bucket="one", filter=wanted)),
            ("DeleteBatch", pb.DeleteBatchRequest(bucket="one", filter=wanted or {}, limit=9, dry_run=True)),
        ]
    # By then the index has come to the bucket's end.
    found.append(("GetInfo", pb.GetInfoRequest(bucket="one")))
    found.append(("DeleteBatch", pb.DeleteBatchRequest(bucket="one", filter={}, limit=3, request_id="r")))
    return found


async def test_whatever_else_is_in_the_bucket_all_replies_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a caller who may know of a part of it only, byte for byte, but for what tells the time."""
    monkeypatch.setattr("workflowstore_server.store.memory.time.time_ns", lambda: 1)
    told: list[list[tuple[Message, Any]]] = []
    for others in (True, False):
        folder = tmp_path / str(others)
        folder.mkdir()
        async with served(folder) as world:
            await fill(world, others)
            told.append([(request, await world.call(method, request, "billing")) for method, request in selecting()])
            left = await world.call("Count", pb.CountRequest(bucket="one"), "admin")
            assert left.count == (6 if others else 1) + 1

    for (request, with_others), (_, alone) in zip(*told, strict=True):
        assert with_others == alone, request
    assert "other" not in repr(told)
    lists = [
        reply for request, reply in told[0] if isinstance(request, pb.ListRequest) and not request.filter.ByteSize()
    ]
    assert {state.workflow_id for reply in lists for chunk in reply for state in chunk.states} == {
        "billing-0", "invoice-1", "billing-2", "invoice-3",
    }  # fmt: skip
    assert {entry.key for reply in lists for chunk in reply for entry in chunk.malformed} == {"billing-wrong"}


async def test_a_watch_tells_of_what_its_caller_may_know_alone(world: World) -> None:
    metadata = (("authorization", f"Bearer {world.of['billing']}"),)
    watch = WorkflowStoreStub(world.channel).Watch(pb.WatchRequest(bucket="one"), metadata=metadata)
    await watch.read()

    world.one.store("=wrong", b"{")
    for id_ in ("other-1", "billing-1", "invoice-1"):
        await world.one.save(WorkflowState(id_))
        await world.one.delete("other-1" if id_ == "other-1" else "none")
    changes = []
    while len(changes) < 2:
        changes += (await watch.read()).changes
    resumed = await world.call("Watch", pb.WatchRequest(bucket="one", after_revision=0), "billing")
    watch.cancel()

    assert [change.workflow_id for change in changes] == ["billing-1", "invoice-1"]
    assert not [change for message in resumed for change in message.changes if change.workflow_id[:1] not in "bi"]


async def test_a_page_token_opens_nothing_to_those_who_have_it_from_others(world: World) -> None:
    await fill(world, others=True)
    for order_by in pb.OrderBy.values():
        request = pb.ListRequest(bucket="one", order_by=order_by, limit=2)
        pages = await world.call("List", request, "admin")
        found = []
        while request.page_token != pages[-1].next_page_token:
            request.page_token = pages[-1].next_page_token
            found += await world.call("List", pb.ListRequest.FromString(request.SerializeToString()), "billing")
            pages = await world.call("List", request, "admin")
            if not pages[-1].next_page_token:
                break
        seen = {state.workflow_id for chunk in found for state in chunk.states}
        assert seen
        assert all(id_.startswith(("billing-", "invoice-")) for id_ in seen)
        assert {entry.key for chunk in found for entry in chunk.malformed} <= {"billing-wrong"}


async def test_its_own_page_tokens_lead_a_caller_through_all_that_it_may_see(world: World) -> None:
    await fill(world, others=True)
    for order_by in pb.OrderBy.values():
        request = pb.ListRequest(bucket="one", order_by=order_by, limit=1)
        found: list[str] = []
        while True:
            pages = await world.call("List", request, "billing")
            found += [state.workflow_id for chunk in pages for state in chunk.states]
            if not pages[-1].next_page_token:
                break
            request.page_token = pages[-1].next_page_token
        assert sorted(found) == ["billing-0", "billing-2", "invoice-1", "invoice-3"]


async def test_a_request_id_of_another_caller_tells_nothing_of_what_it_deleted(world: World) -> None:
    await fill(world, others=True)
    request = pb.DeleteBatchRequest(bucket="one", filter=WorkflowFilter(), limit=9, request_id="guessed")
    everything = await world.call("DeleteBatch", request, "admin")
    await world.one.save(WorkflowState("billing-new"))

    told = await world.call("DeleteBatch", request, "billing")

    assert {result.workflow_id for result in everything.results} > {"other-1", "billing-0"}
    assert [result.workflow_id for result in told.results if not result.workflow_id.startswith("invoice-")] == [
        "billing-new"
    ]
    again = await world.call("DeleteBatch", request, "admin")
    assert {result.workflow_id for result in again.results} == {result.workflow_id for result in everything.results}


async def test_get_info_names_the_buckets_that_its_caller_may_read_and_counts_what_it_may_see(world: World) -> None:
    await fill(world, others=True)
    await world.call("Count", pb.CountRequest(bucket="one"), "admin")
    info = {identity: await world.call("GetInfo", pb.GetInfoRequest(bucket="one"), identity) for identity in world.of
            if identity != "nobody"}  # fmt: skip

    assert list(info["admin"].buckets) == ["one", "two"]
    assert list(info["reader"].buckets) == list(info["billing"].buckets) == ["one"]
    assert info["reader"].index.workflow_count == 10
    assert info["billing"].index.workflow_count == info["billing"].bucket.revisions == 0


async def test_health_answers_everybody_and_tells_of_indexes_those_who_may_read_in_them(world: World) -> None:
    await world.service.set_serving(serving=True)
    for identity, buckets in ((None, ()), ("nobody", ()), ("reader", ("one",)), ("admin", ("one", "two"))):
        metadata = [("authorization", f"Bearer {world.of[identity]}")] if identity else []
        call = health_pb2_grpc.HealthStub(world.channel).Check(health_pb2.HealthCheckRequest(), metadata=metadata)
        told = [value for key, value in await call.trailing_metadata() if key == "workflowstore-index"]

        assert (await call).status == health_pb2.HealthCheckResponse.SERVING
        assert sorted(value.split()[0] for value in told) == [f"bucket={bucket}" for bucket in buckets]


@pytest.mark.parametrize("asked", [None, True, False])
async def test_where_callers_have_to_be_known_the_api_is_described_only_if_that_is_asked_for(
    tmp_path: Path, asked: bool | None
) -> None:
    async with served(tmp_path, reflection=asked) as world:
        for version in ("v1", "v1alpha"):
            method = world.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
            call = method(iter([b""]))
            code = (await call.code()) if not asked else None
            assert code is (None if asked else grpc.StatusCode.UNIMPLEMENTED)
        method = world.channel.unary_unary("/grpc.channelz.v1.Channelz/GetServers")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "READ_SECONDS", 0.02)


async def streaming(world: World, identity: str, request: pb.WatchRequest | None = None) -> Any:
    metadata = (("authorization", f"Bearer {world.of[identity]}"),)
    watch = WorkflowStoreStub(world.channel).Watch(request or pb.WatchRequest(bucket="one"), metadata=metadata)
    assert await watch.read() is not grpc.aio.EOF
    return watch


@pytest.mark.usefixtures("soon")
async def test_a_stream_ends_when_its_token_is_revoked_and_those_of_others_go_on(world: World) -> None:
    reader, writer = await streaming(world, "reader"), await streaming(world, "writer")

    tokens.remove(world.tokens, "reader")

    _, ended = await stream_failure(reader)
    assert (ended.code, ended.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert b"UNAUTHENTICATED" in await world.refusal("Load", pb.LoadRequest(workflow_id="wf"), "reader")
    await world.one.save(WorkflowState("wf"))
    while not (message := await writer.read()).changes:
        pass
    assert message.changes[0].workflow_id == "wf"
    writer.cancel()


@pytest.mark.usefixtures("soon")
async def test_a_stream_that_nobody_reads_ends_when_its_token_is_revoked(world: World) -> None:
    for number in range(40):
        world.one.store(f"wf-{number}", json.dumps({"WorkflowID": f"wf-{number}", "Error": "x" * 500_000}).encode())
    metadata = (("authorization", f"Bearer {world.of['reader']}"),)
    request = pb.ListRequest(bucket="one", view=state_pb.WORKFLOW_VIEW_FULL)
    stalled = WorkflowStoreStub(world.channel).List(request, metadata=metadata)
    await stalled.read()
    await until(lambda: _true(any(call.sending_bytes for call in world.service._calls.lists.running)))

    tokens.remove(world.tokens, "reader")

    await until(lambda: _true(not world.service._calls.lists.running))
    messages, ended = await stream_failure(stalled)
    assert ended.reason == "UNAUTHENTICATED"
    assert sum(len(message.states) for message in messages) < 39


@pytest.mark.usefixtures("soon")
async def test_a_request_that_comes_after_its_token_was_revoked_is_not_answered(world: World) -> None:
    """However long its call has been there, as one that was begun in stock."""
    await world.one.save(WorkflowState("wf"))
    path = "/workflowstore.v1.WorkflowStore/Load"
    metadata = (("authorization", f"Bearer {world.of['reader']}"),)
    call = world.channel.stream_unary(path)(metadata=metadata)
    await until(lambda: _true(bool(world.service._calls.arriving.running)))

    tokens.remove(world.tokens, "reader")

    async def forgotten() -> bool:
        return tokens.digest_of(world.of["reader"]) not in world.service._gate._by_digest  # type: ignore[union-attr]

    await until(forgotten)
    await call.write(pb.LoadRequest(bucket="one", workflow_id="wf").SerializeToString())
    await call.done_writing()
    assert (await failure(call)).reason == "UNAUTHENTICATED"


@pytest.mark.usefixtures("soon")
async def test_a_stream_ends_when_some_of_its_access_is_withdrawn_and_goes_on_when_more_is_granted(
    world: World,
) -> None:
    narrow = await streaming(world, "billing", pb.WatchRequest(bucket="one", filter={"workflow_id_prefix": "billing-"}))
    wide = await streaming(world, "billing")

    world.policy.write_text(POLICY.replace("invoice-", "receipt-"))

    _, ended = await stream_failure(wide)
    assert (ended.code, ended.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    await world.one.save(WorkflowState("billing-1"))
    while not (await narrow.read()).changes:
        pass
    narrow.cancel()
    await world.call("Load", pb.LoadRequest(workflow_id="billing-1"), "billing")
    assert b"PERMISSION_DENIED" in await world.refusal("Load", pb.LoadRequest(workflow_id="invoice-1"), "billing")


@pytest.mark.usefixtures("soon")
async def test_a_stream_ends_when_its_token_expires(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.of["short"], token = tokens.new("reader", datetime.now(UTC) + timedelta(hours=1))
    tokens.add(world.tokens, token)

    async def known() -> bool:
        return token.digest in world.service._gate._by_digest  # type: ignore[union-attr]

    await until(known)
    watch = await streaming(world, "short")

    # It is two hours later.
    late = SimpleNamespace(time=lambda: time.time() + 7200, monotonic=time.monotonic)
    monkeypatch.setattr(access, "time", late)

    _, ended = await stream_failure(watch)
    assert ended.reason == "UNAUTHENTICATED"
    assert b"UNAUTHENTICATED" in await world.refusal("Load", pb.LoadRequest(workflow_id="wf"), "short")


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("written", ["policy", "tokens"])
async def test_a_file_that_is_read_while_it_is_written_takes_nothing_away(
    world: World, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As editors, cp and the shell write a file: it is empty for a moment, which as a policy would mean nobody."""
    watch = await streaming(world, "reader")
    file: Path = getattr(world, written)
    rest_of_it = file.read_bytes() + b"\n# as it was\n"
    bytes_of = access._bytes_of
    seen: list[bytes] = []

    def read_before_the_rest_is_written(read: Path) -> bytes:
        found = bytes_of(read)
        if read == file:
            seen.append(found)
            if not found:
                file.write_bytes(rest_of_it)
        return found

    monkeypatch.setattr(access, "_bytes_of", read_before_the_rest_is_written)
    await until(lambda: _true(bool(seen)))
    file.write_bytes(b"")

    await until(lambda: _true(rest_of_it in world.service._gate._texts))  # type: ignore[union-attr]
    assert b"" in seen
    await world.one.save(WorkflowState("wf"))
    while not (message := await watch.read()).changes:
        pass
    assert message.changes[0].workflow_id == "wf"
    watch.cancel()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("broken", ["policy", "tokens", "gone"])
async def test_a_file_that_cannot_be_used_changes_nothing_and_is_told(
    world: World, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    watch = await streaming(world, "reader")
    if broken == "gone":
        world.tokens.unlink()
    else:
        getattr(world, broken).write_text("not = [")

    await until(lambda: _true("what was read before holds" in caplog.text))
    await world.one.save(WorkflowState("wf"))
    assert (await world.call("Load", pb.LoadRequest(workflow_id="wf"), "reader")).state.workflow_id == "wf"
    watch.cancel()
    assert world.of["reader"] not in caplog.text


async def test_the_clients_show_their_token_with_each_call_and_the_new_one_when_it_has_changed(world: World) -> None:
    shown = [world.of["writer"]]
    async with AsyncClient(world.service.address, bucket="one", token=lambda: shown[-1]) as client:
        saved = await client.save(ClientState("wf"))
        assert [found.workflow_id async for found in client.list()] == ["wf"]
        async with aclosing(client.watch(snapshot=True)) as changes:
            assert (await anext(changes)).revision == saved.revision
        assert [revision.revision async for revision in client.list_revisions("wf")] == [saved.revision]
        shown.append(world.of["reader"])
        with pytest.raises(PermissionDeniedError) as denied:
            await client.save(ClientState("wf"))
        shown.append("unknown")
        with pytest.raises(UnauthenticatedError):
            await client.load("wf")
        assert "wst_" not in repr(client) + repr(vars(client))
    assert (denied.value.identity, denied.value.access, denied.value.workflow_id) == ("reader", "write", "wf")
    assert denied.value.outcome == "not_applied"

    def synchronous() -> list[str]:
        with Client(world.service.address, bucket="one", token=world.of["reader"]) as client:
            assert client.load("wf") is not None
            return [found.workflow_id for found in client.list()]

    assert await asyncio.to_thread(synchronous) == ["wf"]


class Connected:
    """What is known of a call whose connection has such properties."""

    def __init__(self, properties: dict[str, list[bytes]], *metadata: tuple[str, str]) -> None:
        self.properties = properties
        self.metadata = metadata

    def auth_context(self) -> dict[str, list[bytes]]:
        return self.properties

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata


@pytest.mark.parametrize(
    ("properties", "identity"),
    [
        ({"x509_common_name": [b"billing"], "x509_subject_alternative_name": [b"b.example"]}, "billing"),
        ({"x509_subject_alternative_name": [b"spiffe://example/b", b"b.example"]}, "spiffe://example/b"),
        ({"x509_common_name": [b""], "x509_subject_alternative_name": [b"b.example"]}, "b.example"),
    ],
)
async def test_a_certificate_names_who_calls_unless_a_token_does(
    world: World, properties: dict[str, list[bytes]], identity: str
) -> None:
    gate: Any = world.service._gate
    named = gate.caller(Connected(properties))
    by_token = gate.caller(Connected(properties, ("authorization", f"bearer {world.of['admin']}")))

    assert named.identity == identity
    assert by_token.identity == "admin"
    twice = [("authorization", f"Bearer {world.of[name]}") for name in ("admin", "reader")]
    for unknown in ([], [("authorization", "Bearer wst_unknown")], twice):
        with pytest.raises(Unauthenticated):
            gate.caller(Connected(properties if unknown else {}, *unknown))


@pytest.mark.parametrize(
    ("common_name", "names", "identity"),
    [("billing", ("client.example",), "billing"), (None, ("svc.example", "1.2.3.4"), "svc.example")],
)
async def test_a_certificate_names_who_calls_over_a_real_connection(
    world: World, common_name: str | None, names: tuple[str, ...], identity: str
) -> None:
    gate: Any = world.service._gate

    async def who(_: bytes, context: Any) -> bytes:
        return gate.caller(context).identity.encode()  # type: ignore[no-any-return]

    authority = trustme.CA()
    ours, theirs = authority.issue_cert("localhost"), authority.issue_cert(*names, common_name=common_name)
    pairs = [
        (made.private_key_pem.bytes(), b"".join(pem.bytes() for pem in made.cert_chain_pems)) for made in (ours, theirs)
    ]
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(who)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Who", {"Ask": handler}),))
    root = authority.cert_pem.bytes()
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials(pairs[:1], root, True))
    await server.start()
    async with grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(root, *pairs[1])) as channel:
        told: bytes = await channel.unary_unary("/test.Who/Ask")(b"")
    await server.stop(1)

    assert told.decode() == identity


LIMITS = (
    POLICY
    + """
[[limit]]
identity = "*"
calls = 2
streams = 2
request_bytes_per_second = 20_000

[[limit]]
identity = "admin"
calls = 100
streams = 100
request_bytes_per_second = 1_000_000_000
"""
)


class SlowStore(MemoryStore):
    """A store whose saves wait until a test lets them go on."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.go_on = asyncio.Event()
        self.saves = 0

    async def save(self, *arguments: Any) -> Any:
        self.saves += 1
        await self.go_on.wait()
        return await super().save(*arguments)


async def test_an_identity_has_limits_of_its_own_over_all_of_its_connections(tmp_path: Path) -> None:
    async with served(tmp_path, LIMITS, one=SlowStore("one")) as world:
        slow = world.one
        assert isinstance(slow, SlowStore)
        save = pb.SaveRequest(bucket="one", state=state_pb.WorkflowState(workflow_id="wf"))
        saves = [asyncio.ensure_future(world.call("Save", save, "writer")) for _ in range(2)]
        await until(lambda: _true(slow.saves == 2))

        own = (("grpc.use_local_subchannel_pool", 1),)
        async with grpc.aio.insecure_channel(world.service.address, options=own) as channel:
            metadata = (("authorization", f"Bearer {world.of['writer']}"),)
            found = await failure(WorkflowStoreStub(channel).Load(pb.LoadRequest(workflow_id="a"), metadata=metadata))
        others = await failure(_call(world, pb.LoadRequest(workflow_id="a"), "reader"))
        slow.go_on.set()
        await asyncio.gather(*saves)
        streams = [await streaming(world, "reader") for _ in range(2)]
        metadata = (("authorization", f"Bearer {world.of['reader']}"),)
        _, third = await stream_failure(WorkflowStoreStub(world.channel).List(pb.ListRequest(), metadata=metadata))
        for stream in streams:
            stream.cancel()

    assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "IDENTITY_LIMIT_REACHED")
    assert found.metadata == {"identity": "writer", "kind": "calls", "limit": "2"}
    assert found.retry_seconds
    assert others.reason == "WORKFLOW_NOT_FOUND"
    assert third.metadata == {"identity": "reader", "kind": "streams", "limit": "2"}


async def test_an_identity_without_limits_leaves_places_to_others(tmp_path: Path) -> None:
    """However many connections it has, and whatever bucket it calls."""
    slow = (SlowStore("one"), SlowStore("two"))
    async with served(tmp_path, POLICY, *slow, calls=CallOptions(calls_max=8)) as world, AsyncExitStack() as stack:
        metadata = (("authorization", f"Bearer {world.of['admin']}"),)
        saves: list[asyncio.Future[Any]] = []

        async def all_wait_or_are_refused() -> bool:
            return slow[0].saves + slow[1].saves + sum(1 for save in saves if save.done()) == len(saves)

        for number in range(8):
            own = (("grpc.use_local_subchannel_pool", 1),)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(world.service.address, options=own))
            state = state_pb.WorkflowState(workflow_id=f"wf-{number}")
            request = pb.SaveRequest(bucket=("one", "two")[number % 2], state=state)
            saves.append(asyncio.ensure_future(WorkflowStoreStub(channel).Save(request, metadata=metadata)))
            # One after the other: else it is up to the connections which of them come first, and to which bucket.
            await until(all_wait_or_are_refused)

        assert slow[0].saves + slow[1].saves == 5
        found = await failure(_call(world, pb.LoadRequest(bucket="one", workflow_id="none"), "reader"))
        assert found.reason == "WORKFLOW_NOT_FOUND"
        for store in slow:
            store.go_on.set()
        await asyncio.gather(*saves, return_exceptions=True)


async def test_an_identity_sends_so_many_bytes_in_a_second_and_then_waits(tmp_path: Path) -> None:
    async with served(tmp_path, LIMITS) as world:
        large = pb.SaveRequest(bucket="one", state=state_pb.WorkflowState(workflow_id="wf", error="x" * 1_000_000))
        # It is larger than what a second allows, and taken all the same; what comes next waits the longer.
        await world.call("Save", large, "writer")
        found = await failure(_call(world, pb.LoadRequest(workflow_id="wf"), "writer"))
        for _ in range(3):
            await world.call("Save", large, "admin")

    assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "IDENTITY_LIMIT_REACHED")
    assert found.metadata["kind"] == "request bytes a second"
    assert found.retry_seconds
    assert 1 < found.retry_seconds < 60


async def _call(world: World, request: pb.LoadRequest, identity: str) -> Any:
    return await world.call("Load", request, identity)


async def _true(value: bool) -> bool:
    return value
