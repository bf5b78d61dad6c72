"""A List that breaks goes on where it was: nothing comes twice, nothing is left out, and nothing is tried for ever."""

import asyncio
import itertools
import math

import grpc
import pytest

from support.ports import free_ports
from support.waiting import until
from workflowstore import (
    AsyncClient,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    StorageFullError,
    UnavailableError,
    WorkflowFilter,
    WorkflowStoreError,
    WorkflowView,
)
from workflowstore.client import _resume
from workflowstore.client._resume import PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN, RESUME_SECONDS, ListResumption
from workflowstore.v1 import workflow_store_pb2 as pb

from .conftest import PATIENCE_SECONDS, Script, chunk_of, for_ever, refusal, serving, within_patience

UNAVAILABLE = UnavailableError("gone", code="UNAVAILABLE")
GRPC_ROUNDING_SECONDS = 0.01
"""gRPC sends a timeout between 1 and 10 s in steps of 10 ms, rounded up: 1.5 s arrived as up to 1.5098 s."""

IDS = [f"w{number}" for number in range(10)]


class Clock:
    """A clock that the test turns."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def resumption_of(clock, request=None, timeout=None, random=1.0):
    return ListResumption(request or pb.ListRequest(), timeout, clock, lambda: random)


def test_the_first_call_asks_for_what_was_asked_for(clock):
    request = pb.ListRequest(bucket="b", limit=5, page_token="t", view="WORKFLOW_VIEW_FULL", filter={"run_id": "r"})
    resumption = resumption_of(clock, request, timeout=7)
    assert (resumption.request(), resumption.timeout()) == (request, 7)
    assert resumption_of(clock).timeout() is None


def test_the_next_call_asks_for_the_rest(clock):
    request = pb.ListRequest(bucket="b", limit=5, order_by="ORDER_BY_UPDATED_AT", descending=True)
    resumption = resumption_of(clock, request, timeout=7)
    resumption.received(chunk_of("a", "b", token="2"))
    resumption.received(chunk_of("c", malformed=["x"], token="3"))
    clock.now += 3
    rest = pb.ListRequest(bucket="b", limit=2, order_by="ORDER_BY_UPDATED_AT", descending=True, page_token="3")
    assert resumption.pause_seconds(UNAVAILABLE) is not None
    assert (resumption.request(), resumption.timeout()) == (rest, 4)
    assert request.limit == 5
    clock.now += 10
    assert resumption.timeout() == 0


def test_no_limit_stays_no_limit(clock):
    resumption = resumption_of(clock)
    resumption.received(chunk_of("a", token="1"))
    assert (resumption.request().limit, resumption.complete) == (0, False)


def test_nothing_goes_on_that_has_not_begun(clock):
    assert resumption_of(clock).pause_seconds(UNAVAILABLE) is None


@pytest.mark.parametrize("kind", [InvalidRequestError, DeadlineExceededError, InternalError, StorageFullError])
def test_nothing_goes_on_that_time_does_not_mend(clock, kind):
    resumption = resumption_of(clock)
    resumption.received(chunk_of("a", token="1"))
    assert resumption.pause_seconds(kind("no")) is None
    assert resumption.pause_seconds(WorkflowStoreError("denied", code="PERMISSION_DENIED")) is None


def test_pauses_double_to_their_bound_and_begin_anew_with_a_chunk(clock):
    resumption = resumption_of(clock)
    resumption.received(chunk_of("a", token="1"))
    pauses = [resumption.pause_seconds(UNAVAILABLE) for _ in range(7)]
    assert pauses == [PAUSE_SECONDS_MIN * 2**n for n in range(5)] + [PAUSE_SECONDS_MAX] * 2
    resumption.received(chunk_of("b", token="2"))
    assert resumption.pause_seconds(UNAVAILABLE) == PAUSE_SECONDS_MIN


def test_clients_do_not_come_back_at_once(clock):
    pauses = []
    for random in (0.0, 0.5, 1.0):
        resumption = resumption_of(clock, random=random)
        resumption.received(chunk_of("a", token="1"))
        pauses.append(resumption.pause_seconds(UNAVAILABLE) / PAUSE_SECONDS_MIN)
    assert pauses == pytest.approx([0.5, 0.75, 1.0])


def test_the_server_says_how_long_to_wait_at_least(clock):
    resumption = resumption_of(clock)
    resumption.received(chunk_of("a", token="1"))
    asked = UnavailableError("gone", retry_after_seconds=5.0)
    assert resumption.pause_seconds(asked) == 5.0 + PAUSE_SECONDS_MIN
    assert resumption.pause_seconds(UnavailableError("gone", retry_after_seconds=RESUME_SECONDS)) is None


def test_it_is_given_up_when_no_chunk_comes_for_long(clock):
    resumption = resumption_of(clock)
    resumption.received(chunk_of("a", token="1"))
    clock.now += 10 * RESUME_SECONDS  # the reader's own time does not count
    for token in ("2", "3"):
        broken = clock.now
        while (pause := resumption.pause_seconds(UNAVAILABLE)) is not None:
            clock.now += pause
        assert RESUME_SECONDS - PAUSE_SECONDS_MAX <= clock.now - broken < RESUME_SECONDS
        resumption.received(chunk_of("b", token=token))


def test_no_pause_reaches_beyond_the_deadline(clock):
    resumption = resumption_of(clock, timeout=1)
    resumption.received(chunk_of("a", token="1"))
    while (pause := resumption.pause_seconds(UNAVAILABLE)) is not None:
        clock.now += pause
        assert resumption.timeout() > 0


def test_the_store_revision_is_that_of_the_first_call(clock):
    resumption = resumption_of(clock)
    replies = [chunk_of("a", token="1", revision=7), chunk_of("b", token="2", revision=9), chunk_of(revision=8)]
    assert [resumption.received(reply).store_revision for reply in replies] == [7, 7, 7]


@pytest.mark.parametrize(
    ("limit", "reply", "complete"),
    [
        (0, chunk_of("a", "b"), True),
        (0, chunk_of("a", "b", token="2"), False),
        (3, chunk_of("a", "b", token="2"), False),
        (2, chunk_of("a", "b", token="2"), True),
        (3, chunk_of("a", "b"), True),
    ],
)
def test_it_is_complete_without_a_token_or_at_its_limit(clock, limit, reply, complete):
    resumption = resumption_of(clock, pb.ListRequest(limit=limit))
    assert not resumption.complete
    resumption.received(reply)
    assert resumption.complete is complete


class Listing:
    """Lists the ids in chunks of two, and breaks: `breaks` says after how many chunks and how, call by call."""

    def __init__(self, breaks=(), ids=IDS):
        self.ids = ids
        self.breaks = iter(breaks)
        self.revision = 100
        self.remaining_seconds = []

    async def __call__(self, request, context):
        self.revision += 1
        self.remaining_seconds.append(context.time_remaining())
        chunks_before, failure = next(self.breaks, (math.inf, None))
        place = int(request.page_token or "0")
        end = min(len(self.ids), place + request.limit) if request.limit else len(self.ids)
        for number in itertools.count():
            if number == chunks_before:
                await failure(request, context)
            if number and place == end:
                return
            until = min(place + 2, end)
            malformed = [f"bad{place}"] if place % 4 == 0 else []
            token = str(until) if until < len(self.ids) else ""
            yield chunk_of(*self.ids[place:until], malformed=malformed, token=token, revision=self.revision)
            place = until


def ids_of(states):
    return [state.workflow_id for state in states]


def unavailable(reason="", **details):
    return refusal(grpc.StatusCode.UNAVAILABLE, reason, **details)


@pytest.mark.parametrize(
    "gone",
    [
        unavailable(),
        unavailable("ERROR_REASON_SHUTTING_DOWN"),
        unavailable("ERROR_REASON_INDEX_BEHIND"),
        refusal(grpc.StatusCode.CANCELLED),
    ],
)
async def test_a_list_that_breaks_goes_on_with_every_state_once(colour, server, client, gone):
    server.list = Listing([(1, gone), (0, gone), (0, gone), (3, gone)])
    entries = []
    wanted = WorkflowFilter(run_id="r")
    states, error = await colour.take(
        client.list(wanted, order_by="created_at", descending=True, view=WorkflowView.FULL, on_malformed=entries.append)
    )
    assert (ids_of(states), error) == (IDS, None)
    assert [entry.key for entry in entries] == ["bad0", "bad4", "bad8"]
    assert [request.page_token for request in server.requests] == ["", "2", "2", "2", "8"]
    for request in server.requests:
        request.page_token = ""
        assert request == pb.ListRequest(
            filter={"run_id": "r"}, order_by="ORDER_BY_CREATED_AT", descending=True, view="WORKFLOW_VIEW_FULL"
        )


async def test_chunks_of_a_list_that_breaks_are_those_of_one_list(colour, server, client):
    server.list = Listing([(2, unavailable()), (2, unavailable())])
    read, error = await colour.take(client.list_chunks())
    assert error is None
    assert [ids_of(chunk.states) for chunk in read] == [IDS[place : place + 2] for place in range(0, 10, 2)]
    assert [entry.key for chunk in read for entry in chunk.malformed] == ["bad0", "bad4", "bad8"]
    assert [chunk.next_page_token for chunk in read] == ["2", "4", "6", "8", ""]
    assert {chunk.store_revision for chunk in read} == {101}


async def test_the_limit_is_that_of_all_calls_together(colour, server, client):
    server.list = Listing([(1, unavailable()), (2, unavailable())])
    states, error = await colour.take(client.list(limit=7, on_malformed=print))
    assert (ids_of(states), error) == (IDS[:7], None)
    assert [(request.page_token, request.limit) for request in server.requests] == [("", 7), ("2", 5), ("6", 1)]


async def test_a_list_that_breaks_at_its_limit_has_ended(colour, server, client):
    server.list = Listing([(2, unavailable())])
    read, error = await colour.take(client.list_chunks(limit=4))
    assert ([ids_of(chunk.states) for chunk in read], error) == ([IDS[:2], IDS[2:4]], None)
    assert read[-1].next_page_token == "4"
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_a_list_that_breaks_after_its_last_chunk_has_ended(colour, server, client, code):
    server.list = Listing([(5, refusal(code))])
    states, error = await colour.take(client.list(on_malformed=print))
    assert (ids_of(states), error) == (IDS, None)
    assert len(server.requests) == 1


async def test_a_list_is_read_page_by_page(colour, server, client):
    server.list = Listing()
    pages, token = [], ""
    while True:
        read, error = await colour.take(client.list_chunks(limit=4, page_token=token))
        assert error is None
        pages.append([name for chunk in read for name in ids_of(chunk.states)])
        token = read[-1].next_page_token
        if not token:
            break
    assert pages == [IDS[:4], IDS[4:8], IDS[8:]]


async def test_what_was_malformed_before_a_break_is_raised_after_the_last_state(colour, server, client):
    server.list = Listing([(1, unavailable())])
    states, error = await colour.take(client.list())
    assert ids_of(states) == IDS
    assert [entry.key for entry in error.entries] == ["bad0", "bad4", "bad8"]


async def test_a_failure_before_the_first_chunk_is_raised_at_once(colour, server, client):
    server.list = Listing([(0, unavailable("ERROR_REASON_INDEX_BEHIND"))])
    states, error = await colour.take(client.list())
    assert (states, type(error), error.reason) == ([], UnavailableError, "ERROR_REASON_INDEX_BEHIND")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_REQUEST", InvalidRequestError),
        (grpc.StatusCode.INTERNAL, "ERROR_REASON_INTERNAL", InternalError),
    ],
)
async def test_what_time_does_not_mend_is_raised_at_once(colour, server, client, code, reason, kind):
    server.list = Listing([(1, unavailable()), (1, refusal(code, reason))])
    states, error = await colour.take(client.list())
    assert (ids_of(states), type(error)) == (IDS[:4], kind)
    assert len(server.requests) == 2


async def test_a_list_that_stays_broken_is_given_up_with_its_last_error(colour, server, client, monkeypatch):
    monkeypatch.setattr(_resume, "RESUME_SECONDS", 0.5)
    gone = unavailable("ERROR_REASON_INDEX_BEHIND", lag="5")
    server.list = Listing([(1, unavailable()), *[(0, gone)] * 50])
    states, error = await colour.take(client.list())
    assert ids_of(states) == IDS[:2]
    assert (type(error), error.metadata) == (UnavailableError, {"lag": "5"})
    assert 2 <= len(server.requests) <= 8


async def test_the_deadline_is_that_of_all_calls_together(colour, server, client, pauses):
    pauses.seconds = 0.6
    # A deadline that passes at the third call may pass before, too, on a machine that is slow enough.
    passed = refusal(grpc.StatusCode.DEADLINE_EXCEEDED)
    server.list = Listing([(1, unavailable()), (1, unavailable()), (1, passed)])
    states, error = await colour.take(client.list(timeout=9))
    assert (ids_of(states), type(error)) == (IDS[:6], DeadlineExceededError)
    first, second, third = server.list.remaining_seconds
    # gRPC sends a timeout that is almost that of another call as that one, which a pause is far longer than.
    assert 9 + GRPC_ROUNDING_SECONDS >= first > second + 0.5
    assert second > third + 0.5


async def test_the_deadline_ends_a_list_that_stays_broken(colour, server, client):
    server.list = Listing([(1, unavailable(retry_after_seconds=60))])
    states, error = await colour.take(client.list(timeout=30))
    assert (ids_of(states), type(error)) == (IDS[:2], UnavailableError)
    assert len(server.requests) == 1


async def test_leaving_a_list_that_went_on_ends_its_call(colour, server, client):
    server.list = Listing([(1, unavailable()), (1, for_ever)])
    states, error = await colour.take(client.list(), count=3)
    assert (ids_of(states), error) == (IDS[:3], None)
    await within_patience(server.cancelled)


@pytest.mark.parametrize("call", ["list", "list_chunks"])
async def test_closing_a_list_that_went_on_ends_its_call(colour, server, client, call):
    server.list = Listing([(1, unavailable()), (1, for_ever)])
    iteration = getattr(client, call)()
    for _ in range(3 if call == "list" else 2):
        await (anext(iteration) if colour.is_async else asyncio.to_thread(next, iteration))
    await colour.call(iteration.aclose if colour.is_async else iteration.close)
    await within_patience(server.cancelled)


class Pauses:
    """Counts the pauses that clients make, each of which may be given another length."""

    def __init__(self):
        self.count = 0
        self.seconds = None
        self._real = ListResumption.pause_seconds

    def pause_seconds(self, resumption, error):
        seconds = self._real(resumption, error)
        self.count += 1
        return self.seconds if self.seconds and seconds is not None else seconds

    async def reach(self, count):
        async def reached():
            return self.count >= count

        await until(reached, PATIENCE_SECONDS)


@pytest.fixture
def pauses(monkeypatch):
    pauses = Pauses()
    monkeypatch.setattr(ListResumption, "pause_seconds", lambda *arguments: pauses.pause_seconds(*arguments))
    return pauses


async def test_cancelling_a_task_in_a_pause_ends_its_list(server, pauses):
    async def read(client):
        async for _ in client.list():
            pass

    server.list = Listing([(1, unavailable())])
    pauses.seconds = 60
    async with AsyncClient(server.target) as client:
        task = asyncio.create_task(read(client))
        await pauses.reach(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_closing_the_client_in_a_pause_fails_its_list(colour, server, pauses):
    server.list = Listing([(1, unavailable())])
    pauses.seconds = 3
    client = colour.kind(server.target)
    task = asyncio.create_task(colour.take(client.list()))
    await pauses.reach(1)
    await colour.call(client.close)
    states, error = await task
    assert (ids_of(states), type(error), error.code) == (IDS[:2], WorkflowStoreError, "CANCELLED")
    assert len(server.requests) == 1


async def test_a_server_that_is_restarted_is_found_again(colour, pauses):
    async def third_chunk():
        return "bad4" in {entry.key for entry in entries}

    entries = []
    script = Script()
    script.list = Listing([(3, for_ever)])
    (port,) = free_ports(1)
    async with serving(script, port):
        client = colour.kind(script.target)
        task = asyncio.create_task(colour.take(client.list(on_malformed=entries.append)))
        await until(third_chunk, PATIENCE_SECONDS)
    await pauses.reach(4)
    async with serving(script, port):
        states, error = await task
    # gRPC by itself would wait ever longer before it connects again.
    assert pauses.count <= 10
    assert (ids_of(states), error) == (IDS, None)
    assert [request.page_token for request in script.requests] == ["", "6"]
    await colour.call(client.close)
