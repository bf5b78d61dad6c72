"""The only place that knows what the client over grpc.aio consists of."""

from workflowstore.client import _replies, _requests
from workflowstore.client._async_batch_calls import AsyncBatchCalls
from workflowstore.client._async_query_calls import AsyncQueryCalls
from workflowstore.client._async_state_calls import AsyncStateCalls
from workflowstore.client._info import StoreInfo


class AsyncClient(AsyncStateCalls, AsyncBatchCalls, AsyncQueryCalls):
    """Calls a workflowstore server.

        async with AsyncClient("127.0.0.1:50051") as client:
            state = await client.save(WorkflowState("order:42", status=WorkflowStatus.RUNNING))
            state = await client.update("order:42", error="no stock", expected_revision=state.revision)

    Every method takes a `bucket` (None = the client's) and a `timeout` in seconds (None = the client's, math.inf =
    none), and raises a WorkflowStoreError when the call fails: see `workflowstore.client.errors` for the classes. What
    cannot be sent is a TypeError or a ValueError that names the field.

    A call that fails as UNAVAILABLE is tried again by gRPC, within its `timeout`: up to 5 times in all, with pauses of
    0.1 to 2 seconds, and not while most calls fail. `service_config.json` in this package says so, for clients in
    other languages too. Only `list_revisions` is not, and the other iterations go on by themselves.

    What writes takes a `request_id` of up to 128 bytes: what has the same id is applied once, and gets the first
    result, for as long as BucketInfo's `request_id_seconds`. None = the client makes a random one for each call. Give
    one to make the same call again yourself, after an OutcomeUnknownError, and then say that it is `resent`. Empty =
    none, and then a call that is tried again may be applied twice.

    What a client was once told of a bucket, by any call to any server, it never reads older: it remembers the newest
    revision, and has the server wait for it. Another client's is given as `min_revision`. Where the bucket has not come
    so far, because it was made anew or restored, one call fails as a RevisionNotReachedError.

    One client serves any number of calls at once. It belongs to the event loop that it was made in.
    """

    async def info(self, *, bucket: str | None = None, timeout: float | None = None) -> StoreInfo:
        """What the server is, how the bucket is configured and how durable a write to it is.

        Raises:
            WorkflowStoreError: The call failed.
        """
        request = _requests.info_request(self._bucket_or(bucket))
        async with self._calling(write=False) as stub:
            reply = await stub.GetInfo(request, timeout=self._deadline(timeout))
        return _replies.info(reply)
