#!/bin/sh
# 100 connections at once, duplicates, refusals, disorder and faults, and a proof
# for every event. Ends after EVENTS events (100,000) and their backlog.
#
#   bench/concurrent.sh [FLAGS OF bench...]
. "$(dirname "$0")/common.sh"

"$appliance" bench --connections 100 --events "${EVENTS:-100000}" \
    --duplicates 10% --invalid 5% --out-of-order 10% --transient 5% --permanent 1% \
    --check all --drain-timeout 5m "$@"
