"""The conformance cases: that they are well formed and complete, and that a runner notices what is wrong.

That all of them pass, in every language, is what `make conformance` checks.
"""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from workflowstore.v1.error_reason_pb2 import ErrorReason
from workflowstore.v1.workflow_store_pb2 import DESCRIPTOR

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "clients/conformance"
CASES = json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))["cases"]
METHODS = DESCRIPTOR.services_by_name["WorkflowStore"].methods_by_name
MEMBERS = {"call", "request", "response", "error", "messages", "bind"}


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"conformance_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = _module(FOLDER / "run.py")
clients = _module(ROOT / "tools/clients.py")


def _steps() -> Iterator[dict[str, Any]]:
    for case in CASES:
        yield from case["steps"]


def _message(descriptor: Any, value: Any) -> Message:
    """A value of a case as a message, with texts and numbers for its variables."""
    text = re.sub(r"\$\{(?!repeat:)\w+\}", "1", json.dumps(runner.without_nulls(value), ensure_ascii=False))
    # A text that is bound to a time.
    text = re.sub(r'("(?:created|updated)_at": )"1"', r'\1"2026-01-02T03:04:05Z"', text)
    text = re.sub(r'("document": )"1"', r'\1"AAAA"', text)
    message: Message = message_factory.GetMessageClass(descriptor)()
    return json_format.Parse(text, message)


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))


def test_every_step_is_in_the_format() -> None:
    for step in _steps():
        method = METHODS[step["call"]]
        assert step.keys() <= MEMBERS
        assert not ("error" in step and step.keys() & {"response", "bind", "messages"}), step
        assert step.get("messages", 1) >= 1
        assert "messages" not in step or method.server_streaming
        _message(method.input_type, step["request"])
        _message(method.output_type, step.get("response", {}))


def test_every_variable_is_bound_before_it_is_used() -> None:
    for case in CASES:
        bound = {"case"}
        for step in case["steps"]:
            texts = json.dumps([step.get(member) for member in ("request", "response", "error")])
            used = re.findall(r"\$\{(\w+)\}", texts)
            assert bound.issuperset(used), case["name"]
            bound |= step.get("bind", {}).keys()


def test_names_of_members_have_no_variables() -> None:
    def names(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from value
        for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from names(member)

    assert not [name for name in names(CASES) if "${" in name]


def test_the_cases_are_in_one_bucket_but_where_it_is_the_point() -> None:
    outside = {json.dumps(step["error"]) for step in _steps() if step["request"]["bucket"] != "conformance"}
    assert len(outside) == 1
    assert '"fields": ["bucket"]' in outside.pop()


def test_every_call_is_made_and_fails_in_some_case() -> None:
    assert {step["call"] for step in _steps() if "error" not in step} == set(METHODS)
    assert {step["call"] for step in _steps() if "error" in step} == set(METHODS)


def test_every_reason_is_provoked_or_said_not_to_be() -> None:
    provoked = set(re.findall(r"ERROR_REASON_\w+", json.dumps(CASES)))
    not_provoked = re.findall(r"^- `(ERROR_REASON_\w+)`$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert provoked.isdisjoint(not_provoked)
    assert provoked | set(not_provoked) == set(ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}


def test_every_language_of_the_clients_is_run() -> None:
    folders = {path.parent.name for path in ROOT.glob("clients/*/conformance.sh")}
    assert folders == set(clients.TOOLCHAINS)
    for folder in folders:
        for script in ("check.sh", "conformance.sh", "generate.sh"):
            assert (ROOT / "clients" / folder / script).stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        ({"a": "1"}, {"a": "1", "b": "2"}, []),
        ({"a": "1"}, {"a": "2"}, ["at.a"]),
        ({"a": "1"}, {}, ["at.a"]),
        ({"a": [{"b": "1"}, {}]}, {"a": [{"b": "1", "c": "1"}, {"d": "1"}]}, []),
        ({"a": [{"b": "1"}]}, {"a": [{"b": "1"}, {}]}, ["at.a"]),
        ({"a": [{"b": "1"}, {"b": "2"}]}, {"a": [{"b": "1"}, {"b": "3"}]}, ["at.a.1.b"]),
        ({"a": {"b": "1"}}, {"a": "1"}, ["at.a"]),
    ],
)
def test_what_is_expected_must_be_in_the_reply(expected: Any, actual: Any, found: list[str]) -> None:
    assert [line.partition(":")[0] for line in runner.differences(expected, actual, "at")] == found


def test_null_means_that_a_member_is_absent() -> None:
    assert not list(runner.not_absent({"a": None, "b": [{"c": None}]}, {"b": [{"d": "1"}]}, "at"))
    found = list(runner.not_absent({"a": None, "b": [{"c": None}]}, {"a": "1", "b": [{"c": "2"}]}, "at"))
    assert [line.partition(":")[0] for line in found] == ["at.a", "at.b.0.c"]


def test_variables_are_replaced_in_texts() -> None:
    value = {"${a}": ["x-${a}-${repeat:é:3}-${repeat:[:2}", 1, None]}
    assert runner.substituted(value, {"a": "b"}) == {"${a}": ["x-b-ééé-[[", 1, None]}


STEP = {"call": "Save", "request": {"bucket": "conformance", "state": {"workflow_id": "${case}"}}}
WRONG = {"call": "Load", "request": {"bucket": "conformance", "workflow_id": ""}}
LOAD = {"call": "Load", "request": {"bucket": "conformance", "workflow_id": "${case}"}}
INVALID = {"code": "INVALID_ARGUMENT", "reason": "ERROR_REASON_INVALID_REQUEST"}


@pytest.fixture(scope="module")
def against_a_server() -> Iterator[Any]:
    with clients.served() as address, grpc.insecure_channel(address) as channel:
        yield runner.Runner(channel)


@pytest.mark.parametrize(
    "steps",
    [
        [STEP, LOAD | {"response": {"state": {"workflow_id": "${case}", "run_id": None}}}],
        [WRONG | {"error": INVALID | {"fields": ["workflow_id"], "metadata": {"fields": "workflow_id"}}}],
        [STEP | {"bind": {"rev": "revision"}}, LOAD | {"response": {"state": {"revision": "${rev}"}}}],
    ],
)
def test_what_is_right_passes(against_a_server: Any, steps: list[dict[str, Any]]) -> None:
    against_a_server.run({"steps": steps})


@pytest.mark.parametrize(
    "steps",
    [
        [STEP | {"error": INVALID}],
        [WRONG],
        [WRONG | {"error": INVALID | {"fields": []}}],
        [WRONG | {"error": INVALID | {"fields": ["workflow_id", "bucket"]}}],
        [WRONG | {"error": INVALID | {"metadata": {"fields": "bucket"}}}],
        [WRONG | {"error": INVALID | {"code": "NOT_FOUND"}}],
        [WRONG | {"error": INVALID | {"reason": "ERROR_REASON_INTERNAL"}}],
        [STEP, LOAD | {"response": {"state": {"workflow_id": "other"}}}],
        [STEP, LOAD | {"response": {"state": {"created_at": None}}}],
        [STEP, LOAD | {"bind": {"none": "state.run_id"}}],
    ],
)
def test_what_is_wrong_fails(against_a_server: Any, steps: list[dict[str, Any]]) -> None:
    with pytest.raises(runner.DifferenceError):
        against_a_server.run({"steps": steps})
