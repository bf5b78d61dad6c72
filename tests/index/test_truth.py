"""An index that has lived through anything equals one that is built now, and answers as the memory store does."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.entries import everything, indexed, listed
from support.nats_server import NatsServer
from support.waiting import until
from workflowstore_server.codec import document
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import Index
from workflowstore_server.model.errors import BucketRecreated, StorageUnavailable
from workflowstore_server.model.selection import GroupBy, OrderBy, Selection, WorkflowFilter
from workflowstore_server.model.state import MalformedEntry, WorkflowState, WorkflowStatus
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection
from workflowstore_server.store.memory import MemoryStore

BUCKET = "b"
STREAM = f"KV_{BUCKET}"
IDS = ["wf-1", "wf-2", "order:3", "a b"]

saves = st.tuples(
    st.just("save"), st.sampled_from(IDS), st.sampled_from(WorkflowStatus), st.sampled_from(["", "blue", "red"])
)
steps = st.one_of(
    saves,
    saves,
    saves,
    st.tuples(st.sampled_from(["delete", "purge", "vanish"]), st.sampled_from(IDS)),
    st.tuples(st.just("malform"), st.sampled_from(["wf-1", "bad", "="])),
    st.tuples(st.just("mortal"), st.sampled_from(IDS)),
    st.tuples(st.just("lose oldest"), st.integers(1, 4)),
    st.sampled_from(
        [
            ("lose all",),
            ("age",),
            ("recreate",),
            ("back up",),
            ("restore",),
            ("restart index",),
            ("crash index",),
            ("restart nats",),
            ("list",),
        ]
    ),
)


class World:
    """A bucket on a real nats-server, its model, and an index that follows it."""

    def __init__(self, folder: Path, history: int) -> None:
        self.folder = folder
        self.history = history
        (folder / "nats").mkdir(parents=True)
        self.nats = NatsServer(folder / "nats")
        self.model = MemoryStore(BUCKET)
        self.clock_ns = 0
        self._has_lost = False
        """Whether the bucket has lost something without a message."""
        self._backup: dict[str, Any] | None = None
        self._stack = AsyncExitStack()
        self._of_index = AsyncExitStack()

    async def __aenter__(self) -> "World":
        # A machine that is busy may take long to answer. Requests fail at once all the same when NATS is killed.
        options = NatsOptions(request_timeout_seconds=30.0, reconnect_wait_seconds_max=0.1)
        self.connection = OwnedConnection(options, lambda: (self.nats.url,), "test")
        await self.connection.open()
        self._stack.push_async_callback(self.connection.close)
        # Ended before the connection is closed: it would open it again.
        self._stack.push_async_callback(_ended, asyncio.create_task(self.connection.keep()))
        self.store = JetStreamStore(self.connection, BUCKET, BucketOptions(history=self.history))
        await self.store.open()
        self._stack.push_async_callback(self.store.close)
        self.index = await self._start_index()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._of_index.aclose()
        await self._stack.aclose()
        self.nats.stop()

    async def _start_index(self) -> Index:
        return await self._of_index.enter_async_context(indexed(self.store, self.folder / "index"))

    async def take(self, step: tuple[Any, ...]) -> None:
        kind, *arguments = step
        await getattr(self, kind.replace(" ", "_"))(*arguments)

    async def save(self, workflow_id: str, status: WorkflowStatus, team: str) -> None:
        self.clock_ns += 1
        labels = {"team": team} if team else {}
        state = WorkflowState(
            workflow_id, status=status, labels=labels, created_at_ns=-self.clock_ns, updated_at_ns=self.clock_ns
        )
        await self.store.save(state)
        await self.model.save(state)

    async def delete(self, workflow_id: str) -> None:
        deleted = await self.store.delete(workflow_id)
        # The model has other revisions.
        assert deleted.existed == (await self.model.delete(workflow_id)).existed

    async def purge(self, workflow_id: str) -> None:
        deleted = await self.store.delete(workflow_id, purge=True)
        assert deleted.existed == (await self.model.delete(workflow_id)).existed

    async def malform(self, key: str) -> None:
        await self.put(key, b"{")
        self.model.store(key, b"{")

    async def vanish(self, workflow_id: str) -> None:
        """Somebody purges a key's messages without a trace."""
        self._has_lost = True
        await self.ask("STREAM.PURGE", {"filter": f"$KV.{BUCKET}.{key_of(workflow_id)}"})
        self.model.forget([key_of(workflow_id)])

    async def mortal(self, workflow_id: str) -> None:
        """A message with a time to live of its own expires. Its key had no older revision to come to light again."""
        key = key_of(workflow_id)
        await self.purge(workflow_id)
        await self.vanish(workflow_id)
        await self.configure(allow_msg_ttl=True)
        await self.put(key, document.encode(WorkflowState(workflow_id)), {"Nats-TTL": "1"})

        async def gone() -> bool:
            return not await self.store.last([key], 0)

        await until(gone, 10)

    async def lose_oldest(self, count: int) -> None:
        """Somebody purges the oldest revisions, as an age limit would remove them."""
        self._has_lost = True
        state = (await self.ask("STREAM.INFO", {}))["state"]
        first = state["first_seq"] + count
        await self.ask("STREAM.PURGE", {"seq": first})
        await self.keep_what_is_left()

    async def age(self) -> None:
        """Everything gets too old."""
        self._has_lost = True
        await self.configure(max_age=100_000_000, duplicate_window=100_000_000)

        async def empty() -> bool:
            return (await self.ask("STREAM.INFO", {}))["state"]["messages"] == 0

        await until(empty, 10)
        await self.configure(max_age=0, duplicate_window=120_000_000_000)
        self.model.forget(list(self.model._entries))

    async def lose_all(self) -> None:
        self._has_lost = True
        await self.ask("STREAM.PURGE", {})
        self.model.forget(list(self.model._entries))

    async def recreate(self) -> None:
        await self.ask("STREAM.DELETE", {})
        with suppress(BucketRecreated):
            await self.store.info()
        self.model.forget(list(self.model._entries))

    async def back_up(self) -> None:
        self.nats.stop()
        shutil.rmtree(self.folder / "backup", ignore_errors=True)
        shutil.copytree(self.folder / "nats" / "jetstream", self.folder / "backup")
        self._backup = dict(self.model._entries)
        self.nats.start()
        await self.reachable()

    async def restore(self) -> None:
        if self._backup is None:
            return
        self.nats.kill()
        shutil.rmtree(self.folder / "nats" / "jetstream")
        shutil.copytree(self.folder / "backup", self.folder / "nats" / "jetstream")
        self.model._entries = dict(self._backup)
        self.nats.start()
        await self.reachable()

    async def restart_nats(self) -> None:
        # After a kill nats-server brings back what was lost: docs/adr/0010-delete-markers-stay.md.
        (self.nats.stop if self._has_lost else self.nats.kill)()
        self.nats.start()
        await self.reachable()

    async def stop_index(self) -> None:
        await self._of_index.aclose()

    async def restart_index(self) -> None:
        await self.stop_index()
        self.index = await self._start_index()

    async def crash_index(self) -> None:
        """What is on disk when a server is killed: the file, its log, and no checksum."""
        saved, copied = self.folder / "crashed", False
        while (self.folder / "index").exists() and not copied:
            shutil.rmtree(saved, ignore_errors=True)
            # A file of SQLite's own may go while it is copied.
            with suppress(shutil.Error):
                shutil.copytree(self.folder / "index", saved)
                copied = True
        await self._of_index.aclose()
        if saved.exists():
            shutil.rmtree(self.folder / "index")
            shutil.copytree(saved, self.folder / "index")
        self.index = await self._start_index()

    async def list(self) -> None:
        await self.compare(self.index)

    async def keep_what_is_left(self) -> None:
        left = {
            entry.key if isinstance(entry, MalformedEntry) else key_of(entry.state.workflow_id)
            for entry in await everything(self.store)
        }
        self.model.forget(set(self.model._entries) - left)

    async def reachable(self) -> None:
        async def there() -> bool:
            try:
                await self.store.info()
            except (StorageUnavailable, BucketRecreated):
                return False
            return True

        await until(there, 10)

    async def configure(self, **changes: Any) -> None:
        config = (await self.ask("STREAM.INFO", {}))["config"]
        await self.ask("STREAM.UPDATE", {**config, **changes})

    async def ask(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        reply = await self.connection.link.request(f"$JS.API.{call}.{STREAM}", json.dumps(request).encode())
        found: dict[str, Any] = json.loads(reply.data)
        assert "error" not in found, found
        return found

    async def put(self, key: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        client = await nats.connect(self.nats.url)
        await client.jetstream().publish(f"$KV.{BUCKET}.{key}", data, headers=headers)
        await client.close()

    async def compare(self, index: Index) -> None:
        """Ask an index everything, and hold the answers against the model's."""
        stored = {
            entry.state.workflow_id: entry.state
            for entry in await everything(self.model)
            if not isinstance(entry, MalformedEntry)
        }
        bad = {entry.key for entry in await everything(self.model) if isinstance(entry, MalformedEntry)}
        for order_by in OrderBy:
            for wanted in (
                WorkflowFilter(),
                WorkflowFilter(statuses=frozenset([WorkflowStatus.RUNNING])),
                WorkflowFilter(labels={"team": "blue"}),
            ):
                times = {OrderBy.CREATED_AT: "created_at_ns", OrderBy.UPDATED_AT: "updated_at_ns"}
                matching = sorted(
                    (state for state in stored.values() if wanted.matches(state)),
                    key=lambda state: (getattr(state, times.get(order_by, ""), 0), state.workflow_id),
                )
                states, malformed = await listed(index, Selection(BUCKET, wanted, order_by))
                assert [state.workflow_id for state in states] == [state.workflow_id for state in matching]
                assert {entry.key for entry in malformed} == bad
        counted = await index.count(WorkflowFilter(), GroupBy.LABEL, "team")
        assert (counted.count, counted.malformed_count) == (len(stored), len(bad))


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def rows(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that stands in a closed index."""
    connection = sqlite3.connect(file)
    tables = {
        table: connection.execute(f"SELECT * FROM {table}").fetchall()
        for table in ("workflows", "labels", "malformed", "markers")
    }
    connection.close()
    return tables


@pytest.mark.timeout(400)
@given(history=st.sampled_from([1, 1, 3]), taken=st.lists(steps, min_size=3, max_size=12))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
async def test_an_index_that_lived_through_anything_equals_one_that_is_built_now(
    tmp_path_factory: Any, history: int, taken: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("world")
    async with World(folder, history) as world:
        for step in taken:
            await world.take(step)
        await world.compare(world.index)
        async with indexed(world.store, folder / "anew") as anew:
            await world.compare(anew)
        await world.compare(world.index)
    lived, built = rows(folder / "index" / f"{BUCKET}.sqlite3"), rows(folder / "anew" / f"{BUCKET}.sqlite3")
    assert lived == built
    shutil.rmtree(folder)
