#!/bin/sh
# Builds, and runs a program of this folder: run.sh CLASS [ARGUMENT...], such as
# run.sh workflowstore.example.Example 127.0.0.1:50051
set -eu
folder=$(dirname "$0")

"$folder/mvn.sh" test-compile \
  dependency:build-classpath -Dmdep.outputFile=target/classpath -Dmdep.regenerateFile=true
exec java -cp "$folder/target/test-classes:$folder/target/classes:$(cat "$folder/target/classpath")" "$@"
