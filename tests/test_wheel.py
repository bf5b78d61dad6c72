"""What is installed is what was tested: the wheel has both packages, and the bare client needs no server."""

import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_has_both_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"workflowstore", "workflowstore_server"}
    for name in (
        "workflowstore/py.typed",
        "workflowstore/service_config.json",
        "workflowstore/v1/workflow_store_pb2.pyi",
        "workflowstore_server/cli/__init__.py",
    ):
        assert name in wheel.namelist()


def test_the_bare_install_pulls_neither_nats_nor_the_command_line(wheel: zipfile.ZipFile) -> None:
    metadata = Parser().parsestr(
        wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    )
    bare = {re.split(r"[<>=;]", line)[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}

    assert bare == {"grpcio", "protobuf", "googleapis-common-protos"}
    assert set(metadata.get_all("Provides-Extra", [])) == {"cli", "otel", "server"}


def test_the_client_imports_with_its_own_dependencies_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    blocked = [
        "nats",
        "msgspec",
        "click",
        "rich",
        "grpc_status",
        "grpc_health",
        "grpc_reflection",
        "uvloop",
        "prometheus_client",
        "opentelemetry",
    ]
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "import workflowstore, workflowstore.v1.workflow_store_pb2_grpc\n"
        "print(workflowstore.__file__)"
    )

    # This copy of the client is not the one whose coverage is measured.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=environment,
    )  # fmt: skip

    assert found.stdout.startswith(str(tmp_path))
