"""`workflowstore serve` in a process of its own: started, asked to stop, killed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from support.ports import free_ports

ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOWSTORE_")}
SECONDS_MAX: Final = 20


class ServiceProcess:
    """`workflowstore serve` with a process group of its own, as a terminal gives it."""

    def __init__(
        self, folder: Path, *options: str, ready: bool = True, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log_file = folder / f"log-{len(list(folder.glob('log-*')))}"
        with self._log_file.open("wb") as log:
            # A port of its own, which is still free when another one is started in its place.
            own = ("--listen", f"127.0.0.1:{free_ports(1)[0]}", "--metrics-listen", "off")
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workflowstore_server", "serve", *own, *options],
                env=ENVIRONMENT | dict(environment or {}),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        if ready:
            assert self.process.stdout is not None
            self.address = self.process.stdout.readline().removeprefix("workflowstore listening on ").strip()
            if not self.address:
                with self.process:  # which waits for it, and closes its pipe
                    self.process.kill()
                raise AssertionError(self.log)

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log_file.read_text()

    @property
    def nats_server_pids(self) -> list[int]:
        """The embedded nats-servers that it has run, the last one last."""
        return [int(pid) for pid in re.findall(r"nats-server runs at \S+, process (\d+)", self.log)]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """What Ctrl-C on a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        assert self.process.stdout is not None
        try:
            return self.process.wait(SECONDS_MAX)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def kill(self) -> None:
        self.process.kill()
        self.wait()
