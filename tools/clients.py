"""Check the clients in other languages, generate their code, or run the conformance cases through every language.

    python tools/clients.py check | generate | conformance

A language whose toolchain is not on the PATH is left out, which stderr tells; where CI is set it is a failure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TOOLCHAINS = {"go": ("go",), "typescript": ("node", "npm"), "java": ("java", "mvn")}
"""The languages, and the programs that each needs."""

SERVER = (
    *(sys.executable, "-m", "workflowstore_server", "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off"),
    *("--bucket", "conformance", "--bucket", "other", "--history", "5", "--atomic-batches"),
)
"""The server that the cases expect, see clients/conformance/README.md."""

CHECKS = (("generate.sh", "--check"), ("check.sh",))
"""What is run in the folder of each language to check it."""

STOP_SECONDS_MAX = 30


@contextmanager
def served() -> Iterator[str]:
    """Run a server with no data, and give its address."""
    with tempfile.TemporaryDirectory(prefix="workflowstore-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as stderr:
            command = [*SERVER, "--data-dir", str(Path(folder, "data"))]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert server.stdout is not None
        try:
            address = server.stdout.readline().removeprefix("workflowstore listening on ").strip()
            if not address:
                sys.exit(f"the server does not start:\n{log.read_text()}")
            yield address
        finally:
            server.terminate()
            server.communicate(timeout=STOP_SECONDS_MAX)


def succeeds(*command: str) -> bool:
    """Run a command of the project, shown as make shows its own."""
    # Flushed, for what the command prints is to come after it.
    print(*command, flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def languages() -> tuple[list[str], bool]:
    """Return those whose toolchain is here, and whether that is enough."""
    present, enough = [], True
    for language, programs in TOOLCHAINS.items():
        missing = [program for program in programs if shutil.which(program) is None]
        if missing:
            print(f"clients/{language}: {' and '.join(missing)} not found on the PATH; left out", file=sys.stderr)
            enough = enough and "CI" not in os.environ
        else:
            present.append(language)
    return present, enough


def main(task: str) -> int:
    """Exit code 0 when all has succeeded. What fails does not keep the rest from being run."""
    present, enough = languages()
    match task:
        case "check":
            scripts = [(f"clients/{language}", *rest) for language in present for rest in CHECKS]
            results = [succeeds(f"{folder}/{script}", *options) for folder, script, *options in scripts]
        case "generate":
            results = [succeeds(f"clients/{language}/generate.sh") for language in present]
        case "conformance":
            with served() as address:
                results = [succeeds(sys.executable, "clients/conformance/run.py", "--address", address)]
                results += [succeeds(f"clients/{language}/conformance.sh", address) for language in present]
        case _:
            sys.exit(__doc__)
    return 0 if enough and all(results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 2 else __doc__)
