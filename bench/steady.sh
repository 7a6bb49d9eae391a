#!/bin/sh
# An open loop of RATE (5000) events a second for DURATION (30s): how long an answer
# takes, and how long it takes until an event is processed, by the appliance's own
# histogram (the upper bound of the bucket that holds the 99th percentile). It ends
# with 3 when a threshold of bench is missed, or the latter is more than WITHIN (0.25)
# seconds: 0.128 or less, since the bucket above ends at 0.256.
#
#   bench/steady.sh [FLAGS OF bench...]
. "$(dirname "$0")/common.sh"

start_appliance --sync "${SYNC:-group}"
code=0 late=0
on_it --rate "${RATE:-5000}/s" --duration "${DURATION:-30s}" "$@" || code=$?
curl -s "$admin/metrics" | awk -v within="${WITHIN:-0.25}" -f "$source/bench/steady.awk" || late=$?
[ "$code" != 0 ] || code=$late
exit "$code"
