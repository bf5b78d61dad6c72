"""The only place that knows how the JetStream API is spoken: subjects, requests, replies, error codes, headers.

Sources: NATS ADR-8 (KV), ADR-31 (direct get, batches), and nats-server 2.15's server/errors.json for the codes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from nats.aio.msg import Msg
from nats.js.api import Header

from workflowstore_server.codec import rfc3339
from workflowstore_server.model.limits import HISTORY_MAX
from workflowstore_server.store import Change

BATCH_SUBJECTS_MAX: Final = 1024
"""Subjects that one `multi_last` request may name (ADR-31)."""

STREAM_NOT_FOUND: Final = 10059
MESSAGE_NOT_FOUND: Final = 10037
WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
"""A compare-and-set that lost. 10164 is how a server says it of a write that is not committed yet."""

STORAGE_FULL: Final = frozenset({10002, 10023, 10028, 10047, 10077, 10120, 10122})
"""Account, server or stream at its limit. 10077 is a stream's "maximum bytes exceeded"; see `is_storage_full`."""

DISK_RESERVED: Final = 1
FROZEN: Final = 2
"""Not codes of NATS's, but of this server's: what is left of the disk is kept free, or the stream takes no writes."""

MESSAGE_TOO_LARGE: Final = 10054
ROLLUP_FAILED: Final = 10111
DUPLICATE_IN_PROCESS: Final = 10158
"""The id of a write is that of another one which the stream has taken and not stored yet."""

ATOMIC_DISABLED: Final = 10174
ATOMIC_INCOMPLETE: Final = 10176
ATOMIC_DUPLICATE: Final = 10201
ATOMIC_TOO_MANY: Final = 10210
"""More atomic batches under way than the server allows: 50 a stream, 1,000 in all."""

PASSING: Final = WRONG_LAST_SEQUENCE | {DUPLICATE_IN_PROCESS, ATOMIC_DUPLICATE, ATOMIC_TOO_MANY}
"""Why an atomic batch may be refused, though it can be taken when it is made again after another look."""

STREAM_NAME_IN_USE: Final = 10058

EXPECTED_LAST_SUBJECT_SEQUENCE: Final = "Nats-Expected-Last-Subject-Sequence"
MESSAGE_ID: Final = "Nats-Msg-Id"
"""A message whose id the stream has seen within its `duplicate_window` is not stored; the reply has the sequence of the
first one. A single server checks the expected sequence before that, a cluster after it (nats-server 2.15, stream.go and
jetstream_batching.go)."""

PROBE_HEADERS: Final = {"Nats-Rollup": "probe"}
"""A message that no stream stores, because there is no such rollup. It is refused only after its id was looked up, by a
single server and by a cluster alike: so it asks whether an id was seen, and changes nothing."""

BATCH_ID: Final = "Nats-Batch-Id"
BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
BATCH_COMMIT: Final = "Nats-Batch-Commit"
TTL: Final = "Nats-TTL"
TTL_SECONDS_MAX: Final = 2.0**33
"""Beyond what a Nats-TTL can ask for, which is a Go duration: 292 years."""

TRACEPARENT: Final = "traceparent"
"""The trace in which a message was written (W3C Trace Context), if somebody has traced that. 70 bytes."""

DELETE_HEADERS: Final = {"KV-Operation": "DEL"}
PURGE_HEADERS: Final = {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}


_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|\u00b5s|ns)")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "ns": 1e-9}


class ApiError(msgspec.Struct, frozen=True):
    """The error in a JetStream reply."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    def __str__(self) -> str:
        return self.description if self.is_of_the_disk() else f"{self.err_code} {self.description}"

    def is_of_the_disk(self) -> bool:
        """Whether it is this server's own: NATS was not asked."""
        return self.err_code in {DISK_RESERVED, FROZEN}

    def is_storage_full(self) -> bool:
        """Whether it says that there is no room.

        10077 covers every failure to store, told apart by its text alone.
        """
        if self.is_of_the_disk():
            return True
        return self.err_code in STORAGE_FULL and (self.err_code != 10077 or "maximum" in self.description)


