#!/bin/sh
# Runs the cases that every client must pass against a server: conformance.sh HOST:PORT
set -eu
folder=$(dirname "$0")

exec "$folder/run.sh" workflowstore.conformance.Conformance --address "$1" --cases "$folder/../conformance/cases.json"
