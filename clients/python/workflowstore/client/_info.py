"""The only place that knows what a server tells about itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from workflowstore.client._state import WorkflowStatus


class Durability(StrEnum):
    """What the storage does before a write is acknowledged."""

    UNSPECIFIED = ""
    """Not known to the server."""
    FSYNC_ALWAYS = "fsync_always"
    """Every write is flushed to disk first: it survives a power cut."""
    FSYNC_INTERVAL = "fsync_interval"
    """Writes reach the disk at intervals: a power cut loses acknowledged writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketInfo:
    """How a bucket is configured and how full it is."""

    name: str
    history: int
    """Revisions kept of each workflow, 1 to 64."""
    replicas: int
    """Copies kept in the NATS cluster, 1 to 5."""
    max_bytes: int
    """The most bytes it may hold. 0 = no limit of its own."""
    max_age_seconds: float
    """How long a revision is kept. 0 = for ever."""
    on_disk: bool
    """Whether it is kept on disk; False = in memory only."""
    allow_direct: bool
    """Whether batched direct reads are allowed, which `list` and `count` need."""
    revisions: int
    """Revisions it holds, delete markers included."""
    bytes: int
    """Bytes it holds."""
    allow_atomic: bool
    """Whether `save_batch` may be `atomic`."""
    request_id_seconds: float
    """How long a `request_id` is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInfo:
    """How far the index of a bucket is, which answers `list` and `count`. Each server has an index of its own."""

    revision: int
    """The newest revision of the bucket that it reflects."""
    lag: int
    """Revisions of the bucket that it does not reflect yet; a `list` or `count` catches up with them first."""
    ready: bool
    """Whether it has caught up since the server started, or since it was last built anew. Until then `list` and
    `count` wait, and raise an UnavailableError with ERROR_REASON_INDEX_BEHIND when it takes too long."""
    workflow_count: int
    malformed_count: int
    """Stored documents that cannot be decoded."""
    on_disk: bool
    """Whether it is kept on disk; False = in memory, to be built anew at every start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionInfo:
    """What a server removes from a bucket by itself, and has removed since it started."""

    rules: Mapping[WorkflowStatus, float]
    """How long after their last update workflows of a status are deleted, in seconds. Empty = none are."""
    delete_marker_seconds: float
    """How old a delete marker becomes before it is removed. 0 = as old as the bucket lets it. A `watch` cannot go on
    from further back."""
    deleted_count: int
    """Workflows that this server has deleted by the rules."""
    compacted_count: int
    """Delete markers that this server has removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomInfo:
    """Whether there is room for what is written to a bucket."""

    full: str
    """Why writes that store a state are refused at the moment, as `StorageFullError`. Empty = they are taken."""
    low: str
    """What will be full soon. Empty = nothing that the server knows of."""
    disk_free_bytes: int | None
    """What is left on the disk of the embedded NATS server. None = not known: the NATS server is another one."""
    disk_reserve_bytes: int
    """What the server leaves free on that disk: with less, it refuses writes. 0 = none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """What a server is, and how durable a write to one of its buckets is."""

    server_version: str
    nats_server_version: str
    nats_embedded: bool
    """Whether the NATS server is run by the server itself, on the same machine."""
    durability: Durability
    buckets: tuple[str, ...]
    """The buckets served. The first one is meant by an empty `bucket`."""
    bucket: BucketInfo
    """The bucket asked for."""
    store_revision: int
    """The newest revision of the bucket. 0 = nothing was ever written."""
    document_bytes_max: int
    """The most bytes that the stored form of one state may have."""
    index: IndexInfo
    """The index of the bucket asked for."""
    retention: RetentionInfo
    """What the server removes from the bucket asked for by itself."""
    room: RoomInfo
    """Whether there is room for what is written to the bucket asked for."""
