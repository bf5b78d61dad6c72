"""The only place that knows how to ask one bucket something, and what its answers mean in the words of the model."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from nats.aio.msg import Msg

from workflowstore_server.model import current_call
from workflowstore_server.model.errors import (
    BucketConfiguration,
    BucketNotFound,
    BucketRecreated,
    Outcome,
    StorageUnavailable,
)
from workflowstore_server.model.state import Room
from workflowstore_server.store import Change
from workflowstore_server.store.jetstream import stream
from workflowstore_server.store.jetstream.connection import Connection
from workflowstore_server.store.jetstream.link import Link, NoRespondersError, NotSentError, UnansweredError
from workflowstore_server.store.jetstream.room import BucketRoom
from workflowstore_server.store.jetstream.stream import Acknowledgement, ApiError, Batch, Names, StreamInfo
from workflowstore_server.store.jetstream.writer import Writer

log = logging.getLogger(__name__)

NO_RESPONDERS_WAIT_SECONDS: Final = 0.25
NO_RESPONDERS_ATTEMPTS: Final = 3
"""A stream that elects its leader answers nobody for a moment; nats.go waits as often and as long (NATS ADR-22)."""

REPLY_BYTES_MAX: Final = 2 * 1024 * 1024
"""Bytes of documents in one reply beyond the first document; see link.READS_MAX."""

READ_ATTEMPTS: Final = 2
"""Attempts at a direct get where there is one copy: what went unanswered may be asked once more."""

REPLICA_TIMEOUTS_SECONDS: Final = (0.5,) * 10 + (None,)
"""How long each attempt at a direct get may take where there are several replicas. NATS goes on to give a share of the
requests to one that hangs or has just died, a third of them where there are three, so another one is soon tried: each
attempt meets the same one in a third of the cases. The last one may take as long as any other request."""


ATOMIC_BATCHES_MAX: Final = 8
"""Atomic batches of one server under way at once. NATS takes 50 a stream (ADR-50), of all servers together."""

DELETION_SECONDS_MAX: Final = 1.0
"""How long a bucket must have been missing before it is made again. A nats-server forgets a stream's name first and
removes its folder then: a stream of that name that is created in between loses what it acknowledges. Measured with
nats-server 2.15.1: 4 ms for a bucket of a million states, 40 ms for one with 1,000 consumers."""

DELETION_CHECKS: Final = 10
"""How often NATS has to say in that time that it is missing: a nats-server that stands still removes nothing."""

ABANDON_SECONDS_MAX: Final = 1.0
"""How long the removal of what the NATS server removes by itself may take."""


class Message(NamedTuple):
    """One of the messages of an atomic batch."""

    key: str
    document: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BucketOptions:
    """How a missing bucket is made. An existing one is never modified."""

    create: bool = True
    """Create the bucket when it is missing, at the start or later. False refuses to go on without it."""

    history: int = 1
    """Revisions kept of each workflow, 1 to 64. A Go provider resets it to 1 when it starts."""

    replicas: int = 1
    """Copies kept in the NATS cluster, 1 to 5."""

    allow_atomic: bool = False
    """Allow atomic batches (NATS 2.12). A Go provider's bucket does not, and one that starts later takes it back."""

    max_bytes: int = 0
    """The most bytes it may hold, on each replica. Beyond it writes are refused, reads go on. 0 = no limit of its own,
    which a Go provider that starts later goes back to."""


