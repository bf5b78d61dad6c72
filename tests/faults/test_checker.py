"""The checker: each of its validators finds a service that breaks its promise, and none finds one that keeps them."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from support.checker import violations
from support.checker.history import History, Told, Watched
from support.traffic import traffic
from support.waiting import until
from workflowstore.v1.workflow_store_pb2 import ChangeKind, WatchResponse
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import Chunk, Index, IndexOptions, WatchMessage, WatchStart
from workflowstore_server.model.errors import RevisionMismatch
from workflowstore_server.model.selection import WorkflowFilter
from workflowstore_server.model.state import Durability, WorkflowState, WorkflowView
from workflowstore_server.service.server import Service, ServiceOptions
from workflowstore_server.service.servicer import About, Servicer
from workflowstore_server.store import Change, Deleted, Saved
from workflowstore_server.store.memory import MemoryStore


class LosesWrites(MemoryStore):
    """Acknowledges what it does not keep, once in a while."""

    async def save(
        self,
        state: WorkflowState,
        expected_revision: int | None = None,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Saved:
        before = self._entries.get(key_of(state.workflow_id))
        saved = await super().save(state, expected_revision, write_id, again_after)
        if saved.revision % 20 == 0 and before is not None:
            self._entries[before.key] = before
        return saved


class LosesUpdates(MemoryStore):
    """Forgets now and then that a write is conditional."""

    async def save(
        self,
        state: WorkflowState,
        expected_revision: int | None = None,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Saved:
        try:
            return await super().save(state, expected_revision, write_id, again_after)
        except RevisionMismatch:
            return await super().save(state, None, write_id, again_after)


class LoadsStale(MemoryStore):
    """Reads what was there a write ago, as a replica does that lags."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self._before: dict[str, Change] = {}

    def store(self, key: str, stored: bytes | None, stored_at_ns: int | None = None) -> int:
        if key in self._entries:
            self._before[key] = self._entries[key]
        return super().store(key, stored, stored_at_ns)

    async def load(self, workflow_id: str, *arguments: Any) -> Any:
        now, key = self._entries.get(key_of(workflow_id)), key_of(workflow_id)
        if now is not None and now.revision % 10 == 0 and (before := self._before.get(key)):
            self._entries[key] = before
            try:
                return await super().load(workflow_id, *arguments)
            finally:
                self._entries[key] = now
        return await super().load(workflow_id, *arguments)


class MixesUp(LoadsStale):
    """Reads the value of a write ago under the revision of now."""

    async def load(self, workflow_id: str, *arguments: Any) -> Any:
        loaded = await super().load(workflow_id, *arguments)
        return replace(loaded, revision=self._entries[key_of(workflow_id)].revision)


