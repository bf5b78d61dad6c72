"""The page of the API says what the .proto files say, and all of it."""

import importlib.util
import re
from pathlib import Path

import pytest

from workflowstore.v1 import error_reason_pb2, workflow_filter_pb2, workflow_state_pb2, workflow_store_pb2

ROOT = Path(__file__).resolve().parents[1]
MODULES = (workflow_store_pb2, error_reason_pb2, workflow_filter_pb2, workflow_state_pb2)


@pytest.fixture(scope="module")
def api_docs():
    spec = importlib.util.spec_from_file_location("api_docs", ROOT / "tools/api_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(api_docs) -> str:
    return api_docs.PAGE.read_text()


def _section(page: str, name: str) -> str:
    return page.partition(f"\n### {name}\n")[2].partition("\n##")[0]


def _rows(section: str) -> list[list[str]]:
    """The cells of the table's rows, below its header."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_committed_page_is_what_is_generated(api_docs, page):
    assert page == api_docs.Page(api_docs.files()).text()


def test_check_refuses_a_page_that_is_not(api_docs, page, tmp_path, monkeypatch):
    monkeypatch.setattr(api_docs, "PAGE", tmp_path / "api.md")
    monkeypatch.setattr(api_docs.sys, "argv", ["api_docs.py", "--check"])
    with pytest.raises(SystemExit, match=r"^api\.md: .* run `make generate`"):
        api_docs.main()
    api_docs.PAGE.write_text(page.replace("Save writes", "Save wrote"))
    with pytest.raises(SystemExit, match=r"^api\.md: "):
        api_docs.main()
    monkeypatch.setattr(api_docs.sys, "argv", ["api_docs.py"])
    api_docs.main()
    assert api_docs.PAGE.read_text() == page


def test_every_heading_is_there_once_so_that_links_lead_to_it(page):
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    assert len(headings) == len({heading.lower() for heading in headings})


def test_every_call_has_its_request_and_its_reply(page):
    for method in workflow_store_pb2.DESCRIPTOR.services_by_name["WorkflowStore"].methods:
        section = _section(page, method.name)
        request, reply = method.input_type.name, method.output_type.name
        stream = "stream of " if method.server_streaming else ""
        assert f"[{request}](#{request.lower()}) → {stream}[{reply}](#{reply.lower()})\n" in section
        assert "\nErrors" in section


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.DESCRIPTOR.name)
def test_every_field_and_every_value_has_its_row_and_a_meaning(module, page):
    for message in module.DESCRIPTOR.message_types_by_name.values():
        rows = {row[0].strip("`"): row[1:] for row in _rows(_section(page, message.name))}
        groups = {oneof.name for oneof in message.oneofs if not oneof.name.startswith("_")}
        assert rows.keys() == {*message.fields_by_name, *groups}
        assert all(kind and meaning for kind, _, meaning in rows.values())
    for enum in module.DESCRIPTOR.enum_types_by_name.values():
        rows = _rows(_section(page, enum.name))
        assert [row[:2] for row in rows] == [[f"`{value.name}`", str(value.number)] for value in enum.values]
        assert all(row[2] for row in rows)


def test_types_and_labels_are_those_of_the_fields(page):
    rows = {row[0]: row[1:3] for name in ("SaveRequest", "CountRequest") for row in _rows(_section(page, name))}
    assert rows["`state`"] == ["[WorkflowState](#workflowstate)", ""]
    assert rows["`expected_revision`"] == ["uint64", "optional"]
    assert rows["`group_by`"] == ["oneof", ""]
    assert rows["`label`"] == ["string", "of `group_by`"]
    rows = {row[0]: row[1:3] for row in _rows(_section(page, "WorkflowState"))}
    assert rows["`labels`"] == ["map of string to string", ""]
    assert rows["`history`"] == ["[HistoryEvent](#historyevent)", "repeated"]
    assert rows["`created_at`"] == ["`google.protobuf.Timestamp`", ""]
