"""The only place that knows under which key a workflow lies."""

import base64
import re
from typing import Final

_PLAIN: Final = re.compile(r"(?!=)[-/_=a-zA-Z0-9]+(?:\.[-/_=a-zA-Z0-9]+)*")
"""What JetStream really stores as a key: a key is the end of a subject, whose tokens, between dots, must not be empty.
Keys that begin with "=" are left to the ids that are no keys."""

_STORABLE: Final = re.compile(r"[-/_=a-zA-Z0-9]+(?:\.[-/_=a-zA-Z0-9]+)*")
"""What JetStream stores, whether it stands for a workflow or not."""

_ENCODED: Final = "="

BARRIER_KEY: Final = "=.barrier"
"""A key that no workflow has. Delete markers under it tell that everything before them is stored (docs/adr/0012)."""


def key_of(workflow_id: str) -> str:
    """Returns the key of `workflow_id`: the id itself where it can be a key, so that other programs find it there.

    Two ids never share a key, and every id has one.
    """
    if _PLAIN.fullmatch(workflow_id):
        return workflow_id
    return _ENCODED + base64.urlsafe_b64encode(workflow_id.encode()).rstrip(b"=").decode()


def is_storable(key: str) -> bool:
    """Tells whether JetStream can store something under `key`, short of the key's length."""
    return _STORABLE.fullmatch(key) is not None


def workflow_id_of(key: str) -> str:
    """Returns the id whose key is `key`.

    Raises:
        ValueError: `key` is not the key of any id.
    """
    if _PLAIN.fullmatch(key):
        return key
    if not key.startswith(_ENCODED):
        raise ValueError("neither a plain key nor an encoded one")
    encoded = key.removeprefix(_ENCODED)
    try:
        workflow_id = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        raise ValueError("not base64url of UTF-8") from None
    # The decoder skips foreign characters and ignores surplus bits, so that many texts would stand for one id.
    if key_of(workflow_id) != key:
        raise ValueError("not the key that its id has")
    return workflow_id
