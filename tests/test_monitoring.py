"""The dashboard and the alerts use names and labels from the list of metrics alone, and each alert says what to do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from workflowstore_server.service.metrics import FAMILIES

ROOT = Path(__file__).parents[1]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]

OF_HISTOGRAMS = ("_bucket", "_sum", "_count")
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""What Prometheus itself tells of whoever it asks."""

KNOWN = OF_PROMETHEUS | {
    name: {*family.labels, "job", "instance", *({"le"} if name.endswith("_bucket") else ())}
    for family in FAMILIES
    for name in ([family.name + part for part in OF_HISTOGRAMS] if family.kind == "histogram" else [family.name])
}
"""The name of every series, and its labels."""

NAMES = {family.name for family in FAMILIES}

WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset", "inf", "nan"}
FUNCTIONS = {"sum", "max", "rate", "increase", "histogram_quantile", "label_values"}

GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^()]*)\)")
STRING = re.compile(r'"[^"]*"')
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^{}]*)\}")
RANGE = re.compile(r"\[[^\[\]]*\]")
NAME = re.compile(r"(?<![\w.$])[a-zA-Z_:][\w:]*")


def wrong_in(expression: str) -> set[str]:
    """What is used in an expression of PromQL and not known: series, labels, functions."""
    bare = RANGE.sub(" ", STRING.sub(" ", expression))
    grouped = {label for found in GROUPING.findall(bare) for label in NAME.findall(found)}
    bare = GROUPING.sub(" ", bare)
    wrong = set()
    for name, matchers in SELECTOR.findall(bare):
        wrong |= {f"{name}.{label}" for label in set(NAME.findall(matchers)) - KNOWN.get(name, set())}
    names = set(NAME.findall(re.sub(r"\{[^{}]*\}", " ", bare))) - WORDS
    series = {name for name in names - FUNCTIONS if not re.search(rf"\b{name}\s*\(", bare)}
    wrong |= names - series - FUNCTIONS
    wrong |= series - KNOWN.keys()
    labels = set().union(*(KNOWN.get(name, set()) for name in series))
    return wrong | (grouped - labels)


def _expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "expr")
        for value in node.values():
            yield from _expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _expressions(value)


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ('rate(grpc_server_handled_total{grpc_code="OK"}[5m])', set()),
        ('sum by (kind, le) (rate(workflowstore_nats_request_seconds_bucket{job="a"}[$__rate_interval])) > 0.5', set()),
        ("workflowstore_nats_request_seconds", {"workflowstore_nats_request_seconds"}),
        ("grpc_server_handled", {"grpc_server_handled"}),
        ('grpc_server_handled_total{code="OK"}', {"grpc_server_handled_total.code"}),
        ("sum by (status) (workflowstore_index_lag)", {"status"}),
        ("sum(made_up_total) / sum(workflowstore_index_lag)", {"made_up_total"}),
        ("made_up(workflowstore_index_lag)", {"made_up"}),
        ("workflowstore_bucket_bytes > 0.9 * (workflowstore_bucket_limit_bytes > 0)", set()),
    ],
)
def test_what_is_not_known_is_found(expression: str, wrong: set[str]) -> None:
    assert wrong_in(expression) == wrong


def test_the_dashboard_uses_known_names_alone() -> None:
    expressions = list(_expressions(DASHBOARD))
    variables = [variable for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    asked = [re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]) for variable in variables]

    assert len(expressions) >= 30
    assert {expression: wrong_in(expression) for expression in expressions if wrong_in(expression)} == {}
    assert all(found is not None and found[2] in KNOWN[found[1]] for found in asked)
    assert {variable["name"] for variable in variables} == {"instance", "bucket"}


def test_the_dashboard_shows_every_metric_but_those_that_say_the_same() -> None:
    shown = {name for expression in _expressions(DASHBOARD) for name in NAME.findall(expression)}
    hidden = {name for name in NAMES if not {name, *(name + part for part in OF_HISTOGRAMS)} & shown}

    assert hidden == {
        "grpc_server_started_total",  # those that ended, and those that run
        "workflowstore_index_revision",  # the bucket's, less the lag
        "workflowstore_index_ready",  # the age of the last round
        "workflowstore_bucket_messages",
        "workflowstore_bucket_limit_bytes",
        "workflowstore_nats_server_connections",
        "workflowstore_embedded_running",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
    }


def test_panels_do_not_lie_on_one_another() -> None:
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]

    assert len(taken) == len(set(taken))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_uses_known_names_and_says_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Workflowstore[A-Za-z]+", rule["alert"])
    assert wrong_in(rule["expr"]) == set()
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    assert re.fullmatch(r"docs/operations\.md#[a-z-]+", rule["annotations"]["runbook_url"])


def test_the_alerts_are_as_many_as_there_are_names() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 15
