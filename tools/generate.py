"""Write the generated code with the pinned tools of .venv-generate, or with --check compare it with the committed."""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "clients/python/workflowstore/v1"
TOOLS = ROOT / ".venv-generate/bin"


def generate(output: Path) -> None:
    environment = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([TOOLS / "buf", "generate", "--output", output], cwd=ROOT, env=environment, check=True)


def generated(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*_pb2*")}


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        generate(Path(temporary))
        fresh = Path(temporary, "clients/python/workflowstore/v1")
        names = generated(fresh)
        _, changed, missing = filecmp.cmpfiles(fresh, OUTPUT, names, shallow=False)
        stale = generated(OUTPUT) - names
        if sys.argv[1:] == ["--check"]:
            if differing := sorted({*changed, *missing, *stale}):
                sys.exit(f"Generated code is not that of the .proto files; run `make generate`: {', '.join(differing)}")
            return
        for name in stale:
            (OUTPUT / name).unlink()
        for name in names:
            shutil.copy(fresh / name, OUTPUT / name)


main()
