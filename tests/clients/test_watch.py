"""A watch tells each change once and in order, tells how far it is, and goes on by itself when it breaks."""

import asyncio

import grpc
import pytest

from support.ports import free_ports
from support.waiting import until
from workflowstore import (
    ChangeKind,
    DeadlineExceededError,
    InternalError,
    MalformedDocumentError,
    MalformedEntry,
    RevisionForgottenError,
    UnavailableError,
    WatchTooSlowError,
    WorkflowChange,
    WorkflowFilter,
    WorkflowStoreError,
    WorkflowView,
)
from workflowstore.client import _resume
from workflowstore.client._resume import PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN, RESUME_SECONDS, WatchResumption
from workflowstore.v1 import workflow_store_pb2 as pb

from .conftest import PATIENCE_SECONDS, Script, for_ever, refusal, serving, within_patience

UNAVAILABLE = refusal(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_SHUTTING_DOWN")
TOO_SLOW = refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_WATCH_TOO_SLOW", resume_revision="5")
FORGOTTEN = refusal(
    grpc.StatusCode.OUT_OF_RANGE, "ERROR_REASON_REVISION_FORGOTTEN", after_revision="5", earliest_revision="9"
)
BORN = {"seconds": 1767225600, "nanos": 7}


def saved(revision, workflow_id="w"):
    return {"kind": 1, "workflow_id": workflow_id, "revision": revision, "state": {"workflow_id": workflow_id}}


def deleted(revision, workflow_id="w"):
    return {"kind": 2, "workflow_id": workflow_id, "revision": revision}


def message(*changes, revision=0, complete=False):
    return pb.WatchResponse(
        changes=changes, revision=revision, snapshot_complete=complete, bucket_created_at=BORN if revision else None
    )


def told(*calls):
    """Answers each call by its messages and then by its end."""
    left = iter(calls)

    async def answer(request, context):
        *messages, end = next(left)
        for reply in messages:
            yield reply
        if end is not None:
            await end(request, context)

    return answer


def facts(changes):
    return [(change.kind.value, change.revision) for change in changes]


async def test_every_kind_of_change_has_its_fields(colour, server, client):
    server.watch = told(
        [
            message(revision=4),
            message(
                {"kind": 1, "workflow_id": "a", "revision": 5, "state": {"workflow_id": "a", "error": "e"}},
                deleted(6, "b"),
                {"kind": 3, "workflow_id": "c", "revision": 7, "state": {"workflow_id": "c"}},
                {"kind": 4, "revision": 8, "malformed": {"key": "x y", "revision": 8, "reason": "not JSON"}},
                revision=8,
            ),
            for_ever,
        ]
    )
    (first, gone, unmatched, malformed), _ = await colour.take(client.watch(view=WorkflowView.FULL), count=4)
    assert (first.kind, first.workflow_id, first.revision) == (ChangeKind.SAVED, "a", 5)
    assert (first.state.error, first.state.view, first.malformed) == ("e", WorkflowView.FULL, None)
    assert gone == WorkflowChange(kind=ChangeKind.DELETED, workflow_id="b", revision=6)
    assert (unmatched.kind, unmatched.state.workflow_id) == (ChangeKind.UNMATCHED, "c")
    assert malformed == WorkflowChange(
        kind=ChangeKind.MALFORMED, revision=8, malformed=MalformedEntry("x y", 8, "not JSON")
    )
    await within_patience(server.cancelled)


@pytest.mark.parametrize(
    ("given", "request_sent"),
    [
        ({}, {"view": 1}),
        ({"after_revision": 0}, {"view": 1, "after_revision": 0}),
        ({"after_revision": 7, "view": WorkflowView.FULL}, {"view": 2, "after_revision": 7}),
        ({"snapshot": True}, {"view": 1, "snapshot": True}),
        ({"filter": WorkflowFilter(run_id="r"), "bucket": "b"}, {"view": 1, "filter": {"run_id": "r"}, "bucket": "b"}),
    ],
)
async def test_a_watch_begins_where_it_is_asked_to(colour, server, client, given, request_sent):
    server.watch = told([message(saved(8), revision=8), for_ever])
    await colour.take(client.watch(**given), count=1)
    assert server.requests == [pb.WatchRequest(**request_sent)]


async def test_what_a_watch_cannot_ask_for_makes_no_call(client, server):
    for wrong, error, words in (
        ({"after_revision": 1, "snapshot": True}, ValueError, "after_revision: cannot be given with snapshot"),
        ({"after_revision": -1}, ValueError, "after_revision: must be in 0"),
        ({"snapshot": 1}, TypeError, "snapshot: must be a bool"),
        ({"filter": "running"}, TypeError, "filter: must be a WorkflowFilter"),
    ):
        with pytest.raises(error, match=words):
            client.watch(**wrong)
    assert server.requests == []


async def test_the_end_of_a_snapshot_is_told_with_its_revision(colour, server, client):
    server.watch = told(
        [
            message(saved(3, "a"), saved(2, "b")),
            message(saved(4, "c"), revision=9, complete=True),
            message(saved(10, "a"), revision=10),
            for_ever,
        ]
    )
    progress = []
    changes, _ = await colour.take(client.watch(snapshot=True, on_progress=progress.append), count=5)
    assert facts(changes) == [
        ("saved", 3), ("saved", 2), ("saved", 4), ("snapshot_complete", 9), ("saved", 10),
    ]  # fmt: skip
    assert progress == [9]


async def test_progress_is_told_when_everything_up_to_it_was_taken(colour, server, client):
    server.watch = told(
        [
            message(revision=4),
            message(saved(5), saved(6), revision=6),
            message(revision=6),
            message(revision=8),
            message(saved(9), revision=9),
            FORGOTTEN,
        ]
    )
    log = []
    watch = client.watch(on_progress=lambda revision: log.append(("progress", revision)))

    async def read_async():
        async for change in watch:
            log.append(("change", change.revision))

    def read_sync():
        for change in watch:
            log.append(("change", change.revision))

    with pytest.raises(RevisionForgottenError) as caught:
        await colour.call(read_async if colour.is_async else read_sync)
    assert log == [
        ("progress", 4),
        ("change", 5),
        ("change", 6),
        ("progress", 6),
        ("progress", 8),
        ("change", 9),
        ("progress", 9),
    ]
    assert (caught.value.after_revision, caught.value.earliest_revision) == (5, 9)
    assert len(server.requests) == 1


@pytest.mark.parametrize("gone", [UNAVAILABLE, refusal(grpc.StatusCode.CANCELLED)])
async def test_a_watch_that_breaks_goes_on_after_its_last_message(colour, server, client, gone):
    server.watch = told(
        [message(revision=4), message(saved(5), saved(6), revision=7), gone],
        [gone],
        [message(revision=7), message(saved(8), revision=8), UNAVAILABLE],
        [message(saved(9), revision=9), for_ever],
    )
    wanted = WorkflowFilter(run_id="r")
    changes, error = await colour.take(client.watch(wanted, view=WorkflowView.FULL, bucket="b"), count=4)
    assert (facts(changes), error) == ([("saved", 5), ("saved", 6), ("saved", 8), ("saved", 9)], None)
    same = {"bucket": "b", "filter": {"run_id": "r"}, "view": 2}
    assert server.requests == [
        pb.WatchRequest(**same),
        pb.WatchRequest(**same, after_revision=7, bucket_created_at=BORN),
        pb.WatchRequest(**same, after_revision=7, bucket_created_at=BORN),
        pb.WatchRequest(**same, after_revision=8, bucket_created_at=BORN),
    ]


@pytest.mark.parametrize("snapshot", [False, True])
async def test_a_watch_of_an_empty_bucket_misses_nothing_either(colour, server, client, snapshot):
    begun = [message(), message(complete=True)] if snapshot else [message()]
    server.watch = told([*begun, message(), UNAVAILABLE], [message(saved(1), revision=1), for_ever])
    progress = []
    watch = client.watch(snapshot=snapshot, on_progress=progress.append)
    changes, _ = await colour.take(watch, count=2 if snapshot else 1)
    assert facts(changes) == [*([("snapshot_complete", 0)] if snapshot else []), ("saved", 1)]
    assert progress == [0]
    assert server.requests[1].WhichOneof("start") == "after_revision"
    assert server.requests[1].after_revision == 0


async def test_a_watch_after_a_revision_that_breaks_at_once_asks_for_the_same(colour, server, client):
    server.watch = told([UNAVAILABLE], [message(saved(8), revision=8), for_ever])
    changes, _ = await colour.take(client.watch(after_revision=7), count=1)
    assert facts(changes) == [("saved", 8)]
    assert server.requests == [pb.WatchRequest(view=1, after_revision=7)] * 2


async def test_a_snapshot_that_breaks_begins_anew_and_a_complete_one_goes_on(colour, server, client):
    server.watch = told(
        [message(saved(3, "a")), UNAVAILABLE],
        [message(saved(3, "a")), message(saved(4, "b")), message(revision=9, complete=True), UNAVAILABLE],
        [message(saved(10, "c"), revision=10), for_ever],
    )
    changes, _ = await colour.take(client.watch(snapshot=True), count=5)
    assert facts(changes) == [
        ("saved", 3), ("saved", 3), ("saved", 4), ("snapshot_complete", 9), ("saved", 10),
    ]  # fmt: skip
    assert server.requests == [
        pb.WatchRequest(view=1, snapshot=True),
        pb.WatchRequest(view=1, snapshot=True),
        pb.WatchRequest(view=1, after_revision=9, bucket_created_at=BORN),
    ]


async def test_no_change_is_told_twice_but_what_was_lost_without_a_message_is_told(colour, server, client):
    server.watch = told(
        [message(saved(5), saved(6), revision=6), UNAVAILABLE],
        [message(deleted(5), saved(6), deleted(6, "expired"), saved(7), revision=7), for_ever],
    )
    changes, _ = await colour.take(client.watch(), count=4)
    assert facts(changes) == [("saved", 5), ("saved", 6), ("deleted", 6), ("saved", 7)]


async def test_a_reader_that_is_too_slow_goes_on_after_what_it_has_read(colour, server, client):
    server.watch = told(
        [message(saved(5), revision=5), TOO_SLOW],
        [message(saved(6), revision=6), for_ever],
    )
    changes, error = await colour.take(client.watch(after_revision=4), count=2)
    assert (facts(changes), error) == ([("saved", 5), ("saved", 6)], None)
    assert server.requests[1].after_revision == 5


async def test_a_reader_that_is_too_slow_for_a_snapshot_is_told_so(colour, server, client):
    server.watch = told([message(saved(3)), TOO_SLOW])
    changes, error = await colour.take(client.watch(snapshot=True))
    assert (facts(changes), type(error), error.resume_revision) == ([("saved", 3)], WatchTooSlowError, 5)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (FORGOTTEN, RevisionForgottenError),
        (refusal(grpc.StatusCode.INTERNAL, "ERROR_REASON_INTERNAL"), InternalError),
    ],
)
async def test_what_time_does_not_mend_is_raised_at_once(colour, server, client, end, kind):
    server.watch = told([message(saved(5), revision=5), UNAVAILABLE], [end])
    changes, error = await colour.take(client.watch())
    assert (facts(changes), type(error)) == ([("saved", 5)], kind)
    assert len(server.requests) == 2


