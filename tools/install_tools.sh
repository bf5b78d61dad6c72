#!/usr/bin/env bash
# Install the programs that README.md and docs/tools.md call into .tools/bin, at the versions named here, and into
# .tools/compose-go what reads deploy/compose.yaml as Docker Compose does. Needs Go.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOBIN="$PWD/.tools/bin"

# want MODULE VERSION PACKAGE: go tells the version of a program that it has built, so nothing is built twice.
want() {
  local module=$1 version=$2 package=$3
  if ! go version -m "$GOBIN/${package##*/}" 2>/dev/null | grep -F "$(printf 'mod\t%s\t%s\t' "$module" "$version")" >/dev/null; then
    go install "$package@$version"
  fi
}

want github.com/fullstorydev/grpcurl v1.9.3 github.com/fullstorydev/grpcurl/cmd/grpcurl
want github.com/bojand/ghz v0.121.0 github.com/bojand/ghz/cmd/ghz
want github.com/nats-io/natscli v0.4.0 github.com/nats-io/natscli/nats
GOBIN="$PWD/.tools/compose-go" want github.com/compose-spec/compose-go/v2 v2.16.2 github.com/compose-spec/compose-go/v2/cmd
