"""No call fails for a client of the whole set-up of deploy/compose.yaml while its servers are rolled under load."""

import asyncio
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.composed import composed
from support.documents import IN_CI
from support.work import Work, goes_on, work
from workflowstore import AsyncClient

Rounds = Callable[[int, int], int]


@pytest.mark.skipif(not shutil.which("haproxy") and not IN_CI, reason="haproxy is not installed; CI must have it")
@pytest.mark.timeout(600)
async def test_no_call_fails_while_both_servers_are_rolled_behind_the_load_balancer(
    tmp_path: Path, rounds: Rounds
) -> None:
    with composed(tmp_path) as setup:
        setup.start_nats()
        setup.start_load_balancer()
        names = ("server-1", "server-2")
        times = {}
        for name in names:
            await asyncio.to_thread(setup.start_server, name)
            times[name] = await setup.until_balanced(name)

        async def roll(working: Work) -> None:
            for number in range(rounds(2, 20)):
                name = names[number % 2]
                setup.servers[name].signal(signal.SIGTERM)
                assert await asyncio.to_thread(setup.servers[name].wait) == 0
                await goes_on(working)
                await asyncio.to_thread(setup.start_server, name)
                # Only then may the other one go.
                times[name] = await setup.until_balanced(name, times[name])
                await goes_on(working)

        async with setup.channel() as channel:
            working = await work(AsyncClient(channel=channel, timeout=60), roll)
        assert not working.repeated
