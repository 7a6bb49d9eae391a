#!/bin/sh
# The real vegeta against an appliance: signed targets in, results out, judged.
# RATE (500) events a second for DURATION (10s). Takes the vegeta that is
# installed, or has Go fetch and build it.
#
#   bench/vegeta.sh [FLAGS OF bench assert...]
. "$(dirname "$0")/common.sh"
vegeta=$(command -v vegeta || echo "go run github.com/tsenart/vegeta/v12@v12.13.0")

start_appliance --sync "${SYNC:-group}"
"$appliance" bench targets --config "$dir/courier.toml" --url "$url" --count 0 |
    $vegeta attack -format=json -lazy -rate="${RATE:-500}/s" -duration="${DURATION:-10s}" >"$dir/results.gob"
$vegeta report <"$dir/results.gob"
"$appliance" bench assert "$@" "$dir/results.gob"
