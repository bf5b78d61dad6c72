"""The manifests for Kubernetes are what Kubernetes takes, and ask for nothing that the server does not need."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from support.documents import ROOT

FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
RESOURCES = [
    resource for name in KUSTOMIZATION["resources"] for resource in yaml.safe_load_all((FOLDER / name).read_text())
]
KINDS = [resource["kind"] for resource in RESOURCES]
VERSIONS = ("1.31", "1.37")
"""The oldest release with which they were checked, and the newest one whose schemas are known here."""


def of_kind(kind: str) -> dict[str, Any]:
    (resource,) = (resource for resource in RESOURCES if resource["kind"] == kind)
    return resource


STATEFUL_SET = of_kind("StatefulSet")
POD = STATEFUL_SET["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
SETTINGS = of_kind("ConfigMap")["data"]


def test_every_manifest_is_applied() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {"kustomization.yaml", *KUSTOMIZATION["resources"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resource", RESOURCES, ids=KINDS)
def test_kubernetes_takes_it(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def test_what_kubernetes_does_not_know_would_be_noticed() -> None:
    misspelt = STATEFUL_SET | {"spec": STATEFUL_SET["spec"] | {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, VERSIONS[-1], strict=True)


def test_everything_is_in_the_namespace() -> None:
    namespace = of_kind("Namespace")["metadata"]["name"]
    assert KUSTOMIZATION["namespace"] == namespace
    others = [resource for resource in RESOURCES if resource["kind"] != "Namespace"]
    assert {resource["metadata"]["namespace"] for resource in others} == {namespace}


def test_what_selects_pods_selects_those_of_the_servers() -> None:
    labels = STATEFUL_SET["spec"]["template"]["metadata"]["labels"]
    selectors = [resource["spec"]["selector"] for resource in RESOURCES if resource["kind"] == "Service"]
    selectors += [STATEFUL_SET["spec"]["selector"]["matchLabels"]]
    selectors += [of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    assert all(selector.items() <= labels.items() for selector in selectors)
    assert STATEFUL_SET["spec"]["serviceName"] in [resource["metadata"]["name"] for resource in RESOURCES]


def test_every_port_by_name_is_one_of_the_container() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    wanted = {port["targetPort"] for one in RESOURCES if one["kind"] == "Service" for port in one["spec"]["ports"]}
    rules = of_kind("NetworkPolicy")["spec"]["ingress"]
    wanted |= {port["port"] for rule in rules for port in rule["ports"]}
    assert wanted == set(ports)
    listening = {SETTINGS["WORKFLOWSTORE_LISTEN"], SETTINGS["WORKFLOWSTORE_METRICS_LISTEN"]}
    assert {int(address.rpartition(":")[2]) for address in listening} == set(ports.values())


def test_the_server_runs_as_an_ordinary_user_who_changes_nothing_but_its_volume() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    user = POD["securityContext"]["runAsUser"]
    assert f"USER {user}:{POD['securityContext']['runAsGroup']}" in dockerfile
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount["mountPath"] for mount in CONTAINER["volumeMounts"] if not mount.get("readOnly")]
    assert [f"VOLUME {path}" in dockerfile for path in writable] == [True]
    assert SETTINGS["WORKFLOWSTORE_DATA_DIR"].startswith(writable[0])


def test_a_pod_has_more_time_to_stop_than_its_pause_and_its_drain_take() -> None:
    _, pause = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    taken = int(pause) + float(SETTINGS["WORKFLOWSTORE_DRAIN_SECONDS"])
    assert POD["terminationGracePeriodSeconds"] >= taken + 10


def test_a_pod_is_ready_when_the_health_service_says_so_and_lives_while_its_process_does() -> None:
    asked = {"exec": {"command": ["workflowstore", "health", "--timeout", "4"]}}
    for name in ("startupProbe", "readinessProbe"):
        assert asked.items() <= CONTAINER[name].items()
        assert CONTAINER[name]["timeoutSeconds"] > 4
    assert "exec" not in CONTAINER["livenessProbe"], "it would end servers that wait for NATS"


def test_the_files_of_the_settings_are_on_volumes() -> None:
    mounted = [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    files = [value for value in SETTINGS.values() if value.startswith("/")]
    assert files
    assert all(any(file.startswith(path + "/") for path in mounted) for file in files)


def test_one_server_at_a_time_is_taken_away_and_at_least_one_is_left() -> None:
    assert STATEFUL_SET["spec"]["replicas"] > of_kind("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert STATEFUL_SET["spec"].get("updateStrategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
