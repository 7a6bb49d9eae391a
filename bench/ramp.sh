#!/bin/sh
# More and more events a second, in open loop on one appliance, until a threshold
# is missed or the answers fall behind: the last rate before that is what this machine
# can carry. Each step takes SECONDS_EACH (5) and the time to drain; the last step is
# 64,000/s.
#
#   bench/ramp.sh [FLAGS OF bench for every step...]
. "$(dirname "$0")/common.sh"

start_appliance --sync "${SYNC:-group}"
carried=0
for rate in 1000 2000 4000 6000 8000 12000 16000 24000 32000 48000 64000; do
    code=0
    on_it --rate "$rate/s" --duration "${SECONDS_EACH:-5}s" --timeout 5s --check 2000 --drain-timeout 5m "$@" \
        >"$dir/step" 2>"$dir/progress" || code=$?
    printf '%6s/s  ' "$rate"
    awk '/^ACKNOWLEDGED/ { getline; printf "acknowledged %s  p50 %s  p99 %s  p99.9 %s  max %s", $1, $2, $5, $6, $7 }' "$dir/step"
    acknowledged=$(awk '/^ACKNOWLEDGED/ { getline; gsub(/[^0-9]/, "", $1); print $1 }' "$dir/step")
    case $code in
    0)
        if [ $((100 * acknowledged)) -lt $((98 * rate)) ]; then
            echo "  fell behind"
            break
        fi
        echo
        carried=$rate
        ;;
    3) echo "  missed:"; grep MISSED "$dir/step"; break ;;
    *) echo; cat "$dir/progress" >&2; exit "$code" ;;
    esac
done
echo "carried: $carried events a second"
[ "$carried" -gt 0 ]
