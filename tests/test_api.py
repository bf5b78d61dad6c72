"""The API on the wire is a golden list: its diff is the review.

After a change that is meant, write it anew: `python tests/test_api.py > tests/golden/api.txt`.
"""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from workflowstore.v1 import error_reason_pb2, workflow_filter_pb2, workflow_state_pb2, workflow_store_pb2

GOLDEN = Path(__file__).parent / "golden/api.txt"
FILES: list[FileDescriptor] = [
    module.DESCRIPTOR for module in (workflow_store_pb2, workflow_state_pb2, workflow_filter_pb2, error_reason_pb2)
]


def _type(field: FieldDescriptor) -> str:
    of_message = field.message_type or field.enum_type
    if of_message:
        return str(of_message.full_name)
    kinds = {value: key[5:].lower() for key, value in vars(FieldDescriptor).items() if key.startswith("TYPE_")}
    return str(kinds[field.type])


def _message(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        label = (
            "repeated " if field.is_repeated else "optional " if field.has_presence and not field.message_type else ""
        )
        yield f"field {message.full_name}.{field.name} = {field.number} {label}{_type(field)}"


def api() -> str:
    lines: list[str] = []
    for file in FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                stream = "stream " if method.server_streaming else ""
                lines.append(f"rpc {method.full_name}({method.input_type.name}) -> {stream}{method.output_type.name}")
        for message in file.message_types_by_name.values():
            lines.extend(_message(message))
        for enum in file.enum_types_by_name.values():
            lines.extend(f"value {enum.full_name}.{value.name} = {value.number}" for value in enum.values)
    return "\n".join(lines) + "\n"


def test_the_api_is_the_golden_list() -> None:
    assert api() == GOLDEN.read_text()


if __name__ == "__main__":
    print(api(), end="")  # noqa: T201
