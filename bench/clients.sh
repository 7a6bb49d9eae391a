#!/bin/sh
# Two load clients in turns on the same server, fresh for each: what the second one costs.
# A client is the start of a command line that takes the flags of `appliance bench`, such
# as "appliance bench --client vegeta", or another build of the appliance. SERVER is how
# the appliance flushes (group), or hmac for the server of bench/compare that does no
# more than verify. ROUNDS (7) of SECONDS_EACH (4) at CONNECTIONS (100). Prints both
# rates of each round, then the medians of the rates and of their ratio.
#
#   bench/clients.sh "FIRST CLIENT" "SECOND CLIENT"
. "$(dirname "$0")/common.sh"
[ $# = 2 ] || { echo "usage: bench/clients.sh FIRST SECOND" >&2; exit 2; }
[ "${SERVER:=group}" != hmac ] || build bench/compare

# measure CLIENT: prints the events acknowledged in a second.
measure() {
    rm -rf "$dir/data"
    sync # what the last one has left to write is not for this one to wait for
    if [ "$SERVER" = hmac ]; then
        start "$dir/compare" serve --keep hmac
    else
        start_appliance --sync "$SERVER"
    fi
    code=0
    # shellcheck disable=SC2086 # a client is several words
    $1 --config "$dir/courier.toml" --target "$url" --connections "${CONNECTIONS:-100}" \
        --duration "${SECONDS_EACH:-4}s" --check none --p95 0 --json >"$dir/report" 2>"$dir/progress" || code=$?
    halt "$pid"
    [ "$code" = 0 ] || [ "$code" = 3 ] || { cat "$dir/progress" >&2; exit "$code"; } # 3: a threshold
    rate=$(awk '/"perSecond"/ { gsub(/[^0-9.]/, "", $2); print $2; exit }' "$dir/report")
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

round=1
while [ "$round" -le "${ROUNDS:-7}" ]; do
    measure "$1"
    first=$rate
    measure "$2"
    echo "$first $rate" | awk '{ printf "%.0f %.0f %.3f\n", $1, $2, $2 / $1 }' | tee -a "$dir/rates"
    round=$((round + 1))
done
for column in 1 2 3; do
    awk -v c="$column" '{ print $c }' "$dir/rates" | median
done | paste -s -d ' ' - | sed 's/^/medians: /'
