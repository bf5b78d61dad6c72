"""The only place that knows how concurrent reads of single keys are gathered into few requests.

A request of its own is more than a third of the work for a Load (docs/adr/0003). A lone read leaves at once; reads that
arrive while a request is under way share the next one.
"""

import asyncio
from typing import Final

from workflowstore_server.model.errors import StorageUnavailable
from workflowstore_server.store import Change
from workflowstore_server.store.jetstream.bucket import Bucket

KEYS_MAX: Final = 256
"""Keys in one request: a quarter of what NATS takes, which keeps the request small with the longest keys."""

GATHER_SECONDS: Final = 0.002
"""How long reads are gathered once they have begun to arrive faster than they are answered."""


class LastMessageReader:
    """Reads the last message of keys from a bucket with one copy, where any answer is the newest."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._waiting: dict[str, list[asyncio.Future[Change | None]]] = {}
        self._arrival = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to serve reads."""
        self._worker = asyncio.create_task(self._work(), name="last message reader")

    async def close(self) -> None:
        """Stop to serve reads; those that still wait are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for future in _unanswered(self._waiting):
            future.cancel()

    async def read(self, key: str) -> Change | None:
        """Return the last message of a key as of some moment after the call.

        Raises: StorageUnavailable, BucketNotFound, BucketRecreated.
        """
        if self._worker is None or self._worker.done():
            raise StorageUnavailable(self._bucket.name, "the store is closed")
        future: asyncio.Future[Change | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        self._arrival.set()
        return await future

    async def _work(self) -> None:
        while True:
            if self._waiting:
                await asyncio.sleep(GATHER_SECONDS)
            else:
                self._arrival.clear()
                await self._arrival.wait()
            asked = {key: self._waiting.pop(key) for key in list(self._waiting)[:KEYS_MAX]}
            try:
                await self._answer(asked)
            except Exception as error:
                # It is for every one of the callers to handle.
                for future in _unanswered(asked):
                    future.set_exception(error)
            finally:
                # Without an answer and without a failure it was the worker that was cancelled.
                for future in _unanswered(asked):
                    future.cancel()

    async def _answer(self, asked: dict[str, list[asyncio.Future[Change | None]]]) -> None:
        remaining = set(asked)
        while remaining:
            batch = await self._bucket.last_messages(sorted(remaining))
            for entry in batch.entries:
                remaining.discard(entry.key)
                for future in asked[entry.key]:
                    # A caller that gave up meanwhile has cancelled its future.
                    if not future.done():
                        future.set_result(entry)
            if not batch.pending:
                break
        for future in _unanswered(asked):
            future.set_result(None)


def _unanswered(asked: dict[str, list[asyncio.Future[Change | None]]]) -> list[asyncio.Future[Change | None]]:
    return [future for futures in asked.values() for future in futures if not future.done()]
