"""Retention of whole servers: what they are told to remove goes, they tell it, and they stop as ever."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from support.waiting import until
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.config.sources import Config
from workflowstore_server.index import janitor

from .conftest import Caller, calling, running  # type: ignore[import-not-found]


async def _save(caller: Caller, status: str, age_seconds: int) -> None:
    updated_at = Timestamp(seconds=int(time.time()) - age_seconds)
    await caller.save(
        f"{status}-{age_seconds}",
        status=state_pb.WorkflowStatus.Value(f"WORKFLOW_STATUS_{status}"),
        updated_at=updated_at,
    )


async def test_a_server_deletes_what_is_too_old_and_tells_it(serve: Any) -> None:
    first = serve()
    async with calling(first.address) as caller:
        for status in ("COMPLETED", "RUNNING"):
            for age_seconds in (0, 3600):
                await _save(caller, status, age_seconds)
        assert (await caller.info()).retention == pb.RetentionInfo()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0

    server = serve("--retention", "completed=30m,failed=90d")
    async with calling(server.address) as caller:

        async def deleted() -> bool:
            return (await caller.info()).retention.deleted_count == 1

        await until(deleted)
        assert set(await caller.revisions()) == {"COMPLETED-0", "RUNNING-0", "RUNNING-3600"}
        assert {rule.status: rule.after_seconds for rule in (await caller.info()).retention.rules} == {
            state_pb.WORKFLOW_STATUS_COMPLETED: 1800.0,
            state_pb.WORKFLOW_STATUS_FAILED: 90 * 86_400.0,
        }

        async def told() -> bool:
            return "removed from bucket beluga_workflows by age: 1 completed workflows" in server.log

        await until(told)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


async def test_a_workflow_that_ends_is_deleted_in_its_time_and_its_delete_marker_too(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "PASS_SECONDS", 0.05)
    async with running(configured(retention="completed=1s", delete_markers_kept="1s", bucket=["a", "b"])) as caller:
        await _save(caller, "COMPLETED", 0)

        async def removed() -> bool:
            info = await caller.info()
            # What is gone from the bucket is counted a moment later.
            counts = (info.retention.deleted_count, info.retention.compacted_count)
            return info.bucket.revisions == 0 and counts == (1, 1)

        await until(removed)
        assert (await caller.info()).retention.delete_marker_seconds == 1.0
        other = (await caller.stub.GetInfo(pb.GetInfoRequest(bucket="b"))).retention
        assert (other.deleted_count, other.compacted_count) == (0, 0)
