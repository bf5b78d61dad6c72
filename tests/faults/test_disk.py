"""What was acknowledged is on disk: it is there after the power was cut, and after the disk was full."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.forgetful_disk import ForgetfulDisk
from support.nats_server import NatsServer
from support.processes import gone
from support.service_process import ServiceProcess
from support.traffic import traffic
from workflowstore import AsyncClient, WorkflowState
from workflowstore_server import app
from workflowstore_server.config.sources import Config

Serve = Callable[..., ServiceProcess]
Rounds = Callable[[int, int], int]

pytestmark = pytest.mark.timeout(900)


async def test_the_power_is_cut(serve: Serve, disk: ForgetfulDisk, rounds: Rounds) -> None:
    server, chance = serve("--data-dir", str(disk.path / "data")), random.Random(5)
    async with traffic([server.address], seed=5) as clients:
        for _ in range(rounds(2, 20)):
            await clients.more(20)
            await asyncio.sleep(chance.random() * 0.2)
            nats_server_pid = server.nats_server_pids[-1]
            os.kill(nats_server_pid, signal.SIGKILL)
            server.kill()
            await gone(nats_server_pid)
            await asyncio.to_thread(disk.cut_power)
            server = await asyncio.to_thread(serve, "--data-dir", str(disk.path / "data"), "--listen", server.address)
    server.kill()


@pytest.mark.parametrize("sync_interval", ["always", "2m"])
async def test_only_with_sync_always_it_is_all_there(
    tmp_path: Path, disk: ForgetfulDisk, configured: Callable[..., Config], rounds: Rounds, sync_interval: str
) -> None:
    # The control: nats-server's default acknowledges what is on no disk, and this test shows that it would be found.
    folder = disk.path / "nats"
    folder.mkdir()
    jetstream = {"store_dir": str(folder), "sync_interval": sync_interval}
    nats_server, lost = NatsServer(folder, jetstream=jetstream), 0
    try:
        for number in range(rounds(1, 5)):
            config = configured(nats_url=[nats_server.url], index=":memory:")
            async with app.running(config) as service, AsyncClient(service.address) as client:
                ids = [f"{number}:{one}" for one in range(50)]
                await asyncio.gather(*[client.save(WorkflowState(id_)) for id_ in ids])
                nats_server.kill()
            await asyncio.to_thread(disk.cut_power)
            nats_server.start()
            async with app.running(config) as service, AsyncClient(service.address) as client:
                lost += (await client.load_batch(ids)).count(None)
    finally:
        nats_server.kill()
    assert (lost == 0) is (sync_interval == "always")


async def test_the_disk_is_full_for_a_while(serve: Serve, disk: ForgetfulDisk, rounds: Rounds) -> None:
    server = serve("--data-dir", str(disk.path / "data"))
    async with traffic([server.address], seed=7) as clients:
        for _ in range(rounds(1, 2)):
            await clients.more(20)
            disk.fill()
            await clients.reads_more(20)
            disk.free()
        # nats-server takes no writes any more once one has failed, until it is started again: by nobody's hand.
        await clients.more(20)
    server.kill()
