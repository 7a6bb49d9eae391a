package redis

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/persistence"
)

// metrics are the figures of a Redis cache.
type metrics struct {
	failures *prometheus.CounterVec // by operation
	healthy  prometheus.Gauge
}

// newMetrics makes the figures and registers them with r, unless r is nil.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: persistence.MetricsPrefix + "cache_failures_total", Help: "Calls to Redis that failed, by operation; without those that an open breaker stopped.",
		}, []string{"operation"}),
		healthy: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: persistence.MetricsPrefix + "cache_healthy", Help: "1 while Redis answers, 0 while the breaker is open.",
		}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.failures), r.Register(m.healthy))
}
