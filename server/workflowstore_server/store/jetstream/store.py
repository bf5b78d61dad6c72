"""The only place that knows how a workflow state is saved in, read from and removed from a JetStream KV bucket."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final, Self

from nats.aio.client import Client

from workflowstore_server.codec import document, rfc3339
from workflowstore_server.codec.key import key_of
from workflowstore_server.model.errors import (
    BucketConfiguration,
    Contended,
    MalformedDocument,
    Outcome,
    RevisionMismatch,
    StateTooLarge,
    StorageFull,
    StorageUnavailable,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from workflowstore_server.model.limits import DOCUMENT_BYTES_MAX
from workflowstore_server.model.state import BucketInfo, MalformedEntry, StoredState, WorkflowState
from workflowstore_server.store import Change, Changes, StorePosition
from workflowstore_server.store.jetstream import stream
from workflowstore_server.store.jetstream.bucket import Bucket, BucketOptions
from workflowstore_server.store.jetstream.connection import BorrowedConnection, Connection
from workflowstore_server.store.jetstream.reader import LastMessageReader
from workflowstore_server.store.jetstream.stream import BATCH_SUBJECTS_MAX

CONTENDED_ATTEMPTS_MAX: Final = 16
"""Attempts at a change that must see what it changes. Each failure means that another writer got through."""

CHANGES_MAX: Final = 2048
"""Changes in one batch. Their bytes are bounded too; see bucket.REPLY_BYTES_MAX."""

REPLICA_WAIT_SECONDS: Final = 0.05
REPLICA_ATTEMPTS: Final = 100
"""How often, and after which pause, a replica is asked that lags behind."""

HEADER_BYTES_MAX: Final = 1024
"""Bytes kept free for headers, which count towards NATS's `max_payload`."""