async def test_a_watch_that_never_begins_is_given_up(colour, server, client, monkeypatch):
    monkeypatch.setattr(_resume, "RESUME_SECONDS", 0.5)
    server.watch = told(*[[UNAVAILABLE]] * 50)
    changes, error = await colour.take(client.watch())
    assert (changes, type(error)) == ([], UnavailableError)
    assert 2 <= len(server.requests) <= 8


async def test_the_deadline_ends_a_watch(colour, server, client):
    server.watch = told([message(saved(5), revision=5), for_ever])
    changes, error = await colour.take(client.watch(timeout=1))
    # Where a second was too short, none has come by then.
    assert (facts(changes)[1:], type(error)) == ([], DeadlineExceededError)
    later = refusal(grpc.StatusCode.UNAVAILABLE, retry_after_seconds=60)
    server.watch = told([message(saved(5), revision=5), later])
    changes, error = await colour.take(client.watch(timeout=30))
    assert (facts(changes), type(error)) == ([("saved", 5)], UnavailableError)


async def test_a_stream_that_ends_without_an_error_is_no_end_of_a_watch(colour, server, client):
    server.watch = told([message(saved(5), revision=5), None])
    changes, error = await colour.take(client.watch())
    assert (facts(changes), type(error)) == ([("saved", 5)], WorkflowStoreError)
    assert "ended the watch" in str(error)


