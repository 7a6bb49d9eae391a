#!/bin/sh
# Two builds of the appliance in turns under the same load client, fresh for each: what a
# change costs. The client is built from this checkout. ROUNDS (7) pairs of SECONDS_EACH
# (5) at CONNECTIONS (100), SYNC (group); in every second pair the other build goes first.
# Prints the rates and their ratio, then the median ratio and the range of all, which for
# seven pairs holds the true median of the ratio with 98 % confidence (1 - 2 x 0.5^7).
#
#   bench/builds.sh OLD-APPLIANCE NEW-APPLIANCE
. "$(dirname "$0")/common.sh"
[ $# = 2 ] || { echo "usage: bench/builds.sh OLD NEW" >&2; exit 2; }

# measure BUILD: sets result to the rate of its answers.
measure() {
    rm -rf "$dir/data"
    sync # what the last one has left to write is not for this one to wait for
    start "$1" bench serve --data-dir "$dir/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --sync "${SYNC:-group}"
    code=0
    on_it --connections "${CONNECTIONS:-100}" --duration "${SECONDS_EACH:-5}s" --check none --p95 0 --json \
        >"$dir/report" 2>"$dir/progress" || code=$?
    halt "$pid"
    [ "$code" = 0 ] || [ "$code" = 3 ] || { cat "$dir/progress" "$dir/log" >&2; exit "$code"; } # 3: a threshold
    result=$(awk '/"perSecond"/ { gsub(/[^0-9.]/, "", $2); print $2 }' "$dir/report")
}

echo "old, new, ratio"
round=1
while [ "$round" -le "${ROUNDS:-7}" ]; do
    if [ $((round % 2)) = 1 ]; then
        measure "$1" && old=$result
        measure "$2" && new=$result
    else
        measure "$2" && new=$result
        measure "$1" && old=$result
    fi
    echo "$old $new" | awk '{ printf "%.0f %.0f %.3f\n", $1, $2, $2 / $1 }' | tee -a "$dir/rounds"
    round=$((round + 1))
done
awk '{ print $3 }' "$dir/rounds" | sort -n |
    awk '{ v[NR] = $1 } END { printf "median ratio %.3f, range %.3f to %.3f\n", v[int((NR + 1) / 2)], v[1], v[NR] }'
