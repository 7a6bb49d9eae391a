#!/bin/sh
# Builds the root of the container image in a directory: the static binary, its
# data directory, and the certificates that it trusts. The Dockerfile runs this, and
# so do the tests, where there is no container engine.
#
#   sh ops/image.sh OUT [VERSION]
set -eu
out=$1
version=${2:-"(devel)"}
cd "$(dirname "$0")/.."

mkdir -p "$out/data" "$out/etc/ssl/certs"
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$version" -o "$out/appliance" ./appliance
cp /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
chmod 0700 "$out/data"
