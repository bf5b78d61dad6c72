#!/bin/sh
# Checks format, lint and types, and runs the unit tests, which need no server. Says nothing unless something is wrong.
set -eu
cd "$(dirname "$0")"
./install.sh

quietly() {
  if ! output=$("$@" 2>&1); then
    printf '%s\n' "$output" >&2
    exit 1
  fi
}

quietly node_modules/.bin/biome ci --colors=off --error-on-warnings .
# From nothing, so that no test runs whose source is gone.
rm -rf build dist
quietly node_modules/.bin/tsc --build .
quietly node --test build/tests/*.test.js
