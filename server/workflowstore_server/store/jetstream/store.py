"""The only place that knows how a workflow state is saved in, read from and removed from a JetStream KV bucket."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Final, Self

from nats.aio.client import Client

from workflowstore_server.codec import aside, document, rfc3339
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
    StoreError,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from workflowstore_server.model.limits import DOCUMENT_BYTES_MAX
from workflowstore_server.model.state import BucketInfo, Consistency, MalformedEntry, Room, StoredState, WorkflowState
from workflowstore_server.store import Change, Changes, Deleted, Draft, Saved, StorePosition
from workflowstore_server.store.figures import Fill
from workflowstore_server.store.jetstream import announcer, stream
from workflowstore_server.store.jetstream.bucket import Bucket, BucketOptions, Message
from workflowstore_server.store.jetstream.connection import BorrowedConnection, Connection
from workflowstore_server.store.jetstream.freshness import Freshness
from workflowstore_server.store.jetstream.reader import LastMessageReader, last_in_parts
from workflowstore_server.store.jetstream.repeats import Repeats
from workflowstore_server.store.jetstream.stream import Acknowledgement, ApiError

CONTENDED_ATTEMPTS_MAX: Final = 16
"""Attempts at a change that must see what it changes. Each failure means that another writer got through."""

PASSING_WAIT_SECONDS: Final = 0.05
"""Pause before what was refused for a passing reason is tried again."""

CHANGES_MAX: Final = 2048
"""Changes in one batch. Their bytes are bounded too; see bucket.REPLY_BYTES_MAX."""

REPLICA_WAIT_SECONDS: Final = 0.05
"""Pause before the changes are read on of which the replica that answered has not heard yet."""

HEADER_BYTES_MAX: Final = 1024
"""Bytes kept free for headers, which count towards NATS's `max_payload`."""


