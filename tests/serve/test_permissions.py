"""The permissions in deploy/nats/permissions.conf: the service runs with them, needs each, and has no others."""

import asyncio
import logging
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import nats
import nats.errors
import pytest

from support.least_privilege import (
    BUCKET,
    OPERATOR,
    PERMISSIONS,
    SERVICE,
    create_bucket,
    least_privileged,
    permitted,
    without,
)
from support.nats_server import PROGRAM, NatsServer
from support.statuses import failure
from support.waiting import until
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server import app
from workflowstore_server.config.sources import Config
from workflowstore_server.store.jetstream import BucketOptions, JetStreamStore, NatsOptions, OwnedConnection

from .conftest import Caller, calling, refusal, running  # type: ignore[import-not-found]

SUBJECTS = [subject for subject in map(permitted, PERMISSIONS.read_text().splitlines()) if subject]
NATS_PAGE = Path(__file__).parents[2] / "docs/nats.md"
SECONDS = 60
INBOX = "_INBOX_workflowstore.>"

Configured = Callable[..., Config]


@pytest.fixture
def permissions(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The file as it is, or without the line of a subject."""
    return without(request.param, tmp_path) if hasattr(request, "param") else PERMISSIONS


@pytest.fixture
async def server(tmp_path: Path, permissions: Path) -> AsyncIterator[NatsServer]:
    folder = tmp_path / "nats"
    folder.mkdir()
    server = least_privileged(folder, permissions)
    await create_bucket(server, atomic=True)
    yield server
    server.stop()


def config_of(server: NatsServer, configured: Configured) -> Config:
    url = server.url.replace("//", f"//{SERVICE['user']}:{SERVICE['password']}@")
    return configured(nats_url=[url], create_buckets=False)


async def everything(caller: Caller) -> None:
    """Make each call there is, in each way that asks NATS for something else."""
    stub = caller.stub
    state = state_pb.WorkflowState(workflow_id="wf-1")
    await stub.Save(pb.SaveRequest(state=state))
    for consistency in pb.Consistency.values():
        await stub.Load(pb.LoadRequest(workflow_id="wf-1", consistency=consistency))
    watch = stub.Watch(pb.WatchRequest(snapshot=True))
    await watch.read()
    for _ in range(2):  # the second time it is looked up what the first has written
        await stub.Save(pb.SaveRequest(state=state, request_id="one"))
    await watch.read()
    watch.cancel()
    await stub.Update(pb.UpdateRequest(state=state, set_labels={"a": "b"}))
    items = [pb.SaveBatchItem(state=state_pb.WorkflowState(workflow_id=f"wf-{number}")) for number in (2, 3)]
    for atomic in (False, True):
        saved = await stub.SaveBatch(pb.SaveBatchRequest(items=items, atomic=atomic))
        assert not any(result.HasField("error") for result in saved.results), saved
    assert len((await stub.LoadBatch(pb.LoadBatchRequest(workflow_ids=["wf-1", "wf-2"]))).results) == 2
    assert [chunk async for chunk in stub.List(pb.ListRequest(view=state_pb.WORKFLOW_VIEW_FULL))]
    assert (await stub.Count(pb.CountRequest())).count == 3
    assert [chunk async for chunk in stub.ListRevisions(pb.ListRevisionsRequest(workflow_id="wf-1"))]
    documents = [document async for chunk in stub.Export(pb.ExportRequest()) for document in chunk.documents]
    await stub.Delete(pb.DeleteRequest(workflow_id="wf-1", purge=True))
    await stub.DeleteBatch(pb.DeleteBatchRequest(items=[pb.DeleteBatchItem(workflow_id="wf-2")]))
    imported = await stub.Import(pb.ImportRequest(documents=documents))
    assert not any(result.HasField("error") for result in imported.results), imported
    await stub.GetInfo(pb.GetInfoRequest())


async def compaction(server: NatsServer) -> None:
    """What the janitor does to delete markers."""
    connection = OwnedConnection(NatsOptions(**SERVICE), lambda: (server.url,), "test")
    await connection.open()
    store = JetStreamStore(connection, BUCKET, BucketOptions(create=False))
    try:
        await store.open()
        await store.compact("wf-1", 1)
    finally:
        await store.close()
        await connection.close()


async def test_the_whole_api_runs_with_them(
    server: NatsServer, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(config_of(server, configured)) as caller:
        await everything(caller)
    await compaction(server)

    assert "permi" not in caplog.text


@pytest.mark.parametrize(
    ("permissions", "subject"), [(subject, subject) for subject in SUBJECTS], indirect=["permissions"], ids=SUBJECTS
)
async def test_each_of_them_is_needed(
    server: NatsServer, configured: Configured, caplog: pytest.LogCaptureFixture, subject: str
) -> None:
    told = caplog.text
    try:
        # What waits for NATS to be as it should, waits for ever.
        async with (
            asyncio.timeout(SECONDS),
            app.running(config_of(server, configured)) as service,
            calling(service.address) as caller,
        ):
            await everything(caller)
        await compaction(server)
    except Exception as error:
        told = f"{error!r}"
    told += caplog.text
    # Named as it is missing, up to the part that differs from message to message.
    assert "permi" in told
    assert subject.rstrip(">*") in told


@pytest.mark.parametrize("permissions", [f"$KV.{BUCKET}.>"], indirect=True)
async def test_what_is_not_permitted_fails_at_once_and_names_it(server: NatsServer, configured: Configured) -> None:
    async with running(config_of(server, configured)) as caller:
        refused = await failure(caller.save("wf-Å"))

        assert (refused.reason, refused.metadata["outcome"]) == ("STORAGE_UNAVAILABLE", "not_applied")
        assert f"NATS does not permit this server to publish to $KV.{BUCKET}.=" in refused.message


@pytest.mark.parametrize("permissions", [INBOX], indirect=True)
async def test_a_server_that_could_not_hear_the_answers_does_not_start(
    server: NatsServer, configured: Configured
) -> None:
    words = await refusal(config_of(server, configured))

    assert f"NATS does not permit this server to subscribe to {INBOX}; see docs/nats.md" in words


def test_the_configuration_in_the_documents_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```conf\n(.*?)^```$", NATS_PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "permissions.conf").write_text(PERMISSIONS.read_text())
    (tmp_path / "nats-server.conf").write_text(block)

    passwords = {"OPERATOR_PASSWORD": "one", "WORKFLOWSTORE_PASSWORD": "two"}
    command = [PROGRAM, "-t", "-c", tmp_path / "nats-server.conf"]
    tried = subprocess.run(command, env=passwords, capture_output=True, text=True, check=False)

    assert "is valid" in tried.stderr, tried.stderr


async def test_all_else_is_refused(server: NatsServer) -> None:
    refused: list[str] = []

    async def hear(error: Exception) -> None:
        refused.append(str(error))

    await create_bucket(server, "other")
    client = await nats.connect(
        server.url, **SERVICE, inbox_prefix="_INBOX_workflowstore", error_cb=hear, allow_reconnect=False
    )
    others = [
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.CREATE.KV_new",
        *[f"$JS.API.STREAM.{what}.KV_{BUCKET}" for what in ("UPDATE", "DELETE", "SNAPSHOT", "RESTORE", "MSG.DELETE")],
        *[f"$JS.API.STREAM.{what}.KV_other" for what in ("INFO", "MSG.GET", "PURGE")],
        "$JS.API.DIRECT.GET.KV_other",
        "$JS.API.CONSUMER.CREATE.KV_other",
        f"$JS.API.CONSUMER.LIST.KV_{BUCKET}",
        "$KV.other.wf-1",
        "orders.new",
        "_INBOX.somebody",
        "$SYS.REQ.SERVER.PING.VARZ",
    ]
    for subject in others:
        await client.publish(subject, b"{}", reply="_INBOX_workflowstore.here")
    heard = ["_INBOX.>", f"$KV.{BUCKET}.>", "$KV.other.>", ">", "$SYS.>"]
    for subject in heard:
        await client.subscribe(subject)
    # The first ping may overtake what nats-py has still to send.
    await client.flush()
    await client.flush()
    await client.close()

    assert len(refused) == len(others) + len(heard)
    for subject in (*others, *heard):
        assert any(f'"{subject.lower()}"' in words for words in refused), subject
    async with await nats.connect(server.url, **OPERATOR) as operator:
        names = {stream.config.name for stream in await operator.jetstream().streams_info()}
    assert names == {f"KV_{BUCKET}", "KV_other"}


@pytest.mark.parametrize("permissions", [f"$JS.API.CONSUMER.CREATE.KV_{BUCKET}"], indirect=True)
async def test_the_log_is_told_once_of_what_is_not_permitted(
    server: NatsServer, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with running(config_of(server, configured)) as caller:
        for _ in range(2):
            watch = caller.stub.Watch(pb.WatchRequest(snapshot=True))
            await watch.read()
            await until(lambda: _async("not permitted" in caplog.text))
            watch.cancel()

    told = f"NATS: publishing to $JS.API.CONSUMER.CREATE.KV_{BUCKET} is not permitted; see docs/nats.md"
    assert caplog.text.count(told) == 1


async def _async(value: object) -> object:
    return value
