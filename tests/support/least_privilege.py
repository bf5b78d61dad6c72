"""A nats-server on which the service may do what deploy/nats/permissions.conf says, and an operator everything."""

from pathlib import Path
from typing import Final

import nats

from support.nats_server import NatsServer
from workflowstore_server.store.jetstream.connection import INBOX_PREFIX
from workflowstore_server.store.jetstream.stream import Names

PERMISSIONS: Final = Path(__file__).parents[2] / "deploy/nats/permissions.conf"
BUCKET: Final = "beluga_workflows"
OPERATOR: Final = {"user": "operator", "password": "secret"}
SERVICE: Final = {"user": "workflowstore", "password": "secret"}


def permitted(line: str) -> str:
    """The subject that a line of the file permits; empty if it permits none."""
    return line.strip().partition(" ")[0].strip('"') if line.strip().startswith('"') else ""


def without(subject: str, folder: Path) -> Path:
    """The file without a subject. With another one in its place: nothing at all would permit everything."""
    file = folder / "permissions.conf"
    lines = PERMISSIONS.read_text().splitlines()
    file.write_text("\n".join('"nothing"' if permitted(line) == subject else line for line in lines))
    return file


def least_privileged(folder: Path, permissions: Path = PERMISSIONS) -> NatsServer:
    # An include is looked for beside the file that it is in.
    (folder / "permissions.conf").write_text(permissions.read_text())
    users = [OPERATOR, {**SERVICE, "include": "permissions.conf"}]
    return NatsServer(folder, accounts={"ORDERS": {"jetstream": "enabled", "users": users}})


async def create_bucket(server: NatsServer, bucket: str = BUCKET, history: int = 1, *, atomic: bool = False) -> None:
    """Make a bucket as its operator would, with all that the service asks for."""
    async with await nats.connect(server.url, **OPERATOR) as operator:
        names = Names(bucket)
        request = names.creation(history=history, replicas=1, allow_atomic=atomic, max_bytes=0)
        await operator.request(names.create, request, timeout=10)


async def service_client(server: NatsServer) -> nats.NATS:
    return await nats.connect(server.url, **SERVICE, pending_size=0, inbox_prefix=INBOX_PREFIX)
