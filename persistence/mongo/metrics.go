package mongo

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	drivers "go.mongodb.org/mongo-driver/v2/event"

	"github.com/fincart/courier-gateway/persistence"
)

// poolMetrics are the figures of the connections to the servers, of all of them together.
// Reasons are the driver's, a closed set.
type poolMetrics struct {
	open, inUse      prometheus.Gauge
	waited           prometheus.Histogram
	created, cleared prometheus.Counter
	closed, refused  *prometheus.CounterVec // by reason
}

// newPoolMetrics makes the figures and registers them with r, unless r is nil.
func newPoolMetrics(r prometheus.Registerer) (*poolMetrics, error) {
	const prefix = persistence.MetricsPrefix + "mongodb_pool_"
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
	}
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: prefix + name, Help: help}
	}
	m := &poolMetrics{
		open:  gauge("connections", "Connections to MongoDB that are open or being made."),
		inUse: gauge("connections_in_use", "Connections to MongoDB that a command is using."),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "wait_seconds", Help: "How long commands waited for a connection, until they had one or gave up.",
			Buckets: prometheus.ExponentialBuckets(10e-6, 4, 10), // to 2.6 s
		}),
		created: prometheus.NewCounter(counter("connections_created_total", "Connections to MongoDB that were begun.")),
		cleared: prometheus.NewCounter(counter("cleared_total", "How often a pool's connections were dropped because of an error of the network or a failover.")),
		closed:  prometheus.NewCounterVec(counter("connections_closed_total", "Connections to MongoDB that ended, by reason."), []string{"reason"}),
		refused: prometheus.NewCounterVec(counter("wait_failures_total", "Commands that got no connection, by reason: with timeout the pool is too small or the server too slow."), []string{"reason"}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.open, m.inUse, m.waited, m.created, m.cleared, m.closed, m.refused} {
		if r != nil {
			errs = append(errs, r.Register(c))
		}
	}
	return m, errors.Join(errs...)
}

// monitor returns what the driver calls for each event of its pools.
func (m *poolMetrics) monitor() *drivers.PoolMonitor {
	return &drivers.PoolMonitor{Event: func(e *drivers.PoolEvent) {
		switch e.Type {
		case drivers.ConnectionCreated:
			m.created.Inc()
			m.open.Inc()
		case drivers.ConnectionClosed:
			m.closed.WithLabelValues(e.Reason).Inc()
			m.open.Dec()
		case drivers.ConnectionCheckedOut:
			m.waited.Observe(e.Duration.Seconds())
			m.inUse.Inc()
		case drivers.ConnectionCheckedIn:
			m.inUse.Dec()
		case drivers.ConnectionCheckOutFailed:
			m.waited.Observe(e.Duration.Seconds())
			m.refused.WithLabelValues(e.Reason).Inc()
		case drivers.ConnectionPoolCleared:
			m.cleared.Inc()
		}
	}}
}
