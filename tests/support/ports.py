"""Ports for servers that have to know them before they listen."""

import random
import socket

# Not what a test may have seeded: tests run beside each other.
_chance = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Ports that are free and stay so: the kernel gives none of them to somebody who asks for any."""
    ports: list[int] = []
    while len(ports) < count:
        port = _chance.randrange(10_000, 30_000)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports
