"""The only place that knows how clients use a service whose promises are checked, and writes down what they saw."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final

from support.checker import check
from support.checker.history import History, Kind, Listed, Operation, Told, Watched
from support.waiting import until
from workflowstore import (
    AlreadyExistsError,
    AsyncClient,
    ChangeKind,
    Consistency,
    ContendedError,
    HistoryEvent,
    OutcomeUnknownError,
    RevisionMismatchError,
    WorkflowFilter,
    WorkflowNotFoundError,
    WorkflowState,
    WorkflowStoreError,
    WorkflowView,
)

TIMEOUT_SECONDS: Final = 5.0
"""Deadline of each call: what is cut off has to fail, and not to hold its client up until the test ends."""

PASSING: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"})
"""Codes of failures that faults may cause: what gRPC ends as the server stops is CANCELLED. Any other ends the test."""

PREFIXES: Final = ("", "a:")
"""What watchers ask for."""


class Traffic:
    """Clients that call and watch until they are stopped, each one call after the other."""

    def __init__(self, seed: int, *, workflows: int, replicated: bool) -> None:
        """`seed` decides what is called, though not what happens. Where the bucket is `replicated`, every other client
        asks for linearizable reads; the others have the promise of their session alone."""
        self.history = History()
        self.acknowledged = 0
        """Writes so far."""
        self._random = random.Random(seed)
        self._ids = [f"{'ab'[number % 2]}:{number}" for number in range(workflows)]
        self._replicated = replicated
        self._tokens = 0
        self._stopped = False
        self._known: dict[str, int] = {}
        """The revision of each workflow that somebody has seen last."""

    async def more(self, count: int = 30, seconds: float = 60) -> None:
        """Wait until so many more writes have been acknowledged."""
        goal = self.acknowledged + count

        async def reached() -> bool:
            return self.acknowledged >= goal

        await until(reached, seconds)

    async def reads_more(self, count: int, seconds: float = 60) -> None:
        """Wait until so many more Loads have been answered."""

        def loads() -> int:
            return sum(one.note == "load" for one in self.history.operations)

        goal = loads() + count

        async def reached() -> bool:
            return loads() >= goal

        await until(reached, seconds)

    async def call(self, client: AsyncClient, name: str) -> None:
        """Make one call, whichever it is."""
        workflow_id = self._random.choice(self._ids)
        calls: list[Callable[[AsyncClient, str, str], Awaitable[None]]]
        calls = [self._save, self._save, self._save_expecting, self._create, self._update, self._update, self._load]
        calls += [self._load, self._load, self._delete]
        if self._random.random() < 0.05:
            await self.list(client, name)
        else:
            await self._random.choice(calls)(client, workflow_id, name)

    async def list(self, client: AsyncClient, name: str) -> None:
        """List everything: a read of each workflow, and of those that are not there."""
        called, found, revision, ids = time.monotonic_ns(), {}, None, []
        try:
            async with aclosing(
                client.list_chunks(
                    view=WorkflowView.FULL, consistency=self._consistency(name), timeout=4 * TIMEOUT_SECONDS
                )
            ) as chunks:
                async for chunk in chunks:
                    revision = chunk.store_revision if revision is None else revision
                    assert not chunk.malformed, chunk.malformed
                    for state in chunk.states:
                        ids.append(state.workflow_id)
                        found[state.workflow_id] = (state.revision, _value(state))
        except WorkflowStoreError as error:
            _let_pass(error)
            return
        returned = time.monotonic_ns()
        assert revision is not None, "a List has at least one chunk"
        weak = self._is_weak(name)
        self.history.listed.append(Listed(called, returned, revision, tuple(ids), weak))
        for workflow_id in self._ids:
            at, value = found.get(workflow_id, (0, None))
            self.history.operations.append(
                Operation(
                    Kind.READ, workflow_id, called, returned, at, value=value, client=name, weak=weak, note="list"
                )
            )

    async def end(self, client: AsyncClient) -> None:
        """Leave something that is there and something that is not."""
        await self._save(client, self._ids[0], "end-0")
        await self._save(client, self._ids[2], "end-0")
        await self._delete(client, self._ids[2], "end-0")

    async def loaded(self, client: AsyncClient, name: str) -> None:
        """Load every workflow."""
        for workflow_id in self._ids:
            await self._load(client, workflow_id, name)

    async def _load(self, client: AsyncClient, workflow_id: str, name: str) -> None:
        called = time.monotonic_ns()
        try:
            state = await client.load(workflow_id, consistency=self._consistency(name))
        except WorkflowStoreError as error:
            _let_pass(error)
            return
        found = (0, None) if state is None else (state.revision, _value(state))
        self._found(workflow_id, called, *found, name, "load", weak=self._is_weak(name))

    async def _save(self, client: AsyncClient, workflow_id: str, name: str, expected: int | None = None) -> None:
        token = self._token(name)
        state = WorkflowState(workflow_id, error=token, history=[HistoryEvent(activity_name=token)])
        call = client.save(state, expected_revision=expected)
        await self._write(Kind.SAVE, workflow_id, token, expected, name, call)

    async def _save_expecting(self, client: AsyncClient, workflow_id: str, name: str) -> None:
        # What somebody has seen last; others may have been faster.
        await self._save(client, workflow_id, name, self._known.get(workflow_id) or None)

    async def _create(self, client: AsyncClient, workflow_id: str, name: str) -> None:
        await self._save(client, workflow_id, name, 0)

    async def _update(self, client: AsyncClient, workflow_id: str, name: str) -> None:
        token = self._token(name)
        call = client.update(workflow_id, error=token, append_history=[HistoryEvent(activity_name=token)])
        await self._write(Kind.UPDATE, workflow_id, token, None, name, call)

    async def _write(
        self, kind: Kind, workflow_id: str, token: str, expected: int | None, name: str, call: Awaitable[WorkflowState]
    ) -> None:
        called = time.monotonic_ns()
        try:
            state = await call
        except OutcomeUnknownError:
            self.history.operations.append(
                Operation(kind, workflow_id, called, None, token=token, expected=expected, client=name)
            )
        except (RevisionMismatchError, AlreadyExistsError) as error:
            self.history.refused.add(token)
            self._found(workflow_id, called, error.actual_revision, None, name, "refused", weak=self._replicated)
        except WorkflowNotFoundError:
            self.history.refused.add(token)
            self._found(workflow_id, called, 0, None, name, "refused", weak=self._replicated)
        except ContendedError:
            self.history.refused.add(token)
        except WorkflowStoreError as error:
            _let_pass(error)
            self.history.refused.add(token)
        else:
            self.history.operations.append(
                Operation(
                    kind, workflow_id, called, time.monotonic_ns(), state.revision,
                    token=token, expected=expected, client=name,
                )
            )  # fmt: skip
            self._known[workflow_id] = state.revision
            self.acknowledged += 1

    async def _delete(self, client: AsyncClient, workflow_id: str, name: str) -> None:
        called, expected = time.monotonic_ns(), None
        if self._random.random() < 0.5:
            expected = self._known.get(workflow_id) or None
        try:
            existed = await client.delete(workflow_id, expected_revision=expected)
        except OutcomeUnknownError:
            self.history.operations.append(
                Operation(Kind.DELETE, workflow_id, called, None, expected=expected, client=name)
            )
        except RevisionMismatchError as error:
            self._found(workflow_id, called, error.actual_revision, None, name, "refused delete", weak=False)
        except ContendedError:
            pass
        except WorkflowStoreError as error:
            _let_pass(error)
        else:
            self.history.operations.append(
                Operation(
                    Kind.DELETE, workflow_id, called, time.monotonic_ns(),
                    expected=expected if existed else None, existed=existed, client=name,
                )
            )  # fmt: skip
            self.acknowledged += 1

    def _found(
        self,
        workflow_id: str,
        called: int,
        revision: int,
        value: tuple[str, ...] | None,
        client: str,
        note: str,
        *,
        weak: bool,
    ) -> None:
        returned = time.monotonic_ns()
        self.history.operations.append(
            Operation(
                Kind.READ, workflow_id, called, returned, revision,
                value=value, client=client, weak=weak, note=note,
            )
        )  # fmt: skip
        self._known[workflow_id] = revision

    def _consistency(self, name: str) -> Consistency:
        return Consistency.SESSION if self._is_weak(name) else Consistency.LINEARIZABLE

    def _is_weak(self, name: str) -> bool:
        return self._replicated and name[-1] in "13579"

    def _token(self, name: str) -> str:
        self._tokens += 1
        return f"{name}-{self._tokens}"

    async def watch(self, client: AsyncClient, prefix: str) -> None:
        """Watch until cancelled. Now and then the call is given up, and another one goes on after what was told."""
        watched = Watched(after=0, prefix=prefix)
        self.history.watched.append(watched)
        while True:
            try:
                await _watch(client, watched, len(watched.told) + self._random.randrange(20, 400))
            except WorkflowStoreError as error:
                _let_pass(error)
            # What came after the last word on how far all has been told comes again.
            while watched.told and watched.told[-1].revision > watched.revision:
                watched.told.pop()
            watched.told.append(Told(time.monotonic_ns(), watched.revision, resumed=True))
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Let the clients make no more calls."""
        self._stopped = True

    async def calls(self, client: AsyncClient, name: str) -> None:
        """Make one call after the other until it is stopped."""
        while not self._stopped:
            before = len(self.history.operations)
            await self.call(client, name)
            if all(one.returned is None for one in self.history.operations[before:]):
                # It failed. What is away need not be asked as fast as can be.
                await asyncio.sleep(0.1)

    async def told_everything(self, seconds: float = 60) -> None:
        """Wait until every watcher has been told what is in the last List."""
        goal = self.history.listed[-1].store_revision

        async def reached() -> bool:
            return all(watched.revision >= goal for watched in self.history.watched)

        await until(reached, seconds)


