"""What is asked of List and Count goes out as it is meant; what cannot be sent is refused by the name of its field."""

import dataclasses
from datetime import UTC, datetime

import pytest

from workflowstore import OrderBy, WorkflowFilter, WorkflowStatus, WorkflowView
from workflowstore.client import _messages, _requests
from workflowstore.v1 import workflow_filter_pb2, workflow_store_pb2

NAIVE = datetime(2026, 1, 1)


def list_request(wanted=None, order_by=OrderBy.WORKFLOW_ID, descending=False, limit=None, page_token="", bucket=""):
    return _requests.list_request(wanted, order_by, descending, limit, WorkflowView.FULL, page_token, bucket)


def test_a_filter_has_every_condition_of_the_api():
    fields = {field.name for field in workflow_filter_pb2.WorkflowFilter.DESCRIPTOR.fields}
    assert {field.name for field in dataclasses.fields(WorkflowFilter)} == fields


def test_every_order_has_its_name_on_the_wire():
    names = {"ORDER_BY_" + order_by.name: order_by for order_by in OrderBy}
    assert set(names) == set(workflow_store_pb2.OrderBy.keys()) - {"ORDER_BY_UNSPECIFIED"}
    for name, order_by in names.items():
        assert workflow_store_pb2.OrderBy.Name(_messages.order_number(order_by, "order_by")) == name
        assert _messages.order_number(order_by.value, "order_by") == _messages.order_number(order_by, "order_by")


def test_no_filter_is_no_filter_on_the_wire():
    assert not list_request().HasField("filter")
    assert not _requests.count_request(None, False, None, "").HasField("filter")


def test_a_filter_may_be_used_again():
    wanted = WorkflowFilter(statuses=frozenset({WorkflowStatus.RUNNING}), labels={"team": "a"})
    assert list_request(wanted) == list_request(wanted)
    assert wanted == dataclasses.replace(wanted)
    with pytest.raises(dataclasses.FrozenInstanceError):
        wanted.run_id = "r"
    with pytest.raises(TypeError):
        WorkflowFilter([WorkflowStatus.RUNNING])


@pytest.mark.parametrize(
    ("conditions", "error", "message"),
    [
        ({"statuses": "running"}, TypeError, "filter.statuses: must be a collection, such as [WorkflowStatus.RUNNING]"),
        ({"statuses": iter(["running"])}, TypeError, "filter.statuses: must be a collection, such as"),
        ({"statuses": None}, TypeError, "filter.statuses: must be a collection, such as"),
        ({"statuses": ["runing"]}, ValueError, "filter.statuses[0]: must be one of '', 'running'"),
        ({"statuses": ["running", 1]}, TypeError, "filter.statuses[1]: must be one of '', 'running'"),
        ({"workflow_id_prefix": 5}, TypeError, "filter.workflow_id_prefix: must be a str, not int"),
        ({"run_id": "\ud800"}, ValueError, "filter.run_id: '\\ud800' has a lone surrogate"),
        ({"labels": ["team"]}, TypeError, "filter.labels: must be a mapping, not list"),
        ({"labels": {1: ""}}, TypeError, "filter.labels: must be a str, not int"),
        ({"labels": {"team": None}}, TypeError, "filter.labels['team']: must be a str, not NoneType"),
        ({"created_after": NAIVE}, ValueError, "filter.created_after: 2026-01-01T00:00:00 has no time zone; give"),
        ({"created_before": 0}, TypeError, "filter.created_before: must be an aware datetime or None, not int"),
        ({"updated_after": "now"}, TypeError, "filter.updated_after: must be an aware datetime or None, not str"),
        ({"updated_before": NAIVE}, ValueError, "filter.updated_before: 2026-01-01T00:00:00 has no time zone"),
    ],
)
def test_a_condition_that_cannot_be_sent_is_refused_by_its_name(conditions, error, message):
    for request_of in (list_request, lambda wanted: _requests.count_request(wanted, False, None, "")):
        with pytest.raises(error) as caught:
            request_of(WorkflowFilter(**conditions))
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("request_of", "error", "message"),
    [
        (lambda: list_request({"run_id": "r"}), TypeError, "filter: must be a WorkflowFilter or None, not dict"),
        (lambda: list_request(order_by="id"), ValueError, "order_by: must be one of 'workflow_id', 'created_at', 'up"),
        (lambda: list_request(order_by=None), TypeError, "order_by: must be one of 'workflow_id', 'created_at', 'up"),
        (lambda: list_request(descending="yes"), TypeError, "descending: must be a bool, not str"),
        (lambda: list_request(limit=0), ValueError, "limit: must be in 1.."),
        (lambda: list_request(page_token=None), TypeError, "page_token: must be a str, not NoneType"),
        (lambda: list_request(bucket=1), TypeError, "bucket: must be a str, not int"),
        (lambda: _requests.count_request(None, "team", None, ""), TypeError, "by_status: must be a bool, not str"),
        (lambda: _requests.count_request(None, False, 1, ""), TypeError, "by_label: must be a str, not int"),
        (lambda: _requests.count_request(None, True, "", ""), ValueError, "by_label: cannot be given with by_status"),
        (lambda: _requests.count_request(None, False, None, 1), TypeError, "bucket: must be a str, not int"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_the_name_of_its_field(request_of, error, message):
    with pytest.raises(error) as caught:
        request_of()
    assert str(caught.value).startswith(message)


def test_times_are_sent_to_the_nanosecond():
    early = datetime(1, 1, 1, tzinfo=UTC)
    assert list_request(WorkflowFilter(created_after=early)).filter.created_after.seconds == -62_135_596_800
    assert not list_request(WorkflowFilter(created_after=early)).filter.HasField("updated_after")
