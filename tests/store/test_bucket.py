"""How a bucket is found, created and left alone."""

import logging

import nats
import pytest
from nats.js.api import StreamConfig

from workflowstore_server.model.errors import BucketConfiguration
from workflowstore_server.model.state import WorkflowState
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore

GO_CONFIGURATION = {
    # STREAM.INFO of a bucket that nats.go v1.51.0 made on nats-server 2.15.1 with
    # CreateOrUpdateKeyValue(KeyValueConfig{Bucket: "beluga_workflows"}), which the Go provider calls at every start.
    "name": "KV_beluga_workflows",
    "subjects": ["$KV.beluga_workflows.>"],
    "retention": "limits",
    "max_consumers": -1,
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msgs_per_subject": 1,
    "max_msg_size": -1,
    "discard": "new",
    "storage": "file",
    "num_replicas": 1,
    "duplicate_window": 120000000000,
    "compression": "none",
    "allow_direct": True,
    "mirror_direct": False,
    "sealed": False,
    "deny_delete": True,
    "deny_purge": False,
    "allow_rollup_hdrs": True,
    "consumer_limits": {},
    "allow_msg_ttl": False,
}


async def configuration(client: nats.NATS) -> dict[str, object]:
    import json

    reply = await client.request("$JS.API.STREAM.INFO.KV_beluga_workflows", timeout=10)
    found = json.loads(reply.data)["config"]
    del found["metadata"]  # the server's own versions
    return found


async def test_a_bucket_is_created_as_the_go_client_creates_it(
    nats_client: nats.NATS, jetstream_store: JetStreamStore
) -> None:
    assert await configuration(nats_client) == GO_CONFIGURATION


async def test_history_is_as_asked_for(nats_client: nats.NATS) -> None:
    async with JetStreamStore.over(nats_client, "beluga_workflows", BucketOptions(history=7)) as store:
        assert (await store.info()).history == 7

    assert await configuration(nats_client) == {**GO_CONFIGURATION, "max_msgs_per_subject": 7}


async def test_an_existing_bucket_is_never_modified(nats_client: nats.NATS, caplog: pytest.LogCaptureFixture) -> None:
    await nats_client.jetstream().add_stream(
        StreamConfig(
            name="KV_beluga_workflows",
            subjects=["$KV.beluga_workflows.>"],
            max_msgs_per_subject=3,
            allow_direct=True,
            storage="memory",
            allow_rollup_hdrs=True,
        )
    )
    before = await configuration(nats_client)

    with caplog.at_level(logging.WARNING):
        async with JetStreamStore.over(nats_client, "beluga_workflows", BucketOptions(history=10)) as store:
            await store.save(WorkflowState("wf-1"))
            info = await store.info()

    assert await configuration(nats_client) == before
    assert (info.history, info.on_disk) == (3, False)
    assert "has history 3 and keeps it, though 10 was asked for" in caplog.text
    assert "does not keep acknowledged writes on disk" in caplog.text


async def test_a_bucket_without_direct_reads_serves_all_but_lists(nats_client: nats.NATS) -> None:
    await nats_client.jetstream().add_stream(
        StreamConfig(
            name="KV_beluga_workflows",
            subjects=["$KV.beluga_workflows.>"],
            max_msgs_per_subject=1,
            allow_direct=False,
            allow_rollup_hdrs=True,
        )
    )
    async with JetStreamStore.over(nats_client, "beluga_workflows") as store:
        revision = (await store.save(WorkflowState("wf-1"), 0)).revision
        assert (await store.load("wf-1")).revision == revision
        with pytest.raises(BucketConfiguration) as caught:
            await store.position()
        assert (await store.delete("wf-1")).existed
        assert not (await store.delete("wf-1")).existed
        await store.save(WorkflowState("wf-1"), 0)
        assert (await store.delete("wf-1", purge=True)).existed
        assert not (await store.delete("wf-1", purge=True)).existed

    assert caught.value.setting == "allow_direct=false"
    assert caught.value.remedy == "nats stream edit KV_beluga_workflows --allow-direct"


async def test_a_bucket_without_rollups_refuses_to_purge_and_says_how_to_allow_it(nats_client: nats.NATS) -> None:
    await nats_client.jetstream().add_stream(
        StreamConfig(name="KV_b", subjects=["$KV.b.>"], max_msgs_per_subject=1, allow_direct=True)
    )
    async with JetStreamStore.over(nats_client, "b") as store:
        await store.save(WorkflowState("wf-1"))
        with pytest.raises(BucketConfiguration) as caught:
            await store.delete("wf-1", purge=True)
        assert (await store.delete("wf-1")).existed

    assert caught.value.setting == "allow_rollup_hdrs=false"


async def test_what_nats_itself_removed_does_not_exist(nats_client: nats.NATS) -> None:
    """A limit marker (NATS ADR-48) stands where a message expired."""
    await nats_client.jetstream().add_stream(
        StreamConfig(
            name="KV_b",
            subjects=["$KV.b.>"],
            max_msgs_per_subject=1,
            allow_direct=True,
            allow_rollup_hdrs=True,
            allow_msg_ttl=True,
            subject_delete_marker_ttl=3600,
        )
    )
    async with JetStreamStore.over(nats_client, "b") as store:
        await store.save(WorkflowState("kept"))
        await store.save(WorkflowState("wf-1"))
        await nats_client.jetstream().publish(
            "$KV.b.wf-1", b"", headers={"KV-Operation": "PURGE", "Nats-Marker-Reason": "MaxAge"}
        )

        assert not (await store.delete("wf-1")).existed
        revision = (await store.save(WorkflowState("wf-1"), 0)).revision
        assert (await store.load("wf-1")).revision == revision


async def test_two_servers_share_a_bucket(nats_client: nats.NATS) -> None:
    async with (
        JetStreamStore.over(nats_client, "beluga_workflows") as one,
        JetStreamStore.over(nats_client, "beluga_workflows") as other,
    ):
        await one.save(WorkflowState("wf-1"))

        assert (await other.load("wf-1")).state.workflow_id == "wf-1"
        assert (await other.delete("wf-1")).existed
        assert not (await one.delete("wf-1")).existed
