package process

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the figures of this package.
type Metrics struct {
	processed        prometheus.Counter
	failed           *prometheus.CounterVec // by code
	dead             *prometheus.CounterVec // by code
	unmapped         *prometheus.CounterVec // by courier
	duplicates       prometheus.Counter
	conflicts        prometheus.Counter
	versionConflicts prometheus.Counter
	cacheErrors      prometheus.Counter
	lostBodies       prometheus.Counter
	latency          prometheus.Histogram
	reconciled       prometheus.Counter
	requeued         prometheus.Counter
	verified         prometheus.Gauge
}

// NewMetrics registers the figures of one appliance on reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "courier_gateway_process_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	by := func(label, name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "courier_gateway_process_" + name, Help: help}, []string{label})
		reg.MustRegister(c)
		return c
	}
	m := &Metrics{
		processed:        counter("processed_total", "Events applied to a shipment."),
		failed:           by("code", "failed_attempts_total", "Attempts that failed and will be repeated, by code."),
		dead:             by("code", "dead_letters_total", "Events moved to the dead letters, by code."),
		unmapped:         by("courier", "unmapped_total", "Events applied with a status that no mapping knows, by courier."),
		duplicates:       counter("duplicates_total", "Deliveries of events that had their outcome already."),
		conflicts:        counter("conflicts_total", "Deliveries of an idempotency key with another body than the first."),
		versionConflicts: counter("version_conflicts_total", "Changes read and written again because a row had changed."),
		cacheErrors:      counter("cache_errors_total", "Calls of the idempotency cache that failed; the ledger answered instead."),
		lostBodies:       counter("lost_bodies_total", "Exhausted events that were no longer in the stream. Anything but 0 is a fault."),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "courier_gateway_process_latency_seconds", Help: "Time from acceptance to the stored outcome.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 16),
		}),
		reconciled: counter("reconciled_total", "Settled events whose outcome was verified."),
		requeued:   counter("requeued_total", "Settled events without an outcome, requeued. Anything but 0 is a fault."),
		verified: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "courier_gateway_process_verified_sequence", Help: "Every event up to this stream sequence has its outcome.",
		}),
	}
	reg.MustRegister(m.latency, m.verified)
	return m
}
