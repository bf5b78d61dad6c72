"""The only place that knows which requests are refused, and names every wrong field of one at once.

The rules stand in the comments of the .proto files; the bounds are those of model.limits.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as store_pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore_server.codec import json_text, message, token
from workflowstore_server.codec.key import is_storable
from workflowstore_server.model import limits
from workflowstore_server.model.errors import FieldViolation, InvalidRequest
from workflowstore_server.model.selection import ListPosition, Selection
from workflowstore_server.model.state import TIME_NS_MAX, ZERO_TIME_NS

REPORTED_MAX: Final = 20
"""Violations named in one answer: they travel in the trailers, of which gRPC takes 8 KiB by default."""

VIEWS: Final = frozenset(state_pb.WorkflowView.values())
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

Violations = Iterator[FieldViolation]


def check_save(request: store_pb.SaveRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        if not request.HasField("state"):
            yield FieldViolation("state", "REQUIRED", "is required: give the whole state to save")
        else:
            yield from _state("state", request.state)
        yield from _request_id(request.request_id)

    _refuse(violations())


def check_update(request: store_pb.UpdateRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _state("state", request.state)
        named = set(request.update_mask.paths)
        for path in sorted(named - UPDATABLE):
            way_out = {"workflow_id": "it names the workflow", "*": "name each field"}.get(path, UPDATABLE_WORDS)
            yield FieldViolation("update_mask", "UNKNOWN_FIELD", f"names {_cut(path)}, which cannot be set; {way_out}")
        for field, _ in request.state.ListFields():
            if field.name in UPDATABLE - named:
                words = "is given and not named in update_mask; name it there, or leave it out"
                yield FieldViolation(f"state.{field.name}", "NOT_IN_MASK", words)
        for index, event in enumerate(request.append_history):
            yield from _event(f"append_history[{index}]", event)
            if event.id:
                words = f"is {event.id}; the server numbers what it appends, leave it 0"
                yield FieldViolation(f"append_history[{index}].id", "OUT_OF_RANGE", words)
        yield from _labels("set_labels", request.set_labels, limits.LABELS_MAX)
        if len(request.remove_labels) > limits.LABELS_MAX:
            words = f"has {len(request.remove_labels)} keys, more than {limits.LABELS_MAX}; remove some"
            yield FieldViolation("remove_labels", "TOO_MANY", words)
        for index, label in enumerate(request.remove_labels):
            yield from _label_key(f"remove_labels[{index}]", label)
            if label in request.set_labels:
                words = f"names {_cut(label)}, which set_labels sets; drop one of them"
                yield FieldViolation(f"remove_labels[{index}]", "CONTRADICTION", words)
        if request.HasField("expected_revision") and request.expected_revision == 0 and not request.allow_missing:
            words = "is 0, which asks for a workflow that does not exist; give allow_missing too, or leave it out"
            yield FieldViolation("expected_revision", "OUT_OF_RANGE", words)
        yield from _known("view", request.view, VIEWS)
        yield from _request_id(request.request_id)

    _refuse(violations())


def check_load(request: store_pb.LoadRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _workflow_id("workflow_id", request.workflow_id)
        yield from _known("view", request.view, VIEWS)

    _refuse(violations())


def check_list(request: store_pb.ListRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _filter("filter", request.filter)
        yield from _known("view", request.view, VIEWS)
        yield from _known("order_by", request.order_by, ORDERS)
        if request.limit < 0:
            yield FieldViolation("limit", "OUT_OF_RANGE", f"is {request.limit}; give 0 for all, or a positive number")

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
        yield from _bucket(request.bucket, buckets)
        yield from _workflow_id("workflow_id", request.workflow_id)
        yield from _known("view", request.view, VIEWS)
        if request.limit < 0:
            yield FieldViolation("limit", "OUT_OF_RANGE", f"is {request.limit}; give 0 for all, or a positive number")

    _refuse(violations())


def check_save_batch(request: store_pb.SaveBatchRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _batch("items", [item.state.workflow_id for item in request.items], "state.workflow_id")
        yield from _size("items", request.ByteSize())
        for index, item in enumerate(request.items):
            yield from _state(f"items[{index}].state", item.state)
        yield from _request_id(request.request_id)

    _refuse(violations())


def check_load_batch(request: store_pb.LoadBatchRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _batch("workflow_ids", request.workflow_ids)
        for index, workflow_id in enumerate(request.workflow_ids):
            yield from _workflow_id(f"workflow_ids[{index}]", workflow_id)
        yield from _known("view", request.view, VIEWS)

    _refuse(violations())


def check_delete_batch(request: store_pb.DeleteBatchRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        if request.HasField("filter"):
            yield from _filter("filter", request.filter)
            if request.items:
                words = "are given beside a filter; give one or the other"
                yield FieldViolation("items", "CONTRADICTION", words)
            if not 1 <= request.limit <= limits.BATCH_ITEMS_MAX:
                words = f"is {request.limit}; with a filter give 1 to {limits.BATCH_ITEMS_MAX}"
                yield FieldViolation("limit", "OUT_OF_RANGE", words)
        else:
            yield from _batch("items", [item.workflow_id for item in request.items], "workflow_id")
            for name in ("limit", "dry_run"):
                if getattr(request, name):
                    yield FieldViolation(name, "CONTRADICTION", "is for a filter; give one, or leave it out")
        for index, item in enumerate(request.items):
            yield from _workflow_id(f"items[{index}].workflow_id", item.workflow_id)
            yield from _deletable_revision(f"items[{index}].", item)
        yield from _request_id(request.request_id)

    _refuse(violations())


def check_export(request: store_pb.ExportRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _filter("filter", request.filter)

    _refuse(violations())


def check_import(request: store_pb.ImportRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _batch("documents", [item.key for item in request.documents], "key")
        yield from _size("documents", request.ByteSize())
        for index, item in enumerate(request.documents):
            if not is_storable(item.key) or len(item.key) > limits.KEY_BYTES_MAX:
                words = (
                    f"{_cut(item.key)!r} is no key of a bucket: 1 to {limits.KEY_BYTES_MAX} letters, digits and -/_=. "
                    "with no dot at either end and no two in a row; give it as Export has told it"
                )
                yield FieldViolation(f"documents[{index}].key", "INVALID_KEY", words)
        yield from _known("on_conflict", request.on_conflict, ON_CONFLICT)

    _refuse(violations())


def check_watch(request: store_pb.WatchRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _filter("filter", request.filter)
        yield from _known("view", request.view, VIEWS)
        if request.HasField("bucket_created_at"):
            yield from _timestamp("bucket_created_at", request.bucket_created_at)
            if request.WhichOneof("start") != "after_revision":
                words = "says which bucket a revision is from; give after_revision too, or leave it out"
                yield FieldViolation("bucket_created_at", "WITHOUT_REVISION", words)

    _refuse(violations())


def check_count(request: store_pb.CountRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _filter("filter", request.filter)
        if request.WhichOneof("group_by") == "label":
            yield from _label_key("label", request.label)

    _refuse(violations())


def check_delete(request: store_pb.DeleteRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""

    def violations() -> Violations:
        yield from _bucket(request.bucket, buckets)
        yield from _workflow_id("workflow_id", request.workflow_id)
        yield from _deletable_revision("", request)
        yield from _request_id(request.request_id)

    _refuse(violations())


def check_get_info(request: store_pb.GetInfoRequest, buckets: Collection[str]) -> None:
    """Raises: InvalidRequest."""
    _refuse(_bucket(request.bucket, buckets))


def _refuse(violations: Violations) -> None:
    found = tuple(violations)
    if len(found) > REPORTED_MAX:
        rest = len(found) - REPORTED_MAX
        more = FieldViolation("", "MORE", f"and {rest} more; mend these and send the request again to see the rest")
        found = (*found[:REPORTED_MAX], more)
    if found:
        raise InvalidRequest(found)


def _bucket(name: str, buckets: Collection[str]) -> Violations:
    if name and name not in buckets:
        yield FieldViolation(
            "bucket",
            "NOT_SERVED",
            f"{_cut(name)} is not served here; name one of {', '.join(buckets)}, or start the server with --bucket",
        )


def _batch(path: str, names: Sequence[str], field: str = "") -> Violations:
    """The number of items, and that no two are of one name, which is in this field of theirs."""
    if not 1 <= len(names) <= limits.BATCH_ITEMS_MAX:
        yield FieldViolation(path, "OUT_OF_RANGE", f"are {len(names)}; give 1 to {limits.BATCH_ITEMS_MAX}")
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name and first.setdefault(name, index) != index:
            place = f"{path}[{index}].{field}".rstrip(".")
            yield FieldViolation(place, "REPEATED", f"{_cut(name)} is that of {path}[{first[name]}] too; give it once")


def _size(path: str, size_bytes: int) -> Violations:
    if size_bytes > limits.BATCH_BYTES_MAX:
        words = f"make a request of {size_bytes} bytes, more than {limits.BATCH_BYTES_MAX}; send fewer at once"
        yield FieldViolation(path, "TOO_LARGE", words)


def _deletable_revision(path: str, request: store_pb.DeleteRequest | store_pb.DeleteBatchItem) -> Violations:
    if request.HasField("expected_revision") and request.expected_revision == 0:
        words = "is 0, which asks to delete what must not exist; leave it out to delete whatever is stored"
        yield FieldViolation(f"{path}expected_revision", "OUT_OF_RANGE", words)


def _request_id(request_id: str) -> Violations:
    yield from _bytes_max("request_id", request_id, limits.REQUEST_ID_BYTES_MAX)


def _workflow_id(path: str, workflow_id: str) -> Violations:
    if not workflow_id:
        yield FieldViolation(path, "REQUIRED", f"is required: 1 to {limits.WORKFLOW_ID_BYTES_MAX} bytes of UTF-8")
    yield from _bytes_max(path, workflow_id, limits.WORKFLOW_ID_BYTES_MAX)
    if "\0" in workflow_id:
        yield FieldViolation(path, "INVALID_CHARACTER", "contains NUL; any other character is allowed")


def _state(path: str, state: state_pb.WorkflowState) -> Violations:
    yield from _workflow_id(f"{path}.workflow_id", state.workflow_id)
    yield from _bytes_max(f"{path}.run_id", state.run_id, limits.WORKFLOW_ID_BYTES_MAX)
    yield from _known(f"{path}.status", state.status, message.STATUS)
    yield from _json(f"{path}.input_json", state.input_json)
    yield from _json(f"{path}.result_json", state.result_json)
    for index, event in enumerate(state.history):
        yield from _event(f"{path}.history[{index}]", event)
    if state.HasField("created_at"):
        yield from _timestamp(f"{path}.created_at", state.created_at)
    if state.HasField("updated_at"):
        yield from _timestamp(f"{path}.updated_at", state.updated_at)
    yield from _labels(f"{path}.labels", state.labels, limits.LABELS_MAX)


def _filter(path: str, wanted: WorkflowFilter) -> Violations:
    for index, status in enumerate(wanted.statuses):
        yield from _known(f"{path}.statuses[{index}]", status, message.STATUS)
    yield from _bytes_max(f"{path}.workflow_id_prefix", wanted.workflow_id_prefix, limits.WORKFLOW_ID_BYTES_MAX)
    yield from _bytes_max(f"{path}.run_id", wanted.run_id, limits.WORKFLOW_ID_BYTES_MAX)
    yield from _labels(f"{path}.labels", wanted.labels, limits.FILTER_LABELS_MAX)
    for field in ("created_after", "created_before", "updated_after", "updated_before"):
        if wanted.HasField(field):
            yield from _timestamp(f"{path}.{field}", getattr(wanted, field))


def _labels(path: str, labels: Mapping[str, str], labels_max: int) -> Violations:
    if len(labels) > labels_max:
        yield FieldViolation(path, "TOO_MANY", f"has {len(labels)} labels, more than {labels_max}; remove some")
    for key, value in labels.items():
        label = f"{path}[{_cut(key)}]"
        yield from _label_key(label, key)
        yield from _bytes_max(label, value, limits.LABEL_VALUE_BYTES_MAX)


def _label_key(path: str, key: str) -> Violations:
    if not key:
        yield FieldViolation(path, "REQUIRED", f"has an empty key; give 1 to {limits.LABEL_KEY_BYTES_MAX} bytes")
    yield from _bytes_max(path, key, limits.LABEL_KEY_BYTES_MAX)


def _event(path: str, event: state_pb.HistoryEvent) -> Violations:
    yield from _known(f"{path}.type", event.type, message.EVENT_TYPE)
    if event.HasField("timestamp"):
        yield from _timestamp(f"{path}.timestamp", event.timestamp)
    yield from _json(f"{path}.input_json", event.input_json)
    yield from _json(f"{path}.result_json", event.result_json)
    yield from _json(f"{path}.signal_payload_json", event.signal_payload_json)
    if event.HasField("duration"):
        yield from _duration(f"{path}.duration", event.duration)


def _json(path: str, text: str) -> Violations:
    if text and (problem := json_text.problem_of(text)):
        yield FieldViolation(path, "INVALID_JSON", f"{problem}; give JSON text, or nothing for null")


def _bytes_max(path: str, text: str, bytes_max: int) -> Violations:
    # A character has at most four bytes, so most texts need not be encoded to be known short.
    if len(text) * 4 > bytes_max and (size := len(text.encode())) > bytes_max:
        yield FieldViolation(path, "TOO_LONG", f"has {size} bytes of UTF-8, more than {bytes_max}; shorten it")


def _known(path: str, value: int, values: Collection[int]) -> Violations:
    if value not in values:
        yield FieldViolation(path, "UNKNOWN_VALUE", f"{value} is no value of this server's API; use one of its .proto")


def _timestamp(path: str, time: Timestamp) -> Violations:
    in_form = 0 <= time.nanos < message.NANOSECONDS
    if not in_form or not ZERO_TIME_NS <= message.timestamp_ns(time) <= TIME_NS_MAX:
        yield FieldViolation(path, "OUT_OF_RANGE", "is no time from year 0001 to 9999 with nanos in 0 to 999999999")


def _duration(path: str, duration: Duration) -> Violations:
    in_form = abs(duration.nanos) < message.NANOSECONDS and duration.seconds * duration.nanos >= 0
    if not in_form or not limits.INT64_MIN <= message.duration_ns(duration) <= limits.INT64_MAX:
        yield FieldViolation(path, "OUT_OF_RANGE", "is no duration within 2^63 nanoseconds whose parts have one sign")


def _cut(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:64]}..."
