"""The index of a bucket, which answers List, Count and Watch. No module outside this package imports sqlite3."""

from workflowstore_server.index.follower import IndexOptions
from workflowstore_server.index.janitor import RetentionOptions
from workflowstore_server.index.listing import Chunk, Index
from workflowstore_server.index.watching import WatchMessage, WatchStart

__all__ = ["Chunk", "Index", "IndexOptions", "RetentionOptions", "WatchMessage", "WatchStart"]
