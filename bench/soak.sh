#!/bin/sh
# A steady stream with faults for a long time: RATE (2000) events a second for
# DURATION (10m). The page, HTML (soak.html in the directory for temporary files),
# shows whether latency, backlog or retries grow.
#
#   bench/soak.sh [FLAGS OF bench...]
. "$(dirname "$0")/common.sh"

"$appliance" bench --rate "${RATE:-2000}/s" --duration "${DURATION:-10m}" \
    --duplicates 5% --invalid 2% --out-of-order 5% --transient 2% --permanent 0.1% \
    --drain-timeout 5m --html "${HTML:-${TMPDIR:-/tmp}/soak.html}" "$@"
