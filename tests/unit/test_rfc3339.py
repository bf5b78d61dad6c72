"""The promises of workflowstore_server.codec.rfc3339."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.strategies import times_ns
from workflowstore_server.codec import rfc3339
from workflowstore_server.model.state import TIME_NS_MAX, ZERO_TIME_NS

SECOND = 1_000_000_000

WRITTEN = {
    "0001-01-01T00:00:00Z": ZERO_TIME_NS,
    "9999-12-31T23:59:59.999999999Z": TIME_NS_MAX,
    "1970-01-01T00:00:00Z": 0,
    "1970-01-01T00:00:00.000000001Z": 1,
    "1969-12-31T23:59:59.999999999Z": -1,
    "1969-12-31T23:59:59.5Z": -SECOND // 2,
    "2026-04-22T03:21:23.123456789Z": 1_776_828_083_123_456_789,
    "2026-04-22T04:00:00.12Z": 1_776_830_400_120_000_000,
    "2024-02-29T00:00:00Z": 1_709_164_800 * SECOND,
    "0999-01-01T00:00:00Z": -30_641_760_000 * SECOND,
}
ALSO_READ = {
    "2026-04-22T04:21:23.123456789+01:00": 1_776_828_083_123_456_789,
    "2026-04-21T20:21:23.123456789-07:00": 1_776_828_083_123_456_789,
    "1970-01-01T00:00:00+00:00": 0,
    "1970-01-01T00:00:00-00:00": 0,
    "1970-01-01T23:59:00+23:59": 0,
    "1970-01-01T00:00:00.10Z": SECOND // 10,
    "1970-01-01T00:00:00.1234567899Z": 123_456_789,
    "1970-01-01T00:00:00." + "9" * 5000 + "Z": 999_999_999,
}
FORM = "not an RFC 3339 time"
CALENDAR = "not a day of the calendar"
RANGE = "not within 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z"
REFUSED = {
    "": FORM,
    "2026-04-22": FORM,
    "2026-04-22T04:00:00": FORM,
    "2026-04-22 04:00:00Z": FORM,
    "2026-04-22t04:00:00Z": FORM,
    "2026-04-22T04:00:00z": FORM,
    "2026-04-22T4:00:00Z": FORM,
    "2026-04-22T04:00:00,5Z": FORM,
    "2026-04-22T04:00:00.Z": FORM,
    "2026-04-22T24:00:00Z": FORM,
    "2026-04-22T23:60:00Z": FORM,
    "2026-04-22T23:59:60Z": FORM,
    "2026-04-22T04:00:00+24:00": FORM,
    "2026-04-22T04:00:00+00:60": FORM,
    "2026-04-22T04:00:00+0100": FORM,
    "2026-04-22T04:00:00Z\n": FORM,
    "2026-W17-3T04:21:23Z": FORM,
    "12026-04-22T04:00:00Z": FORM,
    "٢026-04-22T04:00:00Z": FORM,
    "2026-04-22T04:00:00.٢Z": FORM,
    "2026-02-29T00:00:00Z": CALENDAR,
    "2026-04-31T00:00:00Z": CALENDAR,
    "2026-13-01T00:00:00Z": CALENDAR,
    "2026-00-01T00:00:00Z": CALENDAR,
    "2026-01-00T00:00:00Z": CALENDAR,
    "0000-12-31T23:59:59Z": RANGE,
    "0001-01-01T00:59:59+01:00": RANGE,
    "9999-12-31T23:59:59-01:00": RANGE,
}


@pytest.mark.parametrize(("text", "ns"), WRITTEN.items())
def test_an_instant_is_written_as_go_writes_it_and_read_back(text, ns):
    assert rfc3339.format(ns) == text
    assert rfc3339.parse(text) == ns


@pytest.mark.parametrize(("text", "ns"), ALSO_READ.items())
def test_offsets_and_longer_fractions_are_read(text, ns):
    assert rfc3339.parse(text) == ns


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_anything_else_is_refused_with_a_reason(text, reason):
    with pytest.raises(ValueError) as refused:
        rfc3339.parse(text)
    assert str(refused.value) == reason


@given(times_ns)
def test_every_instant_comes_back(ns):
    assert rfc3339.parse(rfc3339.format(ns)) == ns


@given(
    st.datetimes(datetime.datetime(2, 1, 1), datetime.datetime(9998, 12, 31)),
    st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))),
)
def test_a_local_time_is_the_instant_that_datetime_takes_it_for(clock, zone):
    local = clock.replace(tzinfo=zone)
    since = local - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert rfc3339.parse(local.isoformat()) == since // datetime.timedelta(microseconds=1) * 1000
