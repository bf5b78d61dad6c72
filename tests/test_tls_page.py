"""docs/tls.md, executed from top to bottom, beside the server that it starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.documents import ROOT, TOOLS, Block, Reader, blocks_of, commands_of, follow

PAGE = (ROOT / "docs/tls.md").read_text()
BLOCKS = blocks_of(PAGE)
COMMANDS = commands_of(BLOCKS)
SERVE = next(command for command in COMMANDS if command.startswith("workflowstore serve"))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    home = tmp_path_factory.mktemp("tls")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOWSTORE_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"], str(TOOLS)])
    reader = Reader(home, kept | {"PATH": path, "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8"}, {})
    servers: list[subprocess.Popen[str]] = []
    reader.serve = lambda: servers.append(started(reader))  # type: ignore[attr-defined]
    yield reader
    for server in servers:
        server.terminate()
        server.communicate(timeout=60)


def started(reader: Reader) -> "subprocess.Popen[str]":
    """The page's server, on a port of its own, whose address the reader knows from then on."""
    server = subprocess.Popen(
        ["bash", "-c", f"exec {SERVE} --listen 127.0.0.1:0"],
        cwd=reader.directory, env=reader.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    address = server.stdout.readline().removeprefix("workflowstore listening on ").strip()
    assert address
    reader.environment["WORKFLOWSTORE_ADDRESS"] = reader.here["127.0.0.1:50051"] = address
    return server


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_does_what_the_page_shows(block: Block, reader: Reader) -> None:
    if SERVE in block.text:
        reader.serve()  # type: ignore[attr-defined]
        return
    follow(block, reader, ())
