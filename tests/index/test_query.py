"""What List and Count answer is what the filter says, in the order that was asked for, however it is found."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.entries import indexed, listed
from workflowstore_server.codec import document, message
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import listing, query
from workflowstore_server.model.selection import (
    GroupBy,
    ListPosition,
    OrderBy,
    Selection,
    WorkflowFilter,
    narrowed,
    outermost,
)
from workflowstore_server.model.state import StoredState, Summary, WorkflowState, WorkflowStatus, WorkflowView
from workflowstore_server.store.memory import MemoryStore

TIMES_NS = [0, 1, -62_135_596_800_000_000_000, 253_402_300_799_999_999_999, 1_795_000_000_123_456_789, 2**63]
IDS = [
    "a",
    "aa",
    "ab",
    "b",
    "B",
    "a b",
    "order:1",
    "order:2",
    "\u00e9",
    "\ud7ff",
    "\ue000",
    "\U0010ffff",
    "\U0010ffffa",
]

times_ns = st.sampled_from(TIMES_NS)
labels = st.dictionaries(st.sampled_from(["team", "", "\0", 'a"b']), st.sampled_from(["x", "y", "", "\0z"]), max_size=3)
run_ids = st.sampled_from(["", "run-1", "run-2", "\0"])
states = st.builds(
    WorkflowState,
    workflow_id=st.sampled_from(IDS)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4),
    run_id=run_ids,
    status=st.sampled_from(WorkflowStatus),
    error=st.sampled_from(["", "x" * 3000]),
    created_at_ns=times_ns,
    updated_at_ns=times_ns,
    labels=labels,
)
bounds = st.lists(st.sampled_from(["a", "ab", "b", "order:", "order:1", "\ud7ff", "\U0010ffff"]), max_size=4)
asked_filters = st.builds(
    WorkflowFilter,
    statuses=st.frozensets(st.sampled_from(WorkflowStatus), max_size=3),
    workflow_id_prefix=st.sampled_from(["", "", "a", "ab", "order:", "\ud7ff", "\U0010ffff"]),
    run_id=run_ids,
    labels=st.just({}) | labels,
    created_after_ns=st.none() | times_ns,
    created_before_ns=st.none() | times_ns,
    updated_after_ns=st.none() | times_ns,
    updated_before_ns=st.none() | times_ns,
)


def confined(wanted: WorkflowFilter, prefixes: list[str]) -> WorkflowFilter:
    """The same for a caller who may know of these prefixes only. What is outside of all of them is refused earlier."""
    return replace(wanted, within=narrowed(wanted.workflow_id_prefix, outermost(prefixes)))


filters = st.builds(confined, asked_filters, bounds)
selections = st.builds(Selection, st.just("b"), filters, st.sampled_from(OrderBy), st.booleans())


def place_of(state: WorkflowState, order_by: OrderBy) -> tuple[int, str]:
    times = {OrderBy.CREATED_AT: state.created_at_ns, OrderBy.UPDATED_AT: state.updated_at_ns}
    return times.get(order_by, 0), state.workflow_id


def expected(stored: dict[str, WorkflowState], selection: Selection) -> list[str]:
    matching = [state for state in stored.values() if selection.filter.matches(state)]
    matching.sort(key=lambda state: place_of(state, selection.order_by), reverse=selection.descending)
    return [state.workflow_id for state in matching]


@pytest.fixture(params=["file", "memory"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "file" else None


@pytest.mark.parametrize("narrow_max", [0, 3, 10_000])
@given(found=st.lists(states, max_size=25), asked=st.lists(selections, min_size=1, max_size=6), data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_list_and_count_answer_as_the_filter_does(
    narrow_max: int, found: list[WorkflowState], asked: list[Selection], data: st.DataObject
) -> None:
    """On each of the ways: `narrow_max` decides between sorting what a condition leaves and walking in order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query, "NARROW_MAX", narrow_max)
        patch.setattr(listing, "CHUNK_STATES_MAX", 4)
        store = MemoryStore("b")
        stored = {state.workflow_id: state for state in found}
        for state in found:
            await store.save(state)
        async with indexed(store) as index:
            for selection in asked:
                wanted = expected(stored, selection)
                for view in WorkflowView:
                    states, malformed = await listed(index, selection, view)
                    assert [state.workflow_id for state in states] == wanted
                    assert not malformed
                limit = data.draw(st.integers(1, 6))
                pages: list[str] = []
                position: ListPosition | None = None
                while True:
                    chunks = [chunk async for chunk in index.chunks(selection, WorkflowView.SUMMARY, limit, position)]
                    states, _ = await listed(index, selection, limit=limit, after=position)
                    pages += [state.workflow_id for state in states]
                    position = chunks[-1].position
                    if position is None:
                        break
                    assert len(states) == limit
                assert pages == wanted

                by_status = await index.count(selection.filter, GroupBy.STATUS)
                matching = [stored[workflow_id] for workflow_id in wanted]
                assert by_status.count == len(wanted)
                assert {group.key: group.count for group in by_status.groups} == Counter(s.status for s in matching)
                by_label = await index.count(selection.filter, GroupBy.LABEL, "team")
                assert by_label.count == len(wanted)
                assert {group.key: group.count for group in by_label.groups} == Counter(
                    state.labels.get("team") for state in matching
                )
                counts = [group.count for group in by_label.groups]
                assert counts == sorted(counts, reverse=True)
                assert (await index.count(selection.filter)).count == len(wanted)


