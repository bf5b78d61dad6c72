"""The only place that knows how a history is written down: what was called, when, and what was replied."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    SAVE = "save"
    UPDATE = "update"
    DELETE = "delete"
    READ = "read"
    """A Load, one workflow of a List, or a write that was refused for what it found."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on one workflow. Each write writes a token of its own; a workflow's value is the tokens of its last save
    and of the updates since."""

    kind: Kind
    workflow_id: str
    called: int
    """Nanoseconds of the monotonic clock."""
    returned: int | None
    """None = its outcome is unknown: it takes effect at any time after the call, or never."""
    revision: int | None = None
    """Of a write, the one it got; of a read, the one it found, 0 = there is no such workflow. None = not known."""
    token: str = ""
    """Of a Save or an Update."""
    value: tuple[str, ...] | None = None
    """Of a read: the tokens it found. None = the reply did not say."""
    expected: int | None = None
    """The revision that a write was made conditional on; 0 = that there is none."""
    existed: bool | None = None
    """Of a Delete: whether it removed something. None = not known."""
    client: str = ""
    """Who called: one call after the other."""
    weak: bool = False
    """Whether it may have been answered by a replica that lags behind: only its own client has a promise then."""
    note: str = ""
    """For people."""

    def __str__(self) -> str:
        facts = [f"{self.kind} {self.workflow_id}"]
        for name in ("expected", "revision", "token", "value", "existed", "client", "weak", "note"):
            if (value := getattr(self, name)) not in (None, "", False):
                facts.append(f"{name}={value}")
        returned = "?" if self.returned is None else f"{self.returned / 1e9:.6f}"
        return f"[{self.called / 1e9:.6f} {returned}] {' '.join(facts)}"


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that a watcher was told."""

    received: int
    revision: int
    workflow_id: str = ""
    """Empty = no change, but that all up to the revision has been told."""
    value: tuple[str, ...] | None = None
    """None = the workflow was deleted, or does not match any more."""
    resumed: bool = False
    """Whether it is no message at all, but a new call that goes on after the revision."""


@dataclass(slots=True)
class Watched:
    """What one watcher was told, over all calls by which it went on."""

    after: int
    """The revision after which it began."""
    prefix: str = ""
    """What the ids begin with that it asked for."""
    told: list[Told] = field(default_factory=list)

    @property
    def revision(self) -> int:
        """Up to which revision it has been told everything."""
        return max((told.revision for told in self.told if not told.workflow_id), default=self.after)

    def known(self) -> dict[str, int]:
        """The revision of each workflow that is there, as far as it was told."""
        known: dict[str, int] = {}
        for told in self.told:
            if told.workflow_id and told.value is not None:
                known[told.workflow_id] = told.revision
            elif told.workflow_id:
                known.pop(told.workflow_id, None)
        return known


@dataclass(frozen=True, slots=True)
class Listed:
    """One List of everything, beside the reads that it consists of."""

    called: int
    returned: int
    store_revision: int
    ids: tuple[str, ...]
    """In the order in which they came."""
    weak: bool = False
    """See Operation."""


@dataclass(slots=True)
class History:
    """All that was called and told, of one bucket that was empty at the start."""

    operations: list[Operation] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Tokens of writes whose caller was told that they were not applied."""

    def writes(self) -> Iterator[Operation]:
        """The writes that were acknowledged with a revision."""
        for operation in self.operations:
            if operation.kind in (Kind.SAVE, Kind.UPDATE) and operation.returned is not None:
                yield operation

    def by_workflow(self) -> dict[str, list[Operation]]:
        found: dict[str, list[Operation]] = {}
        for operation in self.operations:
            found.setdefault(operation.workflow_id, []).append(operation)
        return found


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    validator: str
    words: str

    def __str__(self) -> str:
        return f"{self.validator}: {self.words}"
