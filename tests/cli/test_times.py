"""A moment is understood in the forms in which people type it, and refused in others."""

from datetime import UTC, datetime, timedelta

import pytest

from workflowstore_server.cli.times import parse

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch):
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("1h", timedelta(hours=1)),
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
        ("3 weeks", timedelta(weeks=3)),
        ("1 day 2 hours ago", timedelta(hours=26)),
        ("30s", timedelta(seconds=30)),
        ("1.5h", timedelta(minutes=90)),
        (" 5 Min ", timedelta(minutes=5)),
        ("now", timedelta(0)),
    ],
)
def test_a_time_ago(text: str, ago: timedelta) -> None:
    assert parse(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("today", "2026-11-24T00:00+01:00"),
        ("yesterday", "2026-11-23T00:00+01:00"),
        ("2026-11-24", "2026-11-24T00:00+01:00"),
        ("2026-07-01", "2026-07-01T00:00+02:00"),
        ("2026-11-24 10:15", "2026-11-24T10:15+01:00"),
        ("2026-11-24T10:15:30.5Z", "2026-11-24T10:15:30.5+00:00"),
        ("2026-11-24T10:15-05:00", "2026-11-24T10:15-05:00"),
        ("0001-01-01T00:00Z", "0001-01-01T00:00+00:00"),
    ],
)
def test_a_date_is_local_unless_it_says_otherwise(text: str, moment: str) -> None:
    assert parse(text, NOW) == datetime.fromisoformat(moment)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "10:30", "1", "-1h", "1mo", "2026-13-01", "2026-11-24T25:00", "1e9w", "99999999w", "0001-01-01"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text, NOW)
