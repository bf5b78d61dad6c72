"""The only place that knows the flags of `python -m fuzz`, and how many cases of each target a long run has."""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

CASES: Final = {
    "ids": 150_000,
    "json_texts": 300_000,
    "nesting": 50_000,
    "page_tokens": 200_000,
    "updates": 150_000,
    "filters": 100_000,
    "documents": 250_000,
    "requests": 250_000,
    "channel": 10_000,
    "foreign_documents": 5_000,
}
"""Cases of a long run: as many as each can have in some minutes. The last two go through a real channel, the last one
through a real bucket too."""

BYTES_MAX: Final = 4096
"""Bytes of one case. What is large is measured, not fuzzed: see bench/worst_cases.py."""

_COUNT: Final = re.compile(r"stat::number_of_executed_units: +(\d+)")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description="Sends made-up bytes to whatever reads bytes of others, guided by which code they reach (atheris). "
        f"Targets: {', '.join(CASES)}. Ends with an error when one has found a mistake.",
    )
    parser.add_argument("targets", nargs="*", default=list(CASES), metavar="TARGET", help="all, if none is named")
    parser.add_argument("--share", type=float, default=1.0, metavar="N", help="share of a long run's 1,465,000 cases")
    parser.add_argument("--seconds", type=int, default=900, metavar="N", help="the longest that one target takes")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="where what reached new code is kept for later runs")
    arguments = parser.parse_args()
    if strangers := set(arguments.targets) - set(CASES):
        parser.error(f"no such target: {', '.join(sorted(strangers))}")
    failed, total, began = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="workflowstore-fuzz-") as folder:
        for target in arguments.targets:
            corpus = (arguments.corpus or Path(folder)) / target
            cases = max(1, int(CASES[target] * arguments.share))
            count, seconds, well = _fuzz(target, cases, arguments.seconds, corpus)
            total += count
            ending = "" if well else "  FAILED"
            print(f"{target:18} {count:9,} cases {count / seconds:9,.0f} a second{ending}", flush=True)
            failed += [] if well else [target]
    print(f"{'all':18} {total:9,} cases in {time.monotonic() - began:,.0f} s")
    if failed:
        sys.exit(f"mistakes found by {', '.join(failed)}: see above; the bytes lie in crash-* in this directory")


def _fuzz(target: str, cases: int, seconds_max: int, corpus: Path) -> tuple[int, float, bool]:
    corpus.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.guided", target, str(corpus)]
    flags = [f"-runs={cases}", f"-max_total_time={seconds_max}", f"-max_len={BYTES_MAX}", "-print_final_stats=1"]
    # An answer within a second, and a process of less than a GiB: more is a mistake.
    flags += ["-timeout=30", "-rss_limit_mb=1024", "-verbosity=0", "-close_fd_mask=0"]
    began = time.monotonic()
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": tests, "PYTHONDEVMODE": ""}
    with tempfile.TemporaryFile("w+") as told:
        # libFuzzer ends without a word to Python: a nats-server that the target has started ends with its group.
        ran = subprocess.Popen([*command, *flags], env=environment, stderr=told, start_new_session=True)
        try:
            failed = ran.wait() != 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ran.pid, signal.SIGKILL)
        told.seek(0)
        said = told.read()
    found = _COUNT.search(said)
    if failed:
        sys.stderr.write(said)
    return int(found[1]) if found else 0, time.monotonic() - began, not failed


if __name__ == "__main__":
    main()
