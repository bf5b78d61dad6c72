"""The index of a bucket, which answers List and Count. No module outside this package imports sqlite3."""

from workflowstore_server.index.follower import IndexOptions
from workflowstore_server.index.listing import Chunk, Index

__all__ = ["Chunk", "Index", "IndexOptions"]
