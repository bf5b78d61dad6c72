"""The only place that knows how much room the disk of the embedded nats-server has, and what happens when it is full.

A nats-server that meets a full disk takes no writes to that stream any more until it is started again, and says so to
nobody who writes. So writes are refused before that, and when it has happened all the same it is started again as soon
as there is room.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from workflowstore_server.embedded.server import EmbeddedServer
from workflowstore_server.model.state import Room

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
"""How often it is looked how much is left. What a disk of 500 MB/s can write in that time is in the reserve."""

ASK_SECONDS: Final = 1.0
"""How often nats-server is asked whether it has failed to write."""

AGAIN_SHARE: Final = 1.25
"""Of the reserve has to be free before writes are taken again, so that a disk at its mark does not make them come and
go with every look."""

LOW_RESERVES: Final = 4
"""With less than so many reserves left the disk is nearly full: 1 GiB, where the reserve is not set otherwise."""

LOW_SHARE: Final = 0.9
"""Of what all buckets together may take."""


class DiskWatch:
    """Looks after the room for one embedded nats-server, while it runs."""

    def __init__(
        self,
        server: EmbeddedServer,
        folder: Path,
        reserve_bytes: int,
        stored_bytes_max: int,
        ask: Callable[[], Awaitable[tuple[str, int]]],
    ) -> None:
        """`ask` asks the server what it has failed to write, empty if nothing, and how many bytes its buckets take.

        It raises an OSError while the server does not answer.
        """
        self._server = server
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._stored_bytes_max = stored_bytes_max
        self._ask_server = ask
        self._write_error = ""
        self._stored_bytes = 0
        self.room = Room()
        """As of the last look."""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        asked = 0.0
        while True:
            if time.monotonic() - asked >= ASK_SECONDS:
                await self.ask()
                asked = time.monotonic()
            await self.look()
            if self._write_error and self._has_room():
                log.error("nats-server takes no writes any more and is started again; %s", self._write_error)
                # Whoever keeps it starts it.
                await self._server.stop()
                self._write_error = ""
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look how much room there is."""
        try:
            found = await asyncio.to_thread(os.statvfs, self._folder)
        except OSError as error:
            log.warning("cannot tell how much room is left in %s: %s", self._folder, error.strerror)
            return
        # What others than root may have.
        free_bytes = found.f_bavail * found.f_frsize
        reserve_bytes, was_full = self._reserve_bytes, bool(self.room.full)
        full = low = ""
        if self._write_error:
            full = "nats-server has failed to write, and takes writes again when there is room on its disk"
        elif free_bytes < reserve_bytes * (AGAIN_SHARE if was_full else 1):
            full = f"the disk of the embedded nats-server has less left than the {reserve_bytes} bytes kept free"
        if free_bytes < LOW_RESERVES * reserve_bytes:
            low = f"the disk of the embedded nats-server has less than {LOW_RESERVES * reserve_bytes} bytes left"
        elif self._stored_bytes > LOW_SHARE * self._stored_bytes_max:
            low = f"all buckets together have more than {LOW_SHARE:.0%} of the {self._stored_bytes_max} bytes they may"
        self.room = Room(full, bool(self._write_error), low, free_bytes, reserve_bytes)

    async def ask(self) -> None:
        """Ask nats-server how it is."""
        try:
            self._write_error, self._stored_bytes = await self._ask_server()
        except OSError:
            # It is being started again, by whoever keeps it; it says then what there is to say.
            return

    def _has_room(self) -> bool:
        free_bytes = self.room.disk_free_bytes
        return free_bytes is not None and free_bytes >= self._reserve_bytes * AGAIN_SHARE