class StreamConfig(msgspec.Struct, frozen=True):
    """The part of a stream's configuration that matters here. Times are nanoseconds; -1 in a limit means none."""

    name: str
    max_msgs_per_subject: int = -1
    max_msgs: int = -1
    max_bytes: int = -1
    max_age: int = 0
    discard: str = "new"
    storage: str = "file"
    num_replicas: int = 1
    allow_direct: bool = False
    allow_rollup_hdrs: bool = False
    allow_atomic: bool = False
    deny_purge: bool = False
    duplicate_window: int = 0
    persist_mode: str = ""


class StreamCounts(msgspec.Struct, frozen=True):
    """How full a stream is."""

    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    num_subjects: int = 0


class ClusterInfo(msgspec.Struct, frozen=True):
    """Where a stream is. A server that is alone has no name for its cluster."""

    name: str = ""
    leader_since: str = ""
    """Since when its leader is that. Empty where there are no other copies, and before NATS 2.12."""


class StreamInfo(msgspec.Struct, frozen=True):
    """The reply to STREAM.INFO and STREAM.CREATE. `created` tells a stream from a later one of the same name.

    `ts` is the time of the reply by the server's clock.
    """

    config: StreamConfig
    state: StreamCounts
    created: str
    ts: str
    cluster: ClusterInfo = ClusterInfo()


class StoredMessage(msgspec.Struct, frozen=True):
    """A message in the reply to STREAM.MSG.GET; headers and data are base64, which msgspec decodes."""

    subject: str
    seq: int
    data: bytes = b""
    hdrs: bytes = b""
    time: str = ""


class Acknowledgement(msgspec.Struct, frozen=True):
    """The reply to a publish."""

    seq: int = 0
    duplicate: bool = False
    """Whether a message with this id was stored before, at `seq`."""
    error: ApiError | None = None


class ConsumerInfo(msgspec.Struct, frozen=True):
    """The reply to CONSUMER.CREATE."""

    name: str


class _InfoReply(msgspec.Struct, frozen=True):
    error: ApiError | None = None


