#!/bin/sh
# Runs the shared cases, and what of the Beluga adapter's tests needs a server, against the one at ADDRESS:
#
#   clients/go/conformance.sh HOST:PORT
#
# The server wants the buckets conformance and other, a history of 5, and --atomic-batches.
set -eu
address=${1:?HOST:PORT of a server}
cd "$(dirname "$0")"
go run ./conformance --address "$address" --cases ../conformance/cases.json
cd beluga
output=$(WORKFLOWSTORE_ADDRESS=$address go test -count=1 . 2>&1) || {
  echo "$output" >&2
  exit 1
}