class RefusesAndWrites(MemoryStore):
    """Refuses what it writes nevertheless."""

    async def save(
        self,
        state: WorkflowState,
        expected_revision: int | None = None,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Saved:
        try:
            return await super().save(state, expected_revision, write_id, again_after)
        except RevisionMismatch:
            await super().save(state)
            raise


class WritesTwice(MemoryStore):
    """Stores what it has stored, again and later."""

    async def save(
        self,
        state: WorkflowState,
        expected_revision: int | None = None,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Saved:
        saved = await super().save(state, expected_revision, write_id, again_after)
        entry = self._entries[key_of(state.workflow_id)]
        if saved.revision % 20 == 0:
            self.store(entry.key, entry.document)
        return saved


class KeepsDeleted(MemoryStore):
    """Says that it deletes."""

    async def delete(self, *arguments: Any, **options: Any) -> Deleted:
        before = dict(self._entries)
        deleted = await super().delete(*arguments, **options)
        self._entries = before
        return deleted


class GoesBack(MemoryStore):
    """Hands revisions out that are not the newest."""

    async def save(
        self,
        state: WorkflowState,
        expected_revision: int | None = None,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Saved:
        saved = await super().save(state, expected_revision, write_id, again_after)
        return saved._replace(revision=saved.revision - 3) if saved.revision % 20 == 0 and saved.revision > 3 else saved


class ListsStale(Index):
    """Answers with what the call before has found."""

    before: tuple[Chunk, ...] = ()

    async def chunks(self, *arguments: Any, **options: Any) -> AsyncGenerator[Chunk]:
        async with aclosing(super().chunks(*arguments, **options)) as chunks:
            before, self.before = self.before, tuple([chunk async for chunk in chunks])
        for chunk in before or self.before:
            yield chunk


class ListsTwice(Index):
    """Sends each chunk again."""

    async def chunks(self, *arguments: Any, **options: Any) -> AsyncGenerator[Chunk]:
        async with aclosing(super().chunks(*arguments, **options)) as chunks:
            async for chunk in chunks:
                yield chunk
                yield chunk


class _Watches(Index):
    """Changes what watchers are told."""

    def watch(
        self,
        wanted: WorkflowFilter,
        view: WorkflowView = WorkflowView.SUMMARY,
        start: WatchStart = WatchStart(),  # noqa: B008
    ) -> AsyncGenerator[WatchMessage]:
        return self.changed(super().watch(self.wanted(wanted), view, self.start(start)))

    def wanted(self, wanted: WorkflowFilter) -> WorkflowFilter:
        return wanted

    def start(self, start: WatchStart) -> WatchStart:
        return start

    async def changed(self, messages: AsyncGenerator[WatchMessage]) -> AsyncGenerator[WatchMessage]:
        async with aclosing(messages):
            async for number, message in _numbered(messages):
                for changed in self.told(number, message):
                    yield changed

    def told(self, number: int, message: WatchMessage) -> Sequence[WatchMessage]:
        return [message]


class LeavesOut(_Watches):
    def told(self, number: int, message: WatchMessage) -> Sequence[WatchMessage]:
        return [replace(message, changes=b"") if number % 10 == 0 else message]


class ForgetsDeletes(_Watches):
    def told(self, number: int, message: WatchMessage) -> Sequence[WatchMessage]:
        changes = WatchResponse.FromString(message.changes).changes
        kept = [change for change in changes if change.kind != ChangeKind.CHANGE_KIND_DELETED]
        return [replace(message, changes=WatchResponse(changes=kept).SerializeToString())]


class TellsTwice(_Watches):
    def told(self, number: int, message: WatchMessage) -> Sequence[WatchMessage]:
        return [replace(message, changes=message.changes * 2)]


class TellsBackwards(_Watches):
    def told(self, number: int, message: WatchMessage) -> Sequence[WatchMessage]:
        changes = WatchResponse.FromString(message.changes).changes
        return [replace(message, changes=WatchResponse(changes=list(changes)[::-1]).SerializeToString())]


class GoesOnTooEarly(_Watches):
    def start(self, start: WatchStart) -> WatchStart:
        return replace(start, after_revision=max(0, (start.after_revision or 0) - 5))


class TellsOthers(_Watches):
    def wanted(self, wanted: WorkflowFilter) -> WorkflowFilter:
        return WorkflowFilter()


async def _numbered(messages: AsyncGenerator[WatchMessage]) -> AsyncIterator[tuple[int, WatchMessage]]:
    number = 0
    async for message in messages:
        number += 1
        yield number, message


@asynccontextmanager
async def serving(store: MemoryStore, index_type: type[Index] = Index) -> AsyncIterator[str]:
    """The service over a store and an index of whatever kind."""
    about = About("1", "1", nats_embedded=False, durability=Durability.FSYNC_ALWAYS)
    async with index_type(store, IndexOptions(None)).following() as index:
        stores, indexes = {store.bucket: store}, {store.bucket: index}
        servicer = Servicer(stores, indexes, lambda: about, time.time_ns)
        service = Service(servicer, indexes, ServiceOptions(listen="127.0.0.1:0", drain_seconds=0.5))
        await service.start()
        await service.set_serving(serving=True)
        try:
            yield service.address
        finally:
            await service.drain()


async def history_of(store: MemoryStore, index_type: type[Index] = Index) -> History:
    """What clients saw of 300 writes and more, until who watches everything has given up and gone on."""
    async with (
        serving(store, index_type) as address,
        traffic([address], seed=1, checked=False) as clients,
    ):
        await clients.more(300)
        await until(lambda: _went_on(clients.history), seconds=60)
    return clients.history


async def _went_on(history: History) -> bool:
    return any(told.resumed for watched in history.watched if not watched.prefix for told in watched.told[:-1])


async def test_a_service_that_keeps_its_promises_passes() -> None:
    history = await history_of(MemoryStore("b"))

    assert [str(violation) for violation in violations(history)] == []
    assert len(list(history.writes())) >= 200
    assert history.listed
    assert any(told.resumed for watched in history.watched for told in watched.told)


@pytest.mark.parametrize(
    ("store_type", "index_type", "validator"),
    [
        (LosesWrites, Index, "linearizable"),
        (LosesUpdates, Index, "linearizable"),
        (LoadsStale, Index, "linearizable"),
        (LoadsStale, Index, "session"),
        (KeepsDeleted, Index, "linearizable"),
        (RefusesAndWrites, Index, "made"),
        (WritesTwice, Index, "once"),
        (GoesBack, Index, "grows"),
        (MixesUp, Index, "truthful"),
        (MemoryStore, ListsStale, "fresh"),
        (MemoryStore, ListsTwice, "each_once"),
        (MemoryStore, LeavesOut, "reliable"),
        (MemoryStore, TellsTwice, "unique"),
        (MemoryStore, TellsBackwards, "ordered"),
        (MemoryStore, GoesOnTooEarly, "resumable"),
        (MemoryStore, ForgetsDeletes, "complete"),
        (MemoryStore, TellsOthers, "filtered"),
    ],
)
async def test_each_validator_finds_a_service_that_breaks_its_promise(
    store_type: type[MemoryStore], index_type: type[Index], validator: str
) -> None:
    history = await history_of(store_type("b"), index_type)

    assert validator in {violation.validator for violation in violations(history)}


def test_a_change_that_comes_after_all_up_to_it_was_told_is_found() -> None:
    # A client that is told of what is not there yet asks for it, and is refused: no history gets so far.
    told = [Told(1, 5, "a", ("t",)), Told(2, 9), Told(3, 8, "b", ("u",))]
    history = History(watched=[Watched(0, told=told)])

    assert "bookmarkable" in {violation.validator for violation in violations(history)}
    history.watched[0].told.sort(key=lambda one: one.revision)
    assert "bookmarkable" not in {violation.validator for violation in violations(history)}
