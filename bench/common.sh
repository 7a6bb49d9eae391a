# Shared by the scripts beside it; sourced, not run. It builds the appliance, or
# takes the one that APPLIANCE names, and starts one on a free loopback port when
# a script asks for it. Everything it makes is gone when the script ends.

set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
pids= # of what was started here and may still run

# halt PID: ends a process that was started here.
halt() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    left=
    for p in $pids; do
        [ "$p" = "$1" ] || left="$left $p"
    done
    pids=$left
}

cleanup() {
    for p in $pids; do
        halt "$p"
    done
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# build PACKAGE: builds a program of this repository into $dir.
build() {
    (cd "$source" && go build -o "$dir/" "./$1")
}

appliance=${APPLIANCE:-$dir/appliance}
[ -n "${APPLIANCE:-}" ] || build appliance

# The courier that signs the load. Whatever is put under it knows the secret from
# this variable.
BENCH_COURIER_SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export BENCH_COURIER_SECRET
printf '[couriers.demo]\nsecrets = ["env:BENCH_COURIER_SECRET"]\n' >"$dir/courier.toml"

# start COMMAND...: starts a server that prints one line of JSON when it serves, and
# sets pid, and url and admin to where it is.
start() {
    rm -f "$dir/ready"
    "$@" >"$dir/ready" 2>"$dir/log" </dev/null &
    pid=$!
    pids="$pids $pid"
    tries=300
    while [ ! -s "$dir/ready" ]; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ] || ! kill -0 "$pid" 2>/dev/null; then
            cat "$dir/log" >&2
            exit 1
        fi
        sleep 0.1
    done
    url=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$dir/ready")
    admin=$(sed -n 's/.*"admin":"\([^"]*\)".*/\1/p' "$dir/ready")
}

# start_appliance ARGS...: starts an appliance with these flags of `bench serve`.
start_appliance() {
    start "$appliance" bench serve --data-dir "$dir/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 "$@"
}

# on_it ARGS...: puts what was started under load.
on_it() {
    "$appliance" bench --config "$dir/courier.toml" --data-dir "$dir/data" --target "$url" --admin "$admin" "$@"
}

# medians COLUMN...: prints the medians of these columns of $dir/rounds.
medians() {
    for column in "$@"; do
        awk -v c="$column" '{ print $c }' "$dir/rounds" | sort -n | awk '{ v[NR] = $1 } END { printf "%s ", v[int((NR + 1) / 2)] }'
    done
    echo "medians"
}
