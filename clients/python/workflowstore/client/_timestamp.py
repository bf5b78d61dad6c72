"""The only place that knows how a moment to the nanosecond fits into `datetime`."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self


class Timestamp(datetime):
    """A `datetime` that keeps the nanoseconds below its microsecond.

    Times read from the server are of this class, so that a state which is loaded and saved again keeps them to the
    nanosecond. It compares and sorts by them; pickling, copying and `dataclasses.replace` keep them. What is computed
    from it (arithmetic, `replace`, `astimezone` to another zone) is exact to the microsecond: `nanosecond` is 0.
    """

    __slots__ = ("_nanosecond",)

    _nanosecond: int

    @classmethod
    def from_datetime(cls, moment: datetime, nanosecond: int) -> Self:
        """The same moment, `nanosecond` nanoseconds later.

        Args:
            moment: Any datetime. If it is a Timestamp, its own nanoseconds are left out.
            nanosecond: 0 to 999.

        Raises:
            ValueError: `nanosecond` is not in 0 to 999.
        """
        if not 0 <= nanosecond <= 999:
            raise ValueError(f"nanosecond must be in 0..999, not {nanosecond}")
        timestamp = cls.combine(moment.date(), moment.timetz()).replace(fold=moment.fold)  # combine forgets the fold
        timestamp._nanosecond = nanosecond
        return timestamp

    @property
    def nanosecond(self) -> int:
        """Nanoseconds below the microsecond, 0 to 999."""
        # Whatever datetime itself makes (now(), arithmetic, replace()) comes without a value in the slot.
        return getattr(self, "_nanosecond", 0)

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        return self.nanosecond == _nanosecond(other) if same is True else same

    def __ne__(self, other: object) -> bool:
        same = super().__eq__(other)
        return self.nanosecond != _nanosecond(other) if same is True else super().__ne__(other)

    def __lt__(self, other: Any) -> bool:
        same = super().__eq__(other)
        return self.nanosecond < _nanosecond(other) if same is True else super().__lt__(other)

    def __le__(self, other: Any) -> bool:
        same = super().__eq__(other)
        return self.nanosecond <= _nanosecond(other) if same is True else super().__le__(other)

    def __gt__(self, other: Any) -> bool:
        same = super().__eq__(other)
        return self.nanosecond > _nanosecond(other) if same is True else super().__gt__(other)

    def __ge__(self, other: Any) -> bool:
        same = super().__eq__(other)
        return self.nanosecond >= _nanosecond(other) if same is True else super().__ge__(other)

    # Moments that differ in nanoseconds alone may share a hash; equal ones do.
    __hash__ = datetime.__hash__

    def __repr__(self) -> str:
        return f"Timestamp.from_datetime({self._plain()!r}, {self.nanosecond})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_datetime, (self._plain(), self.nanosecond)

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return self.__reduce__()

    def _plain(self) -> datetime:
        return datetime.combine(self.date(), self.timetz())


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP_EPOCH: Final = Timestamp(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_UNIX_SECONDS_MIN: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _SECOND
_UNIX_SECONDS_MAX: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _SECOND


def from_unix(seconds: int, nanoseconds: int) -> Timestamp:
    """The Timestamp in UTC of a protobuf timestamp: seconds since 1970 and 0 to 999,999,999 nanoseconds after them."""
    microseconds, nanosecond = divmod(nanoseconds, 1000)
    timestamp = _TIMESTAMP_EPOCH + timedelta(0, seconds, microseconds)
    timestamp._nanosecond = nanosecond
    return timestamp


def to_unix(moment: datetime) -> tuple[int, int]:
    """Seconds since 1970 and the nanoseconds after them. No step of it leaves the range of datetime.

    Raises:
        ValueError: `moment` has no time zone, or lies outside the years 1 to 9999 in UTC.
    """
    if moment.utcoffset() is None:
        raise ValueError("has no time zone; give an aware datetime, such as datetime.now(tz=UTC)")
    since_epoch = moment - _EPOCH
    seconds = since_epoch.days * 86_400 + since_epoch.seconds
    if not _UNIX_SECONDS_MIN <= seconds <= _UNIX_SECONDS_MAX:
        raise ValueError("lies outside the years 1 to 9999 in UTC")
    return seconds, since_epoch.microseconds * 1000 + _nanosecond(moment)


def _nanosecond(moment: object) -> int:
    return moment.nanosecond if isinstance(moment, Timestamp) else 0
