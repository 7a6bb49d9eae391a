#!/bin/sh
# An open loop of RATE (5000) events a second for DURATION (30s): how long an answer
# takes, and how long it takes until an event is processed, by the appliance's own
# histogram (the upper bound of the bucket that holds the 99th percentile).
#
#   bench/steady.sh [FLAGS OF bench...]
. "$(dirname "$0")/common.sh"

start_appliance --sync "${SYNC:-group}"
code=0
on_it --rate "${RATE:-5000}/s" --duration "${DURATION:-30s}" "$@" || code=$?
curl -s "$admin/metrics" | awk '
    /^courier_gateway_process_latency_seconds_bucket/ {
        split($1, part, "\""); bound[n++] = part[2]; count[part[2]] = $2
    }
    END {
        for (i = 0; i < n; i++)
            if (count[bound[i]] >= 0.99 * count["+Inf"]) { print "\naccepted to processed: p99 at most " bound[i] " s of " count["+Inf"] " events"; exit }
    }'
exit "$code"
