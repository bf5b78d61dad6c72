"""The only place that knows what is removed from a bucket by age: ended workflows, and old delete markers.

Any number of servers may do it in one bucket at once. A workflow is deleted only at the revision that the index has of
it, so whatever was written meanwhile stays, and each is deleted once.
"""

import asyncio
import contextlib
import logging
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from workflowstore_server.codec import message
from workflowstore_server.index import changes, schema
from workflowstore_server.index.database import DatabaseDamaged, DatabaseFailed
from workflowstore_server.index.follower import Follower
from workflowstore_server.model.errors import (
    BucketConfiguration,
    Contended,
    IndexBehind,
    RevisionMismatch,
    StoreError,
)
from workflowstore_server.model.state import ZERO_TIME_NS, BucketInfo, RetentionInfo, WorkflowStatus
from workflowstore_server.store import StateStore

log = logging.getLogger(__name__)

PASS_SECONDS: Final = 60.0
"""Pause after a pass that has left nothing, half as long up to half as long again, so that servers that were started
together do not do the same at the same time."""

FULL_PASS_SECONDS: Final = 1.0
"""Pause after a pass that has left something. With the two numbers below it bounds what is removed in a second."""

FAILED_PASS_SECONDS: Final = 5.0
"""Pause after a pass that has failed."""

DELETED_MAX: Final = 100
"""Workflows that one pass deletes: a synced write each, of which a disk makes a few thousand a second."""

CONSIDERED_MAX: Final = 512
"""Workflows of a status from which a pass chooses at random what it deletes, so that servers seldom choose the same."""

COMPACTED_MAX: Final = 500
"""Delete markers that one pass removes: more than come to be by its deletions. A multiple of the next number."""

COMPACTED_AT_ONCE: Final = 20
"""Delete markers that are removed together. Meanwhile the index does not follow, and who waits for it waits longer."""

TOLD_SECONDS: Final = 60.0
"""How often the log tells of a long way, in which pass follows pass."""

_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RetentionOptions:
    """What is deleted from a bucket by age."""

    rules: Mapping[WorkflowStatus, float] = field(default_factory=dict)
    """How many seconds after their last update the workflows of a status are deleted. Empty = none are."""


class _Due(NamedTuple):
    workflow_id: str
    revision: int
    status: WorkflowStatus


