"""The only place that knows in which order buckets of several sizes are filled, followed and listed."""

from collections.abc import AsyncIterator
from pathlib import Path

from bench import followers, golang, lists, matches, raw_nats, server, stalls
from bench.golang import NotBuilt
from bench.plan import Plan
from bench.results import Row


async def rows(plan: Plan, folder: Path) -> AsyncIterator[Row]:
    """Measure the index of buckets of several sizes, smallest first: how it is kept, and how it is read."""
    sizes = [size for size in sorted(plan.states) if _follows(plan, size) or _lists(plan, size)]
    if not sizes:
        return
    go: Path | NotBuilt = NotBuilt("not needed")
    if any(_lists(plan, size) for size in sizes):
        try:
            go = await golang.build(folder)
        except NotBuilt as error:
            go = error
    async with raw_nats.running(folder / "nats") as nats:
        for size in sizes:
            bucket = await raw_nats.filled(nats, size)
            data = folder / f"index-{size}"
            if _follows(plan, size):
                async for row in followers.rows(plan, bucket, data):
                    yield row
            if _lists(plan, size):
                async with server.indexing(bucket, data) as ours:
                    await server.caught_up(ours, bucket)
                    async for row in lists.rows(plan, bucket, ours, go, folder / f"etcd-{size}"):
                        yield row
                    async for row in matches.rows(plan, bucket, ours):
                        yield row
            if size == max(plan.states):
                watched = stalls.rows(bucket, data, building=_follows(plan, size), listing=_lists(plan, size))
                async for row in watched:
                    yield row


def _follows(plan: Plan, size: int) -> bool:
    return plan.wants(f"follower-{size}")


def _lists(plan: Plan, size: int) -> bool:
    return plan.wants(f"list-{size}")
