"""Whatever bytes come, they are answered as documented. A fixed number of cases; `make fuzz` makes the others."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import __main__, seeds, targets, world
from workflowstore_server.codec import key
from workflowstore_server.store.memory import MemoryStore

CASES = 400
CASES_BY_CHANNEL = 100

_PIECES = st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b"[", b"{", b"\xff", b"\0", b"\x92\x01", b"9" * 30])


@st.composite
def cases(draw: st.DrawFn, target: str) -> bytes:
    """Something that is right, damaged in a few places; or anything."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.binary(max_size=200))
    case = bytearray(draw(st.sampled_from(seeds.of(target))))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(case)))
        case[place : place + draw(st.integers(0, 3))] = draw(_PIECES)
    return bytes(case)


@pytest.mark.parametrize("target", targets.TARGETS)
def test_any_bytes_are_read_or_refused(target: str) -> None:
    for seed in seeds.of(target):
        targets.TARGETS[target](seed)

    @settings(max_examples=CASES, deadline=None)
    @given(cases(target))
    def check(case: bytes) -> None:
        targets.TARGETS[target](case)

    check()


@pytest.fixture
def direct() -> Iterator[world.Direct]:
    with closing(world.Direct()) as direct:
        yield direct


def test_any_request_is_answered_as_documented(direct: world.Direct) -> None:
    for seed in seeds.requests():
        direct.case(seed)

    @settings(max_examples=2 * CASES, deadline=None)
    @given(cases("requests"))
    def check(case: bytes) -> None:
        direct.case(case)

    check()


@pytest.mark.parametrize("target", ["channel", "foreign_documents"])
def test_any_bytes_are_answered_over_a_channel(target: str) -> None:
    with closing(world.Served.of(target)) as served:
        case_of = served.case_of(target)

        @settings(max_examples=CASES_BY_CHANNEL, deadline=None)
        @given(cases(target))
        def check(case: bytes) -> None:
            case_of(case)

        check()


def test_the_long_run_has_every_target() -> None:
    assert set(__main__.CASES) == {*targets.TARGETS, "requests", "channel", "foreign_documents"}
    assert sum(__main__.CASES.values()) >= 1_000_000


def test_an_answer_that_is_not_documented_is_found(direct: world.Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(MemoryStore, "load", load)

    with pytest.raises(AssertionError, match="ERROR_REASON_INTERNAL"):
        direct.case(bytes([world.METHODS.index("Load")]) + b"\x12\x04wf-1")


def test_two_ids_of_one_key_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key, "key_of", lambda _: "wf-1")

    with pytest.raises(AssertionError):
        targets.ids(b"wf-2")
