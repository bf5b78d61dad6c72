#!/bin/sh
# Runs the conformance cases against the server at an address: conformance.sh HOST:PORT
set -eu
cd "$(dirname "$0")"
./install.sh
node_modules/.bin/tsc --build .
exec node build/conformance/run.js --address "$1" --cases ../conformance/cases.json
