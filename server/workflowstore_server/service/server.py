"""The only place that knows how the gRPC server is put together: health, reflection and drain."""

import asyncio
import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from workflowstore.v1 import workflow_store_pb2
from workflowstore.v1.workflow_store_pb2_grpc import add_WorkflowStoreServicer_to_server
from workflowstore_server.index import Index
from workflowstore_server.service.access import AccessOptions, Gate
from workflowstore_server.service.access_log import AccessLog, Logged
from workflowstore_server.service.boundary import Boundary
from workflowstore_server.service.calls import CallOptions, Calls
from workflowstore_server.service.connections import ConnectionOptions, channel_options
from workflowstore_server.service.health import HealthServicer
from workflowstore_server.service.observed import CallTracer, Observed
from workflowstore_server.service.servicer import Servicer
from workflowstore_server.service.transport import Certificates, TlsOptions

SERVICE: Final = workflow_store_pb2.DESCRIPTOR.services_by_name["WorkflowStore"].full_name

WRITES: Final = f"{SERVICE}/writes"
"""What the health service calls writes. A name of its own: a load balancer that looks at the others goes on to send
reads to a server whose disk is full."""

REPLIED_SECONDS_MAX: Final = 1.0
"""How long a drained server waits for the calls with one reply that there are, before it looks for quiet: while it is
busy with them, others wait in gRPC that it has not seen."""

QUIET_SECONDS: Final = 0.05
QUIET_ATTEMPTS_MAX: Final = 4
"""A drained server waits for so long a time in which no call arrives, and for so many of them at the most. Not for
longer: until it closes its connections, who is refused tries again here, and has five attempts in a second or so."""

LAST_BYTES_SECONDS: Final = 0.5
"""How long the last replies may take to leave once no call runs any more."""


class AddressNotAvailable(Exception):
    """The address to listen on cannot be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """How the service is offered."""

    listen: str = "127.0.0.1:50051"
    """HOST:PORT to listen on; port 0 = a free one."""

    reflection: bool | None = None
    """Whether the server describes its API to tools like grpcurl. None = if it asks nobody who calls."""

    drain_seconds: float = 30.0
    """How long running calls may take to finish when the server stops. What is left then is cut off."""

    calls: CallOptions = field(default_factory=CallOptions)
    connections: ConnectionOptions = field(default_factory=ConnectionOptions)

    logged: Logged = Logged.SAMPLED
    """Which calls get a line in the log."""

    access: AccessOptions | None = None
    """Who may do what. None = whoever reaches the server may do everything."""

    tls: TlsOptions | None = None
    """None = whoever can listen to the network reads and changes what is sent."""

    @property
    def on_loopback(self) -> bool:
        """Whether nobody reaches the listener but who is on this machine."""
        host = self.listen.rpartition(":")[0].strip("[]")
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost"

    @property
    def lacks(self) -> tuple[str, ...]:
        """What protects a listener from a network and is not there: "encryption", "authentication"."""
        there = {
            "encryption": self.tls is not None,
            "authentication": self.access is not None or (self.tls is not None and self.tls.client_ca_file is not None),
        }
        return tuple(protection for protection, is_there in there.items() if not is_there)


class Service:
    """The gRPC server over a servicer."""

    def __init__(
        self,
        servicer: Servicer,
        indexes: Mapping[str, Index],
        options: ServiceOptions,
        tracer: CallTracer | None = None,
    ) -> None:
        """Take the address, without answering on it yet.

        Raises: AddressNotAvailable, CannotReadAccess, CertificatesUnusable.
        """
        self._options = options
        self._gate = Gate(options.access, tuple(indexes)) if options.access is not None else None
        self._health = HealthServicer(indexes, self._gate)
        self._indexes = indexes
        self._server = grpc.aio.server(options=channel_options(options.connections))
        self._calls = Calls(options.calls)
        self.observed = Observed(self._calls, AccessLog(options.logged), tracer)
        """What is noted of its calls."""
        self._watching_over: list[asyncio.Task[None]] = []
        boundary = Boundary(self._server, self._calls, self.observed, tuple(indexes), self._gate)
        add_WorkflowStoreServicer_to_server(servicer, boundary)  # type: ignore[arg-type]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if options.reflection if options.reflection is not None else self._gate is None:
            _add_reflection(self._server)
        host = options.listen.rpartition(":")[0]
        credentials = Certificates(options.tls).credentials() if options.tls is not None else None
        try:
            if credentials is None:
                port = self._server.add_insecure_port(options.listen)
            else:
                port = self._server.add_secure_port(options.listen, credentials)
            self.address = f"{host}:{port}"
        except RuntimeError as error:
            raise AddressNotAvailable(
                f"cannot listen on {options.listen}; is another server there? Stop it or choose another --listen"
            ) from error

    async def start(self) -> None:
        """Begin to answer."""
        self._watching_over.append(asyncio.create_task(self._calls.watch_over(), name="watch over calls"))
        if self._gate is not None:
            rereading = self._gate.watch_over(self._calls.end_lost)
            self._watching_over.append(asyncio.create_task(rereading, name="watch over access"))
        await self._server.start()
        await self.set_serving(serving=False)

    async def set_serving(self, *, serving: bool, writing: bool = True) -> None:
        """Tell the health service's clients whether calls can succeed, and whether writes can."""
        for name, well in (("", serving), (SERVICE, serving), (WRITES, serving and writing)):
            statuses = health_pb2.HealthCheckResponse
            await self._health.set(name, statuses.SERVING if well else statuses.NOT_SERVING)

    async def drain(self) -> None:
        """Refuse new calls, let running ones finish, and cut off what the drain time does not suffice for.

        New calls are answered with SHUTTING_DOWN until no more of them come, and not for long: then their connections
        are told that they end, which sends clients elsewhere while calls still run. That alone would end those that
        have arrived and not begun as CANCELLED.
        """
        await self._health.enter_graceful_shutdown()
        calls, grace = self._calls, self._options.drain_seconds
        calls.close()
        # They have no end of their own. Each learns after which revision to go on.
        for index in self._indexes.values():
            index.follower.end_watches()
        leaving: asyncio.Task[None] | None = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(grace, REPLIED_SECONDS_MAX)):
                    while calls.unary.running:  # noqa: ASYNC110 (an event would cost every call)
                        await asyncio.sleep(QUIET_SECONDS)
            for _ in range(QUIET_ATTEMPTS_MAX):
                arrived = calls.arrived
                await asyncio.sleep(min(grace, QUIET_SECONDS))
                if calls.arrived == arrived:
                    break
            if not calls.idle.is_set():
                leaving = asyncio.create_task(self._server.stop(grace + LAST_BYTES_SECONDS), name="leave connections")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(calls.idle.wait(), grace * 0.9)
            calls.streams_end = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(calls.idle.wait(), grace * 0.1)
        finally:
            # Also when the drain itself is cut off. Streams of health and reflection have no end of their own, and
            # nobody waits for them.
            await self._server.stop(min(grace, LAST_BYTES_SECONDS))
            if leaving is not None:
                await leaving
                # gRPC is done before its last events of the calls have come to this loop.
                await asyncio.sleep(QUIET_SECONDS)
            for task in self._watching_over:
                task.cancel()
            await asyncio.gather(*self._watching_over, return_exceptions=True)


def _add_reflection(server: grpc.aio.Server) -> None:
    """Offer reflection as v1alpha, which grpcio-reflection has, and as v1, which tools ask for first.

    The two are alike on the wire (grpc/grpc#38576).
    """
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    handler = grpc.stream_stream_rpc_method_handler(
        ReflectionServicer(names).ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
            ),
        )
    )
