#!/bin/sh
# Compares the appliance with other servers, in one session: the appliance with its
# three ways to flush; a server that only verifies the signature and answers; and two
# that put each event into a Redis stream with `appendfsync always`. All of them
# run alone, fresh, under the same closed loop of CONNECTIONS ("10 100 1000") for
# SECONDS_EACH (5), in ROUNDS (3) that take turns, so that noise hits all alike.
# Prints the medians, and what the appliance reaches of its targets; with JUDGE=1
# it ends with 3 when it misses one, or does not measure what one is about.
#
# Without redis-server the two Redis servers are skipped, which is an error in CI
# and with JUDGE=1.
#
#   bench/compare.sh
. "$(dirname "$0")/common.sh"

build bench/compare
mkdir "$dir/reports"
servers="group interval always hmac redis redis-pipelined"
if ! command -v redis-server >/dev/null; then
    echo "redis-server is not installed, so nothing is compared with Redis" >&2
    [ "${CI:-}" != true ] && [ -z "${JUDGE:-}" ] || exit 1
    servers="group interval always hmac"
fi

# start_redis: starts a Redis server that flushes each write, and sets redis and
# redis_port.
start_redis() {
    redis_port=$("$dir/compare" port)
    redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$dir/data" --save "" \
        --appendonly yes --appendfsync always --auto-aof-rewrite-percentage 0 >"$dir/redis.log" 2>&1 </dev/null &
    redis=$!
    pids="$pids $redis"
    tries=100
    until grep -q "Ready to accept connections" "$dir/redis.log"; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ] || ! kill -0 "$redis" 2>/dev/null; then
            cat "$dir/redis.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# measure SERVER CONNECTIONS ROUND
measure() {
    rm -rf "$dir/data"
    mkdir "$dir/data"
    sync # what the last one has left to write is not for this one to wait for
    redis=
    case $1 in
    hmac) start "$dir/compare" serve --sink hmac ;;
    redis | redis-pipelined)
        start_redis
        start "$dir/compare" serve --sink "$1" --redis "127.0.0.1:$redis_port" --pool "$2"
        ;;
    *) start_appliance --sync "$1" ;;
    esac
    code=0
    on_it --connections "$2" --duration "${SECONDS_EACH:-5}s" --check none --p95 0 --json \
        >"$dir/reports/$1.$2.$3.json" 2>"$dir/progress" || code=$?
    halt "$pid"
    [ -z "$redis" ] || halt "$redis"
    if [ "$code" != 0 ] && [ "$code" != 3 ]; then # 3: a threshold, see the table
        cat "$dir/progress" "$dir/log" >&2
        exit "$code"
    fi
}

round=1
while [ "$round" -le "${ROUNDS:-3}" ]; do
    for connections in ${CONNECTIONS:-10 100 1000}; do
        for server in $servers; do
            echo "round $round, $connections connections: $server" >&2
            measure "$server" "$connections" "$round"
        done
    done
    round=$((round + 1))
done
"$dir/compare" table ${JUDGE:+--judge} "$dir/reports"
