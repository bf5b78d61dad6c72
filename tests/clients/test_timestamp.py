"""Times keep their nanoseconds, from the wire and back to it."""

import copy
import pickle
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflowstore import Timestamp
from workflowstore.client._timestamp import from_unix, to_unix

YEAR_1 = -62_135_596_800
YEAR_10000 = 253_402_300_800
SECONDS = st.integers(YEAR_1, YEAR_10000 - 1)
NANOS = st.integers(0, 999_999_999)


@given(SECONDS, NANOS)
def test_a_moment_comes_back_to_the_nanosecond(seconds, nanos):
    moment = from_unix(seconds, nanos)
    assert to_unix(moment) == (seconds, nanos)
    assert moment.tzinfo is UTC
    assert moment.microsecond * 1000 + moment.nanosecond == nanos


def test_the_ends_of_the_range():
    assert from_unix(YEAR_1, 0) == datetime(1, 1, 1, tzinfo=UTC)
    assert from_unix(YEAR_10000 - 1, 999_999_999) == Timestamp.from_datetime(datetime.max.replace(tzinfo=UTC), 999)


@given(SECONDS, NANOS)
def test_copies_are_equal(seconds, nanos):
    moment = from_unix(seconds, nanos)
    copies = [copy.copy(moment), copy.deepcopy(moment)]
    copies += [pickle.loads(pickle.dumps(moment, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in copies:
        assert type(other) is Timestamp
        assert other == moment
        assert other.nanosecond == moment.nanosecond
        assert hash(other) == hash(moment)
        assert repr(other) == repr(moment)


def test_a_copy_keeps_zone_and_fold():
    moment = Timestamp.from_datetime(datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2)), fold=1), 7)
    other = pickle.loads(pickle.dumps(moment))
    assert (other.utcoffset(), other.fold, other.nanosecond) == (timedelta(hours=2), 1, 7)


def test_dataclasses_replace_keeps_the_nanosecond():
    @dataclass(frozen=True)
    class Holder:
        at: datetime
        name: str

    assert replace(Holder(from_unix(0, 7), "a"), name="b").at.nanosecond == 7


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3000)), min_size=2, max_size=2))
def test_it_compares_by_the_nanosecond(pairs):
    left, right = pairs
    a, b = from_unix(*left), from_unix(*right)
    assert (a == b, a != b, a < b, a <= b, a > b, a >= b) == (
        left == right,
        left != right,
        left < right,
        left <= right,
        left > right,
        left >= right,
    )


def test_it_compares_with_datetimes():
    plain = datetime(2026, 1, 1, tzinfo=UTC)
    later = Timestamp.from_datetime(plain, 1)
    assert plain < later
    assert later > plain
    assert plain <= later
    assert later >= plain
    assert plain != later
    assert later != plain
    assert Timestamp.from_datetime(plain, 0) == plain
    assert hash(Timestamp.from_datetime(plain, 0)) == hash(plain)
    assert later < plain + timedelta(microseconds=1)
    assert later != "2026"
    assert later != datetime(2026, 1, 1)
    with pytest.raises(TypeError):
        assert later < datetime(2026, 1, 1)
    with pytest.raises(TypeError):
        assert later < 5


def test_what_is_computed_from_it_is_exact_to_the_microsecond():
    moment = from_unix(1_800_000_000, 123_456_789)
    plain = datetime.fromtimestamp(1_800_000_000, UTC) + timedelta(microseconds=123_456)
    assert moment + timedelta(hours=1) == plain + timedelta(hours=1)
    assert moment - timedelta(0) == plain
    assert moment - plain == timedelta(0)
    assert moment.replace(year=2000) == plain.replace(year=2000)
    assert moment.astimezone(timezone(timedelta(hours=5))) == plain
    assert Timestamp.now(tz=UTC).nanosecond == 0
    assert Timestamp(2026, 1, 1, tzinfo=UTC).nanosecond == 0
    assert moment.isoformat() == plain.isoformat()


@pytest.mark.parametrize("nanosecond", [-1, 1000])
def test_a_nanosecond_beyond_the_microsecond_is_refused(nanosecond):
    with pytest.raises(ValueError, match=r"0\.\.999"):
        Timestamp.from_datetime(datetime.now(tz=UTC), nanosecond)


def test_other_zones_are_the_same_moment():
    assert to_unix(datetime(1970, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))) == (0, 0)
    assert to_unix(datetime(1, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == (YEAR_1, 0)


class NoOffset(tzinfo):
    def utcoffset(self, moment):
        return None


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (datetime(2026, 1, 1), "no time zone"),
        (datetime(2026, 1, 1, tzinfo=NoOffset()), "no time zone"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "outside the years"),
        (datetime(9999, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-1))), "outside the years"),
    ],
)
def test_what_has_no_place_on_the_wire_is_refused(moment, message):
    with pytest.raises(ValueError, match=message):
        to_unix(moment)
