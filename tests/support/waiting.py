"""Waiting for a condition, with a bound instead of a guess."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], Awaitable[T]], seconds: float = 20) -> T:
    """Return the condition's first true value."""
    deadline = time.monotonic() + seconds
    while True:
        value = await condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{condition} did not become true within {seconds} s"
        await asyncio.sleep(0.02)