class JetStreamStore:
    """A `StateStore` in a JetStream KV bucket."""

    def __init__(
        self,
        connection: Connection,
        bucket: str,
        options: BucketOptions | None = None,
        disk: Callable[[], Room] = Room,
    ) -> None:
        """`disk` tells of the disk that the bucket lies on; nothing is known of that of a NATS server elsewhere."""
        self._bucket = Bucket(connection, bucket, options or BucketOptions(), disk)
        self._freshness = Freshness(self._bucket)
        self._readers = {
            consistency: LastMessageReader(self._bucket, self._freshness, consistency) for consistency in Consistency
        }
        self._repeats = Repeats(self._bucket, self._newest)

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
        for reader in self._readers.values():
            reader.start()

    async def close(self) -> None:
        """Stop what runs in the background; the connection stays open."""
        for reader in self._readers.values():
            await reader.close()
        await self._bucket.close()

    @property
    def bucket(self) -> str:
        return self._bucket.name

    @property
    def document_bytes_max(self) -> int:
        return min(DOCUMENT_BYTES_MAX, self._bucket.max_payload_bytes - HEADER_BYTES_MAX)

    @property
    def room(self) -> Room:
        return self._bucket.room

    @property
    def nats_server_version(self) -> str:
        """Version of the NATS server; empty while disconnected."""
        return self._bucket.server_version

    @property
    def fill(self) -> Fill:
        """How full the bucket was when it was last described, which the index has done at every turn."""
        described = self._bucket.described
        return Fill(described.state.messages, described.state.bytes, max(0, described.config.max_bytes))

    async def save(
        self,
        state: WorkflowState,
        expected_revision: int | None = None,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Saved:
        encoded = await self._encoded(state)
        key = key_of(state.workflow_id)
        for _ in range(CONTENDED_ATTEMPTS_MAX):
            settled = await self._settled(state.workflow_id, write_id, again_after)
            if isinstance(settled, Acknowledgement):
                return await self._saved_before(state.workflow_id, settled.seq)
            written: Acknowledgement | None
            if expected_revision == 0:
                written = await self._create(state.workflow_id, encoded, write_id)
            else:
                expectation = settled if expected_revision is None else expected_revision
                written = await self._write(key, encoded, {}, expectation, write_id)
            if written is not None and written.duplicate:
                return await self._saved_before(state.workflow_id, written.seq)
            if written is not None:
                return Saved(written.seq, state, len(encoded))
            if expected_revision is not None:
                raise await self._mismatch(state.workflow_id, expected_revision)
        raise Contended(self.bucket, state.workflow_id, CONTENDED_ATTEMPTS_MAX)

    async def save_together(self, drafts: Sequence[Draft]) -> list[Saved]:
        documents = [await self._encoded(draft.state) for draft in drafts]
        # Asked before, because a NATS server that knows no batches (before 2.12) would store them message by message.
        if not (self._bucket.described.config.allow_atomic or (await self._bucket.describe()).config.allow_atomic):
            raise self._not_atomic()
        for _ in range(CONTENDED_ATTEMPTS_MAX):
            expected = await asyncio.gather(*[self._expected(draft) for draft in drafts])
            messages = [
                Message(key_of(draft.state.workflow_id), document, _headers(revision, draft.write_id))
                for draft, document, revision in zip(drafts, documents, expected, strict=True)
            ]
            acknowledgement = await self._bucket.write_together(messages)
            error = acknowledgement.error
            if error is None:
                first = acknowledgement.seq - len(drafts) + 1
                saved = zip(drafts, documents, strict=True)
                return [Saved(first + n, draft.state, len(encoded)) for n, (draft, encoded) in enumerate(saved)]
            if error.err_code == stream.FROZEN:
                raise self._refused(error, repeatable=any(draft.write_id for draft in drafts))
            # What has filled the storage may have been the first attempt.
            if error.err_code == stream.ATOMIC_DUPLICATE or error.is_storage_full():
                earlier = await asyncio.gather(*[self._repeats.earlier(draft.write_id) for draft in drafts])
                if all(earlier):
                    return [
                        await self._saved_before(draft.state.workflow_id, written.seq)
                        for draft, written in zip(drafts, earlier, strict=True)
                        if written
                    ]
            if error.err_code == stream.ATOMIC_DISABLED:
                raise self._not_atomic()
            if error.err_code not in stream.PASSING:
                raise self._refused(error)
            await asyncio.sleep(PASSING_WAIT_SECONDS * random.random())  # noqa: S311 (spreads load, hides nothing)
        raise Contended(self.bucket, drafts[0].state.workflow_id, CONTENDED_ATTEMPTS_MAX)

    async def load(
        self, workflow_id: str, min_revision: int = 0, consistency: Consistency = Consistency.SESSION
    ) -> StoredState:
        entry = await self._last(key_of(workflow_id), min_revision, consistency)
        if entry is None or entry.document is None:
            raise WorkflowNotFound(self.bucket, workflow_id)
        is_long = aside.is_long_document(entry.document)
        decoded = await aside.run(is_long, document.entry_of, entry.key, entry.revision, entry.document)
        if isinstance(decoded, MalformedEntry):
            raise MalformedDocument(self.bucket, decoded.key, decoded.revision, decoded.reason)
        return decoded

    async def anchor(self, min_revision: int = 0, consistency: Consistency = Consistency.SESSION) -> int:
        return await self._freshness.anchor(consistency, min_revision)

    async def position(self) -> StorePosition:
        described = await self._freshness.position()
        self._freshness.require_direct()
        state = described.state
        return StorePosition(
            identity=described.created,
            first_revision=state.first_seq,
            last_revision=state.last_seq,
            keys=state.num_subjects,
            time_ns=rfc3339.parse(described.ts),
            session=self._bucket.session,
            max_age_seconds=described.config.max_age / 1e9,
        )

    async def changes(self, after: int, until: int) -> Changes:
        batch = await self._bucket.next_messages(after + 1, CHANGES_MAX)
        last = batch.entries[-1].revision if batch.entries else after
        at_end = not batch.pending
        if at_end and last < until and self._bucket.described.config.num_replicas > 1:
            # The replica that answered may be late, or the newest messages are gone. That they are, not even the leader
            # is believed, which may have been deposed: a barrier makes a new end, which only who has all comes to.
            if await self._bucket.leader_next_message(last + 1) is None:
                await self._freshness.barrier()
            else:
                await asyncio.sleep(REPLICA_WAIT_SECONDS)
            at_end = False
        return Changes(batch.entries, at_end)

    async def last(self, keys: Collection[str], at_least: int) -> dict[str, Change]:
        found: dict[str, Change] = {}
        async with aclosing(self.last_in_parts(keys, at_least)) as parts:
            async for part in parts:
                found |= part
        return found

    def last_in_parts(self, keys: Collection[str], at_least: int) -> AsyncGenerator[dict[str, Change]]:
        return last_in_parts(self._bucket, self._freshness, keys, at_least)

    async def delete(
        self,
        workflow_id: str,
        expected_revision: int | None = None,
        *,
        purge: bool = False,
        write_id: str = "",
        again_after: int | None = None,
    ) -> Deleted:
        if purge and not self._bucket.described.config.allow_rollup_hdrs:
            remedy = f"nats stream edit {self._bucket.names.stream} --allow-rollup"
            raise BucketConfiguration(self.bucket, "allow_rollup_hdrs=false", remedy)
        key, headers = key_of(workflow_id), stream.PURGE_HEADERS if purge else stream.DELETE_HEADERS
        settled = await self._settled(workflow_id, write_id, again_after)
        if isinstance(settled, Acknowledgement):
            return Deleted(existed=True, revision=settled.seq, repeated=True)
        consistency = Consistency.SESSION
        for _ in range(CONTENDED_ATTEMPTS_MAX):
            entry = await self._last(key, consistency=consistency)
            exists = entry is not None and entry.document is not None
            revision = entry.revision if entry is not None else 0
            actual = revision if exists else 0
            mismatch = expected_revision is not None and expected_revision != actual
            # A deleted workflow may have old revisions left, for a purge to remove.
            if mismatch or entry is None or not (exists or (purge and not entry.purged)):
                if earlier := await self._repeats.earlier(write_id):
                    return Deleted(existed=True, revision=earlier.seq, repeated=True)
                # What is written says what it has found, and what is not written has nothing that would object.
                if consistency is not Consistency.LINEARIZABLE and self._freshness.provable:
                    consistency = Consistency.LINEARIZABLE
                    continue
                if mismatch:
                    assert expected_revision is not None, "there is no mismatch without an expectation"
                    raise RevisionMismatch(self.bucket, workflow_id, expected_revision, actual)
                return Deleted(existed=False, revision=revision)
            # What only purges old revisions has told that nothing existed, and would tell it again.
            written = await self._write(key, b"", headers, entry.revision, write_id if exists else "")
            if written is not None:
                return Deleted(exists, written.seq, written.duplicate)
        raise Contended(self.bucket, workflow_id, CONTENDED_ATTEMPTS_MAX)

    async def written(self, write_id: str, workflow_id: str = "", again_after: int | None = None) -> Change | None:
        earlier = (
            await self._settled(workflow_id, write_id, again_after)
            if again_after is not None
            else await self._repeats.earlier(write_id)
        )
        if not isinstance(earlier, Acknowledgement):
            return None
        return await self._bucket.leader_message_at(earlier.seq) or Change("", earlier.seq, None)

    async def put(self, key: str, document: bytes, expected_revision: int) -> int:
        self._check_size(key, document)
        written = await self._write(key, document, {}, expected_revision)
        if written is None:
            raise RevisionMismatch(self.bucket, key, expected_revision, 0)
        return written.seq

    async def revisions(self, workflow_id: str) -> AsyncGenerator[Change]:
        key, sequence = key_of(workflow_id), 1
        config = self._bucket.described.config
        if not (config.allow_direct and config.num_replicas == 1):
            while change := await self._bucket.leader_next_message_of(key, sequence):
                yield change
                sequence = change.revision + 1
            return
        while True:
            batch = await self._bucket.next_messages_of(key, sequence)
            for change in batch.entries:
                yield change
                sequence = change.revision + 1
            if not batch.pending:
                return

    async def revision(self, workflow_id: str, revision: int) -> Change | None:
        change = await self._bucket.leader_message_at(revision)
        return change if change is not None and change.key == key_of(workflow_id) else None

    async def compact(self, key: str, revision: int) -> None:
        await self._bucket.compact(key, revision)

    async def revision_before(self, time_ns: int) -> int:
        described = await self._bucket.describe()
        message = await self._bucket.leader_message_since(time_ns)
        return message.revision - 1 if message is not None else described.state.last_seq

    def announced(self, tell: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        return announcer.announced(self._bucket, tell)

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
            allow_atomic=config.allow_atomic,
            request_id_seconds=config.duplicate_window / 1e9,
            revisions=state.messages,
            bytes=state.bytes,
            store_revision=state.last_seq,
        )

    async def _encoded(self, state: WorkflowState) -> bytes:
        encoded = await aside.run(aside.is_long_state(state), document.encode, state)
        self._check_size(state.workflow_id, encoded)
        return encoded

    def _check_size(self, workflow_id: str, encoded: bytes) -> None:
        # Checked here, because an oversize message makes the NATS server close the connection.
        if len(encoded) > self.document_bytes_max:
            raise StateTooLarge(self.bucket, workflow_id, len(encoded), self.document_bytes_max)

    async def _create(self, workflow_id: str, encoded: bytes, write_id: str) -> Acknowledgement:
        """Save what must not exist. A delete marker counts as nothing, but its revision must be named."""
        key, expected_revision = key_of(workflow_id), 0
        for _ in range(CONTENDED_ATTEMPTS_MAX):
            written = await self._write(key, encoded, {}, expected_revision, write_id)
            if written is not None:
                return written
            entry = await self._last(key)
            if entry is not None and entry.document is not None:
                raise WorkflowAlreadyExists(self.bucket, workflow_id, entry.revision)
            expected_revision = entry.revision if entry is not None else 0
        raise Contended(self.bucket, workflow_id, CONTENDED_ATTEMPTS_MAX)

    async def _expected(self, draft: Draft) -> int | None:
        """The revision that the last message of a draft's workflow must have. None = any.

        Raises: WorkflowAlreadyExists, RevisionMismatch, unless the draft was saved before; WriteForgotten.
        """
        settled = await self._settled(draft.state.workflow_id, draft.write_id, draft.again_after)
        if isinstance(settled, Acknowledgement):
            return None
        if draft.expected_revision is None:
            return settled
        entry = await self._last(key_of(draft.state.workflow_id))
        exists = entry is not None and entry.document is not None
        actual = entry.revision if entry is not None and exists else 0
        if draft.expected_revision != actual and not await self._repeats.earlier(draft.write_id):
            if draft.expected_revision == 0:
                raise WorkflowAlreadyExists(self.bucket, draft.state.workflow_id, actual)
            raise RevisionMismatch(self.bucket, draft.state.workflow_id, draft.expected_revision, actual)
        # A delete marker counts as nothing, but its revision must be named.
        return entry.revision if entry is not None else 0

    async def _saved_before(self, workflow_id: str, revision: int) -> Saved:
        """Read what an earlier attempt at the same write has stored, if it is still there."""
        change = await self.revision(workflow_id, revision)
        if change is None or change.document is None:
            return Saved(revision, None)
        is_long = aside.is_long_document(change.document)
        entry = await aside.run(is_long, document.entry_of, change.key, revision, change.document)
        if isinstance(entry, MalformedEntry):
            return Saved(revision, None)
        return Saved(revision, entry.state, entry.document_bytes)

    async def _settled(self, workflow_id: str, write_id: str, again_after: int | None) -> Acknowledgement | int | None:
        """See Repeats.settle; None of what is not made again."""
        if again_after is None or not write_id:
            return None
        return await self._repeats.settle(workflow_id, write_id, again_after)

    async def _newest(self, key: str) -> Change | None:
        """Read the last message of a key, that of a leader which does not know yet that it was deposed excluded."""
        consistency = Consistency.LINEARIZABLE if self._freshness.provable else Consistency.SESSION
        return await self._last(key, consistency=consistency)

    async def _mismatch(self, workflow_id: str, expected_revision: int) -> RevisionMismatch:
        entry = await self._last(key_of(workflow_id))
        actual = entry.revision if entry is not None and entry.document is not None else 0
        return RevisionMismatch(self.bucket, workflow_id, expected_revision, actual)

    async def _last(
        self, key: str, min_revision: int = 0, consistency: Consistency = Consistency.SESSION
    ) -> Change | None:
        """Read the last message of a key."""
        if self._bucket.described.config.allow_direct:
            return await self._readers[consistency].read(key, min_revision)
        # What the leader hands out does not tell how far it has come; that it says so beforehand has to do.
        if consistency is Consistency.LINEARIZABLE or min_revision > self._bucket.floor_revision:
            await self._freshness.anchor(consistency, min_revision)
        return await self._bucket.leader_last_message(key)

    async def _write(
        self, key: str, encoded: bytes, headers: Mapping[str, str], expected_revision: int | None, write_id: str = ""
    ) -> Acknowledgement | None:
        """Write a message and return what was said to it, or None when the expected revision is not the last one.

        Under an id that was used before nothing is written, and the acknowledgement is that of the first write.
        """
        headers = {**headers, **_headers(expected_revision, write_id)}
        error = ApiError()
        for _ in range(CONTENDED_ATTEMPTS_MAX):
            acknowledgement = await self._bucket.write(key, encoded, headers or None)
            if acknowledgement.error is None:
                return acknowledgement
            error = acknowledgement.error
            if error.err_code != stream.DUPLICATE_IN_PROCESS:
                break
            await asyncio.sleep(PASSING_WAIT_SECONDS)
        if error.err_code == stream.FROZEN:
            raise self._refused(error, repeatable=bool(write_id))
        # The first attempt may have been what the expectation fails on, or what has filled the storage.
        earlier = await self._repeats.earlier(write_id)
        if earlier is not None:
            return earlier
        if error.err_code in stream.WRONG_LAST_SEQUENCE:
            return None
        raise self._refused(error)

    def _not_atomic(self) -> BucketConfiguration:
        remedy = f"nats stream edit {self._bucket.names.stream} --allow-batch"
        return BucketConfiguration(self.bucket, "allow_atomic=false", remedy)

    def _refused(self, error: ApiError, *, repeatable: bool = False) -> StoreError:
        """What a write fails with that the stream has refused for good.

        `repeatable` = it may have been attempted before, and a stream that is frozen does not tell.
        """
        if error.is_storage_full():
            unknown = repeatable and error.err_code == stream.FROZEN
            return StorageFull(self.bucket, str(error), Outcome.UNKNOWN if unknown else None)
        if error.err_code == stream.MESSAGE_TOO_LARGE:
            remedy = f"nats stream edit {self._bucket.names.stream} --max-msg-size=-1"
            return BucketConfiguration(self.bucket, "max_msg_size", remedy)
        outcome = Outcome.UNKNOWN if error.err_code == stream.DUPLICATE_IN_PROCESS else Outcome.NOT_APPLIED
        return StorageUnavailable(self.bucket, str(error), outcome)


def _headers(expected_revision: int | None, write_id: str) -> dict[str, str]:
    headers = {}
    if expected_revision is not None:
        headers[stream.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(expected_revision)
    if write_id:
        headers[stream.MESSAGE_ID] = write_id
    return headers
