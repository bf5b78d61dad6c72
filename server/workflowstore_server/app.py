"""The only place that knows which parts make a server: starts them in order, drains, and stops them in reverse."""

import asyncio
import contextlib
import gc
import json
import logging
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from workflowstore_server import __version__
from workflowstore_server.config.sources import Config
from workflowstore_server.embedded.directory import DataDirectory, DataDirectoryInUse
from workflowstore_server.embedded.disk import DiskWatch
from workflowstore_server.embedded.server import EmbeddedServer, EmbeddedServerFailed
from workflowstore_server.index import Index
from workflowstore_server.model.errors import (
    BucketNotFound,
    IndexBehind,
    StorageUnavailable,
    StoreError,
)
from workflowstore_server.model.state import Durability, Room
from workflowstore_server.service import metrics
from workflowstore_server.service.access import CannotReadAccess
from workflowstore_server.service.connections import open_files
from workflowstore_server.service.metrics_server import CannotListen, MetricsServer
from workflowstore_server.service.observed import CallTracer
from workflowstore_server.service.readiness import tell_readiness
from workflowstore_server.service.server import AddressNotAvailable, Service
from workflowstore_server.service.servicer import About, Servicer
from workflowstore_server.service.transport import CertificatesUnusable
from workflowstore_server.store.jetstream import JetStreamStore, NatsOptions, OwnedConnection, report
from workflowstore_server.store.jetstream.bucket import Bucket
from workflowstore_server.store.jetstream.connection import CannotConnect
from workflowstore_server.store.jetstream.report import ServerReport

log = logging.getLogger(__name__)

EMBEDDED_VERSION_MIN: Final = (2, 15)
"""Before it, compaction of a bucket with `sync_interval: always` could lose acknowledged writes in a power cut
(nats-server#8456, #8475)."""

EXTERNAL_VERSION_MIN: Final = (2, 11)
"""Batched direct get came with it (NATS ADR-31)."""


GARBAGE_THRESHOLDS: Final = (50_000, 20, 50)
"""When the garbage collector looks for cycles (gc.set_threshold). With Python's own 700 it took a fifth of the time in
which an index is built, to find nothing."""

SWITCH_SECONDS: Final = 0.001
"""How long a thread waits for the interpreter's lock before it asks for it: the index's threads wait once for each
statement, and Python's own 5 ms made building an index take a fifth longer."""


_CANNOT: Final = (
    AddressNotAvailable,
    CannotConnect,
    CannotListen,
    CannotReadAccess,
    DataDirectoryInUse,
    EmbeddedServerFailed,
    StoreError,
)
"""Why the parts of a server cannot be started."""


class CannotServe(Exception):
    """The server cannot start; the text says why and what to do."""


class BucketDiffers(Exception):
    """A bucket that was to be created is there already, and is another one; the text says how and what to do."""


async def create_bucket(config: Config) -> bool:
    """Create a bucket at the NATS server that is named, for servers that may not; False = it is there as asked for.

    Raises: BucketDiffers, CannotServe.
    """
    name = config.buckets[0]
    async with AsyncExitStack() as stack:
        try:
            bucket = Bucket(await _connect(config, None, stack), name, replace(config.bucket, create=True))
            created = await bucket.create()
            differences = await bucket.differences()
        except (CannotConnect, StoreError) as error:
            raise CannotServe(_words(error)) from error
    if differences:
        told = ", ".join(f"{key} is {json.dumps(found)} and not {json.dumps(ours)}" for key, ours, found in differences)
        raise BucketDiffers(
            f"bucket {name} {'was created' if created else 'is there already'} and differs: {told}. It was left as it "
            f"is; ask for what it has, or change it with `nats stream edit {bucket.names.stream}`"
        )
    return created


