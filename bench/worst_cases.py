"""The only place that knows how it is measured that no request keeps a server from the others, or fills its memory.

    python -m bench.worst_cases

Sends each of the worst requests alone, and then 64 times at once, to a server of its own, and prints how long its event
loop did not turn and the most memory that it had. A document of another writer is put, and then read in every way.
"""

import argparse
import asyncio
import json
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import nats
from nats.aio.client import Client

from bench import hostile_requests, lag, processes, raw_nats, server
from bench.hostile_requests import Case
from bench.server import Server
from workflowstore.v1 import workflow_state_pb2 as state_pb
from workflowstore.v1 import workflow_store_pb2 as pb
from workflowstore_server.codec import document

PAYLOAD_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of the NATS server: the largest for which it does not warn."""

SERVICE: Final = pb.DESCRIPTOR.services_by_name["WorkflowStore"].full_name
STREAMING: Final = frozenset({"List", "Watch", "Export"})
SECONDS_MAX: Final = 120.0
CLIENT_OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.worst_cases", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names have this in them")
    parser.add_argument("--together", type=int, default=64, metavar="N", help="requests at once; 0 = only alone")
    arguments = parser.parse_args()
    asyncio.run(_run(arguments.only, arguments.together))


async def _run(only: str, together: int) -> None:
    print(f"calibration: reading a document of 4 MiB takes {_calibration_ms():.0f} ms")
    print(f"{'case':48} {'MiB':>5} {'stall ms':>9} {'took ms':>8} {'peak MiB':>9} {'together':>9}  answer")
    for case in hostile_requests.requests():
        if only in case.name:
            async with _serving() as (_, ours, channel):
                await _measure_request(ours, channel, case, together)
    for name, stored in hostile_requests.stored():
        if only in name:
            async with _serving() as (client, ours, channel):
                await _measure_document(client, ours, channel, name, stored)


def _calibration_ms() -> float:
    stored = dict(hostile_requests.stored())["history as Go writes it, 4 MiB"]
    began = time.perf_counter()
    document.decode(stored, "hostile")
    return (time.perf_counter() - began) * 1e3


@asynccontextmanager
async def _serving() -> AsyncIterator[tuple[Client, Server, grpc.aio.Channel]]:
    """A server over a nats-server that takes large messages from others."""
    with tempfile.TemporaryDirectory(prefix="workflowstore-bench-") as folder:
        configuration = Path(folder, "nats.conf")
        settings = {
            "listen": "127.0.0.1:-1",
            "max_payload": PAYLOAD_BYTES_MAX + 1024,
            "jetstream": {"store_dir": folder, "sync_interval": "always"},
        }
        configuration.write_text(json.dumps(settings))
        program = Path(sysconfig.get_path("scripts"), "nats-server")
        async with processes.running([program, "--config", configuration, "--ports_file_dir", folder]):
            url = await _url_in(Path(folder))
            client = await nats.connect(url)
            await raw_nats.create_bucket(client, "hostile")
            options = ("--nats-url", url, "--bucket", "hostile", "--data-dir", f"{folder}/data")
            async with (
                server.serving(*options, program=lag.__name__) as ours,
                grpc.aio.insecure_channel(ours.address, options=CLIENT_OPTIONS) as channel,
            ):
                await _call(channel, "Count", b"")
                yield client, ours, channel
            await client.close()


async def _url_in(folder: Path) -> str:
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            for file in folder.glob("*.ports"):
                if (text := file.read_text()).endswith("}"):
                    return str(json.loads(text)["nats"][0])
            await asyncio.sleep(0.01)


async def _measure_request(ours: Server, channel: grpc.aio.Channel, case: Case, together: int) -> None:
    stall, took, peak, answer = await _measured(ours, lambda: _call(channel, case.method, case.request))
    shown = ""
    if together:
        calls = [_call(channel, case.method, case.request) for _ in range(together)]
        shown = f"{(await _measured(ours, lambda: _all(calls)))[2]:9.0f}"
    size = len(case.request) / hostile_requests.MIB
    name = f"{case.method}: {case.name}"
    print(f"{name:48.48} {size:5.1f} {stall:9.0f} {took:8.0f} {peak:9.0f} {shown:>9}  {answer}", flush=True)


async def _all(calls: list[Awaitable[str]]) -> str:
    return ", ".join(sorted(set(await asyncio.gather(*calls))))


async def _measure_document(client: Client, ours: Server, channel: grpc.aio.Channel, name: str, stored: bytes) -> None:
    full = state_pb.WORKFLOW_VIEW_FULL
    await client.jetstream().publish("$KV.hostile.hostile", stored, timeout=SECONDS_MAX)
    reads = {
        "followed": ("Count", pb.CountRequest()),
        "Load": ("Load", pb.LoadRequest(workflow_id="hostile")),
        "Update": (
            "Update",
            pb.UpdateRequest(state=state_pb.WorkflowState(workflow_id="hostile"), set_labels={"a": ""}),
        ),
        "List": ("List", pb.ListRequest()),
        "List, full": ("List", pb.ListRequest(view=full)),
        "Watch, full": ("Watch", pb.WatchRequest(view=full, after_revision=0)),
        "Export": ("Export", pb.ExportRequest()),
    }
    for how, (method, request) in reads.items():
        raw = request.SerializeToString()
        stall, took, peak, answer = await _measured(ours, lambda: _call(channel, method, raw))  # noqa: B023
        size = len(stored) / hostile_requests.MIB
        shown = f"{how}: {name}"
        print(f"{shown:48.48} {size:5.1f} {stall:9.0f} {took:8.0f} {peak:9.0f} {'':9}  {answer}", flush=True)


async def _measured(ours: Server, call: Callable[[], Awaitable[str]]) -> tuple[float, float, float, str]:
    """The longest that the loop did not turn and how long it took, in ms; the most memory, in MiB; the answer."""
    processes.forget_peak_memory(ours.process)
    await lag.longest_ms(ours)
    began = time.perf_counter()
    answer = await call()
    took = (time.perf_counter() - began) * 1e3
    return await lag.longest_ms(ours), took, processes.peak_memory_mib(ours.process) or 0.0, answer


async def _call(channel: grpc.aio.Channel, method: str, request: bytes) -> str:
    """The code that a call ends with."""
    make: Any = channel.unary_stream if method in STREAMING else channel.unary_unary
    call = make(f"/{SERVICE}/{method}")(request, timeout=SECONDS_MAX)
    try:
        if method not in STREAMING:
            await call
        else:
            async for message in call:
                if method == "Watch" and pb.WatchResponse.FromString(message).changes:
                    call.cancel()
                    break
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name} {error.details()}"[:100]
    return "OK"


if __name__ == "__main__":
    main()