async def test_a_kind_of_change_that_is_not_known_is_not_left_out(colour, server, client):
    server.watch = told([message(saved(5), {"kind": 99, "revision": 6}, revision=6), for_ever])
    changes, error = await colour.take(client.watch())
    assert (facts(changes), error.code, error.metadata) == ([("saved", 5)], "UNIMPLEMENTED", {"revision": "6"})
    await within_patience(server.cancelled)


async def test_a_state_that_python_cannot_hold_is_raised_with_its_revision(colour, server, client):
    strange = {
        "kind": 1,
        "revision": 6,
        "state": {"workflow_id": "w", "revision": 6, "input_json": "1e99999999999999999999"},
    }
    server.watch = told([message(saved(5), strange, revision=6), for_ever])
    changes, error = await colour.take(client.watch(view=WorkflowView.FULL))
    assert (facts(changes), type(error), error.revision) == ([("saved", 5)], MalformedDocumentError, 6)


async def test_closing_a_watch_ends_its_call(colour, server, client):
    server.watch = told([message(saved(5), revision=5), for_ever])
    watch = client.watch()
    await (anext(watch) if colour.is_async else asyncio.to_thread(next, watch))
    await colour.call(watch.aclose if colour.is_async else watch.close)
    await within_patience(server.cancelled)


