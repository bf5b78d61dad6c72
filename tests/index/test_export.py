"""Which documents an Export has when they are written under it."""

from collections.abc import Collection

from support.entries import indexed
from workflowstore_server.codec import document
from workflowstore_server.codec.key import key_of
from workflowstore_server.index import exporting
from workflowstore_server.model.selection import Selection, WorkflowFilter
from workflowstore_server.model.state import WorkflowState, WorkflowStatus
from workflowstore_server.store import Change
from workflowstore_server.store.memory import MemoryStore


class Busy(MemoryStore):
    """A store in which others write at the moment at which documents are read."""

    def __init__(self) -> None:
        super().__init__("b")
        self.meanwhile: dict[str, bytes | None] = {}

    async def last(self, keys: Collection[str], at_least: int) -> dict[str, Change]:
        for key, stored in self.meanwhile.items():
            self.store(key, stored)
        self.meanwhile = {}
        return await super().last(keys, at_least)


async def test_a_document_that_is_written_meanwhile_is_exported_if_it_still_matches() -> None:
    store = Busy()
    for number in range(5):
        await store.save(WorkflowState(f"wf-{number}", status=WorkflowStatus.FAILED))
    async with indexed(store) as index:
        await index.count(WorkflowFilter())
        store.meanwhile = {
            "wf-1": document.encode(WorkflowState("wf-1", status=WorkflowStatus.FAILED, error="again")),
            "wf-2": document.encode(WorkflowState("wf-2", status=WorkflowStatus.RUNNING)),
            "wf-3": None,
            "wf-4": b"{",
        }
        selection = Selection("b", WorkflowFilter(statuses=frozenset({WorkflowStatus.FAILED})))
        exported = [change async for chunk in exporting.documents(index, selection) for change in chunk.changes]

    assert [change.key for change in exported] == ["wf-0", "wf-1", "wf-4"]
    assert b"again" in (exported[1].document or b"")
    assert exported[2].document == b"{", "what cannot be decoded is left out by no filter"


async def test_documents_come_in_the_order_of_their_ids_whatever_their_keys() -> None:
    store = MemoryStore("b")
    ids = ["a", "b c", "c", "d:1", "e"]
    for id_ in reversed(ids):
        await store.save(WorkflowState(id_))
    async with indexed(store) as index:
        await index.count(WorkflowFilter())
        chunks = [chunk async for chunk in exporting.documents(index, Selection("b"))]

    assert [change.key for chunk in chunks for change in chunk.changes] == [key_of(id_) for id_ in ids]
