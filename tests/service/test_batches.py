"""What becomes of the items of a batch when others write at the same time, or the storage goes away."""

import pytest

from workflowstore.v1 import error_reason_pb2 as reasons
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.model.errors import BucketRecreated, Outcome, RevisionMismatch, StorageUnavailable, StoreError
from workflowstore_server.model.state import WorkflowState
from workflowstore_server.service import batches
from workflowstore_server.store.memory import MemoryStore


class Contested(MemoryStore):
    """A store in which somebody else writes before each of so many puts."""

    def __init__(self, times: int, document: bytes = b"[]") -> None:
        super().__init__("b")
        self.times, self.document = times, document

    async def put(self, key: str, document: bytes, expected_revision: int) -> int:
        if self.times:
            self.times -= 1
            self.store(key, self.document)
        return await super().put(key, document, expected_revision)


DOCUMENTS = [pb.StoredDocument(key="k", document=b"{}")]


async def test_an_import_looks_again_when_somebody_else_was_faster() -> None:
    overwritten = Contested(3)
    assert await batches.import_documents(overwritten, DOCUMENTS, pb.ON_CONFLICT_OVERWRITE) == [
        pb.ImportResult(outcome=pb.IMPORT_OUTCOME_WRITTEN, revision=4)
    ]
    same = Contested(1, b"{}")
    assert await batches.import_documents(same, DOCUMENTS, pb.ON_CONFLICT_FAIL) == [
        pb.ImportResult(outcome=pb.IMPORT_OUTCOME_UNCHANGED, revision=1)
    ]
    (result,) = await batches.import_documents(Contested(1), DOCUMENTS, pb.ON_CONFLICT_FAIL)
    assert result.error.reason == reasons.ERROR_REASON_WORKFLOW_ALREADY_EXISTS


async def test_an_import_gives_up_where_others_never_rest() -> None:
    (result,) = await batches.import_documents(Contested(1000), DOCUMENTS, pb.ON_CONFLICT_OVERWRITE)

    assert result.error.reason == reasons.ERROR_REASON_CONTENDED
    assert result.error.metadata["attempts"] == str(batches.IMPORT_ATTEMPTS_MAX)


async def fails(error: Exception) -> WorkflowState:
    raise error


@pytest.mark.parametrize(
    "error", [StorageUnavailable("b", "away", Outcome.NOT_APPLIED), BucketRecreated("b")], ids=["away", "recreated"]
)
async def test_a_failure_that_passes_fails_a_batch_that_can_be_repeated_and_else_its_item(error: StoreError) -> None:
    lasting = RevisionMismatch("b", "wf", 1, 2)

    assert await batches.each([fails(error), fails(lasting)], repeatable=False) == [error, lasting]
    with pytest.raises(type(error)) as caught:
        await batches.each([fails(lasting), fails(error)], repeatable=True)
    assert getattr(caught.value, "outcome", Outcome.UNKNOWN) is Outcome.UNKNOWN


async def test_what_nobody_foresaw_fails_a_whole_batch() -> None:
    with pytest.raises(ZeroDivisionError):
        await batches.each([fails(ZeroDivisionError()), fails(RevisionMismatch("b", "wf", 1, 2))], repeatable=False)
