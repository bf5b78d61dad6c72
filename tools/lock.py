"""Write requirements/*.txt: every package at one version, with hashes, for all platforms, without an index address."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")
HEADER = "# Locked by `make lock` from pyproject.toml. Do not edit.\n"
OPTIONS = (
    "--universal", "--python-version=3.11", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url",
    "--no-emit-find-links", "--no-emit-package=workflowstore", "--quiet",
)  # fmt: skip
SOURCES = {
    "dev": ("pyproject.toml", "--extra=server", "--extra=otel", "--group=dev"),
    "fuzz": ("pyproject.toml", "--extra=server", "--group=fuzz"),
    "server": ("pyproject.toml", "--extra=server"),
    "build": ("--group=build",),
    "audit": ("--group=audit",),
    "generate": ("--group=generate",),
}

for name, source in SOURCES.items():
    compiled = subprocess.run([UV, "pip", "compile", *source, *OPTIONS], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    (ROOT / "requirements" / f"{name}.txt").write_text(HEADER + compiled.stdout.decode())
