"""The only place that knows the commands that ask how a server is: info and health."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from workflowstore_server.cli.connection import Connection, connected
from workflowstore_server.cli.endings import CommandFailed, ExitCode
from workflowstore_server.cli.output import JsonLines, print_fields

if TYPE_CHECKING:
    from workflowstore import IndexInfo, RetentionInfo, RoomInfo, StoreInfo


INDEX_KEY: Final = "workflowstore-index"
"""Key in the trailing metadata of a health check; service.health has the other end."""


@click.command()
@connected()
def info(connection: Connection) -> None:
    """Print versions, durability and the bucket's configuration."""
    with connection.client() as client:
        found = client.info()
    if connection.human:
        print_fields(_fields(found))
    else:
        JsonLines().write(asdict(found))


@click.command()
@click.option("--service", default="", metavar="NAME", help="The service; default: the server as a whole.")
@connected()
def health(connection: Connection, service: str) -> None:
    """Print what the health service says.

    It is grpc.health.v1. The exit code is 0 only when the answer is SERVING.
    """
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from workflowstore import WorkflowStoreError
    from workflowstore.client._status import mapped_errors

    request = health_pb2.HealthCheckRequest(service=service)
    try:
        with mapped_errors(write=False), connection.channel() as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            token = connection.token
            metadata = [("authorization", f"Bearer {token()}")] if token is not None else []
            answer, call = check.with_call(request, timeout=connection.deadline_seconds, metadata=metadata)
    except WorkflowStoreError as error:
        if error.code == "NOT_FOUND":
            raise CommandFailed(
                ExitCode.NOT_FOUND, f"the server at {connection.address} has no service {service}"
            ) from error
        raise connection.failure_of(error) from error
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    indexes = [_index(value) for key, value in call.trailing_metadata() or () if key == INDEX_KEY]
    if connection.human:
        click.echo(status)
        for index in indexes:
            ready = "" if index["ready"] else ", not ready"
            click.echo(f"index of {index['bucket']}: revision {index['revision']}, {index['lag']} behind{ready}")
    else:
        JsonLines().write({"service": service, "status": status, "indexes": indexes})
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise CommandFailed(ExitCode.UNAVAILABLE, f"the server at {connection.address} is {status}")


def _index_words(index: "IndexInfo") -> str:
    state = "caught up" if index.ready else "being built or catching up"
    where = "on disk" if index.on_disk else "in memory"
    return f"revision {index.revision}, {index.lag} behind, {state}, {index.workflow_count} workflows, {where}"


def _retention_words(retention: "RetentionInfo") -> str:
    if not retention.rules:
        return "none; nothing is deleted by its age"
    rules = ", ".join(f"{status} after {_span(seconds)}" for status, seconds in sorted(retention.rules.items()))
    return f"{rules}; {retention.deleted_count} deleted since the server started"


def _marker_words(retention: "RetentionInfo") -> str:
    if not retention.delete_marker_seconds:
        return "kept"
    return (
        f"removed after {_span(retention.delete_marker_seconds)}; {retention.compacted_count} since the server started"
    )


def _room_words(room: "RoomInfo") -> str:
    disk = f"{room.disk_free_bytes} bytes left on the disk; " if room.disk_free_bytes is not None else ""
    if room.full:
        return f"{disk}none, writes are refused: {room.full}"
    return f"{disk}writes are taken" + (f", but {room.low}" if room.low else "")


def _span(seconds: float) -> str:
    """A length of time in the largest unit of which it is a whole number."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:g} s"


def _index(described: str) -> dict[str, Any]:
    """The facts about an index, as the health service tells them: words such as `lag=0`."""
    facts = {name: value for name, _, value in (word.partition("=") for word in described.split())}
    return {
        "bucket": facts["bucket"],
        "revision": int(facts["revision"]),
        "lag": int(facts["lag"]),
        "ready": facts["ready"] == "true",
    }


def _fields(found: "StoreInfo") -> list[tuple[str, str]]:
    bucket = found.bucket
    durability = {
        "fsync_always": "every write is on disk before it is acknowledged",
        "fsync_interval": "writes reach the disk at intervals; a power cut loses acknowledged ones",
    }.get(found.durability, "not known; see the server's --nats-monitor-url")
    return [
        ("server", found.server_version),
        ("nats-server", f"{found.nats_server_version} ({'embedded' if found.nats_embedded else 'external'})"),
        ("durability", durability),
        ("buckets", ", ".join(found.buckets)),
        ("bucket", bucket.name),
        ("  history", str(bucket.history)),
        ("  replicas", str(bucket.replicas)),
        ("  storage", "on disk" if bucket.on_disk else "in memory only"),
        ("  bytes", f"{bucket.bytes} of {bucket.max_bytes}" if bucket.max_bytes else str(bucket.bytes)),
        ("  revisions", str(bucket.revisions)),
        ("  kept for", f"{bucket.max_age_seconds:g} s" if bucket.max_age_seconds else "ever"),
        ("  direct reads", "allowed" if bucket.allow_direct else "not allowed, which list and count need"),
        ("  atomic batches", "allowed" if bucket.allow_atomic else "not allowed"),
        ("  request ids", f"known for {_span(bucket.request_id_seconds)}"),
        ("store revision", str(found.store_revision)),
        ("index", _index_words(found.index)),
        ("retention", _retention_words(found.retention)),
        ("delete markers", _marker_words(found.retention)),
        ("room", _room_words(found.room)),
        ("largest state", f"{found.document_bytes_max} bytes"),
    ]
