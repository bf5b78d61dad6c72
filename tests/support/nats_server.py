"""A real nats-server for a test: started, paused, killed and started again on the same port and folder."""

import json
import re
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any

from support.ports import free_ports

PROGRAM = Path(sysconfig.get_path("scripts"), "nats-server")


class NatsServer:
    def __init__(self, folder: Path, **configuration: Any) -> None:
        self.folder = folder
        self.configuration = {
            "server_name": "test",
            "listen": f"127.0.0.1:{free_ports(1)[0]}",
            "jetstream": {"store_dir": str(folder), "sync_interval": "always", "max_file_store": 10 * 1024**3},
            **configuration,
        }
        self.ports: dict[str, list[str]] = {}
        self.start()

    @property
    def url(self) -> str:
        return self.ports["nats"][0]

    def start(self) -> None:
        for file in self.folder.glob("*.ports"):
            file.unlink()
        configuration = self.folder / "nats-server.conf"
        # An `include` is no key with a value, as JSON would have it.
        configuration.write_text(re.sub(r'"include": ("[^"]*")', r"include \1", json.dumps(self.configuration)))
        self.log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [PROGRAM, "--config", configuration, "--ports_file_dir", self.folder], stdout=self.log, stderr=self.log
        )
        self.ports = self._wait_for_ports()
        # A restart must be found where the clients look.
        self.configuration["listen"] = self.url.removeprefix("nats://")

    def _wait_for_ports(self) -> dict[str, list[str]]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for file in self.folder.glob("*.ports"):
                text = file.read_text()
                if text.endswith("}"):
                    return json.loads(text)
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.005)
        raise AssertionError("nats-server did not start")

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self._end()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        # It may go on for a moment on another core.
        deadline = time.monotonic() + 30
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline, "nats-server does not stand still"
            time.sleep(0.001)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def _end(self) -> None:
        self.process.wait(30)
        self.log.close()