async def test_closing_the_client_ends_its_watch(colour, server):
    server.watch = told([message(revision=5), for_ever])
    client = colour.kind(server.target)
    task = asyncio.create_task(colour.take(client.watch()))
    await within_patience(server.started)
    await colour.call(client.close)
    changes, error = await task
    assert (changes, error.code) == ([], "CANCELLED")


async def test_a_watch_finds_a_server_that_is_restarted(colour):
    async def begun():
        return progress

    progress = []
    script = Script()
    script.watch = told([message(saved(5), revision=5), for_ever], [message(saved(6), revision=6), for_ever])
    (port,) = free_ports(1)
    async with serving(script, port):
        client = colour.kind(script.target)
        task = asyncio.create_task(colour.take(client.watch(on_progress=progress.append), count=2))
        await until(begun, PATIENCE_SECONDS)
    async with serving(script, port):
        changes, error = await task
    assert (facts(changes), error) == ([("saved", 5), ("saved", 6)], None)
    assert [request.after_revision for request in script.requests] == [0, 5]
    await colour.call(client.close)


class Clock:
    """A clock that the test turns."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def resumption_of(clock, timeout=None, **request):
    return WatchResumption(pb.WatchRequest(**request), timeout, clock, lambda: 1.0)


BROKEN = UnavailableError("gone")
SLOW = WatchTooSlowError("slow")


def test_a_watch_that_has_begun_is_never_given_up():
    clock = Clock()
    resumption = resumption_of(clock)
    resumption.received(message(revision=5))
    for _ in range(1000):
        pause = resumption.pause_seconds(BROKEN)
        assert PAUSE_SECONDS_MIN <= pause <= PAUSE_SECONDS_MAX
        clock.now += pause
        resumption.request()
    assert clock.now > 1000 + 10 * RESUME_SECONDS


def test_a_watch_that_has_not_begun_is_given_up_in_time():
    clock = Clock()
    resumption = resumption_of(clock)
    for pause in iter(lambda: resumption.pause_seconds(BROKEN), None):
        clock.now += pause
    assert RESUME_SECONDS - PAUSE_SECONDS_MAX <= clock.now - 1000 < RESUME_SECONDS


def test_a_slow_reader_goes_on_at_once_as_long_as_it_gets_on():
    resumption = resumption_of(Clock())
    for revision in (5, 6):
        resumption.request()
        resumption.received(message(saved(revision), revision=revision))
        assert resumption.pause_seconds(SLOW) == 0
    resumption.request()
    pauses = [resumption.pause_seconds(SLOW) for _ in range(3)]
    assert pauses == [PAUSE_SECONDS_MIN * 2**n for n in range(3)]


def test_the_server_says_how_long_to_wait_at_least():
    resumption = resumption_of(Clock())
    resumption.received(message(revision=5))
    assert resumption.pause_seconds(UnavailableError("gone", retry_after_seconds=5.0)) == 5.0 + PAUSE_SECONDS_MIN


def test_no_pause_reaches_beyond_the_deadline():
    clock = Clock()
    resumption = resumption_of(clock, timeout=1)
    resumption.received(message(revision=5))
    for pause in iter(lambda: resumption.pause_seconds(BROKEN), None):
        clock.now += pause
        assert resumption.timeout() > 0