class Bucket:
    """One bucket: reads, writes and its description, over whatever link the connection has at the moment."""

    def __init__(
        self, connection: Connection, name: str, options: BucketOptions, disk: Callable[[], Room] = Room
    ) -> None:
        self.names = Names(name)
        self._room = BucketRoom(disk)
        self._connection = connection
        self._options = options
        self._writer = Writer(connection)
        self._creating = asyncio.Lock()
        self._atomic_batches = asyncio.Semaphore(ATOMIC_BATCHES_MAX)
        self._described: StreamInfo | None = None
        self._may_be_being_deleted = False
        """Whether it was there, and has not been missing for long."""
        self._max_payload_bytes = 0
        self.floor_revision = 0
        """The newest revision that this bucket is known to have come to, by an acknowledgement or by any answer."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.names.bucket

    @property
    def room(self) -> Room:
        """Whether there is room for what is written, as far as is known here."""
        return self._room.room(self.described)

    @property
    def max_payload_bytes(self) -> int:
        """The most bytes, headers included, that NATS takes in one message, as of the last description."""
        return self._max_payload_bytes

    @property
    def server_version(self) -> str:
        """Version of the NATS server; empty while disconnected."""
        try:
            return self._connection.link.server_version
        except NotSentError:
            return ""

    @property
    def session(self) -> object:
        """The connection to the NATS server; None while disconnected."""
        try:
            return self._connection.link.session
        except NotSentError:
            return None

    @property
    def link(self) -> Link:
        """The live link.

        Raises: NotSentError.
        """
        return self._connection.link

    @property
    def connected_seconds(self) -> float:
        """How long the connection has lasted; 0 while there is none."""
        try:
            return self._connection.link.seconds
        except NotSentError:
            return 0.0

    @property
    def described(self) -> StreamInfo:
        """What the bucket was like when it was last described; `bind` does so first."""
        assert self._described is not None, "the bucket is described before it is used"
        return self._described

    async def close(self) -> None:
        """Stop to write; what waits is not sent."""
        await self._writer.close()

    async def bind(self) -> None:
        """Find the bucket, or create it when it is missing and that is allowed.

        Raises: BucketNotFound, StorageUnavailable.
        """
        if await self._find() is None:
            await self._create()
            log.info("bucket %s created", self.name)
        self._writer.start()
        config = self.described.config
        for option, wanted, found in (
            ("history", self._options.history, config.max_msgs_per_subject),
            ("replicas", self._options.replicas, config.num_replicas),
            ("atomic batches", self._options.allow_atomic, config.allow_atomic),
            ("max_bytes", self._options.max_bytes, max(0, config.max_bytes)),
        ):
            if self._options.create and wanted != found:
                log.warning(
                    "bucket %s has %s %s and keeps it, though %s was asked for: an existing bucket is never modified",
                    self.name, option, found, wanted,
                )  # fmt: skip
        if config.storage != "file" or config.persist_mode == "async":
            log.warning("bucket %s does not keep acknowledged writes on disk", self.name)
        if config.discard != "new" and (config.max_bytes > 0 or config.max_msgs > 0):
            log.warning(
                "bucket %s removes its oldest workflows when it is full, instead of refusing writes; change that with: "
                "nats stream edit %s --discard new",
                self.name, self.names.stream,
            )  # fmt: skip

    async def create(self) -> bool:
        """Create the bucket; False = it is there already.

        Raises: StorageUnavailable.
        """
        return await self._find() is None and await self._create()

    async def differences(self) -> list[tuple[str, object, object]]:
        """In what the bucket differs from one that would be created: each setting, as it would be and as it is.

        Raises: StorageUnavailable.
        """
        return stream.differences(self._creation(), await self._ask(self.names.info, b""))

    async def describe(self) -> StreamInfo:
        """Ask the stream's leader what the bucket is like now.

        Raises: BucketNotFound, BucketRecreated, StorageUnavailable.
        """
        return await self._find() or await self._miss()

    async def write(self, key: str, document: bytes, headers: Mapping[str, str] | None) -> Acknowledgement:
        """Store a message under a key and return what the stream said to it.

        Raises: StorageUnavailable with its outcome, BucketNotFound, BucketRecreated.
        """
        if refusal := self._room.refusal(document):
            return Acknowledgement(error=refusal)
        subject = self.names.subject(key)
        for attempt in range(1, NO_RESPONDERS_ATTEMPTS + 1):
            try:
                with current_call.span("nats publish", self.name):
                    sent = current_call.with_trace(headers)
                    acknowledgement = stream.acknowledgement(await self._writer.write(subject, document, sent))
                self._room.hear(document, acknowledgement.error)
                self._see(acknowledgement.seq)
                return acknowledgement
            except NotSentError as error:
                raise StorageUnavailable(self.name, str(error), Outcome.NOT_APPLIED) from error
            except UnansweredError as error:
                raise StorageUnavailable(self.name, str(error), Outcome.UNKNOWN) from error
            except NoRespondersError:
                if attempt == 1:
                    await self.describe()
                elif attempt < NO_RESPONDERS_ATTEMPTS:
                    await asyncio.sleep(NO_RESPONDERS_WAIT_SECONDS)
        raise StorageUnavailable(self.name, "the stream has no leader", Outcome.NOT_APPLIED)

    async def write_together(self, messages: Sequence[Message]) -> Acknowledgement:
        """Store messages in one atomic batch and return what the stream said to it; its sequence is that of the last.

        Raises: StorageUnavailable with its outcome, BucketNotFound, BucketRecreated.
        """
        if refusal := self._room.refusal(messages[0].document):
            return Acknowledgement(error=refusal)
        async with self._atomic_batches:
            for attempt in range(1, NO_RESPONDERS_ATTEMPTS + 1):
                try:
                    with current_call.span("nats publish", self.name):
                        return await self._send_together(messages)
                except NotSentError as error:
                    raise StorageUnavailable(self.name, str(error), Outcome.NOT_APPLIED) from error
                except NoRespondersError:
                    if attempt == 1:
                        await self.describe()
                    else:
                        await asyncio.sleep(NO_RESPONDERS_WAIT_SECONDS)
        raise StorageUnavailable(self.name, "the stream has no leader", Outcome.NOT_APPLIED)

    async def _send_together(self, messages: Sequence[Message]) -> Acknowledgement:
        batch_id = uuid.uuid4().hex
        link = self._connection.link
        for number, message in enumerate(messages, 1):
            subject = self.names.subject(message.key)
            batch = {stream.BATCH_ID: batch_id, stream.BATCH_SEQUENCE: str(number)}
            headers = {**(current_call.with_trace(message.headers) or {}), **batch}
            if number == len(messages):
                headers[stream.BATCH_COMMIT] = "1"
            try:
                if 1 < number < len(messages):
                    await link.send(subject, message.document, headers)
                    continue
                reply = await link.request(subject, message.document, headers)
            except UnansweredError as error:
                # What is not committed is thrown away.
                outcome = Outcome.UNKNOWN if number == len(messages) else Outcome.NOT_APPLIED
                raise StorageUnavailable(self.name, str(error), outcome) from error
            # The first message is replied to with nothing, or with the reason why there will be no batch.
            if reply.data:
                break
        acknowledgement = stream.acknowledgement(reply)
        self._room.hear(messages[0].document, acknowledgement.error)
        self._see(acknowledgement.seq)
        return acknowledgement

    def fall_back(self, revision: int) -> None:
        """Take note that the bucket is back at a revision, as if restored from a backup."""
        if revision < self.floor_revision:
            log.error("bucket %s is back at revision %d, and was at %d", self.name, revision, self.floor_revision)
            self.floor_revision = revision

    def _see(self, revision: int) -> None:
        self.floor_revision = max(self.floor_revision, revision)

    async def last_messages(self, keys: list[str], *, bulk: bool = False) -> Batch:
        """Read the last message of each key from any replica, up to a size."""
        request = self.names.last_messages(keys, size_bytes=REPLY_BYTES_MAX)
        return await self._direct_get(request, bulk=bulk)

    async def next_messages(self, sequence: int, count: int) -> Batch:
        """Read messages from a sequence on from any replica, up to a count and a size."""
        request = self.names.next_messages(sequence=sequence, count=count, size_bytes=REPLY_BYTES_MAX)
        return await self._direct_get(request, bulk=True)

    async def leader_last_message(self, key: str) -> Change | None:
        """Read the last message of a key from the stream's leader."""
        return await self._leader_get(self.names.leader_last_message(key))

    async def leader_next_message(self, sequence: int) -> Change | None:
        """Read the first message from a sequence on from the stream's leader."""
        return await self._leader_get(self.names.leader_next_message(sequence))

    async def leader_message_at(self, sequence: int) -> Change | None:
        """Read the message with a sequence from the stream's leader."""
        return await self._leader_get(self.names.leader_message_at(sequence))

    async def leader_message_since(self, time_ns: int) -> Change | None:
        """Read the first message that was stored at a time or later from the stream's leader."""
        return await self._leader_get(self.names.leader_message_since(time_ns))

    async def next_messages_of(self, key: str, sequence: int) -> Batch:
        """Read messages of a key from a sequence on from any replica, up to a size."""
        request = self.names.next_messages_of(key, sequence=sequence, size_bytes=REPLY_BYTES_MAX)
        return await self._direct_get(request, bulk=True)

    async def leader_next_message_of(self, key: str, sequence: int) -> Change | None:
        """Read the first message of a key from a sequence on from the stream's leader."""
        return await self._leader_get(self.names.leader_next_message_of(key, sequence))

    async def compact(self, key: str, revision: int) -> None:
        """Remove the messages of a key up to a revision.

        Raises: BucketConfiguration, StorageUnavailable.
        """
        if self.described.config.deny_purge:
            remedy = "making the bucket anew without deny_purge, which NATS does not take back"
            raise BucketConfiguration(self.name, "deny_purge=true", remedy)
        refusal = stream.refusal(await self._ask(self.names.purge, self.names.compaction(key, revision)))
        if refusal is not None:
            if refusal.err_code == stream.STREAM_NOT_FOUND:
                await self._miss()
            raise StorageUnavailable(self.name, str(refusal))

    async def add_announcer(self, subject: str, heartbeat_seconds: int, idle_seconds: int) -> str:
        """Make a consumer that sends the headers of every new message to a subject, and return its name.

        Raises: StorageUnavailable.
        """
        request = self.names.announcer(subject, heartbeat_seconds=heartbeat_seconds, idle_seconds=idle_seconds)
        answer = stream.consumer_info(await self._ask(self.names.consumer_create, request))
        if isinstance(answer, ApiError):
            raise StorageUnavailable(self.name, str(answer))
        return answer.name

    async def remove_consumer(self, name: str) -> None:
        """Remove a consumer, if that can be done at once: the NATS server does it by itself when nobody listens."""
        with contextlib.suppress(StorageUnavailable, TimeoutError):
            await asyncio.wait_for(self._ask(self.names.consumer_delete + name, b""), ABANDON_SECONDS_MAX)

    async def _direct_get(self, request: bytes, *, bulk: bool) -> Batch:
        replicated = self.described.config.num_replicas > 1
        timeouts = REPLICA_TIMEOUTS_SECONDS if replicated else (None,) * READ_ATTEMPTS
        for attempt, timeout in enumerate(timeouts, 1):
            try:
                link = self._connection.link
                async with link.bulk_reads if bulk else link.reads:
                    with current_call.span("nats read", self.name):
                        batch = self.names.batch(await link.request_many(self.names.direct_get, request, timeout))
            except NoRespondersError:
                await self.describe()
                await asyncio.sleep(NO_RESPONDERS_WAIT_SECONDS)
            except (NotSentError, UnansweredError) as error:
                if attempt == len(timeouts) or isinstance(error, NotSentError):
                    raise StorageUnavailable(self.name, str(error)) from error
            else:
                if batch.refusal:
                    raise StorageUnavailable(self.name, f"direct get: {batch.refusal}")
                self._see(max(batch.up_to, batch.entries[-1].revision if batch.entries else 0))
                return batch
        raise StorageUnavailable(self.name, "nobody answers direct gets")

    async def _leader_get(self, request: bytes) -> Change | None:
        try:
            slot = self._connection.link.reads
        except NotSentError as error:
            raise StorageUnavailable(self.name, str(error)) from error
        async with slot:
            answer = self.names.leader_message(await self._ask(self.names.message_get, request))
        if isinstance(answer, Change):
            return answer
        if answer.err_code == stream.MESSAGE_NOT_FOUND:
            return None
        if answer.err_code == stream.STREAM_NOT_FOUND:
            await self._miss()
        raise StorageUnavailable(self.name, str(answer))

    async def _find(self) -> StreamInfo | None:
        answer = stream.stream_info(await self._ask(self.names.info, b""))
        if isinstance(answer, ApiError):
            if answer.err_code == stream.STREAM_NOT_FOUND:
                return None
            raise StorageUnavailable(self.name, str(answer))
        return self._note(answer)

    def _note(self, described: StreamInfo) -> StreamInfo:
        known, self._described = self._described, described
        self._may_be_being_deleted = True
        # Of several replicas one that was deposed may answer. The only copy there is knows best, and a new bucket does.
        if known is None or known.created != described.created or described.config.num_replicas == 1:
            self.floor_revision = described.state.last_seq
        self._see(described.state.last_seq)
        with contextlib.suppress(NotSentError):
            self._max_payload_bytes = self._connection.link.max_payload_bytes
        return described

    def _creation(self) -> bytes:
        return self.names.creation(
            history=self._options.history,
            replicas=self._options.replicas,
            allow_atomic=self._options.allow_atomic,
            max_bytes=self._options.max_bytes,
        )

    async def _create(self) -> bool:
        """Create the bucket; False = somebody was faster."""
        if not self._options.create:
            raise BucketNotFound(self.name)
        async with self._creating:
            # Somebody else may have been faster, in this process or in another one.
            if await self._find() is not None:
                return False
            if self._may_be_being_deleted:
                for _ in range(DELETION_CHECKS):
                    await asyncio.sleep(DELETION_SECONDS_MAX / DELETION_CHECKS)
                    if await self._find() is not None:
                        return False
                self._may_be_being_deleted = False
            answer = stream.stream_info(await self._ask(self.names.create, self._creation()))
            if isinstance(answer, ApiError):
                if answer.err_code == stream.STREAM_NAME_IN_USE and await self._find() is not None:
                    return False
                raise StorageUnavailable(self.name, f"cannot create the bucket: {answer}")
            self._note(answer)
            return True

    async def _miss(self) -> NoReturn:
        """Deal with a bucket that was deleted underneath: make it again, and say that its content is gone."""
        await self._create()
        log.error("bucket %s had been deleted and was created again, empty", self.name)
        raise BucketRecreated(self.name)

    async def _ask(self, subject: str, request: bytes) -> Msg:
        """Ask the JetStream API, which anybody may be asked twice."""
        for _ in range(READ_ATTEMPTS):
            try:
                with current_call.span("nats request", self.name):
                    return await self._connection.link.request(subject, request)
            except NoRespondersError:
                await asyncio.sleep(NO_RESPONDERS_WAIT_SECONDS)
            except (NotSentError, UnansweredError) as error:
                raise StorageUnavailable(self.name, str(error)) from error
        raise StorageUnavailable(self.name, "JetStream does not answer")
