"""Write the synchronous client from the asynchronous one, or with --check compare it with what is committed."""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "clients/python/workflowstore/client"
SOURCES = sorted(CLIENT.glob("_async_*.py"))

# In this order. Each must match at least once: one that does not has become wrong, or is no longer needed.
RULES = [
    (r"\bover grpc\.aio\b", "over grpc"),
    (r'^(""".* over grpc\b.*)"""$', r'\1\n\n`make generate` writes this file from {source}.\n"""'),
    (r"^import asyncio$", "import time"),
    (r"\nif TYPE_CHECKING:\n.*\n", ""),
    (r"^.*\bget_running_loop\b.*\n", ""),
    (
        r"\n    One client serves any number of calls at once\. .*\n",
        "\n    One client serves any number of threads at once.\n",
    ),
    (r"\bAsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsyncGenerator, Callable\b", "Callable, Generator"),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\basync(contextmanager)\b", r"\1"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\baclosing\b", "closing"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bfor (\w+) in (.*):\n +yield \1\n", r"yield from \2\n"),
    (r"\bAsync(Channels|Client|Connection|\w+Calls)\b", r"\1"),
    (r"\b_async_(\w+) import", r"_sync_\1 import"),
    (r"\bWorkflowStoreAsyncStub\b", "WorkflowStoreStub"),
    (r"\bgrpc\.aio\.", "grpc."),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
]


def synchronous(sources: list[Path]) -> dict[Path, str]:
    """The text of each generated file."""
    texts = {source: source.read_text() for source in sources}
    for pattern, replacement in RULES:
        count = 0
        for source, text in texts.items():
            words = replacement.replace("{source}", source.name)
            texts[source], changed = re.subn(pattern, words, text, flags=re.MULTILINE)
            count += changed
        if not count:
            sys.exit(f"no asynchronous client has anything for the rule {pattern!r} of tools/unasync.py")
    return {source.with_name(source.name.replace("_async_", "_sync_")): tidied(text) for source, text in texts.items()}


def tidied(text: str) -> str:
    """The same with its imports in order and its lines broken anew: other names have another order and length, some
    are no longer used, and what `async with` keeps apart goes together.
    """
    for command in (["check", "--select", "I,F401,SIM117", "--fix", "--exit-zero"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", SOURCES[0], "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main() -> None:
    texts = synchronous(SOURCES)
    if sys.argv[1:] == ["--check"]:
        outdated = [path.name for path, text in texts.items() if not path.exists() or path.read_text() != text]
        orphans = [path.name for path in sorted(CLIENT.glob("_sync_*.py")) if path not in texts]
        if outdated or orphans:
            sys.exit(f"{', '.join(outdated + orphans)}: not what is generated; run `make generate`")
        return
    for path in CLIENT.glob("_sync_*.py"):
        path.unlink()
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
