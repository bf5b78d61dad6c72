"""The only place that knows how a page token is written: how far a List has come, and which List that was."""

import base64
import hashlib
from typing import Final

import msgspec

from workflowstore_server.model.selection import ListPosition, Selection
from workflowstore_server.model.state import TIME_NS_MAX, ZERO_TIME_NS

FORMAT: Final = 1
"""First number in a token. One that this version does not know is refused."""

TEXT_BYTES_MAX: Final = 8 * 1024
"""Bytes of a token. The longest key that NATS's control line leaves room for, 4,096 bytes, makes 5,500."""

_SELECTION_BYTES: Final = 8


class WrongToken(ValueError):
    """The text is no token of this service."""


class OtherSelection(WrongToken):
    """The token belongs to a List of another bucket, filter or order."""


class _Token(msgspec.Struct, frozen=True, array_like=True):
    format: int
    selection: bytes
    malformed_key: str | None
    workflow_id: str | None
    time: tuple[int, int]
    """Seconds and nanoseconds: a time in nanoseconds may have more than 64 bits."""


_decode: Final = msgspec.msgpack.Decoder(_Token).decode
_NANOSECONDS: Final = 1_000_000_000


def encode(position: ListPosition, selection: Selection) -> str:
    """Returns the token by which the List of `selection` goes on after `position`."""
    token = _Token(
        FORMAT,
        _digest(selection),
        position.malformed_key,
        position.workflow_id,
        divmod(position.time_ns, _NANOSECONDS),
    )
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(token)).rstrip(b"=").decode()


def decode(text: str, selection: Selection) -> ListPosition:
    """Returns the position in a token.

    Raises:
        OtherSelection: It belongs to another List.
        WrongToken: It is no token.
    """
    if len(text) > TEXT_BYTES_MAX:
        raise WrongToken
    try:
        token = _decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        # The last one from nesting in what is skipped: elements that this format does not have.
        raise WrongToken from None
    time_ns = token.time[0] * _NANOSECONDS + token.time[1]
    if token.format != FORMAT or not ZERO_TIME_NS <= time_ns <= TIME_NS_MAX:
        raise WrongToken
    if token.selection != _digest(selection):
        raise OtherSelection
    return ListPosition(token.malformed_key, token.workflow_id, time_ns)


def _digest(selection: Selection) -> bytes:
    wanted = selection.filter
    parts = (
        selection.bucket,
        selection.order_by.value,
        selection.descending,
        sorted(status.value for status in wanted.statuses),
        wanted.workflow_id_prefix,
        wanted.run_id,
        sorted(wanted.labels.items()),
        # As texts: they may have more than 64 bits.
        [str(time) for time in (
            wanted.created_after_ns, wanted.created_before_ns, wanted.updated_after_ns, wanted.updated_before_ns
        )],
    )  # fmt: skip
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=_SELECTION_BYTES).digest()
