#!/bin/sh
# Runs Maven for this folder without a word unless something is wrong. Set MVN="mvn -o" to stay offline once everything has
# been fetched.
set -eu
export MAVEN_OPTS="${MAVEN_OPTS:-} -Djansi.noreset=true"
exec ${MVN:-mvn} -B -ntp -Dstyle.color=never -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -f "$(dirname "$0")/pom.xml" "$@"
