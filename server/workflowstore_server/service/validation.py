"""The only place that knows which requests are refused, and names every wrong field of one at once.

The rules stand in the comments of the .proto files; those of single fields are in service.fields.
"""

from collections.abc import Collection
from typing import Final

from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as store_pb
from workflowstore_server.codec import token
from workflowstore_server.codec.key import BARRIER_KEY, is_storable
from workflowstore_server.model import limits
from workflowstore_server.model.errors import FieldViolation, InvalidRequest
from workflowstore_server.model.selection import ListPosition, Selection
from workflowstore_server.service import fields
from workflowstore_server.service.fields import Violations

REPORTED_MAX: Final = 20
"""Violations named in one answer."""

REPORTED_BYTES_MAX: Final = 3500
"""Bytes of their fields, which are told twice, and descriptions. They travel in the trailers as base64, and clients
take 8 KiB of those by default: grpc-java makes an INTERNAL error of what is more."""

VIEWS: Final = frozenset(state_pb.WorkflowView.values())
CONSISTENCIES: Final = frozenset(store_pb.Consistency.values())
ORDERS: Final = frozenset(store_pb.OrderBy.values())
ON_CONFLICT: Final = frozenset(store_pb.OnConflict.values())

UPDATABLE: Final = frozenset(
    {
        "run_id",
        "status",
        "input_json",
        "result_json",
        "error",
        "history",
        "created_at",
        "updated_at",
        "labels",
    }
)
"""Fields of a state that an update_mask may name."""

UPDATABLE_WORDS: Final = f"give any of {', '.join(sorted(UPDATABLE))}"


