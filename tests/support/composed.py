"""What deploy/compose.yaml describes, as processes of this machine: its own configuration files, commands and
variables, with other addresses and folders.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import yaml

from support.documents import ROOT
from support.nats_server import PROGRAM
from support.ports import free_ports
from support.service_process import ServiceProcess
from support.waiting import until

COMPOSE: Final = ROOT / "deploy/compose.yaml"
SECONDS_MAX: Final = 90

PORTS: Final = {"nats": (4222, 6222), "server": (50051,), "load": (50051,)}
"""What the services listen on, by the first word of their names."""


def described() -> dict[str, Any]:
    """What the file describes."""
    return yaml.safe_load(COMPOSE.read_text())


class Composed:
    """The set-up: its processes by the names of the services."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificates = folder / "certificates"
        subprocess.run([ROOT / "deploy/make-certificates", self.certificates], check=True)
        self._services: dict[str, Any] = described()["services"]
        own = [(name, port) for name in self._services for port in PORTS[name.partition("-")[0]]]
        self._ports = dict(zip(own, free_ports(len(own)), strict=True))
        self.servers: dict[str, ServiceProcess] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Where the load balancer listens."""
        return f"127.0.0.1:{self._ports['load-balancer', 50051]}"

    def start_nats(self) -> None:
        for name in [name for name in self._services if name.startswith("nats-")]:
            self._start(name, PROGRAM, "--config", self._configuration(name))

    def start_load_balancer(self) -> None:
        self._start("load-balancer", "haproxy", "-db", "-f", self._configuration("load-balancer"))

    def start_server(self, name: str) -> None:
        """Start one with the variables of its service, again if it ends at once, and wait until it listens."""
        environment = {key: self._here(name, value) for key, value in self._services[name]["environment"].items()}
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        environment["WORKFLOWSTORE_DATA_DIR"] = str(folder / "data")
        listen = environment["WORKFLOWSTORE_LISTEN"]
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            # `restart: unless-stopped`: it ends while the cluster has no leader yet.
            try:
                self.servers[name] = ServiceProcess(folder, "--listen", listen, environment=environment)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()

    async def until_balanced(self, name: str, before: int = 0) -> int:
        """Wait until the load balancer has found a server healthy once more, and return how often it has."""

        async def found() -> int:
            times = len(re.findall(rf"^Server servers/{name} is UP", self.log("load-balancer"), re.MULTILINE))
            return times if times > before else 0

        return await until(found, SECONDS_MAX)

    def channel(self) -> grpc.aio.Channel:
        """A channel to the load balancer, with the client's certificate and attempts."""
        read = [(self.certificates / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt")]
        credentials = grpc.ssl_channel_credentials(*read)
        service_config = (ROOT / "clients/python/workflowstore/service_config.json").read_text()
        return grpc.aio.secure_channel(self.address, credentials, options=[("grpc.service_config", service_config)])

    def stop(self) -> None:
        for server in self.servers.values():
            if server.process.poll() is None:
                server.kill()
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS_MAX)

    def _configuration(self, name: str) -> Path:
        """The service's file, with what is here."""
        (source,) = (config["source"] for config in self._services[name]["configs"])
        text = (COMPOSE.parent / described()["configs"][source]["file"]).read_text()
        file = self._folder / f"{name}.conf"
        file.write_text(self._here(name, text))
        return file

    def _here(self, name: str, text: str) -> str:
        """The one place where what is described is told apart from what is here."""
        here = {f"{service}:{port}": f"127.0.0.1:{own}" for (service, port), own in self._ports.items()}
        for port in PORTS[name.partition("-")[0]]:
            here |= {f"{host}:{port}": f"127.0.0.1:{self._ports[name, port]}" for host in ("0.0.0.0", "localhost")}
        here |= {"/run/secrets": str(self.certificates), '"/data"': f'"{self._folder / name}"'}
        for documented, actual in here.items():
            text = text.replace(documented, actual)
        return text

    def _start(self, name: str, *command: str | Path) -> None:
        environment: Mapping[str, str] = os.environ | self._services[name].get("environment", {})
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))


@contextmanager
def composed(folder: Path) -> Iterator[Composed]:
    """The set-up, of which nothing has been started yet."""
    assert shutil.which("haproxy"), "it needs haproxy"
    setup = Composed(folder)
    try:
        yield setup
    finally:
        setup.stop()
