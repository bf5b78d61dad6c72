"""The only place that knows the flags of `python -m bench`, and in which order it measures."""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from bench import batches, calls, reads, results, sizes, transfers, watches, writes
from bench.plan import QUICK, Plan
from bench.results import Row


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures a server beside its floors, in turns within one run, on this machine and loopback. "
        "Rows: save-1, save-64, load-1, load-64 (calls in flight), reads-1, reads-64, reads-stale, reads-disturbed (of "
        "a cluster of three), update, request-id, batch-save, batch-load, watch, "
        "follower-10000, list-10000 and so on, transfer. Missing a bar is no failure: a busy machine can do it.",
    )
    parser.add_argument("--quick", action="store_true", help="one short round: to see that all works, not to quote")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="rows whose names begin so, such as save-64 or list"
    )
    parser.add_argument(
        "--states",
        type=_sizes,
        metavar="N[,N...]",
        help="sizes of the buckets that are followed and listed, such as 10000,100000,1000000: a million takes seven "
        "minutes more, and 4 GB of disk",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds that the medians are taken of")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    arguments = parser.parse_args()
    plan = replace(QUICK if arguments.quick else Plan(), only=tuple(arguments.only))
    if arguments.states:
        plan = replace(plan, states=arguments.states)
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    try:
        uvloop.run(_run(plan, arguments.json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


async def _run(plan: Plan, file: Path | None) -> None:
    task = asyncio.current_task()
    assert task is not None, "it is run as a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    surroundings = results.environment()
    print(", ".join(f"{name} {value}" for name, value in surroundings.items()))
    begun = time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="workflowstore-bench-") as folder:
        for part in (calls, reads, writes, batches, watches, sizes, transfers):
            (own := Path(folder, part.__name__)).mkdir()
            async with contextlib.aclosing(part.rows(plan, own)) as found:
                async for row in found:
                    rows.append(row)
                    print(f"{time.monotonic() - begun:4.0f} s  {row.title}", file=sys.stderr)
    if not rows:
        sys.exit(f"no row has a name that begins with {' or '.join(plan.only)}")
    parts = (results.table(rows), results.costs(rows), results.growth(rows))
    print("", *[part for part in parts if part], sep="\n\n")
    if file is not None:
        results.write(file, surroundings, rows)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no list of numbers of states, such as 10000,100000")
    return sizes


if __name__ == "__main__":
    main()