async def serve(config: Config, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain and stop. `announce` gets the address once calls are answered.

    Raises: CannotServe.
    """
    # What is there now stays: the collector need not look at it again.
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
    open_files()
    ready, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _on_signal, ready, stop, asyncio.current_task())
    try:
        async with running(config) as service:
            if not config.service.on_loopback and config.service.lacks:
                log.warning("%s is open to the network, without %s", service.address, " or ".join(config.service.lacks))
            announce(service.address)
            ready.set()
            await stop.wait()
            log.info("draining: no new calls, running ones may take %g s", config.service.drain_seconds)
    except asyncio.CancelledError:
        if ready.is_set() or not stop.is_set():
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    log.info("stopped")


def _on_signal(ready: asyncio.Event, stop: asyncio.Event, task: "asyncio.Task[None] | None") -> None:
    assert task is not None, "serve runs in a task"
    if not ready.is_set():
        # There is nothing to drain, and a large store takes minutes to be ready.
        task.cancel()
    elif stop.is_set():
        log.warning("asked to stop again: running calls are cut off")
        task.cancel()
    stop.set()


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Service]:
    """A server that answers calls; it is drained and stopped at the end.

    Raises: CannotServe.
    """
    async with AsyncExitStack() as stack:
        try:
            reserved = stack.enter_context(_reserved(config.service.listen))
            embedded = await _embed(config, stack) if not config.nats_urls else None
            connection = await _connect(config, embedded, stack)
            system = await _connect_system(embedded, stack) if embedded is not None else None
            server_report = await _report(config, system, connection)
            if embedded is None and config.index.directory is not None:
                await _claim(config, stack)
            watch = await _watch_disk(config, embedded, system) if embedded is not None and system is not None else None
            stores = await _open_stores(config, connection, watch, stack)
            tracer = _trace(stack) if config.traces else None
            indexes = {bucket: Index(store, config.index, config.retention, tracer) for bucket, store in stores.items()}

            def about() -> About:
                version = next(iter(stores.values())).nats_server_version or server_report.version
                return About(__version__, version, embedded is not None, server_report.durability)

            reserved.close()
            service = Service(Servicer(stores, indexes, about, time.time_ns), indexes, config.service, tracer)
            if config.metrics_listen is not None:
                kept = embedded is not None or config.index.directory is not None
                sources = metrics.Sources(
                    about,
                    service.observed,
                    connection.figures,
                    lambda: {bucket: store.fill for bucket, store in stores.items()},
                    indexes,
                    embedded,
                    config.data_directory if kept else None,
                )
                _tell_metrics(config.metrics_listen, sources, stack)
        except CertificatesUnusable as error:
            raise CannotServe(f"cannot listen with TLS: {error}") from error
        except _CANNOT as error:
            raise CannotServe(_words(error)) from error
        async with asyncio.TaskGroup() as keepers:
            tasks = [
                keepers.create_task(connection.keep()),
                keepers.create_task(tell_readiness(service, indexes, _words)),
            ]
            tasks += [keepers.create_task(index.follower.run()) for index in indexes.values()]
            tasks += [keepers.create_task(index.janitor.run()) for index in indexes.values()]
            if embedded is not None and watch is not None and system is not None:
                tasks += [keepers.create_task(keep()) for keep in (embedded.keep, system.keep, watch.run)]
                tasks.append(keepers.create_task(report.watch(system, connection.figures)))
            try:
                await service.start()
                yield service
            finally:
                await service.drain()
                for task in tasks:
                    task.cancel()


async def _claim(config: Config, stack: AsyncExitStack) -> DataDirectory:
    try:
        directory = await DataDirectory.claim(config.data_directory)
    except OSError as error:
        raise CannotServe(f"cannot use --data-dir {config.data_directory}: {error.strerror}") from error
    stack.callback(directory.release)
    return directory


def _reserved(listen: str) -> socket.socket:
    """Keep an address until it is listened on from the nats-server and connections, which take any free port."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    reserved = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # As gRPC does: else what is left of the last server's connections would be in the way.
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # That it is taken, or no address, is told of when it is to be listened on.
    with contextlib.suppress(OSError):
        reserved.bind((host, int(port)))
    return reserved


async def _embed(config: Config, stack: AsyncExitStack) -> EmbeddedServer:
    directory = await _claim(config, stack)
    embedded = EmbeddedServer(directory, config.embedded)
    # Also what did not become ready has to be stopped.
    stack.push_async_callback(embedded.stop)
    await embedded.start()
    return embedded


async def _connect(config: Config, embedded: EmbeddedServer | None, stack: AsyncExitStack) -> OwnedConnection:
    options = config.nats
    if embedded is not None:
        options = replace(options, user=embedded.user.user, password=embedded.user.password)

    def addresses() -> tuple[str, ...]:
        return config.nats_urls if embedded is None else (embedded.address,)

    try:
        connection = OwnedConnection(options, addresses, f"workflowstore {__version__}")
        await connection.open()
    except CannotConnect as error:
        where = ", ".join(_without_secrets(address) for address in addresses())
        raise CannotServe(f"cannot connect to NATS at {where}: {error}") from error
    stack.push_async_callback(connection.close)
    return connection


async def _connect_system(embedded: EmbeddedServer, stack: AsyncExitStack) -> OwnedConnection:
    """The connection over which the embedded nats-server is asked how it is."""
    options = NatsOptions(user=embedded.system_user.user, password=embedded.system_user.password)
    system = OwnedConnection(options, lambda: (embedded.address,), f"workflowstore {__version__} system")
    await system.open()
    stack.push_async_callback(system.close)
    return system


async def _report(config: Config, system: OwnedConnection | None, connection: OwnedConnection) -> ServerReport:
    """Learn how durable writes are, and refuse what would break promises."""
    version = connection.link.server_version
    if system is not None:
        found = await report.over_system_account(system)
        if _version(found.version) < EMBEDDED_VERSION_MIN:
            raise CannotServe(f"nats-server {found.version} is too old to embed; use 2.15 or newer")
        if found.durability is not Durability.FSYNC_ALWAYS:
            raise CannotServe("the embedded nats-server does not report sync_always: its writes would not be durable")
        return found
    if _version(version) < EXTERNAL_VERSION_MIN:
        raise CannotServe(f"the NATS server at --nats-url has version {version}; use 2.11 or newer")
    if config.nats_monitor_url is None:
        log.warning(
            "whether NATS syncs acknowledged writes to disk is not known; name its monitoring endpoint with "
            "--nats-monitor-url, and set `sync_interval: always` there"
        )
        return ServerReport(version, Durability.UNKNOWN)
    try:
        found = await report.over_monitor(config.nats_monitor_url, config.nats)
    except (OSError, ValueError) as error:
        raise CannotServe(f"--nats-monitor-url: {error}") from error
    if found.durability is not Durability.FSYNC_ALWAYS:
        log.warning(
            "NATS syncs writes to disk at intervals only: a power cut loses acknowledged writes; set "
            "`sync_interval: always` in its configuration"
        )
    return found


async def _watch_disk(config: Config, embedded: EmbeddedServer, system: OwnedConnection) -> DiskWatch:
    """Look after the disk of the embedded nats-server."""
    limits, folder = config.embedded, config.data_directory.absolute()
    ask = partial(report.condition, system)
    watch = DiskWatch(embedded, folder, limits.reserve_bytes, limits.file_store_bytes_max, ask)
    await watch.look()
    return watch


async def _open_stores(
    config: Config, connection: OwnedConnection, watch: DiskWatch | None, stack: AsyncExitStack
) -> dict[str, JetStreamStore]:
    def disk() -> Room:
        return watch.room if watch is not None else Room()

    stores = {bucket: JetStreamStore(connection, bucket, config.bucket, disk) for bucket in config.buckets}
    for store in stores.values():
        await store.open()
        stack.push_async_callback(store.close)
    return stores


def _trace(stack: AsyncExitStack) -> CallTracer | None:
    try:
        # Most servers are not traced, and need not have what that takes.
        from workflowstore_server.service.tracing import Tracing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        log.warning('OTEL_* variables ask for traces; they take: pip install "workflowstore[otel]"')
        return None
    tracing = Tracing()
    stack.push_async_callback(tracing.close)
    return tracing


def _tell_metrics(listen: str, sources: metrics.Sources, stack: AsyncExitStack) -> None:
    server = MetricsServer(listen, metrics.registry(sources))
    stack.callback(server.close)
    log.info("metrics are at http://%s/metrics", server.address)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _without_secrets(address: str) -> str:
    return re.sub(r"//[^@/]*@", "//...@", address)


def _words(error: Exception) -> str:
    match error:
        case DataDirectoryInUse():
            return (
                f"--data-dir {error.directory} is in use by {error.holder or 'another server'}; stop that server or "
                "choose another directory"
            )
        case BucketNotFound():
            return f"bucket {error.bucket} does not exist; create it, or drop --no-create-buckets"
        case IndexBehind():
            return f"bucket {error.bucket} cannot be listed: {error.detail}"
        case StorageUnavailable():
            return f"bucket {error.bucket} cannot be used: {error.detail}"
    return str(error)
