"""Waiting for a condition, with a bound instead of a guess, and for many calls."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
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


async def in_portions(calls: Iterable[Awaitable[T]], size: int = 200) -> list[T]:
    """Make many calls, so many at once: the last one of thousands would wait for all others within its own timeout."""
    remaining, results = iter(calls), []
    while portion := list(islice(remaining, size)):
        results += await asyncio.gather(*portion)
    return results
