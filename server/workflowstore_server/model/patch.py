"""The only place that knows how an Update changes a state."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workflowstore_server.model.errors import FieldViolation, InvalidRequest
from workflowstore_server.model.limits import INT64_MAX, LABELS_MAX
from workflowstore_server.model.state import HistoryEvent, WorkflowState


@dataclass(frozen=True, slots=True)
class StatePatch:
    """What to change. Anything else stays as it is."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """New values, by the names of fields of WorkflowState."""
    append_history: tuple[HistoryEvent, ...] = ()
    """Events for the end of the history. Their ids are given to them."""
    set_labels: Mapping[str, str] = field(default_factory=dict)
    remove_labels: frozenset[str] = frozenset()

    def applied_to(self, state: WorkflowState) -> WorkflowState:
        """Return the changed state.

        Raises: InvalidRequest when it would have too many labels, or when the ids of its events come to an end.
        """
        changed = replace(state, **self.fields)
        if "status" in self.fields:
            changed = replace(changed, other_status="")
        history, labels = changed.history, dict(changed.labels)
        if self.append_history:
            last_id = max((event.id for event in history), default=0)
            if last_id + len(self.append_history) > INT64_MAX:
                words = f"cannot be numbered on from {last_id}, the largest id in the history; replace the history"
                raise InvalidRequest((FieldViolation("append_history", "OUT_OF_RANGE", words),))
            history += tuple(replace(event, id=last_id + n) for n, event in enumerate(self.append_history, 1))
        for key in self.remove_labels:
            labels.pop(key, None)
        labels |= self.set_labels
        if len(labels) > LABELS_MAX:
            words = f"would make {len(labels)} labels, more than {LABELS_MAX}; remove some with remove_labels"
            raise InvalidRequest((FieldViolation("set_labels", "TOO_MANY", words),))
        return replace(changed, history=history, labels=labels)
