"""The only place that knows how metrics are handed out over HTTP: in threads of their own, a few at a time."""

import logging
import socket
import threading
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

log = logging.getLogger(__name__)

SCRAPES_MAX: Final = 4
"""Connections at once. A Prometheus has one; others are closed at once."""

SCRAPE_SECONDS_MAX: Final = 5.0
"""How long one may take to ask, and to take what it has asked for."""


class CannotListen(Exception):
    """The address for metrics cannot be had; the text says why and what to do."""


class MetricsServer:
    """Answers `GET /metrics` on an address of its own while it is open."""

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        """Begin to answer on HOST:PORT; port 0 = a free one.

        Raises: CannotListen.
        """
        host, _, port = listen.rpartition(":")
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
            kind = _SixServer if family is socket.AF_INET6 else _Server
            self._server = kind(address[:2], _Handler)
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {listen} for metrics: {error.strerror or error}; is another server there? Choose "
                "another --metrics-listen, port 0 for a free one, or off for no metrics"
            ) from error
        self._server.set_app(make_wsgi_app(registry))
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to answer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingWSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(SCRAPES_MAX)
        super().__init__(*arguments)

    def server_bind(self) -> None:
        # The standard library's asks the name service who we are, which can take many seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request for metrics has failed", exc_info=True)


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = SCRAPE_SECONDS_MAX

    def log_message(self, *_: Any) -> None:
        """Nothing: it would be one more line for every scrape."""
