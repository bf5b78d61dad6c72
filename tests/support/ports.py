"""Ports for servers that have to know them before they listen."""

import os
import random
import socket

# Each process that runs tests beside others has its own.
_number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_left = list(range(10_000 + _number, 30_000, _processes))
# Not what a test may have seeded: somebody else may run tests on this machine too.
random.SystemRandom().shuffle(_left)


def free_ports(count: int) -> list[int]:
    """Ports that are free and stay so: the kernel gives none of them to somebody who asks for any, nor does this."""
    ports: list[int] = []
    while len(ports) < count:
        port = _left.pop()
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports
