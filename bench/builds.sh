#!/bin/sh
# Two appliances in turns under the same load client, fresh for each: what a change costs.
# An appliance is the start of a command line: the path of a build, or "env GOGC=100" and
# the path. The client is built from this checkout. ROUNDS (7) pairs of SECONDS_EACH (5)
# at CONNECTIONS (100), SYNC (group); in every second pair the other one goes first.
#
# Prints of each pair the rates of answers and their ratio, the most memory that each took
# and, with REST=SECONDS, what it takes so long after the load (MiB); then the medians, and
# the range of the ratio of rates, which for seven pairs holds its true median with 98 %
# confidence (1 - 2 x 0.5^7).
#
#   bench/builds.sh OLD NEW
. "$(dirname "$0")/common.sh"
[ $# = 2 ] || { echo "usage: bench/builds.sh OLD NEW" >&2; exit 2; }

# memory NAME: a figure of the running appliance's memory, in MiB.
memory() {
    awk -v name="$1:" '$1 == name { printf "%.0f", $2 / 1024 }' "/proc/$pid/status"
}

# measure APPLIANCE: sets result to the rate of its answers, its peak and what it rests at.
measure() {
    rm -rf "$dir/data"
    sync # what the last one has left to write is not for this one to wait for
    # An appliance may be several words.
    # shellcheck disable=SC2086
    start $1 bench serve --data-dir "$dir/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --sync "${SYNC:-group}"
    code=0
    on_it --connections "${CONNECTIONS:-100}" --duration "${SECONDS_EACH:-5}s" --check none --p95 0 --json \
        >"$dir/report" 2>"$dir/progress" || code=$?
    peak=$(memory VmHWM)
    sleep "${REST:-0}"
    rest=$(memory VmRSS)
    halt "$pid"
    [ "$code" = 0 ] || [ "$code" = 3 ] || { cat "$dir/progress" "$dir/log" >&2; exit "$code"; } # 3: a threshold
    result="$(awk '/"perSecond"/ { gsub(/[^0-9.]/, "", $2); print $2 }' "$dir/report") $peak $rest"
}

echo "old, new, ratio; peaks; at rest"
round=1
while [ "$round" -le "${ROUNDS:-7}" ]; do
    if [ $((round % 2)) = 1 ]; then
        measure "$1"
        old=$result
        measure "$2"
        new=$result
    else
        measure "$2"
        new=$result
        measure "$1"
        old=$result
    fi
    echo "$old $new" | awk '{ printf "%.0f %.0f %.3f  %d %d  %d %d\n", $1, $4, $4 / $1, $2, $5, $3, $6 }' | tee -a "$dir/rounds"
    round=$((round + 1))
done
medians 1 2 3 4 5 6 7
awk '{ print $3 }' "$dir/rounds" | sort -n | awk '{ v[NR] = $1 } END { printf "range of the ratio: %.3f to %.3f\n", v[1], v[NR] }'
