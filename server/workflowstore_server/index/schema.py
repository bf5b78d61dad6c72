"""The only place that knows the tables of the index, and what of an entry of the bucket stands in them."""

from typing import Final, NamedTuple

import msgspec

from workflowstore_server.codec import document, message, rfc3339
from workflowstore_server.codec.key import workflow_id_of
from workflowstore_server.model.limits import INT64_MAX
from workflowstore_server.model.state import ZERO_TIME_NS, MalformedEntry
from workflowstore_server.store import Change

SCHEMA_VERSION: Final = 2
"""Number of the schema and of what the rows mean. An index of another version is built anew. A test holds it together
with what it numbers."""

APPLICATION_ID: Final = 0x57465349
"""Tells an index from other SQLite files: "WFSI"."""

TABLES: Final = (
    # In the order of their ids, so that a List by id reads page after page. `summary` is the field `states` of a
    # ListResponse, ready for the wire; `labels` tells which rows of the table of labels are this workflow's.
    """CREATE TABLE workflows (
        workflow_id TEXT NOT NULL PRIMARY KEY,
        revision INTEGER NOT NULL,
        status INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        created BLOB NOT NULL,
        updated BLOB NOT NULL,
        document_bytes INTEGER NOT NULL,
        labels BLOB,
        summary BLOB NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE labels (
        key TEXT NOT NULL, value TEXT NOT NULL, workflow_id TEXT NOT NULL, PRIMARY KEY (key, value, workflow_id)
    ) WITHOUT ROWID""",
    # `workflow_id` is the id that the key stands for, NULL when it stands for none.
    """CREATE TABLE malformed (
        key TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL, reason TEXT NOT NULL, workflow_id TEXT
    ) WITHOUT ROWID""",
    # `stored_at_ns` is when the storage took it, by its own clock (nanoseconds since 1970; 0 = it does not say).
    """CREATE TABLE markers (
        key TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL, stored_at_ns INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # Keys whose last message the storage removes by itself, and when (nanoseconds since 1970).
    "CREATE TABLE expiring (key TEXT NOT NULL PRIMARY KEY, expires_at_ns INTEGER NOT NULL) WITHOUT ROWID",
    # One row: which bucket this is the index of, up to which revision, how much there is in it, and before which
    # revision not all changes can be told any more.
    """CREATE TABLE meta (
        identity TEXT NOT NULL, revision INTEGER NOT NULL, complete INTEGER NOT NULL,
        workflows INTEGER NOT NULL, malformed INTEGER NOT NULL, markers INTEGER NOT NULL, expiring INTEGER NOT NULL,
        forgotten_revision INTEGER NOT NULL
    )""",
)

INDEXES: Final = (
    "CREATE INDEX by_status ON workflows (status, updated, workflow_id)",
    "CREATE INDEX by_created ON workflows (created, workflow_id)",
    "CREATE INDEX by_run_id ON workflows (run_id, workflow_id) WHERE run_id <> ''",
    "CREATE INDEX markers_by_stored_at ON markers (stored_at_ns, key)",
)
"""Made when an index has been filled: ten times as fast as keeping them while it is. There is none by `updated` alone
and none by `created` within a status, because each costs every later write; see query.py for what does their work."""

BY_REVISION: Final = (
    "CREATE INDEX IF NOT EXISTS by_revision ON workflows (revision)",
    "CREATE INDEX IF NOT EXISTS markers_by_revision ON markers (revision)",
    "CREATE INDEX IF NOT EXISTS malformed_by_revision ON malformed (revision)",
)
"""Made once a bucket is found to lose its oldest revisions, by age or size."""

_TIME_BYTES: Final = 9
_STATES_TAG: Final = b"\x0a"


class Workflow(NamedTuple):
    """What stands in the index for a state: its row, and its labels."""

    row: tuple[str, int, int, str, bytes, bytes, int, bytes | None, bytes]
    key: str
    expires_at_ns: int | None
    labels: tuple[tuple[str, str], ...]


class Malformed(NamedTuple):
    """What stands in the index for a document that cannot be decoded."""

    row: tuple[str, int, str, str | None]
    key: str
    expires_at_ns: int | None


class Marker(NamedTuple):
    """What stands in the index for a delete marker."""

    row: tuple[str, int, int]
    key: str
    expires_at_ns: int | None


Entry = Workflow | Malformed | Marker


def entry_of(change: Change) -> Entry:
    """Returns what stands in the index for the last change of a key."""
    expires_at_ns = change.expires_at_ns if change.expires_at_ns is None else min(change.expires_at_ns, INT64_MAX)
    if change.document is None:
        stored_at_ns = rfc3339.parse(change.stored_at) if change.stored_at else 0
        return Marker((change.key, change.revision, stored_at_ns), change.key, expires_at_ns)
    summary = document.summary_of(change.key, change.revision, change.document)
    if isinstance(summary, MalformedEntry):
        row = (summary.key, summary.revision, summary.reason, id_of(summary.key))
        return Malformed(row, change.key, expires_at_ns)
    document_bytes = len(change.document)
    encoded = message.encode_summary(summary, change.revision, document_bytes)
    labels = tuple(sorted(summary.labels.items()))
    return Workflow(
        (
            summary.workflow_id,
            change.revision,
            message.status_value(summary.status),
            summary.run_id,
            time_bytes(summary.created_at_ns),
            time_bytes(summary.updated_at_ns),
            document_bytes,
            _encode(labels) if labels else None,
            b"".join((_STATES_TAG, message.varint(len(encoded)), encoded)),
        ),
        change.key,
        expires_at_ns,
        labels,
    )


def id_of(key: str) -> str | None:
    """Returns the workflow id that a key stands for, None when it stands for none."""
    try:
        return workflow_id_of(key)
    except ValueError:
        return None


def time_bytes(time_ns: int) -> bytes:
    """Returns a time in a form that sorts as times do. SQLite's integers end in the year 2262."""
    return (time_ns - ZERO_TIME_NS).to_bytes(_TIME_BYTES, "big")


def time_ns_of(time: bytes) -> int:
    """Returns the time that `time_bytes` was given."""
    return int.from_bytes(time, "big") + ZERO_TIME_NS


def labels_of(stored: bytes) -> tuple[tuple[str, str], ...]:
    """Returns the labels in the column `labels`."""
    return _decode_labels(stored)


_decode_labels = msgspec.msgpack.Decoder(tuple[tuple[str, str], ...]).decode
_encode = msgspec.msgpack.Encoder().encode