@asynccontextmanager
async def traffic(
    targets: Sequence[str],
    seed: int,
    *,
    clients: int = 6,
    workflows: int = 8,
    replicated: bool = False,
    checked: bool = True,
) -> AsyncIterator[Traffic]:
    """Clients of servers over one empty bucket, while the test does its worst. At the end all must be as promised.

    Every other client tries again by itself.
    """
    running = Traffic(seed, workflows=workflows, replicated=replicated)
    async with AsyncExitStack() as stack:
        connected = [
            await stack.enter_async_context(
                AsyncClient(targets[number % len(targets)], timeout=TIMEOUT_SECONDS, retry=number % 2 == 0)
            )
            for number in range(clients)
        ]
        async with asyncio.TaskGroup() as tasks:
            watchers = [
                tasks.create_task(running.watch(client, prefix))
                for client, prefix in zip(connected, PREFIXES, strict=False)
            ]
            callers = [
                tasks.create_task(running.calls(client, f"c{number}")) for number, client in enumerate(connected)
            ]
            yield running
            running.stop()
            await asyncio.gather(*callers)
            await running.end(connected[0])
            for number, client in enumerate(connected[: len(targets)]):
                await running.loaded(client, f"end-{2 * number}")
                await running.list(client, f"end-{2 * number}")
            with contextlib.suppress(AssertionError) if not checked else contextlib.nullcontext():
                await running.told_everything()
            for watcher in watchers:
                watcher.cancel()
    if checked:
        check(running.history)


def _let_pass(error: WorkflowStoreError) -> None:
    if error.code not in PASSING:
        raise error


def _value(state: WorkflowState) -> tuple[str, ...]:
    value = tuple(event.activity_name for event in state.history or ())
    assert value, f"{state} was written by nobody here"
    assert value[-1] == state.error, "history and error are written together"
    return value


async def _watch(client: AsyncClient, watched: Watched, told_max: int) -> None:
    """Go on watching after what was told, until so much has been told in all."""

    def on_progress(revision: int) -> None:
        watched.told.append(Told(time.monotonic_ns(), revision))

    changes = client.watch(
        WorkflowFilter(workflow_id_prefix=watched.prefix),
        after_revision=watched.revision,
        view=WorkflowView.FULL,
        on_progress=on_progress,
    )
    async with aclosing(changes):
        async for change in changes:
            assert change.kind is not ChangeKind.MALFORMED, change
            value = _value(change.state) if change.kind is ChangeKind.SAVED and change.state is not None else None
            watched.told.append(Told(time.monotonic_ns(), change.revision, change.workflow_id, value))
            if len(watched.told) > told_max:
                return
