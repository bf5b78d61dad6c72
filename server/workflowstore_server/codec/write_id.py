"""The only place that knows under which id the storage knows a write that is made again."""

import base64
import hashlib
from typing import Final

_BYTES: Final = 16


def write_id(method: str, request_id: str, part: str) -> str:
    """Returns the id of the write of a part of a request, such as the workflow it is to. Empty without a request id.

    Ids of different methods, requests and parts differ, so that a request id may be used by callers that do not know of
    one another, as long as they do not write to the same workflow with it.
    """
    if not request_id:
        return ""
    digest = hashlib.blake2b(digest_size=_BYTES)
    for text in (method, request_id, part):
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return "ws-" + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
