"""The only place that knows the forms in which people type a moment: a time ago, or a date."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import click

FORMS: Final = (
    "a time ago (90m, 1h30m, 2d, '3 weeks'), now, today, yesterday, or a date (2026-11-24, 2026-11-24T10:00Z)"
)

_DAYS_AGO: Final = {"today": 0, "yesterday": 1}
_DATE: Final = re.compile(r"\d{4}-")


class Moment(click.ParamType[datetime]):
    """A moment as an aware datetime. A date or a time without a zone is one of the local zone."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read what was typed."""
        try:
            return parse(str(value), datetime.now(tz=UTC))
        except ValueError:
            self.fail(f"{value!r} is no time; give {FORMS}", param, ctx)


def parse(text: str, now: datetime) -> datetime:
    """The moment that `text` means at the moment `now`.

    Raises:
        ValueError: It has none of the forms, or lies outside the years 1 to 9999.
    """
    words = text.strip().lower().removesuffix(" ago")
    if words == "now":
        return now
    if words in _DAYS_AGO:
        day = now.astimezone().date() - timedelta(_DAYS_AGO[words])
        return _local(datetime.combine(day, time()))
    if _DATE.match(words):
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo is not None else _local(moment)
    from pytimeparse.timeparse import timeparse as seconds_of

    # It would take 10:30 for ten minutes and a half.
    seconds = None if ":" in words else seconds_of(words)
    if seconds is None or seconds < 0:
        raise ValueError(text)
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(text) from None


def _local(moment: datetime) -> datetime:
    try:
        return moment.astimezone()
    except OverflowError:
        # The first or the last day there is, in a zone where it is not wholly within the calendar.
        raise ValueError(moment) from None
