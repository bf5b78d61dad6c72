"""The whole service: in a process of its own where signals are sent, and in the test's loop where they are not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.calling import Caller, calling
from support.waiting import until
from workflowstore_server import app
from workflowstore_server.config.sources import Config


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Caller]:
    """A whole server in this process, ready to be called."""
    async with app.running(config) as service, calling(service.address) as caller:
        await until(caller.serving)
        yield caller


async def refusal(config: Config) -> str:
    """Why a server does not start."""
    with pytest.raises(app.CannotServe) as caught:
        async with app.running(config):
            pass
    return str(caught.value)
