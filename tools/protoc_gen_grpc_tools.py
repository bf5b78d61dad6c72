"""A protoc plugin over grpcio-tools, whose generators are compiled in and so cannot be named to buf directly.

buf hands over a CodeGeneratorRequest on standard input. The option `generator=NAME` chooses `--NAME_out` of
`grpc_tools.protoc`: `python` or `grpc_python`.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def main() -> None:
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    generator = request.parameter.removeprefix("generator=")
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder, "descriptors.binpb")
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        output = Path(folder, "output")
        output.mkdir()
        code = protoc.main(
            ["protoc", f"--descriptor_set_in={descriptors}", f"--{generator}_out={output}", *request.file_to_generate]
        )
        if code:
            response.error = f"grpc_tools.protoc --{generator}_out exited with {code}"
        for path in sorted(path for path in output.rglob("*") if path.is_file()):
            response.file.add(name=path.relative_to(output).as_posix(), content=path.read_text())
    sys.stdout.buffer.write(response.SerializeToString())


main()
