"""The only place that knows how a call tells that it is made again."""

from typing import Any, Final

import grpc

from workflowstore.v1 import workflow_store_pb2 as pb

PREVIOUS_ATTEMPTS: Final = "grpc-previous-rpc-attempts"
"""Key in the metadata of a call that gRPC itself makes again (gRFC A6)."""

Context = grpc.aio.ServicerContext[Any, Any]


def is_made_again(context: Context) -> bool:
    """Whether gRPC has made this call before."""
    return any(key == PREVIOUS_ATTEMPTS for key, _ in context.invocation_metadata() or ())


def again_after(
    request: pb.SaveRequest | pb.UpdateRequest | pb.DeleteRequest | pb.SaveBatchRequest | pb.DeleteBatchRequest,
    context: Context,
) -> int | None:
    """The revision that the caller knew when it made this request first. None = it makes it now."""
    return request.known_revision if request.resent or is_made_again(context) else None
