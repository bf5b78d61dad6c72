"""What a failed call carried, as a test wants to read it."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class Failure:
    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.message = error.details()
        self.info = error_details_pb2.ErrorInfo()
        self.bad_request = error_details_pb2.BadRequest()
        self.request_info = error_details_pb2.RequestInfo()
        self.retry_seconds: float | None = None
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.ToNanoseconds() / 1e9
            _ = detail.Unpack(self.info) or detail.Unpack(self.bad_request) or detail.Unpack(self.request_info)

    @property
    def reason(self) -> str:
        assert self.info.domain == "workflowstore"
        return self.info.reason.removeprefix("ERROR_REASON_")

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.info.metadata)

    @property
    def fields(self) -> dict[str, str]:
        return {violation.field: violation.reason for violation in self.bad_request.field_violations}


async def failure(call: Awaitable[Any]) -> Failure:
    """Await a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Failure(caught.value)


async def stream_failure(call: Any) -> tuple[list[Any], Failure]:
    """Read a stream that must fail to its end."""
    messages = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 (what came before the failure counts)
        async for message in rest(call):
            messages.append(message)
    return messages, Failure(caught.value)


async def rest(call: Any) -> AsyncIterator[Any]:
    """Read a stream to its end; unlike `async for` over the call itself it may follow upon `call.read()`."""
    while (message := await call.read()) is not grpc.aio.EOF:
        yield message