class Janitor:
    """Removes from one bucket what has become too old, while `run` runs."""

    def __init__(
        self,
        store: StateStore,
        follower: Follower,
        options: RetentionOptions,
        delete_marker_seconds: float,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._follower = follower
        self._rules = options.rules
        self._delete_marker_seconds = delete_marker_seconds
        self._time_ns = time_ns
        self._deleted: Counter[WorkflowStatus] = Counter()
        self._compacted = 0
        self._purges = True
        """Whether old revisions go with a workflow."""
        self._compacts = bool(delete_marker_seconds)
        self._warned = False
        self.passes_failed = 0
        self._failure = ""
        """The failure that the log was told of last."""

    @property
    def deleted(self) -> Mapping[WorkflowStatus, int]:
        """How many workflows of a status have been deleted since the start."""
        return {status: self._deleted[status] for status in self._rules}

    def info(self) -> RetentionInfo:
        """What is removed, and has been removed since the start."""
        return RetentionInfo(self._rules, self._delete_marker_seconds, self._deleted.total(), self._compacted)

    async def run(self) -> None:
        """Remove what becomes too old until cancelled. Returns at once when nothing is to be removed."""
        told = _Told(self._store.bucket)
        while self._rules or self._compacts:
            try:
                left = await self.tidy()
            except Exception as error:
                self.passes_failed += 1
                self._complain(error)
                pause = FAILED_PASS_SECONDS
            else:
                self._failure = ""
                pause = FULL_PASS_SECONDS if left else PASS_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 (jitter)
                told.tell(self._deleted, self._compacted, ended=not left)
            await asyncio.sleep(pause)

    async def tidy(self) -> bool:
        """Make one pass, and tell whether it has left something to the next.

        Raises: IndexBehind, and what a StateStore raises.
        """
        # What is done does not depend on it. An index that is late makes attempts that come to nothing.
        with contextlib.suppress(IndexBehind):
            await self._follower.fresh()
        # Delete markers first: where the storage is full, there is room for others then.
        left = self._compacts and await self._compact_old()
        return await self._delete_old() or left

    def _complain(self, error: Exception) -> None:
        """Tell the log of a failure once, however often it is met again."""
        known, self._failure = self._failure == repr(error), repr(error)
        if known or isinstance(error, IndexBehind):
            # That the index is behind, its follower tells.
            return
        if isinstance(error, StoreError | DatabaseDamaged | DatabaseFailed):
            log.warning("what is too old stays in bucket %s for now: %r", self._store.bucket, error)
        else:
            log.error("what is too old stays in bucket %s: an internal error", self._store.bucket, exc_info=error)

    async def _delete_old(self) -> bool:
        now_ns = self._time_ns()
        due: list[_Due] = []
        async with self._follower.resting() as database:
            for status, seconds in self._rules.items():
                before_ns = now_ns - int(seconds * _NANOSECONDS)
                due += await database.read(partial(_due, status, before_ns))
        if not due:
            return False
        info = await self._store.info()
        random.shuffle(due)
        for workflow in due[:DELETED_MAX]:
            # Whoever has changed it since, or has deleted it, was faster.
            with contextlib.suppress(RevisionMismatch, Contended):
                await self._delete(workflow, info)
        return len(due) > DELETED_MAX

    async def _delete(self, workflow: _Due, info: BucketInfo) -> None:
        purge = self._purges and info.history != 1
        try:
            await self._store.delete(workflow.workflow_id, workflow.revision, purge=purge)
        except BucketConfiguration as error:
            if not purge:
                raise
            self._purges = False
            log.warning(
                "bucket %s has %s: old revisions of the workflows that are deleted by their age stay in it; change it "
                "with %s, and start again", self._store.bucket, error.setting, error.remedy,
            )  # fmt: skip
            await self._store.delete(workflow.workflow_id, workflow.revision)
        self._deleted[workflow.status] += 1

    async def _compact_old(self) -> bool:
        position = await self._store.position()
        before_ns = position.time_ns - int(self._delete_marker_seconds * _NANOSECONDS)
        for _ in range(0, COMPACTED_MAX, COMPACTED_AT_ONCE):
            if not await self._compact_some(before_ns):
                return False
        return True

    async def _compact_some(self, before_ns: int) -> bool:
        """Remove the oldest delete markers from before a time, and tell whether there may be more."""
        # The follower compares numbers of keys, and must not find those of a moment in between.
        async with self._follower.resting() as database:
            markers = await database.read(partial(_old_markers, before_ns))
            if not markers:
                return False
            await self._warn()
            results = await asyncio.gather(
                *(self._store.compact(key, revision) for key, revision in markers), return_exceptions=True
            )
            removed = [key for (key, _), result in zip(markers, results, strict=True) if result is None]
            if removed:
                await database.write(partial(changes.lose, keys=removed))
                self._compacted += len(removed)
        for result in results:
            if isinstance(result, BucketConfiguration):
                self._compacts = False
                log.warning(
                    "bucket %s has %s: delete markers stay in it; it would take %s, and another start",
                    self._store.bucket, result.setting, result.remedy,
                )  # fmt: skip
                return False
            if isinstance(result, BaseException):
                raise result
        return len(markers) == COMPACTED_AT_ONCE

    async def _warn(self) -> None:
        if self._warned:
            return
        info = await self._store.info()
        self._warned = True
        if info.on_disk and info.replicas == 1:
            log.warning(
                "bucket %s has one copy: a crash of the NATS server may bring deleted workflows back whose delete "
                "markers were removed (nats-server#8505); keep markers for ever, or three copies", self._store.bucket,
            )  # fmt: skip


def _due(status: WorkflowStatus, before_ns: int, connection: sqlite3.Connection) -> list[_Due]:
    """Return workflows that were last updated before a time, the oldest; those whose time is not known are not old."""
    statement = """SELECT workflow_id, revision FROM workflows
        WHERE status = ? AND updated > ? AND updated < ? ORDER BY updated LIMIT ?"""
    times = schema.time_bytes(ZERO_TIME_NS), schema.time_bytes(max(before_ns, ZERO_TIME_NS))
    rows = connection.execute(statement, (message.status_value(status), *times, CONSIDERED_MAX))
    return [_Due(workflow_id, revision, status) for workflow_id, revision in rows.fetchall()]


def _old_markers(before_ns: int, connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return delete markers from before a time, the oldest; those whose time is not known are not old."""
    statement = """SELECT key, revision FROM markers
        WHERE stored_at_ns > 0 AND stored_at_ns < ? ORDER BY stored_at_ns, key LIMIT ?"""
    return connection.execute(statement, (before_ns, COMPACTED_AT_ONCE)).fetchall()


class _Told:
    """Tells the log what was removed: at the end of a way, and from time to time on a long one."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._told_at = time.monotonic()
        self._deleted: Counter[WorkflowStatus] = Counter()
        self._compacted = 0

    def tell(self, deleted: Counter[WorkflowStatus], compacted: int, *, ended: bool) -> None:
        """Take note of what has been removed in all, and log what the log does not have."""
        if not ended and time.monotonic() - self._told_at < TOLD_SECONDS:
            return
        parts = [f"{number} {status.name.lower()} workflows" for status, number in (deleted - self._deleted).items()]
        if compacted > self._compacted:
            parts.append(f"{compacted - self._compacted} delete markers")
        if parts:
            log.info("removed from bucket %s by age: %s", self._bucket, ", ".join(parts))
        self._told_at, self._deleted, self._compacted = time.monotonic(), deleted.copy(), compacted