class _MessageReply(msgspec.Struct, frozen=True):
    error: ApiError | None = None
    message: StoredMessage | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The reply to a batched direct get.

    `pending` counts what would have come after it, `up_to` is the newest sequence the answering replica had (0 where
    it does not say), `refusal` is the status text of a request that was not served.
    """

    entries: tuple[Change, ...]
    pending: int = 0
    up_to: int = 0
    refusal: str = ""


_decode_acknowledgement = msgspec.json.Decoder(Acknowledgement).decode
_decode_message = msgspec.json.Decoder(_MessageReply).decode
_decode_error = msgspec.json.Decoder(_InfoReply).decode
_decode_info = msgspec.json.Decoder(StreamInfo).decode
_decode_consumer = msgspec.json.Decoder(ConsumerInfo).decode


class Names:
    """The names of one bucket's stream and subjects."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.stream = f"KV_{bucket}"
        self.prefix = f"$KV.{bucket}."
        self.all = f"{self.prefix}>"
        self.info = f"$JS.API.STREAM.INFO.{self.stream}"
        self.create = f"$JS.API.STREAM.CREATE.{self.stream}"
        self.message_get = f"$JS.API.STREAM.MSG.GET.{self.stream}"
        self.direct_get = f"$JS.API.DIRECT.GET.{self.stream}"
        self.purge = f"$JS.API.STREAM.PURGE.{self.stream}"
        self.consumer_create = f"$JS.API.CONSUMER.CREATE.{self.stream}"
        self.consumer_delete = f"$JS.API.CONSUMER.DELETE.{self.stream}."

    def subject(self, key: str) -> str:
        """The subject that `key` is stored under. `key` comes from codec.key, which makes nothing but legal ones."""
        return self.prefix + key

    def creation(self, *, history: int, replicas: int, allow_atomic: bool, max_bytes: int) -> bytes:
        """The STREAM.CREATE request.

        Field for field what nats.go's CreateOrUpdateKeyValue asks for, so that a Go provider that starts later finds
        its own configuration and changes nothing. What is asked for is the exception.
        """
        return msgspec.json.encode(
            {
                **({"allow_atomic": True} if allow_atomic else {}),
                "name": self.stream,
                "subjects": [self.all],
                "retention": "limits",
                "max_consumers": -1,
                "max_msgs": -1,
                "max_bytes": max_bytes or -1,
                "max_age": 0,
                "max_msgs_per_subject": history,
                "max_msg_size": -1,
                "discard": "new",
                "storage": "file",
                "num_replicas": replicas,
                "duplicate_window": 120_000_000_000,
                "compression": "none",
                "allow_direct": True,
                "mirror_direct": False,
                "sealed": False,
                "deny_delete": True,
                "deny_purge": False,
                "allow_rollup_hdrs": True,
            }
        )

    def next_messages(self, *, sequence: int, count: int, size_bytes: int) -> bytes:
        """The direct get of up to `count` messages from `sequence` on; at least one, whatever its size.

        The subject ">" means all there are, as the bucket's own would; nats-server counts what is left by it without
        comparing every subject of the stream, which took 25 ms a request in a bucket of 1,000,000.
        """
        return msgspec.json.encode({"seq": sequence, "batch": count, "max_bytes": size_bytes, "next_by_subj": ">"})

    def last_messages(self, keys: Iterable[str], *, size_bytes: int) -> bytes:
        """The direct get of the last message of each key; at least one, whatever its size."""
        return msgspec.json.encode({"multi_last": [self.prefix + key for key in keys], "max_bytes": size_bytes})

    def leader_last_message(self, key: str) -> bytes:
        """The get, answered by the stream's leader, of the last message of a key."""
        return msgspec.json.encode({"last_by_subj": self.prefix + key})

    def leader_next_message(self, sequence: int) -> bytes:
        """The get, answered by the stream's leader, of the first message from `sequence` on."""
        return msgspec.json.encode({"seq": sequence, "next_by_subj": self.all})

    def leader_message_at(self, sequence: int) -> bytes:
        """The get, answered by the stream's leader, of the message with a sequence."""
        return msgspec.json.encode({"seq": sequence})

    def leader_message_since(self, time_ns: int) -> bytes:
        """The get, answered by the stream's leader, of the first message that was stored at a time or later."""
        return msgspec.json.encode({"start_time": rfc3339.format(time_ns), "next_by_subj": self.all})

    def next_messages_of(self, key: str, *, sequence: int, size_bytes: int) -> bytes:
        """The direct get of the messages of a key from `sequence` on; at least one, whatever its size."""
        subject = self.prefix + key
        return msgspec.json.encode(
            {"seq": sequence, "batch": HISTORY_MAX, "max_bytes": size_bytes, "next_by_subj": subject}
        )

    def leader_next_message_of(self, key: str, sequence: int) -> bytes:
        """The get, answered by the stream's leader, of the first message of a key from `sequence` on."""
        return msgspec.json.encode({"seq": sequence, "next_by_subj": self.prefix + key})

    def compaction(self, key: str, revision: int) -> bytes:
        """The STREAM.PURGE request for the messages of a key up to a revision."""
        return msgspec.json.encode({"filter": self.prefix + key, "seq": revision + 1})

    def announcer(self, deliver_to: str, *, heartbeat_seconds: int, idle_seconds: int) -> bytes:
        """The CONSUMER.CREATE request for a consumer that tells of every message from now on, without its data.

        The server removes it when nobody has listened for `idle_seconds`.
        """
        return msgspec.json.encode(
            {
                "stream_name": self.stream,
                "config": {
                    "deliver_subject": deliver_to,
                    "deliver_policy": "new",
                    "ack_policy": "none",
                    "headers_only": True,
                    "mem_storage": True,
                    "num_replicas": 1,
                    "idle_heartbeat": heartbeat_seconds * 1_000_000_000,
                    "inactive_threshold": idle_seconds * 1_000_000_000,
                },
            }
        )

    def batch(self, messages: list[Msg]) -> Batch:
        """Read the replies to `next_messages` or `last_messages`."""
        end = messages[-1].headers or {}
        status = end.get("Status", "")
        if status == "404":
            return Batch(())
        if status != "204":
            return Batch((), refusal=f"{status} {end.get(Header.DESCRIPTION, '')}")
        return Batch(
            tuple([self._direct(message) for message in messages[:-1]]),
            pending=int(end.get("Nats-Num-Pending", 0)),
            up_to=int(end.get("Nats-UpTo-Sequence", 0)),
        )

    def leader_message(self, reply: Msg) -> Change | ApiError:
        """Read the reply to `leader_last_message` or `leader_next_message`."""
        decoded = _decode_message(reply.data)
        if decoded.message is None:
            return decoded.error or ApiError(description="a reply without a message")
        message = decoded.message
        return self._change(message.subject, message.seq, message.data, _headers(message.hdrs), message.time)

    def _direct(self, message: Msg) -> Change:
        headers = message.headers or {}
        sequence, stored_at = int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"]
        return self._change(headers["Nats-Subject"], sequence, message.data, headers, stored_at)

    def _change(
        self, subject: str, sequence: int, document: bytes, headers: Mapping[str, str], stored_at: str
    ) -> Change:
        key = subject[len(self.prefix) :]
        expires_at_ns = _expiry(headers[TTL], stored_at) if TTL in headers else None
        operation = headers.get("KV-Operation", "")
        traceparent = headers.get(TRACEPARENT, "")
        # A marker reason stands at what the server itself removed, by age, limit or purge (NATS ADR-48).
        if operation in {"DEL", "PURGE"} or "Nats-Marker-Reason" in headers:
            return Change(key, sequence, None, expires_at_ns, operation != "DEL", stored_at, traceparent)
        return Change(key, sequence, document, expires_at_ns, False, stored_at, traceparent)


