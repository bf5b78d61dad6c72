"""The only place that knows what a caller is told of the workflows that match."""

from collections.abc import Mapping
from dataclasses import dataclass

from workflowstore.client._state import WorkflowState, WorkflowStatus
from workflowstore.client.errors import MalformedEntry, WorkflowStoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class ListChunk:
    """Some of the states that match, as `list_chunks` reads them."""

    states: tuple[WorkflowState, ...]
    """At most 512. May be none."""
    malformed: tuple[MalformedEntry, ...]
    """Stored documents that cannot be decoded, whatever the filter (only a `workflow_id_prefix` leaves out those of
    other ids). They come before the states and do not count towards the limit."""
    next_page_token: str
    """Goes on after this chunk, as `page_token` of a later call. Empty = nothing is left."""
    store_revision: int
    """Every write up to this revision of the bucket is reflected. The same in all chunks of one iteration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountGroup:
    """The workflows that are alike in what a count is grouped by."""

    key: WorkflowStatus | str | None
    """What they have in common: the status, or the value of the label. None = they lack the label."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowCount:
    """How many workflows match."""

    count: int
    groups: tuple[CountGroup, ...]
    """What was to be counted apart: the largest group first, of alike ones the least status or value; none is empty.
    At most 1,000."""
    omitted_groups: int
    """Groups beyond the 1,000, which are left out."""
    malformed_count: int
    """Stored documents that cannot be decoded, and so are in no other number here; see ListChunk.malformed."""
    store_revision: int
    """Every write up to this revision of the bucket is reflected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedBatch:
    """What `delete_matching` has deleted, or in a dry run would delete."""

    workflow_ids: tuple[str, ...]
    """The workflows that were deleted, or would be."""
    errors: Mapping[str, WorkflowStoreError]
    """Why others that matched were not, by workflow id."""
    remaining_count: int
    """How many workflows match and are left. After a dry run it counts those too that would be deleted."""
