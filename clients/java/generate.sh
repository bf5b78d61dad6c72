#!/bin/sh
# Writes src/generated/java anew from the protos; with --check, tells whether it is up to date instead.
# Needs mvn, and buf: $BUF, or the one in .venv of this repository, or one on the PATH.
set -eu
cd "$(dirname "$0")/../.."

if [ -z "${BUF:-}" ]; then
  if [ -x .venv/bin/buf ]; then BUF=.venv/bin/buf; else BUF=buf; fi
fi

clients/java/tool.sh com.google.protobuf:protoc:protobuf.version:exe protoc
clients/java/tool.sh io.grpc:protoc-gen-grpc-java:grpc.version:exe protoc-gen-grpc-java

if [ "${1:-}" != --check ]; then
  exec "$BUF" generate --template clients/java/buf.gen.yaml
fi
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
"$BUF" generate --template clients/java/buf.gen.yaml --output "$output"
if ! diff -r "$output/clients/java/src/generated/java" clients/java/src/generated/java >&2; then
  echo "clients/java: the generated code is out of date; run clients/java/generate.sh" >&2
  exit 1
fi
