"""The only place that knows which access each RPC needs, and to what (docs/access.md)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from workflowstore_server.codec.key import workflow_id_of
from workflowstore_server.service.policy import Access


@dataclass(frozen=True, slots=True)
class Rule:
    """What an RPC needs."""

    access: Callable[[Any], Access]
    workflow_ids: Callable[[Any], Iterable[str]] | None = None
    """The workflows that it is about. A key that stands for none is that of those who have the whole bucket: an empty
    id, which has no prefix."""
    selects: Callable[[Any], bool] = lambda request: False
    """Whether it is about what matches its `filter`, instead."""


def _read(request: Any) -> Access:
    return Access.READ


def _write(request: Any) -> Access:
    return Access.WRITE


def _remove(request: Any) -> Access:
    # What is purged nobody can look up any more.
    return Access.ADMIN if request.purge else Access.WRITE


def _admin(request: Any) -> Access:
    # It stores whatever bytes it is given.
    return Access.ADMIN


def _selects(request: Any) -> bool:
    return True


def _one(request: Any) -> Iterable[str]:
    return (request.workflow_id,)


def _state(request: Any) -> Iterable[str]:
    return (request.state.workflow_id,)


def _of_keys(request: Any) -> Iterable[str]:
    return (_id_of(item.key) for item in request.documents)


RULES: Final[Mapping[str, Rule]] = {
    "Save": Rule(_write, _state),
    "Update": Rule(_write, _state),
    "Load": Rule(_read, _one),
    "List": Rule(_read, selects=_selects),
    "Watch": Rule(_read, selects=_selects),
    "ListRevisions": Rule(_read, _one),
    "Count": Rule(_read, selects=_selects),
    "Delete": Rule(_remove, _one),
    "SaveBatch": Rule(_write, lambda request: (item.state.workflow_id for item in request.items)),
    "LoadBatch": Rule(_read, lambda request: request.workflow_ids),
    "DeleteBatch": Rule(
        _remove,
        lambda request: (item.workflow_id for item in request.items),
        selects=lambda request: request.HasField("filter"),
    ),
    "Export": Rule(_read, selects=_selects),
    "Import": Rule(_admin, _of_keys),
    "GetInfo": Rule(_read),
}
"""Every RPC of the service."""


def _id_of(key: str) -> str:
    try:
        return workflow_id_of(key)
    except ValueError:
        return ""