@given(state=states)
def test_a_summary_in_the_index_is_what_the_api_shows(state: WorkflowState) -> None:
    encoded = document.encode(state)
    summary = document.summary_of(key_of(state.workflow_id), 7, encoded)

    assert isinstance(summary, Summary)
    shown = message.encode_state(StoredState(state, 7, len(encoded)), WorkflowView.SUMMARY)
    assert message.encode_summary(summary, 7, len(encoded)) == shown.SerializeToString(deterministic=True)


async def test_more_groups_than_are_told_are_counted(directory: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "COUNT_GROUPS_MAX", 3)
    store = MemoryStore("b")
    for number in range(10):
        await store.save(WorkflowState(f"wf-{number}", labels={"team": f"t-{number % 5}"} if number else {}))
    async with indexed(store, directory) as index:
        counted = await index.count(WorkflowFilter(), GroupBy.LABEL, "team")

    assert counted.count == 10
    assert [(group.key, group.count) for group in counted.groups] == [("t-1", 2), ("t-2", 2), ("t-3", 2)]
    assert counted.omitted_groups == 3  # t-4, t-0 and those without


async def test_malformed_entries_come_first_and_once_and_only_under_their_prefix(directory: Path | None) -> None:
    store = MemoryStore("b")
    for number in range(1300):
        store.store(f"bad-{number:04d}", b"{")
    store.store("=not base64", b"{")
    await store.save(WorkflowState("good"))
    async with indexed(store, directory) as index:
        states, malformed = await listed(index, Selection("b"), limit=1)
        chunks = [chunk async for chunk in index.chunks(Selection("b"), WorkflowView.SUMMARY, 0, None)]
        resumed = [
            entry for _, entries in [await listed(index, Selection("b"), after=chunks[0].position)] for entry in entries
        ]
        under_prefix = Selection("b", WorkflowFilter(workflow_id_prefix="bad-12"))
        some = (await listed(index, under_prefix))[1]
        counted = await index.count(WorkflowFilter(workflow_id_prefix="bad-12"))

    assert len(malformed) == 1301
    assert [state.workflow_id for state in states] == ["good"]
    assert max(len(chunk.malformed) for chunk in chunks) <= 512
    assert list(chunks[0].malformed) + resumed == malformed
    assert {entry.key for entry in some} == {f"bad-{number}" for number in range(1200, 1300)} | {"=not base64"}
    assert (counted.count, counted.malformed_count) == (0, 101)


async def test_what_is_malformed_outside_of_what_a_caller_may_know_is_neither_told_nor_counted() -> None:
    store = MemoryStore("b")
    for key in ("a-bad", "b-bad", "c-bad", "=not base64"):
        store.store(key, b"{")
    within = WorkflowFilter(within=("a-", "c-"))
    async with indexed(store) as index:
        _, malformed = await listed(index, Selection("b", within))
        counted = await index.count(within)

    assert [entry.key for entry in malformed] == ["a-bad", "c-bad"]
    assert counted.malformed_count == 2


@pytest.mark.parametrize("descending", [False, True])
async def test_a_list_within_several_prefixes_goes_on_from_its_place_in_each(descending: bool) -> None:
    """A part that began with its prefix again would read anew, for each chunk, all that came before."""
    selection = Selection("b", WorkflowFilter(within=("a-", "c-", "e-")), descending=descending)
    async with indexed(MemoryStore("b")) as index:
        database, _ = await index.follower.fresh()
        way = await index.follower.read(database, lambda connection: query.way_of(connection, selection))

    ranges = query.page(way, selection, (b"", "c-5"), 10, "w.workflow_id").parameters

    assert ranges == (("a-", "a.", "c-", "c-5") if descending else ("c-5", "c.", "e-", "e."))


async def test_a_chunk_is_bounded_by_bytes_whatever_a_summary_weighs(directory: Path | None) -> None:
    store = MemoryStore("b")
    for number in range(40):
        await store.save(WorkflowState(f"wf-{number:02d}", error="x" * (300_000 if number % 2 else 10)))
    async with indexed(store, directory) as index:
        chunks = [chunk async for chunk in index.chunks(Selection("b"), WorkflowView.SUMMARY, 0, None)]
        states, _ = await listed(index, Selection("b"))

    assert all(len(chunk.states) <= 1024 * 1024 for chunk in chunks)
    assert [state.workflow_id for state in states] == [f"wf-{number:02d}" for number in range(40)]


async def test_a_full_list_shows_a_document_that_is_newer_than_its_row_only_if_it_matches(
    directory: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore("b")
    for name in ("a", "b", "c", "d", "e"):
        await store.save(WorkflowState(name, status=WorkflowStatus.RUNNING))
    last = store.last

    async def written_meanwhile(keys: object, at_least: int) -> object:
        await store.save(WorkflowState("b", status=WorkflowStatus.RUNNING, error="newer"))
        await store.save(WorkflowState("c", status=WorkflowStatus.FAILED))
        await store.delete("d")
        store.store("e", b"{")
        return await last(keys, at_least)  # type: ignore[arg-type]

    async with indexed(store, directory) as index:
        await index.count(WorkflowFilter())
        monkeypatch.setattr(store, "last", written_meanwhile)
        selection = Selection("b", WorkflowFilter(statuses=frozenset([WorkflowStatus.RUNNING])))
        states, malformed = await listed(index, selection, WorkflowView.FULL)

    assert [(state.workflow_id, state.error) for state in states] == [("a", ""), ("b", "newer")]
    assert [entry.key for entry in malformed] == ["e"]