def _expiry(ttl: str, stored_at: str) -> int | None:
    """When a message with this Nats-TTL, seconds or a duration as Go writes it, is removed (NATS ADR-43)."""
    if ttl == "never":
        return None
    seconds = float(ttl) if ttl.isdecimal() else sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(ttl))
    return rfc3339.parse(stored_at) + int(min(seconds, TTL_SECONDS_MAX) * 1e9)


def _headers(raw: bytes) -> dict[str, str]:
    """Split a header block, `NATS/1.0` and one `Name: value` a line, as STREAM.MSG.GET hands it out."""
    lines = (line.partition(":") for line in raw.decode(errors="replace").split("\r\n")[1:])
    return {name: value.strip() for name, colon, value in lines if colon}


def stream_info(reply: Msg) -> StreamInfo | ApiError:
    """Read the reply to STREAM.INFO or STREAM.CREATE."""
    return _decode_error(reply.data).error or _decode_info(reply.data)


def differences(creation: bytes, reply: Msg) -> list[tuple[str, object, object]]:
    """Read the reply to STREAM.INFO for what of it is other than a STREAM.CREATE request would make it."""
    wanted: dict[str, object] = {"allow_atomic": False, **msgspec.json.decode(creation)}
    found: dict[str, object] = msgspec.json.decode(reply.data)["config"]
    # What is false may be left out.
    return [(key, value, found.get(key, False)) for key, value in wanted.items() if found.get(key, False) != value]


def consumer_info(reply: Msg) -> ConsumerInfo | ApiError:
    """Read the reply to CONSUMER.CREATE."""
    return _decode_error(reply.data).error or _decode_consumer(reply.data)


def refusal(reply: Msg) -> ApiError | None:
    """Read the reply to a request that replies with nothing of interest."""
    return _decode_error(reply.data).error


def acknowledgement(reply: Msg) -> Acknowledgement:
    """Read the reply to a publish."""
    return _decode_acknowledgement(reply.data)
