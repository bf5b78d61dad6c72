"""The only place that knows how a case is run in Python: over the generated code, without the client.

The format of the cases, and how a reply is compared, is in README.md beside this file.
"""

import argparse
import itertools
import json
import re
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from workflowstore.v1 import workflow_store_pb2

SERVICE = workflow_store_pb2.DESCRIPTOR.services_by_name["WorkflowStore"]
CALL_SECONDS_MAX = 20
"""No call of a case takes as long; a Watch that is told too little would wait for ever."""
REPLY_BYTES_MAX = 64 * 1024 * 1024
VARIABLE = re.compile(r"\$\{(?:repeat:([^:}]*):(\d+)|(\w+))\}")


class DifferenceError(Exception):
    """What the server replies is not what the case expects."""


def substituted(value: Any, variables: dict[str, str]) -> Any:
    """The value with every variable in its texts replaced; names of members stay."""
    match value:
        case str():
            return VARIABLE.sub(lambda m: m[1] * int(m[2]) if m[3] is None else variables[m[3]], value)
        case dict():
            return {name: substituted(member, variables) for name, member in value.items()}
        case list():
            return [substituted(item, variables) for item in value]
    return value


def without_nulls(value: Any) -> Any:
    """The value less its nulls: proto3 JSON would take them for defaults."""
    match value:
        case dict():
            return {name: without_nulls(member) for name, member in value.items() if member is not None}
        case list():
            return [without_nulls(item) for item in value]
    return value


def differences(expected: Any, actual: Any, path: str) -> Iterator[str]:
    """Where the expected value is no subset of the actual one."""
    match expected, actual:
        case dict(), dict():
            for name, member in expected.items():
                if name in actual:
                    yield from differences(member, actual[name], f"{path}.{name}")
                else:
                    yield f"{path}.{name}: {shown(member)} expected, absent"
        case list(), list() if len(expected) == len(actual):
            for index, (item, other) in enumerate(zip(expected, actual, strict=True)):
                yield from differences(item, other, f"{path}.{index}")
        case _ if expected != actual:
            yield f"{path}: {shown(expected)} expected, {shown(actual)} found"


def not_absent(expected: Any, actual: Any, path: str) -> Iterator[str]:
    """Where the expected value has a null and the actual one has something."""
    match expected, actual:
        case dict(), dict():
            for name, member in expected.items():
                if member is None and name in actual:
                    yield f"{path}.{name}: to be absent, {shown(actual[name])} found"
                yield from not_absent(member, actual.get(name), f"{path}.{name}")
        case list(), list():
            for index, (item, other) in enumerate(zip(expected, actual, strict=False)):
                yield from not_absent(item, other, f"{path}.{index}")


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def details_of(error: grpc.RpcError) -> tuple[ErrorInfo, BadRequest]:
    status = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info, bad_request = ErrorInfo(), BadRequest()
    for detail in Status.FromString(status).details:
        if not detail.Unpack(info):
            detail.Unpack(bad_request)
    return info, bad_request


def check_error(error: grpc.RpcError, expected: dict[str, Any] | None) -> None:
    """Raises: DifferenceError."""
    info, bad_request = details_of(error)
    fields = sorted(violation.field for violation in bad_request.field_violations)
    actual = {"code": error.code().name, "reason": info.reason, "metadata": dict(info.metadata), "fields": fields}
    if expected is None:
        raise DifferenceError(f"no error expected, {shown(actual)} found: {error.details()}")
    if "fields" in expected:
        expected = {**expected, "fields": sorted(expected["fields"])}
    if found := list(differences(expected, actual, "error")):
        raise DifferenceError("; ".join(found))


class Runner:
    """Runs cases against one server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def run(self, case: dict[str, Any]) -> None:
        """Raises: DifferenceError; json_format.ParseError of a case that is wrong in itself."""
        variables = {"case": f"case-{uuid.uuid4().hex}"}
        for number, step in enumerate(case["steps"], 1):
            try:
                self._step(step, variables)
            except DifferenceError as difference:
                raise DifferenceError(f"step {number}, {step['call']}: {difference}") from None

    def _step(self, step: dict[str, Any], variables: dict[str, str]) -> None:
        method = SERVICE.methods_by_name[step["call"]]
        request, reply = (message_factory.GetMessageClass(t)() for t in (method.input_type, method.output_type))
        json_format.ParseDict(substituted(step["request"], variables), request)
        expected_error = substituted(step.get("error"), variables)
        try:
            for message in self._messages(method, request, type(reply), step.get("messages")):
                reply.MergeFrom(message)
        except grpc.RpcError as error:
            check_error(error, expected_error)
            return
        as_json = partial(json_format.MessageToDict, preserving_proto_field_name=True)
        actual = as_json(reply)
        if expected_error is not None:
            raise DifferenceError(f"error {shown(expected_error)} expected, reply {shown(actual)} found")
        expected = substituted(step.get("response", {}), variables)
        parsed = json_format.ParseDict(without_nulls(expected), type(reply)())
        if found := [*differences(as_json(parsed), actual, "response"), *not_absent(expected, actual, "response")]:
            raise DifferenceError("; ".join(found))
        for name, path in step.get("bind", {}).items():
            variables[name] = at(actual, path)

    def _messages(
        self, method: Any, request: Message, kind: type[Message], messages_max: int | None
    ) -> Iterator[Message]:
        path = f"/{SERVICE.full_name}/{method.name}"
        if not method.server_streaming:
            unary = self._channel.unary_unary(path, type(request).SerializeToString, kind.FromString)
            yield unary(request, timeout=CALL_SECONDS_MAX)
            return
        stream = self._channel.unary_stream(path, type(request).SerializeToString, kind.FromString)
        call = stream(request, timeout=CALL_SECONDS_MAX)
        yield from itertools.islice(call, messages_max)
        call.cancel()


def at(value: Any, path: str) -> str:
    """The text at a dotted path.

    Raises: DifferenceError.
    """
    for name in path.split("."):
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (KeyError, IndexError):
            raise DifferenceError(f"response.{path}: to be bound, absent") from None
    return str(value)


def main() -> int:
    """Exit code 0 when every case has passed."""
    parser = argparse.ArgumentParser(description="Runs the conformance cases against a server.")
    parser.add_argument("--address", required=True, help="HOST:PORT of the server, without TLS")
    parser.add_argument("--cases", type=Path, default=Path(__file__).with_name("cases.json"))
    arguments = parser.parse_args()
    cases = json.loads(arguments.cases.read_text(encoding="utf-8"))["cases"]
    failed = 0
    with grpc.insecure_channel(arguments.address, [("grpc.max_receive_message_length", REPLY_BYTES_MAX)]) as channel:
        runner = Runner(channel)
        for case in cases:
            try:
                runner.run(case)
            except (DifferenceError, json_format.ParseError) as error:
                failed += 1
                print(f"{case['name']}: {error}")
    print(f"{len(cases) - failed} cases passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
