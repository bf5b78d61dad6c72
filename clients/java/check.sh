#!/bin/sh
# Checks format, warnings (as errors), documentation of public names and types, and runs the unit tests. Needs no server.
# check.sh --replace formats the sources.
set -eu
cd "$(dirname "$0")"

./tool.sh com.google.googlejavaformat:google-java-format:google-java-format.version:jar:all-deps google-java-format.jar
compiler=jdk.compiler/com.sun.tools.javac
if [ "${1:-}" != --replace ]; then set -- --dry-run --set-exit-if-changed; fi
find src -name '*.java' -not -path 'src/generated/*' -exec java \
  --add-exports $compiler.api=ALL-UNNAMED --add-exports $compiler.code=ALL-UNNAMED --add-exports $compiler.file=ALL-UNNAMED \
  --add-exports $compiler.parser=ALL-UNNAMED --add-exports $compiler.tree=ALL-UNNAMED --add-exports $compiler.util=ALL-UNNAMED \
  -jar ../../.tools/java/google-java-format.jar "$@" {} +
./mvn.sh test
