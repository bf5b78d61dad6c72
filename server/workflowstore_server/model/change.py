"""The only place that knows what can be told of a workflow that is watched."""

import enum


class ChangeKind(enum.Enum):
    """What a change is to those who watch with a filter."""

    SAVED = "saved"
    """It was saved and matches."""
    DELETED = "deleted"
    UNMATCHED = "unmatched"
    """It was saved and does not match, though it did before, as far as is known."""
    MALFORMED = "malformed"
    """A document was stored that cannot be decoded."""