class JetStreamStore:
    """A `StateStore` in a JetStream KV bucket."""

    def __init__(self, connection: Connection, bucket: str, options: BucketOptions | None = None) -> None:
        self._bucket = Bucket(connection, bucket, options or BucketOptions())
        self._reader = LastMessageReader(self._bucket)

    @classmethod
    @asynccontextmanager
    async def over(cls, client: Client, bucket: str, options: BucketOptions | None = None) -> AsyncIterator[Self]:
        """Open a store over a connected nats-py client, which stays open when the store is closed.

        Connect the client with `pending_size=0`, or nats-py may store a write long after its caller was told that it
        failed.

        Raises: BucketNotFound, StorageUnavailable.
        """
        connection = BorrowedConnection(client)
        await connection.link.open()
        store = cls(connection, bucket, options)
        try:
            await store.open()
            yield store
        finally:
            await store.close()
            await connection.link.close()

    async def open(self) -> None:
        """Find or create the bucket.

        Raises: BucketNotFound, StorageUnavailable.
        """
        await self._bucket.bind()
        self._reader.start()

    async def close(self) -> None:
        """Stop what runs in the background; the connection stays open."""
        await self._reader.close()
        await self._bucket.close()

    @property
    def bucket(self) -> str:
        return self._bucket.name

    @property
    def document_bytes_max(self) -> int:
        return min(DOCUMENT_BYTES_MAX, self._bucket.max_payload_bytes - HEADER_BYTES_MAX)

    @property
    def nats_server_version(self) -> str:
        """Version of the NATS server; empty while disconnected."""
        return self._bucket.server_version

    async def save(self, state: WorkflowState, expected_revision: int | None = None) -> int:
        encoded = document.encode(state)
        # Checked here, because an oversize message makes the NATS server close the connection.
        if len(encoded) > self.document_bytes_max:
            raise StateTooLarge(self.bucket, state.workflow_id, len(encoded), self.document_bytes_max)
        if expected_revision == 0:
            return await self._create(state.workflow_id, encoded)
        revision = await self._write(state.workflow_id, encoded, {}, expected_revision)
        if revision is None:
            assert expected_revision is not None, "only a compare-and-set can lose"
            raise await self._mismatch(state.workflow_id, expected_revision)
        return revision

    async def load(self, workflow_id: str) -> StoredState:
        entry = await self._last(workflow_id)
        if entry is None or entry.document is None:
            raise WorkflowNotFound(self.bucket, workflow_id)
        decoded = document.entry_of(entry.key, entry.revision, entry.document)
        if isinstance(decoded, MalformedEntry):
            raise MalformedDocument(self.bucket, decoded.key, decoded.revision, decoded.reason)
        return decoded

    async def position(self) -> StorePosition:
        described = await self._bucket.describe()
        if not described.config.allow_direct:
            remedy = f"nats stream edit {self._bucket.names.stream} --allow-direct"
            raise BucketConfiguration(self.bucket, "allow_direct=false", remedy)
        state = described.state
        return StorePosition(
            identity=described.created,
            first_revision=state.first_seq,
            last_revision=state.last_seq,
            keys=state.num_subjects,
            time_ns=rfc3339.parse(described.ts),
            session=self._bucket.session,
        )

    async def changes(self, after: int, until: int) -> Changes:
        batch = await self._bucket.next_messages(after + 1, CHANGES_MAX)
        last = batch.entries[-1].revision if batch.entries else after
        at_end = not batch.pending
        if at_end and last < until and self._bucket.described.config.num_replicas > 1:
            # The replica that answered may be late; only the leader knows that the newest messages are gone.
            at_end = await self._bucket.leader_next_message(last + 1) is None
            if not at_end:
                await asyncio.sleep(REPLICA_WAIT_SECONDS)
        return Changes(batch.entries, at_end)

    async def last(self, keys: Collection[str], at_least: int) -> dict[str, Change]:
        found: dict[str, Change] = {}
        ordered = sorted(keys)
        for first in range(0, len(ordered), BATCH_SUBJECTS_MAX):
            found |= await self._last_of(ordered[first : first + BATCH_SUBJECTS_MAX], at_least)
        return found

    async def delete(self, workflow_id: str, expected_revision: int | None = None, *, purge: bool = False) -> bool:
        if purge and not self._bucket.described.config.allow_rollup_hdrs:
            remedy = f"nats stream edit {self._bucket.names.stream} --allow-rollup"
            raise BucketConfiguration(self.bucket, "allow_rollup_hdrs=false", remedy)
        headers = stream.PURGE_HEADERS if purge else stream.DELETE_HEADERS
        for _ in range(CONTENDED_ATTEMPTS_MAX):
            entry = await self._last(workflow_id)
            exists = entry is not None and entry.document is not None
            actual = entry.revision if entry is not None and exists else 0
            if expected_revision is not None and expected_revision != actual:
                raise RevisionMismatch(self.bucket, workflow_id, expected_revision, actual)
            # A deleted workflow may have old revisions left, for a purge to remove.
            if entry is None or not (exists or (purge and not entry.purged)):
                return False
            if await self._write(workflow_id, b"", headers, entry.revision) is not None:
                return exists
        raise Contended(self.bucket, workflow_id, CONTENDED_ATTEMPTS_MAX)

    async def info(self) -> BucketInfo:
        described = await self._bucket.describe()
        config, state = described.config, described.state
        return BucketInfo(
            name=self.bucket,
            history=config.max_msgs_per_subject,
            replicas=config.num_replicas,
            max_bytes=max(0, config.max_bytes),
            max_age_seconds=config.max_age / 1e9,
            on_disk=config.storage == "file" and config.persist_mode != "async",
            allow_direct=config.allow_direct,
            revisions=state.messages,
            bytes=state.bytes,
            store_revision=state.last_seq,
        )

    async def _create(self, workflow_id: str, encoded: bytes) -> int:
        """Save what must not exist. A delete marker counts as nothing, but its revision must be named."""
        expected_revision = 0
        for _ in range(CONTENDED_ATTEMPTS_MAX):
            revision = await self._write(workflow_id, encoded, {}, expected_revision)
            if revision is not None:
                return revision
            entry = await self._last(workflow_id)
            if entry is not None and entry.document is not None:
                raise WorkflowAlreadyExists(self.bucket, workflow_id, entry.revision)
            expected_revision = entry.revision if entry is not None else 0
        raise Contended(self.bucket, workflow_id, CONTENDED_ATTEMPTS_MAX)

    async def _last_of(self, keys: Collection[str], at_least: int) -> dict[str, Change]:
        replicated = self._bucket.described.config.num_replicas > 1
        found: dict[str, Change] = {}
        late = 0
        while late < REPLICA_ATTEMPTS:
            missing = [key for key in keys if key not in found]
            batch = await self._bucket.last_messages(missing, bulk=True)
            if replicated and not batch.entries:
                # Such an answer does not say how far its replica has come.
                entries = [await self._bucket.leader_last_message(key) for key in missing]
                return found | {entry.key: entry for entry in entries if entry is not None}
            if replicated and batch.up_to < at_least:
                late += 1
                await asyncio.sleep(REPLICA_WAIT_SECONDS)
                continue
            found.update((entry.key, entry) for entry in batch.entries)
            if not batch.pending:
                return found
        raise StorageUnavailable(self.bucket, "the replicas lag behind the stream's leader")

    async def _mismatch(self, workflow_id: str, expected_revision: int) -> RevisionMismatch:
        entry = await self._last(workflow_id)
        actual = entry.revision if entry is not None and entry.document is not None else 0
        return RevisionMismatch(self.bucket, workflow_id, expected_revision, actual)

    async def _last(self, workflow_id: str) -> Change | None:
        """Read the last message of a workflow from where it is the newest."""
        key = key_of(workflow_id)
        config = self._bucket.described.config
        if config.allow_direct and config.num_replicas == 1:
            return await self._reader.read(key)
        return await self._bucket.leader_last_message(key)

    async def _write(
        self, workflow_id: str, encoded: bytes, headers: Mapping[str, str], expected_revision: int | None
    ) -> int | None:
        """Write a message and return its revision, or None when the expected revision is not the last one."""
        if expected_revision is not None:
            headers = {**headers, stream.EXPECTED_LAST_SUBJECT_SEQUENCE: str(expected_revision)}
        acknowledgement = await self._bucket.write(key_of(workflow_id), encoded, headers or None)
        error = acknowledgement.error
        if error is None:
            return acknowledgement.seq
        if error.err_code in stream.WRONG_LAST_SEQUENCE:
            return None
        if error.is_storage_full():
            raise StorageFull(self.bucket, str(error))
        if error.err_code == stream.MESSAGE_TOO_LARGE:
            raise BucketConfiguration(
                self.bucket,
                "max_msg_size",
                f"nats stream edit {self._bucket.names.stream} --max-msg-size=-1",
            )
        raise StorageUnavailable(self.bucket, str(error), Outcome.NOT_APPLIED)
