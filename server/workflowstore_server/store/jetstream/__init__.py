"""The store of workflow states in a NATS JetStream KV bucket. No module outside this package imports nats.

It can be used without gRPC, over a nats-py connection that it does not close:

    async with JetStreamStore.over(client, "beluga_workflows") as store:
        revision = await store.save(WorkflowState("order:42"))
"""

from workflowstore_server.store.jetstream.bucket import BucketOptions
from workflowstore_server.store.jetstream.connection import NatsOptions, OwnedConnection
from workflowstore_server.store.jetstream.store import JetStreamStore

__all__ = ["BucketOptions", "JetStreamStore", "NatsOptions", "OwnedConnection"]
