"""The only place that knows the bounds that hold for every store and every request."""

from typing import Final

WORKFLOW_ID_BYTES_MAX: Final = 1024
"""Bytes of UTF-8 in a workflow id or a run id. Encoded as a key it stays below NATS's 4,096-byte control line."""

LABELS_MAX: Final = 64
LABEL_KEY_BYTES_MAX: Final = 128
LABEL_VALUE_BYTES_MAX: Final = 1024

JSON_DEPTH_MAX: Final = 500
"""Levels of nesting in a JSON text. Go's encoding/json stops at 10,000; msgspec at the interpreter's recursion limit,
about 1,000 less the depth of the calling stack."""

DOCUMENT_BYTES_MAX: Final = 4 * 1024 * 1024 - 64 * 1024
"""Bytes of a stored document. A message with one state then fits the 4 MiB that gRPC clients receive by default: the
protobuf form of a state is never larger than its JSON form. The connected NATS server's `max_payload` may lower it."""

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

CHUNK_STATES_MAX: Final = 512
"""States in one chunk of a List. One a message is 40 times slower; more gains nothing."""

CHUNK_BYTES_MAX: Final = 1024 * 1024
"""Bytes of protobuf in one chunk of a List beyond its first state."""

HISTORY_MAX: Final = 64
"""Revisions of a workflow that a bucket can keep (NATS ADR-8)."""

REPLICAS_MAX: Final = 5
"""Copies of a bucket that a NATS cluster can keep."""

BATCH_ITEMS_MAX: Final = 1000
"""Items of one batch. NATS takes as many in an atomic one (ADR-50)."""

BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of protobuf in the request of a batch."""

REPLY_BYTES_MAX: Final = DOCUMENT_BYTES_MAX
"""Bytes of protobuf in the reply to a LoadBatch beyond its first state: below the 4 MiB that gRPC clients receive by
default."""

REQUEST_FIELDS_MAX: Final = 65_536
"""Fields of a request, those of its items, their states, events and labels counted, but not what an event consists of.
It is checked before anything is made of them. Twice what the largest document has: 27,000 events, of the 150 bytes of
JSON that an empty one has as Go and this service write it."""

HISTORY_EVENTS_MAX: Final = 65_536
"""Events of a stored document that is read. One of 8 MiB, from which on NATS warns, has 56,000 as Go writes them."""

STORED_LABELS_MAX: Final = 4096
"""Labels of a stored document that is read. Only other writers can have put more than `LABELS_MAX`."""

REQUEST_ID_BYTES_MAX: Final = 128

QUESTION_BYTES_MAX: Final = 2 * 1024 * 1024
"""Bytes of a request that carries no states and no documents: twice what 1,000 of the longest workflow ids take."""

KEY_BYTES_MAX: Final = 2000
"""Bytes of a key that is imported. The longest key of a workflow id has 1,367; NATS's control line has 4,096."""

FILTER_LABELS_MAX: Final = 16
"""Labels that a filter may name."""

FILTER_STATUSES_MAX: Final = 64
"""Statuses that a filter may name: more than there are, for those that come."""

MASK_PATHS_MAX: Final = 64
"""Paths that an update mask may have: more than a state has fields."""

COUNT_GROUPS_MAX: Final = 1000
"""Groups in the answer to a Count. The largest values of labels make it 1 MiB."""
