#!/bin/sh
# Puts a pinned tool into .tools/java of this repository, unless that very version is there.
# Usage: tool.sh GROUP:ARTIFACT:VERSION_PROPERTY:TYPE[:CLASSIFIER] NAME
# The version is that property of pom.xml. A program for this machine (type exe) needs no classifier.
set -eu
cd "$(dirname "$0")/../.."
IFS=: read -r group artifact property type classifier <<END
$1
END
name=$2

version=$(sed -n "s|.*<$property>\(.*\)</$property>.*|\1|p" clients/java/pom.xml)
if [ "$type" = exe ]; then
  case $(uname -s) in
    Linux) system=linux ;;
    Darwin) system=osx ;;
    *) system=windows ;;
  esac
  case $(uname -m) in
    arm64 | aarch64) machine=aarch_64 ;;
    *) machine=x86_64 ;;
  esac
  classifier=$system-$machine
fi

file=.tools/java/$artifact-$version-$classifier.$type
if [ ! -f "$file" ]; then
  clients/java/mvn.sh dependency:copy \
    -Dartifact="$group:$artifact:$version:$type:$classifier" -DoutputDirectory="$PWD/.tools/java"
  chmod +x "$file"
fi
ln -sf "${file##*/}" ".tools/java/$name"
