#!/bin/sh
# Two load clients in turns on the same server, fresh for each: what the second one costs.
# A client is the start of a command line that takes the flags of `appliance bench`, such
# as "appliance bench --client vegeta", or another build of the appliance. SERVER is how
# the appliance flushes (group), or hmac for the server of bench/compare that does no
# more than verify. ROUNDS (7) of SECONDS_EACH (4) at CONNECTIONS (100). Prints the rates
# of each round, the processor time (µs) that client and server took for an answer, which
# depends less on what else the machine does, and the medians, those of the ratios last.
#
#   bench/clients.sh "FIRST CLIENT" "SECOND CLIENT"
. "$(dirname "$0")/common.sh"
[ $# = 2 ] || { echo "usage: bench/clients.sh FIRST SECOND" >&2; exit 2; }
[ "${SERVER:=group}" != hmac ] || build bench/compare

# measure CLIENT: sets result to its rate and its processor time for an answer.
measure() {
    rm -rf "$dir/data"
    sync # what the last one has left to write is not for this one to wait for
    times >"$dir/times"
    before=$(awk 'NR == 2 { gsub(/[ms]/, " "); print 60 * ($1 + $3) + $2 + $4 }' "$dir/times")
    if [ "$SERVER" = hmac ]; then
        start "$dir/compare" serve --sink hmac
    else
        start_appliance --sync "$SERVER"
    fi
    code=0
    # A client is several words.
    $1 --config "$dir/courier.toml" --target "$url" --connections "${CONNECTIONS:-100}" \
        --duration "${SECONDS_EACH:-4}s" --check none --p95 0 --json >"$dir/report" 2>"$dir/progress" || code=$?
    halt "$pid"
    [ "$code" = 0 ] || [ "$code" = 3 ] || { cat "$dir/progress" >&2; exit "$code"; } # 3: a threshold
    times >"$dir/times"
    result=$(awk -v before="$before" '
        FNR == NR { if (FNR == 2) { gsub(/[ms]/, " "); used = 60 * ($1 + $3) + $2 + $4 - before }; next }
        /"lastedSeconds"|"perSecond"/ { name = $1; gsub(/[^0-9.]/, "", $2); value[name] = $2 }
        END { rate = value["\"perSecond\":"]; print rate, 1e6 * used / rate / value["\"lastedSeconds\":"] }' "$dir/times" "$dir/report")
}

echo "rates and ratio; processor time and ratio"
round=1
while [ "$round" -le "${ROUNDS:-7}" ]; do
    measure "$1"
    first=$result
    measure "$2"
    echo "$first $result" | awk '{ printf "%.0f %.0f %.3f  %.0f %.0f %.3f\n", $1, $3, $3 / $1, $2, $4, $4 / $2 }' | tee -a "$dir/rounds"
    round=$((round + 1))
done
medians 1 2 3 4 5 6
