"""The only place that knows what a backup of stored documents consists of."""

from dataclasses import dataclass
from enum import StrEnum

from workflowstore.client.errors import WorkflowStoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document as it lies in a bucket."""

    key: str
    """Its key in the bucket: the workflow id where that can be a key, else `=` and the id's UTF-8 as base64url."""
    revision: int = 0
    """Its revision. Ignored by an import: a bucket numbers its writes itself."""
    document: bytes
    """Its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChunk:
    """Some of the documents that match, as `export` reads them."""

    documents: tuple[StoredDocument, ...]
    """At most 512. May be none."""
    next_page_token: str
    """Goes on after this chunk, as `page_token` of a later call. Empty = nothing is left."""
    store_revision: int
    """Every write up to this revision of the bucket is reflected. The same in all chunks of one iteration."""


class OnConflict(StrEnum):
    """What an import does where another document is stored under the key. The texts may be used in place of these."""

    FAIL = "fail"
    """Leave it, and report an AlreadyExistsError."""
    SKIP = "skip"
    """Leave it."""
    OVERWRITE = "overwrite"
    """Replace it."""


class ImportOutcome(StrEnum):
    """What an import did with a document."""

    NONE = ""
    """Nothing; see the error."""
    WRITTEN = "written"
    """It was stored."""
    UNCHANGED = "unchanged"
    """The same document was stored already."""
    SKIPPED = "skipped"
    """Another document is stored, and was left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of one document."""

    outcome: ImportOutcome
    revision: int
    """The revision that is stored under the key now. 0 with an error."""
    error: WorkflowStoreError | None = None
    """Why it was not stored."""
