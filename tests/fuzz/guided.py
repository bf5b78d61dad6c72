"""The only place that knows atheris: runs one target with the flags of libFuzzer, from its seeds on."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["workflowstore_server"]):
    from fuzz import seeds, targets, world


def main() -> None:
    target, corpus = sys.argv[1], Path(sys.argv[2])
    for seed in seeds.of(target):
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], _case_of(target))
    atheris.Fuzz()


def _case_of(target: str) -> Callable[[bytes], None]:
    """What makes one case. A server that it needs lives as long as the process."""
    if target in targets.TARGETS:
        return targets.TARGETS[target]
    if target == "requests":
        return world.Direct().case
    return world.Served.of(target).case_of(target)


if __name__ == "__main__":
    main()
