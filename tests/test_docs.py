"""What the documents say that a machine can check: links, paths, tables, and the examples of the stored form."""

import json
import re
from pathlib import Path

import pytest
from google.protobuf.message_factory import GetMessageClass

from workflowstore.client._status import _BY_REASON
from workflowstore.v1 import workflow_store_pb2
from workflowstore.v1.error_reason_pb2 import ErrorReason
from workflowstore_server.codec import document
from workflowstore_server.codec.key import key_of
from workflowstore_server.service import status
from workflowstore_server.service.rules import RULES

ROOT = Path(__file__).parents[1]
PLACES = ("*.md", "docs/**/*.md", "clients/*/README.md", "clients/*/*/README.md")
DOCUMENTS = sorted(path for place in PLACES for path in ROOT.glob(place) if "node_modules" not in path.parts)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

HOMES = (ROOT, ROOT / "server/workflowstore_server", ROOT / "clients/python/workflowstore")
"""Where the paths in the documents begin."""

PATH = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|proto|sh)|(?:clients|docs|proto|server|store|tests)/[\w/]*)`")
"""What is taken for a path of ours: code, and folders. Others are subjects, ids and the reader's own files."""

EXPECTED = {
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/stored-form.md", "docs/errors.md",
    "docs/container.md", "docs/deployment.md", "SECURITY.md", "docs/adr/0001-connection-replaced-not-repaired.md",
    "docs/adr/0002-list-scans-by-direct-get.md", "docs/adr/0003-loads-are-gathered.md",
    "docs/adr/0004-handlers-wrapped-at-registration.md", "clients/conformance/README.md", "clients/go/README.md",
    "clients/go/beluga/README.md", "clients/java/README.md", "clients/typescript/README.md",
}  # fmt: skip


def _prose(path: Path) -> str:
    """The text of a document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(path: Path) -> set[str]:
    """What the headings of a document are linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", _prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _table(text: str) -> list[list[str]]:
    """The rows of the first table, below its header."""
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[0].splitlines()[2:]]


def test_the_documents_are_these_and_perhaps_more() -> None:
    assert set(NAMES) >= EXPECTED


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", _prose(path)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


def test_every_alert_leads_to_a_section() -> None:
    rules = (ROOT / "deploy/prometheus/alerts.yaml").read_text()
    targets = re.findall(r"runbook_url: (\S+)#(\S+)", rules)
    assert len(targets) == rules.count("- alert:")
    for name, anchor in targets:
        assert anchor in _anchors(ROOT / name), anchor


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_path_that_is_named_exists(path: Path) -> None:
    for name in PATH.findall(_prose(path)):
        assert any((home / name).exists() for home in (*HOMES, path.parent)), name


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_the_lines_of_a_document_fit_a_screen(path: Path) -> None:
    for line in _prose(path).splitlines():
        assert len(line) <= 140 or line.startswith("|"), line


def _reasons() -> dict[str, list[str]]:
    rows = _table((ROOT / "docs/errors.md").read_text())
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_table_of_errors_has_every_reason_and_no_other() -> None:
    assert set(_reasons()) == set(ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}


def test_the_table_of_errors_has_the_codes_of_the_server() -> None:
    sent = {ErrorReason.Name(row.reason): row.code.name for row in status._TABLE.values()}
    sent["ERROR_REASON_INTERNAL"] = "INTERNAL"
    assert {reason: row[0] for reason, row in _reasons().items()} == sent


def test_the_table_of_errors_has_the_classes_of_the_client() -> None:
    raised = {reason: f"`{kind.__name__}`" for reason, (kind, _) in _BY_REASON.items()}
    assert {reason: row[1] for reason, row in _reasons().items()} == raised


def test_the_errors_that_come_with_a_delay_are_those_that_are_said_to() -> None:
    sentence = (ROOT / "docs/errors.md").read_text().partition("## The delay\n")[2].partition("come with")[0]
    passing = {ErrorReason.Name(row.reason) for row in status._TABLE.values() if row.passing}
    assert {f"ERROR_REASON_{name}" for name in re.findall(r"`(\w+)`", sentence)} == passing


def test_the_table_of_access_has_every_rpc_with_what_it_needs() -> None:
    rows = _table((ROOT / "docs/access.md").read_text().partition("## The policy\n")[2])
    methods = workflow_store_pb2.DESCRIPTOR.services_by_name["WorkflowStore"].methods
    assert [row[0] for row in rows] == [f"`{method.name}`" for method in methods]
    for (_, told, _), method in zip(rows, methods, strict=True):
        request = GetMessageClass(method.input_type)()
        needed = RULES[method.name].access(request).name.lower()
        if "purge" in method.input_type.fields_by_name:
            request.purge = True  # type: ignore[attr-defined]
            needed += f"; with `purge` {RULES[method.name].access(request).name.lower()}"
        assert told == needed


def test_the_keys_in_the_stored_form_are_those_of_the_ids() -> None:
    rows = _table((ROOT / "docs/stored-form.md").read_text())
    assert len(rows) == 7
    for workflow_id, key in rows:
        assert key == f"`{key_of(workflow_id.strip('`'))}`"


def test_the_document_in_the_stored_form_is_what_is_written() -> None:
    text = re.search(r"^```json\n(.*?)\n```$", (ROOT / "docs/stored-form.md").read_text(), re.MULTILINE | re.DOTALL)
    assert text is not None
    state = document.decode(text[1].encode(), key_of(json.loads(text[1])["WorkflowID"]))
    assert document.encode(state).decode() == text[1]


def test_the_number_of_documents_that_go_has_read_is_the_one_that_is_told() -> None:
    cases = json.loads((ROOT / "tests/unit/golden/go_documents.json").read_text())
    assert f" {len(cases)} documents in\n" in (ROOT / "docs/stored-form.md").read_text()


def test_the_fields_in_the_stored_form_are_those_of_the_document() -> None:
    section = (ROOT / "docs/stored-form.md").read_text().partition("## The document\n")[2]
    named = {name for row in _table(section) for name in re.findall(r"`(\w+)`", row[0])}
    written = {*document._Document.__struct_fields__, *document._Event.__struct_fields__}
    assert named == written


def test_the_menu_in_contributing_is_that_of_make() -> None:
    menu = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    rows = _table((ROOT / "CONTRIBUTING.md").read_text())
    assert [row[0] for row in rows] == [f"`make {target}`" for target in menu]
