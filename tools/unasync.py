"""Write the synchronous client from the asynchronous one, or with --check compare it with what is committed."""

import re
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "clients/python/workflowstore/client"
SOURCE = CLIENT / "_async_client.py"
OUTPUT = CLIENT / "_sync_client.py"

# In this order. Each must match at least once: one that does not has become wrong, or is no longer needed.
RULES = [
    (
        r'^""".*"""$',
        '"""The only place that knows the calls of the client over grpc. `make generate` writes it from {source}."""',
    ),
    (r"^import asyncio\n", ""),
    (r"\nif TYPE_CHECKING:\n.*\n", ""),
    (r"\bTYPE_CHECKING, ", ""),
    (r"^.*asyncio\.get_running_loop\(\).*\n", ""),
    (
        r"\n    One client serves any number of calls at once\. .*\n",
        "\n    One client serves any number of threads at once.\n",
    ),
    (r"\bAsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsyncGenerator, Callable\b", "Callable, Generator"),
    (r"\baclosing\b", "closing"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bfor (\w+) in (.*):\n +yield \1\n", r"yield from \2\n"),
    (r"\bAsyncClient\b", "Client"),
    (r'"WorkflowStoreAsyncStub"', "WorkflowStoreStub"),
    (r"\bgrpc\.aio\.", "grpc."),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
]


def synchronous(text: str) -> str:
    for pattern, replacement in RULES:
        text, count = re.subn(pattern, replacement.replace("{source}", SOURCE.name), text, flags=re.MULTILINE)
        if not count:
            sys.exit(f"{SOURCE.name} has nothing for the rule {pattern!r} of tools/unasync.py")
    return text


def main() -> None:
    text = synchronous(SOURCE.read_text())
    if sys.argv[1:] == ["--check"]:
        if not OUTPUT.exists() or OUTPUT.read_text() != text:
            sys.exit(f"{OUTPUT.name} is not what {SOURCE.name} generates; run `make generate`")
        return
    OUTPUT.write_text(text)


if __name__ == "__main__":
    main()
