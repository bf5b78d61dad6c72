"""The server of workflowstore: durable workflow state over gRPC, kept in NATS JetStream KV."""

from importlib.metadata import version

__version__ = version("workflowstore")
