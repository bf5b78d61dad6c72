"""The only place that knows which workflows a caller can ask for, and in which order."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from workflowstore.client._state import WorkflowStatus


class OrderBy(StrEnum):
    """What states are ordered by, and those alike in it by workflow id. The texts may be used in place of the members.

    `list` says what each order promises while workflows are written.
    """

    WORKFLOW_ID = "workflow_id"
    """By the code points of the workflow id."""
    CREATED_AT = "created_at"
    """The earliest first."""
    UPDATED_AT = "updated_at"
    """The earliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFilter:
    """Which workflows a call is about. Its conditions must all hold; those left out ask nothing.

    Times are aware datetimes; a Timestamp counts to the nanosecond.
    """

    statuses: Collection[WorkflowStatus] = ()
    """The status is any of these. Empty = any status. UNSPECIFIED also matches a stored status that is none of the
    others."""
    workflow_id_prefix: str = ""
    """The workflow id begins with this text. At most 1,024 bytes of UTF-8. Empty = any."""
    run_id: str = ""
    """The run id is this one. At most 1,024 bytes of UTF-8. Empty = any."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The state has all of these labels, with these values. At most 16; the limits of WorkflowState.labels."""
    created_after: datetime | None = None
    """Created at this time or later. None = any time."""
    created_before: datetime | None = None
    """Created before this time. None = any time."""
    updated_after: datetime | None = None
    """Last updated at this time or later. None = any time."""
    updated_before: datetime | None = None
    """Last updated before this time. None = any time."""
