"""What the headers of a stored message say of when it goes."""

import pytest

from workflowstore_server.codec import rfc3339
from workflowstore_server.store.jetstream.stream import TTL_SECONDS_MAX, _expiry

STORED_AT = "2026-11-24T10:00:00.5Z"
STORED_AT_NS = rfc3339.parse(STORED_AT)


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        ("1", 1),
        ("5s", 5),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("100ms", 0.1),
        ("9" * 400, TTL_SECONDS_MAX),
        # No time to live that NATS takes: looked after at once, and for as long as it is there.
        ("soon", 0),
        ("1.2.3s", 2.3),
    ],
)
def test_a_time_to_live_ends_so_long_after_the_message_was_stored(ttl: str, seconds: float) -> None:
    assert _expiry(ttl, STORED_AT) == STORED_AT_NS + int(seconds * 1e9)


def test_what_never_expires_has_no_end() -> None:
    assert _expiry("never", STORED_AT) is None
