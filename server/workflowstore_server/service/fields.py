"""The only place that knows which values of a field are refused, and says what is wrong with them and what is right.

The rules stand in the comments of the .proto files; the bounds are those of model.limits.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as store_pb
from workflowstore.v1.workflow_filter_pb2 import WorkflowFilter
from workflowstore_server.codec import json_text, message
from workflowstore_server.model import limits
from workflowstore_server.model.errors import FieldViolation
from workflowstore_server.model.state import TIME_NS_MAX, ZERO_TIME_NS

Violations = Iterator[FieldViolation]

LABELS_LOOKED_AT_MAX: Final = 256
"""Labels of which it is said what is wrong with them, where there are more of them than there may be."""


def bucket(name: str, buckets: Collection[str]) -> Violations:
    if name and name not in buckets:
        yield FieldViolation(
            "bucket",
            "NOT_SERVED",
            f"{cut(name)} is not served here; name one of {', '.join(buckets)}, or start the server with --bucket",
        )


def batch_items(path: str, names: Sequence[str], field: str = "") -> Violations:
    """The number of items, and that no two are of one name, which is in this field of theirs."""
    if not 1 <= len(names) <= limits.BATCH_ITEMS_MAX:
        yield FieldViolation(path, "OUT_OF_RANGE", f"are {len(names)}; give 1 to {limits.BATCH_ITEMS_MAX}")
        return
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name and first.setdefault(name, index) != index:
            place = f"{path}[{index}].{field}".rstrip(".")
            yield FieldViolation(place, "REPEATED", f"{cut(name)} is that of {path}[{first[name]}] too; give it once")


def batch_size(path: str, size_bytes: int) -> Violations:
    if size_bytes > limits.BATCH_BYTES_MAX:
        words = f"make a request of {size_bytes} bytes, more than {limits.BATCH_BYTES_MAX}; send fewer at once"
        yield FieldViolation(path, "TOO_LARGE", words)


def deletable_revision(path: str, request: store_pb.DeleteRequest | store_pb.DeleteBatchItem) -> Violations:
    if request.HasField("expected_revision") and request.expected_revision == 0:
        words = "is 0, which asks to delete what must not exist; leave it out to delete whatever is stored"
        yield FieldViolation(f"{path}expected_revision", "OUT_OF_RANGE", words)


def request_id(request_id: str, *, resent: bool) -> Violations:
    yield from bytes_max("request_id", request_id, limits.REQUEST_ID_BYTES_MAX)
    if resent and not request_id:
        yield FieldViolation("resent", "NEEDS_REQUEST_ID", "needs the request_id of the first request")


def workflow_id(path: str, workflow_id: str) -> Violations:
    if not workflow_id:
        yield FieldViolation(path, "REQUIRED", f"is required: 1 to {limits.WORKFLOW_ID_BYTES_MAX} bytes of UTF-8")
    yield from bytes_max(path, workflow_id, limits.WORKFLOW_ID_BYTES_MAX)
    if "\0" in workflow_id:
        yield FieldViolation(path, "INVALID_CHARACTER", "contains NUL; any other character is allowed")


def workflow_state(path: str, state: state_pb.WorkflowState) -> Violations:
    yield from workflow_id(f"{path}.workflow_id", state.workflow_id)
    yield from bytes_max(f"{path}.run_id", state.run_id, limits.WORKFLOW_ID_BYTES_MAX)
    yield from known_value(f"{path}.status", state.status, message.STATUS)
    yield from json_payload(f"{path}.input_json", state.input_json)
    yield from json_payload(f"{path}.result_json", state.result_json)
    for index, event in enumerate(state.history):
        yield from history_event(f"{path}.history[{index}]", event)
    if state.HasField("created_at"):
        yield from timestamp(f"{path}.created_at", state.created_at)
    if state.HasField("updated_at"):
        yield from timestamp(f"{path}.updated_at", state.updated_at)
    yield from labels(f"{path}.labels", state.labels, limits.LABELS_MAX)


def workflow_filter(path: str, wanted: WorkflowFilter) -> Violations:
    if len(wanted.statuses) > limits.FILTER_STATUSES_MAX:
        words = f"has {len(wanted.statuses)} statuses, more than {limits.FILTER_STATUSES_MAX}; give each once"
        yield FieldViolation(f"{path}.statuses", "TOO_MANY", words)
        return
    for index, status in enumerate(wanted.statuses):
        yield from known_value(f"{path}.statuses[{index}]", status, message.STATUS)
    yield from bytes_max(f"{path}.workflow_id_prefix", wanted.workflow_id_prefix, limits.WORKFLOW_ID_BYTES_MAX)
    yield from bytes_max(f"{path}.run_id", wanted.run_id, limits.WORKFLOW_ID_BYTES_MAX)
    yield from labels(f"{path}.labels", wanted.labels, limits.FILTER_LABELS_MAX)
    for field in ("created_after", "created_before", "updated_after", "updated_before"):
        if wanted.HasField(field):
            yield from timestamp(f"{path}.{field}", getattr(wanted, field))


def labels(path: str, labels: Mapping[str, str], labels_max: int) -> Violations:
    if len(labels) > labels_max:
        yield FieldViolation(path, "TOO_MANY", f"has {len(labels)} labels, more than {labels_max}; remove some")
    for key, value in islice(labels.items(), LABELS_LOOKED_AT_MAX):
        label = f"{path}[{cut(key)}]"
        yield from label_key(label, key)
        yield from bytes_max(label, value, limits.LABEL_VALUE_BYTES_MAX)


def label_key(path: str, key: str) -> Violations:
    if not key:
        yield FieldViolation(path, "REQUIRED", f"has an empty key; give 1 to {limits.LABEL_KEY_BYTES_MAX} bytes")
    yield from bytes_max(path, key, limits.LABEL_KEY_BYTES_MAX)


def history_event(path: str, event: state_pb.HistoryEvent) -> Violations:
    yield from known_value(f"{path}.type", event.type, message.EVENT_TYPE)
    if event.HasField("timestamp"):
        yield from timestamp(f"{path}.timestamp", event.timestamp)
    yield from json_payload(f"{path}.input_json", event.input_json)
    yield from json_payload(f"{path}.result_json", event.result_json)
    yield from json_payload(f"{path}.signal_payload_json", event.signal_payload_json)
    if event.HasField("duration"):
        yield from duration(f"{path}.duration", event.duration)


def json_payload(path: str, text: str) -> Violations:
    if text and (problem := json_text.problem_of(text)):
        yield FieldViolation(path, "INVALID_JSON", f"{problem}; give JSON text, or nothing for null")


def bytes_max(path: str, text: str, bytes_max: int) -> Violations:
    # A character has at most four bytes, so most texts need not be encoded to be known short.
    if len(text) * 4 > bytes_max and (size := len(text.encode())) > bytes_max:
        yield FieldViolation(path, "TOO_LONG", f"has {size} bytes of UTF-8, more than {bytes_max}; shorten it")


def known_value(path: str, value: int, values: Collection[int]) -> Violations:
    if value not in values:
        yield FieldViolation(path, "UNKNOWN_VALUE", f"{value} is no value of this server's API; use one of its .proto")


def timestamp(path: str, time: Timestamp) -> Violations:
    in_form = 0 <= time.nanos < message.NANOSECONDS
    if not in_form or not ZERO_TIME_NS <= message.timestamp_ns(time) <= TIME_NS_MAX:
        yield FieldViolation(path, "OUT_OF_RANGE", "is no time from year 0001 to 9999 with nanos in 0 to 999999999")


def duration(path: str, duration: Duration) -> Violations:
    in_form = abs(duration.nanos) < message.NANOSECONDS and duration.seconds * duration.nanos >= 0
    if not in_form or not limits.INT64_MIN <= message.duration_ns(duration) <= limits.INT64_MAX:
        yield FieldViolation(path, "OUT_OF_RANGE", "is no duration within 2^63 nanoseconds whose parts have one sign")


def cut(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:64]}..."
