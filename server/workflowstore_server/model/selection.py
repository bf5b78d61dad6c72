"""The only place that knows which workflows can be asked for, and in which order."""

import enum
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields

from workflowstore_server.model.state import Summary, WorkflowState, WorkflowStatus


@dataclass(frozen=True, slots=True)
class WorkflowFilter:
    """Conditions that must all hold; what is empty or None asks nothing. Times are nanoseconds since 1970."""

    statuses: frozenset[WorkflowStatus] = frozenset()
    """Any of these."""
    workflow_id_prefix: str = ""
    run_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """All of these."""
    created_after_ns: int | None = None
    """At this time or later."""
    created_before_ns: int | None = None
    """Before this time."""
    updated_after_ns: int | None = None
    """At this time or later."""
    updated_before_ns: int | None = None
    """Before this time."""
    within: tuple[str, ...] = ()
    """Prefixes that bound what the caller may know of: the workflow id begins with any of them, and what has none is
    left out. In order, and none begins with another. Empty = no bounds."""

    @property
    def key(self) -> Hashable:
        """Equal for filters that ask the same."""
        asked = (getattr(self, field.name) for field in fields(self))
        return tuple(frozenset(part.items()) if isinstance(part, Mapping) else part for part in asked)

    def matches(self, state: WorkflowState | Summary) -> bool:
        """Whether a state fulfils all conditions. The index asks the same in SQL; a test holds the two together."""
        return (
            (not self.statuses or state.status in self.statuses)
            and self.may_tell_of(state.workflow_id)
            and (not self.run_id or state.run_id == self.run_id)
            and all(state.labels.get(key) == value for key, value in self.labels.items())
            and (self.created_after_ns is None or state.created_at_ns >= self.created_after_ns)
            and (self.created_before_ns is None or state.created_at_ns < self.created_before_ns)
            and (self.updated_after_ns is None or state.updated_at_ns >= self.updated_after_ns)
            and (self.updated_before_ns is None or state.updated_at_ns < self.updated_before_ns)
        )

    def may_tell_of(self, workflow_id: str | None) -> bool:
        """Whether a workflow, or what a key without a workflow id holds (None), is not left out for its id."""
        if workflow_id is None:
            return not self.within
        return workflow_id.startswith(self.workflow_id_prefix) and (
            not self.within or workflow_id.startswith(self.within)
        )


def outermost(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Return prefixes in order, without those that begin with another."""
    found: list[str] = []
    for prefix in sorted(prefixes):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return tuple(found)


def narrowed(prefix: str, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the prefixes of what begins with one and with any of the others, which are outermost."""
    return (prefix,) if prefix.startswith(prefixes) else tuple(one for one in prefixes if one.startswith(prefix))


class OrderBy(enum.Enum):
    """What states are ordered by; those alike in it by workflow id, which is ordered by code points."""

    WORKFLOW_ID = "workflow_id"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which workflows of a bucket, in which order."""

    bucket: str
    filter: WorkflowFilter = WorkflowFilter()
    order_by: OrderBy = OrderBy.WORKFLOW_ID
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ListPosition:
    """How far a List has come: past a malformed entry, which come first, by key; or past a state."""

    malformed_key: str | None = None
    """Key of the last malformed entry. None = past all of them."""
    workflow_id: str | None = None
    """Id of the last state. None = past none."""
    time_ns: int = 0
    """The time that the last state is ordered by. Without meaning where the order is by workflow id."""


class GroupBy(enum.Enum):
    """What a Count counts apart."""

    NOTHING = "nothing"
    STATUS = "status"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class Group:
    """Workflows that are alike: the status, or the value of the label (None = they lack it), and their number."""

    key: WorkflowStatus | str | None
    count: int


@dataclass(frozen=True, slots=True)
class Counted:
    """The answer to a Count."""

    count: int
    groups: tuple[Group, ...]
    omitted_groups: int
    malformed_count: int
    store_revision: int
