#!/bin/sh
# Writes src/gen anew, from the protos and the published service config. With --check it compares instead, and fails when
# src/gen is not what they give.
set -eu
cd "$(dirname "$0")/../.."
package=clients/typescript

# The plugin, as generator/package-lock.json has it.
tools=.tools/typescript
if ! cmp -s $package/generator/package-lock.json $tools/package-lock.json || [ ! -e $tools/node_modules/.package-lock.json ]; then
  rm -rf $tools
  mkdir -p $tools
  cp $package/generator/package.json $package/generator/package-lock.json $tools
  npm ci --prefix $tools --ignore-scripts --no-audit --no-fund --silent
fi

if [ -z "${BUF:-}" ]; then
  BUF=buf
  if [ -x .venv/bin/buf ]; then BUF=.venv/bin/buf; fi
fi

# To a directory of its own first, so that files of protos that are gone do not stay.
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$BUF" generate --template $package/buf.gen.yaml --output "$made"
gen=$made/$package/src/gen
{
  echo '/** The gRPC service config that workflowstore publishes: which calls gRPC tries again, and how often. */'
  printf 'export const serviceConfig = '
  sed '$s/$/;/' clients/python/workflowstore/service_config.json
} >"$gen/service_config.ts"

if [ "${1:-}" = --check ]; then
  diff -r $package/src/gen "$gen" || {
    echo "$package/src/gen is not up to date; run $package/generate.sh" >&2
    exit 1
  }
else
  rm -rf $package/src/gen
  mv "$gen" $package/src/gen
  chmod -R u=rwX,go=rX $package/src/gen
fi
