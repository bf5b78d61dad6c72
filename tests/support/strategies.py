"""The only place that knows how to draw values of the model."""

import json

from hypothesis import strategies as st

from workflowstore_server.model.limits import INT64_MAX, INT64_MIN
from workflowstore_server.model.state import (
    TIME_NS_MAX,
    ZERO_TIME_NS,
    EventType,
    HistoryEvent,
    WorkflowState,
    WorkflowStatus,
)


def _joined(opening: str, closing: str):
    return lambda parts: opening + ", ".join(parts) + closing


workflow_ids = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=1024).filter(
    lambda text: len(text.encode()) <= 1024
)
times_ns = st.integers(ZERO_TIME_NS, TIME_NS_MAX) | st.just(ZERO_TIME_NS)
int64s = st.integers(INT64_MIN, INT64_MAX)

json_strings = st.builds(json.dumps, st.text(), ensure_ascii=st.booleans())
json_texts = st.recursive(
    st.sampled_from(["null", "true", "false", "1e400", "-0", "1.0", "9007199254740993", "1E+2"])
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | json_strings,
    lambda texts: st.one_of(
        st.lists(texts).map(_joined("[", "]")),
        st.lists(st.builds("{} :{}".format, json_strings, texts)).map(_joined("{", "}")),
    ),
    max_leaves=10,
)
payloads = st.none() | json_texts.filter(lambda text: text != "null")

events = st.builds(
    HistoryEvent,
    id=int64s,
    type=st.sampled_from(EventType),
    timestamp_ns=times_ns,
    activity_name=st.text(),
    input_json=payloads,
    result_json=payloads,
    error=st.text(),
    signal_name=st.text(),
    signal_payload_json=payloads,
    duration_ns=int64s,
)
states = st.builds(
    WorkflowState,
    workflow_id=workflow_ids,
    run_id=st.text(),
    status=st.sampled_from(WorkflowStatus),
    input_json=payloads,
    result_json=payloads,
    error=st.text(),
    history=st.lists(events, max_size=3).map(tuple),
    created_at_ns=times_ns,
    updated_at_ns=times_ns,
    labels=st.dictionaries(st.text(), st.text(), max_size=3),
)
