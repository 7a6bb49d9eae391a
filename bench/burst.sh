#!/bin/sh
# A calm stream, a burst of as much as 400 connections can send, and calm again:
# nothing may be lost in the burst, and the calm after it is as fast as before.
# Takes three times SECONDS_EACH (10) and the time to drain.
#
#   bench/burst.sh [FLAGS OF bench for all three parts...]
. "$(dirname "$0")/common.sh"
seconds=${SECONDS_EACH:-10}

start_appliance --sync "${SYNC:-group}"
echo "== calm: ${CALM:-200}/s"
on_it --rate "${CALM:-200}/s" --duration "${seconds}s" "$@"
echo "== burst: 400 connections"
on_it --connections 400 --duration "${seconds}s" --p95 0 --drain-timeout 5m "$@"
echo "== calm again: ${CALM:-200}/s"
on_it --rate "${CALM:-200}/s" --duration "${seconds}s" "$@"
