"""Exports and imports of both clients over a real channel: documents byte for byte, and an export that goes on."""

import grpc
import pytest

from workflowstore import (
    AlreadyExistsError,
    ExportChunk,
    ImportOutcome,
    ImportResult,
    OnConflict,
    OutcomeUnknownError,
    StoredDocument,
    UnavailableError,
    WorkflowFilter,
)
from workflowstore.client import _replies
from workflowstore.v1 import workflow_store_pb2 as pb

from .conftest import for_ever, refusal, replying, within_patience

UNAVAILABLE = refusal(grpc.StatusCode.UNAVAILABLE)


def stored(key, revision=7, document=b"{}"):
    return {"key": key, "revision": revision, "document": document}


def exported(*calls):
    """Answers each call by its chunks and then by its end."""
    left = iter(calls)

    async def answer(request, context):
        *replies, end = next(left)
        for reply in replies:
            yield reply
        if end is not None:
            await end(request, context)

    return answer


def chunk(*documents, token="", revision=0):
    return pb.ExportResponse(documents=documents, next_page_token=token, store_revision=revision)


async def test_an_export_reads_the_documents_byte_for_byte(colour, server, client):
    server.export = exported(
        [chunk(stored("a", 3, b"\xff\0\n"), token="1", revision=9), chunk(stored("=Yg"), revision=9), None]
    )
    read, error = await colour.take(client.export(WorkflowFilter(run_id="r"), page_token="0", bucket="b"))
    assert error is None
    assert read == [
        ExportChunk(
            documents=(StoredDocument(key="a", revision=3, document=b"\xff\0\n"),),
            next_page_token="1",
            store_revision=9,
        ),
        ExportChunk(
            documents=(StoredDocument(key="=Yg", revision=7, document=b"{}"),), next_page_token="", store_revision=9
        ),
    ]
    assert server.requests == [pb.ExportRequest(bucket="b", filter={"run_id": "r"}, page_token="0")]


async def test_an_export_that_breaks_goes_on_after_its_last_chunk(colour, server, client):
    server.export = exported(
        [chunk(stored("a"), token="1", revision=9), UNAVAILABLE],
        [UNAVAILABLE],
        [chunk(stored("b"), token="2", revision=11), chunk(stored("c"), revision=11), UNAVAILABLE],
    )
    read, error = await colour.take(client.export())
    assert error is None
    assert [document.key for part in read for document in part.documents] == ["a", "b", "c"]
    assert {part.store_revision for part in read} == {9}
    assert [request.page_token for request in server.requests] == ["", "1", "1"]


async def test_an_export_that_does_not_begin_is_not_tried_again(colour, server, client):
    server.export = exported([UNAVAILABLE])
    read, error = await colour.take(client.export(page_token="5"))
    assert (read, type(error)) == ([], UnavailableError)
    assert [request.page_token for request in server.requests] == ["5"]


async def test_leaving_an_export_early_ends_the_call(colour, server, client):
    server.export = exported([chunk(stored("a"), token="1"), for_ever])
    read, error = await colour.take(client.export(), count=1)
    assert (len(read), error) == (1, None)
    await within_patience(server.cancelled)


async def test_an_import_tells_what_became_of_each_document(colour, server, client):
    exists = {
        "code": 6,
        "reason": "ERROR_REASON_WORKFLOW_ALREADY_EXISTS",
        "metadata": {"workflow_id": "d", "actual_revision": "17"},
    }
    unknown = {"code": 14, "reason": "ERROR_REASON_STORAGE_UNAVAILABLE", "metadata": {"outcome": "unknown"}}
    server.import_documents = replying(
        pb.ImportResponse(
            results=[
                {"outcome": 1, "revision": 8},
                {"outcome": 2, "revision": 3},
                {"outcome": 3, "revision": 4},
                {"error": exists},
                {"error": unknown},
            ]
        )
    )
    documents = [StoredDocument(key=key, revision=5, document=b"\xff") for key in "abcde"]
    *done, conflict, lost = await colour.call(client.import_documents, documents, on_conflict=OnConflict.SKIP)
    assert server.requests == [
        pb.ImportRequest(documents=[{"key": key, "document": b"\xff"} for key in "abcde"], on_conflict=2)
    ]
    assert done == [
        ImportResult(outcome=ImportOutcome.WRITTEN, revision=8),
        ImportResult(outcome=ImportOutcome.UNCHANGED, revision=3),
        ImportResult(outcome=ImportOutcome.SKIPPED, revision=4),
    ]
    assert (conflict.outcome, conflict.revision) == (ImportOutcome.NONE, 0)
    assert (type(conflict.error), conflict.error.actual_revision) == (AlreadyExistsError, 17)
    assert conflict.error.outcome == "not_applied"
    assert isinstance(lost.error, OutcomeUnknownError)


async def test_every_way_to_meet_a_conflict_is_sent(colour, server, client):
    server.import_documents = replying(pb.ImportResponse())
    for on_conflict in (*OnConflict, "overwrite"):
        await colour.call(client.import_documents, [], on_conflict=on_conflict)
    await colour.call(client.import_documents, [])
    assert [request.on_conflict for request in server.requests] == [1, 2, 3, 3, 1]


async def test_what_an_import_cannot_send_makes_no_call(colour, server, client):
    document = StoredDocument(key="a", document=b"{}")
    for documents, keywords, error, words in (
        ([document, {}], {}, TypeError, r"documents\[1\]: must be a StoredDocument, not dict"),
        ([StoredDocument(key="a", document="{}")], {}, TypeError, r"documents\[0\]\.document: must be bytes, not str"),
        ([StoredDocument(key=1, document=b"{}")], {}, TypeError, r"documents\[0\]\.key: must be a str"),
        ([document], {"on_conflict": "ask"}, ValueError, "on_conflict: must be one of 'fail', 'skip', 'overwrite'"),
    ):
        with pytest.raises(error, match=words):
            await colour.call(client.import_documents, documents, **keywords)
    assert server.requests == []


@pytest.mark.parametrize(
    ("kinds", "numbers", "known"),
    [
        ("CHANGE_KIND_", pb.ChangeKind, _replies._CHANGE_KINDS),
        ("IMPORT_OUTCOME_", pb.ImportOutcome, _replies._IMPORT_OUTCOMES),
    ],
)
def test_every_number_of_the_wire_has_its_member(kinds, numbers, known):
    named = {number: kinds + member.name for number, member in known.items()}
    assert named == {number: numbers.Name(number) for number in numbers.values() if number}
