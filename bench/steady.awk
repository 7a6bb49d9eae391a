# Reads an appliance's metrics and judges the time from acceptance to the stored
# outcome: 99 % have to be within `within` seconds. The histogram has bounds only,
# so what counts is the upper bound of the bucket in which the 99th percentile lies.
# Ends with 3 when that is above, and when there are no figures.

/^courier_gateway_process_latency_seconds_bucket\{le="/ {
    split($1, part, "\"")
    bound[n++] = part[2]
    count[part[2]] = $2
}

END {
    all = count["+Inf"]
    if (all + 0 == 0) {
        print "\naccepted to processed: not measured, MISSED"
        exit 3
    }
    for (i = 0; i < n - 1 && count[bound[i]] < 0.99 * all; i++) { }
    met = bound[i] != "+Inf" && bound[i] + 0 <= within + 0
    printf "\naccepted to processed: p99 at most %s s of %d events, wanted within %s s: %s\n", bound[i], all, within, met ? "ok" : "MISSED"
    exit met ? 0 : 3
}
