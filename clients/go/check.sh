#!/bin/sh
# Format, vet, tidiness of the modules, unit tests. Silent if all is well. Needs no server.
set -eu
cd "$(dirname "$0")"
unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
  echo "gofmt would change: $unformatted" >&2
  exit 1
fi
for module in . beluga; do
  (
    cd "$module"
    go mod tidy -diff
    go vet ./...
    output=$(go test ./... 2>&1) || {
      echo "$output" >&2
      exit 1
    }
  )
done
