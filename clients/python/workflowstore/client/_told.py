"""The only place that knows the newest revision of each bucket that a client was told of, to read no less."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from workflowstore.client import _fields
from workflowstore.client.errors import RevisionNotReachedError
from workflowstore.v1.workflow_store_pb2 import (
    CONSISTENCY_ANY_REPLICA,
    CountRequest,
    DeleteBatchRequest,
    DeleteRequest,
    ListRequest,
    LoadBatchRequest,
    LoadRequest,
    SaveBatchRequest,
    SaveRequest,
    UpdateRequest,
)

_ReadRequest: TypeAlias = LoadRequest | LoadBatchRequest | ListRequest | CountRequest
_WriteRequest: TypeAlias = SaveRequest | UpdateRequest | DeleteRequest | SaveBatchRequest | DeleteBatchRequest


class ToldRevisions:
    """What one client was told, by whichever server, of each bucket by the name that it is called by."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()  # the client over grpc is used by many threads

    def note(self, bucket: str, revision: int) -> None:
        """Take note of a revision that a reply was of."""
        with self._lock:
            self._newest[bucket] = max(self._newest.get(bucket, 0), revision)

    def ask_no_less(self, request: _ReadRequest) -> None:
        """Have a reply be of the newest revision that was told, or later; of any replica it is whatever that has."""
        if request.consistency != CONSISTENCY_ANY_REPLICA:
            request.min_revision = max(request.min_revision, self._newest.get(request.bucket, 0))

    def tell(self, request: _WriteRequest, *, resent: bool) -> None:
        """Have a write tell what was known before it. Of one that was sent before, nobody knows what was known then."""
        request.resent = _fields.flag(resent, "resent")
        request.known_revision = 0 if resent else self._newest.get(request.bucket, 0)

    @contextmanager
    def reading(self, bucket: str) -> Iterator[None]:
        """Forget what was told of a bucket that has not come so far: it was made anew or restored."""
        try:
            yield
        except RevisionNotReachedError:
            with self._lock:
                self._newest.pop(bucket, None)
            raise
