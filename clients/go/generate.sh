#!/bin/sh
# Writes the generated code of the Go client anew; with --check compares it with what is there, and fails if they differ.
set -eu
cd "$(dirname "$0")/../.."

protoc_gen_go=v1.36.11
protoc_gen_go_grpc=v1.6.2

buf=${BUF:-}
if [ -z "$buf" ]; then
  buf=buf
  if [ -x .venv/bin/buf ]; then buf=.venv/bin/buf; fi
fi

bin=$PWD/.tools/go/bin
# The plugins tell their versions, so that a pin that has moved is noticed.
if [ "$("$bin/protoc-gen-go" --version 2>&1)" != "protoc-gen-go $protoc_gen_go" ]; then
  GOBIN=$bin go install "google.golang.org/protobuf/cmd/protoc-gen-go@$protoc_gen_go"
fi
if [ "$("$bin/protoc-gen-go-grpc" --version 2>&1)" != "protoc-gen-go-grpc ${protoc_gen_go_grpc#v}" ]; then
  GOBIN=$bin go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$protoc_gen_go_grpc"
fi

out=.
if [ "${1:-}" = --check ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
mkdir -p "$out/clients/go/workflowstorev1"
rm -f "$out"/clients/go/workflowstorev1/*.pb.go
"$buf" generate --template clients/go/buf.gen.yaml --output "$out"
# Go embeds only what lies in the module.
cp clients/python/workflowstore/service_config.json "$out/clients/go/"

if [ "$out" != . ]; then
  diff -r clients/go/workflowstorev1 "$out/clients/go/workflowstorev1" >&2 &&
    diff clients/go/service_config.json "$out/clients/go/service_config.json" >&2 || {
    echo "clients/go: the generated code is not that of the protos; run clients/go/generate.sh" >&2
    exit 1
  }
fi
