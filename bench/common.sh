# Shared by the scripts beside it; sourced, not run. It builds the appliance, or
# takes the one that APPLIANCE names, and starts one on a free loopback port when
# a script asks for it. Everything it makes is gone when the script ends.

set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
pid=

cleanup() {
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

appliance=${APPLIANCE:-$dir/appliance}
[ -n "${APPLIANCE:-}" ] || go build -o "$appliance" ./appliance

# start_appliance ARGS...: starts an appliance with these flags of `bench serve`
# and sets url and admin to where it is.
start_appliance() {
    BENCH_COURIER_SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    export BENCH_COURIER_SECRET
    printf '[couriers.demo]\nsecrets = ["env:BENCH_COURIER_SECRET"]\n' >"$dir/courier.toml"
    "$appliance" bench serve --data-dir "$dir/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 "$@" \
        >"$dir/ready" 2>"$dir/log" </dev/null &
    pid=$!
    tries=30
    while [ ! -s "$dir/ready" ]; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ] || ! kill -0 "$pid" 2>/dev/null; then
            cat "$dir/log" >&2
            exit 1
        fi
        sleep 1
    done
    url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' "$dir/ready")
    admin=$(sed 's/.*"admin":"\([^"]*\)".*/\1/' "$dir/ready")
}

# on_it ARGS...: puts the appliance that was started under load.
on_it() {
    "$appliance" bench --config "$dir/courier.toml" --target "$url" --admin "$admin" "$@"
}
