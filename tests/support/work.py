"""Calls of all kinds at once while servers are stopped and started, which are not to fail."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TypeVar

from support.waiting import until
from workflowstore import AsyncClient, WorkflowState, WorkflowStoreError

IN_FLIGHT = 8

T = TypeVar("T")


class Work:
    """Calls of all kinds by a client that tries again what is unavailable: of itself, and, where no server is left, by
    its caller.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._numbers = count()
        self.calls = 0
        self.repeated: list[WorkflowStoreError] = []
        """What its own attempts did not suffice for."""
        self.saved: dict[str, int] = {}
        self.watched: set[str] = set()

    async def call(self) -> None:
        while True:
            state = WorkflowState(f"wf-{next(self._numbers)}")
            save = partial(self._client.save, state, expected_revision=0, request_id=state.workflow_id)
            saved = await self._until_available(save)
            assert saved.revision is not None
            self.saved[state.workflow_id] = saved.revision
            found = await self._until_available(partial(self._client.load, state.workflow_id))
            assert found is not None
            assert found.revision == saved.revision

    async def count(self) -> None:
        while True:
            before = len(self.saved)
            assert (await self._until_available(self._client.count)).count >= before

    async def _until_available(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                result = await call()
            except WorkflowStoreError as error:
                # The last of its attempts may have met the server in the moment in which it stopped.
                if error.code not in ("UNAVAILABLE", "CANCELLED"):
                    raise
                self.repeated.append(error)
                await asyncio.sleep(0.1)
            else:
                self.calls += 1
                return result

    async def watch(self) -> None:
        async for change in self._client.watch(after_revision=0):
            self.watched.add(change.workflow_id)


async def work(client: AsyncClient, roll: Callable[[Work], Awaitable[None]]) -> Work:
    """Work while the servers are rolled. Whatever fails is raised."""
    async with client:
        working = Work(client)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(working.call()) for _ in range(IN_FLIGHT)]
            tasks += [group.create_task(working.count()), group.create_task(working.watch())]
            await until(lambda: _true(working.calls > 0))
            await roll(working)
            # As many as there are now: more are saved all the time.
            wanted = set(working.saved)
            await until(lambda: _true(working.watched >= wanted), 60)
            for task in tasks:
                task.cancel()
        for workflow_id, revision in working.saved.items():
            found = await client.load(workflow_id)
            assert found is not None
            assert found.revision == revision
        print(f"{working.calls} calls, {len(working.repeated)} repeated by their caller")  # noqa: T201
        return working


async def _true(value: bool) -> bool:
    return value


async def goes_on(working: Work) -> None:
    """Wait until more calls have succeeded."""
    before = working.calls
    await until(lambda: _true(working.calls > before + 2 * IN_FLIGHT), 60)