def check_save(request: store_pb.SaveRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        if not request.HasField("state"):
            yield FieldViolation("state", "REQUIRED", "is required: give the whole state to save")
        else:
            yield from fields.workflow_state("state", request.state)
        yield from fields.request_id(request.request_id, resent=request.resent)

    _refuse(violations())


def check_update(request: store_pb.UpdateRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.workflow_state("state", request.state)
        named = set(request.update_mask.paths[: limits.MASK_PATHS_MAX])
        if len(request.update_mask.paths) > limits.MASK_PATHS_MAX:
            words = (
                f"has {len(request.update_mask.paths)} paths, more than {limits.MASK_PATHS_MAX}; name each field once"
            )
            yield FieldViolation("update_mask", "TOO_MANY", words)
        for path in sorted(named - UPDATABLE):
            way_out = {"workflow_id": "it names the workflow", "*": "name each field"}.get(path, UPDATABLE_WORDS)
            yield FieldViolation(
                "update_mask", "UNKNOWN_FIELD", f"names {fields.cut(path)}, which cannot be set; {way_out}"
            )
        for field, _ in request.state.ListFields():
            if field.name in UPDATABLE - named:
                words = "is given and not named in update_mask; name it there, or leave it out"
                yield FieldViolation(f"state.{field.name}", "NOT_IN_MASK", words)
        for index, event in enumerate(request.append_history):
            yield from fields.history_event(f"append_history[{index}]", event)
            if event.id:
                words = f"is {event.id}; the server numbers what it appends, leave it 0"
                yield FieldViolation(f"append_history[{index}].id", "OUT_OF_RANGE", words)
        yield from fields.labels("set_labels", request.set_labels, limits.LABELS_MAX)
        if len(request.remove_labels) > limits.LABELS_MAX:
            words = f"has {len(request.remove_labels)} keys, more than {limits.LABELS_MAX}; remove some"
            yield FieldViolation("remove_labels", "TOO_MANY", words)
        for index, label in enumerate(request.remove_labels[: limits.LABELS_MAX]):
            yield from fields.label_key(f"remove_labels[{index}]", label)
            if label in request.set_labels:
                words = f"names {fields.cut(label)}, which set_labels sets; drop one of them"
                yield FieldViolation(f"remove_labels[{index}]", "CONTRADICTION", words)
        if request.HasField("expected_revision") and request.expected_revision == 0 and not request.allow_missing:
            words = "is 0, which asks for a workflow that does not exist; give allow_missing too, or leave it out"
            yield FieldViolation("expected_revision", "OUT_OF_RANGE", words)
        yield from fields.known_value("view", request.view, VIEWS)
        yield from fields.request_id(request.request_id, resent=request.resent)

    _refuse(violations())


def check_load(request: store_pb.LoadRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.workflow_id("workflow_id", request.workflow_id)
        yield from fields.known_value("view", request.view, VIEWS)
        yield from fields.known_value("consistency", request.consistency, CONSISTENCIES)

    _refuse(violations())


def check_list(request: store_pb.ListRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.workflow_filter("filter", request.filter)
        yield from fields.known_value("view", request.view, VIEWS)
        yield from fields.known_value("order_by", request.order_by, ORDERS)
        if request.limit < 0:
            yield FieldViolation("limit", "OUT_OF_RANGE", f"is {request.limit}; give 0 for all, or a positive number")
        yield from _index_consistency(request.consistency)

    _refuse(violations())


def position(page_token: str, selection: Selection) -> ListPosition | None:
    """Return where a List goes on, None for the beginning.

    Raises: InvalidRequest.
    """
    if not page_token:
        return None
    try:
        return token.decode(page_token, selection)
    except token.OtherSelection:
        words = "belongs to a List of another bucket, filter or order; repeat those of the call that it came from"
        raise InvalidRequest((FieldViolation("page_token", "OTHER_LIST", words),)) from None
    except token.WrongToken:
        words = "is no page token; give the next_page_token of a chunk, or nothing to begin anew"
        raise InvalidRequest((FieldViolation("page_token", "INVALID_TOKEN", words),)) from None


def check_list_revisions(request: store_pb.ListRevisionsRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.workflow_id("workflow_id", request.workflow_id)
        yield from fields.known_value("view", request.view, VIEWS)
        if request.limit < 0:
            yield FieldViolation("limit", "OUT_OF_RANGE", f"is {request.limit}; give 0 for all, or a positive number")

    _refuse(violations())


def check_save_batch(request: store_pb.SaveBatchRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.batch_items("items", [item.state.workflow_id for item in request.items], "state.workflow_id")
        yield from fields.batch_size("items", request.ByteSize())
        for index, item in enumerate(request.items[: limits.BATCH_ITEMS_MAX]):
            yield from fields.workflow_state(f"items[{index}].state", item.state)
        yield from fields.request_id(request.request_id, resent=request.resent)

    _refuse(violations())


def check_load_batch(request: store_pb.LoadBatchRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.batch_items("workflow_ids", request.workflow_ids)
        for index, workflow_id in enumerate(request.workflow_ids[: limits.BATCH_ITEMS_MAX]):
            yield from fields.workflow_id(f"workflow_ids[{index}]", workflow_id)
        yield from fields.known_value("view", request.view, VIEWS)
        yield from fields.known_value("consistency", request.consistency, CONSISTENCIES)

    _refuse(violations())


def check_delete_batch(request: store_pb.DeleteBatchRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        if request.HasField("filter"):
            yield from fields.workflow_filter("filter", request.filter)
            if request.items:
                words = "are given beside a filter; give one or the other"
                yield FieldViolation("items", "CONTRADICTION", words)
            if not 1 <= request.limit <= limits.BATCH_ITEMS_MAX:
                words = f"is {request.limit}; with a filter give 1 to {limits.BATCH_ITEMS_MAX}"
                yield FieldViolation("limit", "OUT_OF_RANGE", words)
        else:
            yield from fields.batch_items("items", [item.workflow_id for item in request.items], "workflow_id")
            for name in ("limit", "dry_run"):
                if getattr(request, name):
                    yield FieldViolation(name, "CONTRADICTION", "is for a filter; give one, or leave it out")
        for index, item in enumerate(request.items[: limits.BATCH_ITEMS_MAX]):
            yield from fields.workflow_id(f"items[{index}].workflow_id", item.workflow_id)
            yield from fields.deletable_revision(f"items[{index}].", item)
        yield from fields.request_id(request.request_id, resent=request.resent)

    _refuse(violations())


def check_export(request: store_pb.ExportRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.workflow_filter("filter", request.filter)

    _refuse(violations())


def check_import(request: store_pb.ImportRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.batch_items("documents", [item.key for item in request.documents], "key")
        yield from fields.batch_size("documents", request.ByteSize())
        for index, item in enumerate(request.documents[: limits.BATCH_ITEMS_MAX]):
            if item.key == BARRIER_KEY:
                words = "is what servers write to prove that their reads are fresh, and holds no document; leave it out"
                yield FieldViolation(f"documents[{index}].key", "RESERVED_KEY", words)
            elif not is_storable(item.key) or len(item.key) > limits.KEY_BYTES_MAX:
                words = (
                    f"{fields.cut(item.key)!r} is no key of a bucket: 1 to {limits.KEY_BYTES_MAX} letters, digits and "
                    "-/_=. with no dot at either end and no two in a row; give it as Export has told it"
                )
                yield FieldViolation(f"documents[{index}].key", "INVALID_KEY", words)
        yield from fields.known_value("on_conflict", request.on_conflict, ON_CONFLICT)

    _refuse(violations())


def check_watch(request: store_pb.WatchRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.workflow_filter("filter", request.filter)
        yield from fields.known_value("view", request.view, VIEWS)
        if request.HasField("bucket_created_at"):
            yield from fields.timestamp("bucket_created_at", request.bucket_created_at)
            if request.WhichOneof("start") != "after_revision":
                words = "says which bucket a revision is from; give after_revision too, or leave it out"
                yield FieldViolation("bucket_created_at", "WITHOUT_REVISION", words)

    _refuse(violations())


def check_count(request: store_pb.CountRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.workflow_filter("filter", request.filter)
        if request.WhichOneof("group_by") == "label":
            yield from fields.label_key("label", request.label)
        yield from _index_consistency(request.consistency)

    _refuse(violations())


def check_delete(request: store_pb.DeleteRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from fields.bucket(request.bucket, buckets)
        yield from fields.workflow_id("workflow_id", request.workflow_id)
        yield from fields.deletable_revision("", request)
        yield from fields.request_id(request.request_id, resent=request.resent)

    _refuse(violations())


def check_get_info(request: store_pb.GetInfoRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""
    _refuse(fields.bucket(request.bucket, buckets))


def _index_consistency(consistency: int) -> Violations:
    yield from fields.known_value("consistency", consistency, CONSISTENCIES)
    if consistency == store_pb.CONSISTENCY_ANY_REPLICA:
        words = "is ANY_REPLICA, and what is read is the server's index; give SESSION or LINEARIZABLE"
        yield FieldViolation("consistency", "NOT_FOR_INDEX", words)


def _refuse(violations: Violations) -> None:
    found = tuple(violations)
    told, size = 0, 0
    for violation in found[:REPORTED_MAX]:
        size += 2 * len(violation.field.encode()) + len(violation.description.encode())
        if told and size > REPORTED_BYTES_MAX:
            break
        told += 1
    if rest := len(found) - told:
        more = FieldViolation("", "MORE", f"and {rest} more; mend these and send the request again to see the rest")
        found = (*found[:told], more)
    if found:
        raise InvalidRequest(found)
