package persistence

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
)

const metricsPrefix = "courier_gateway_persistence_"

// storeMetrics are the figures of one store.
type storeMetrics struct {
	seconds  *prometheus.HistogramVec // by operation
	failures *prometheus.CounterVec   // by operation and code
	refused  prometheus.Counter
	swept    *prometheus.CounterVec // by table
}

// newStoreMetrics makes the figures of the named store and registers them with
// r, unless r is nil.
func newStoreMetrics(r prometheus.Registerer, store string) (*storeMetrics, error) {
	label := prometheus.Labels{"store": store}
	m := &storeMetrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: metricsPrefix + "operation_seconds", Help: "Duration of a store's operations, by operation.",
			ConstLabels: label, Buckets: prometheus.ExponentialBuckets(100e-6, 2, 17),
		}, []string{"operation"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricsPrefix + "operation_failures_total", Help: "Operations that failed as a whole, by operation and code.",
			ConstLabels: label,
		}, []string{"operation", "code"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricsPrefix + "refused_changes_total", Help: "Changes refused, nearly all because a row had moved.",
			ConstLabels: label,
		}),
		swept: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricsPrefix + "swept_rows_total", Help: "Rows deleted because their time was up or there were too many, by table.",
			ConstLabels: label,
		}, []string{"table"}),
	}
	return m, register(r, m.seconds, m.failures, m.refused, m.swept)
}

// observe records one operation; a row that does not exist is no failure.
func (m *storeMetrics) observe(op string, began time.Time, err error) {
	m.seconds.WithLabelValues(op).Observe(time.Since(began).Seconds())
	if code := event.CodeOf(err); code != "" && code != event.NotFound {
		m.failures.WithLabelValues(op, string(code)).Inc()
	}
}

// committed records the outcomes of a commit's changes.
func (m *storeMetrics) committed(outcomes []error) {
	for _, err := range outcomes {
		if err != nil {
			m.refused.Inc()
		}
	}
}

// register registers all of cs with r, unless r is nil.
func register(r prometheus.Registerer, cs ...prometheus.Collector) error {
	if r == nil {
		return nil
	}
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// redisMetrics are the figures of a Redis cache.
type redisMetrics struct {
	failures *prometheus.CounterVec // by operation
	healthy  prometheus.Gauge
}

// newRedisMetrics makes the figures and registers them with r, unless r is nil.
func newRedisMetrics(r prometheus.Registerer) (*redisMetrics, error) {
	m := &redisMetrics{
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricsPrefix + "cache_failures_total", Help: "Calls to Redis that failed, by operation; without those that an open breaker stopped.",
		}, []string{"operation"}),
		healthy: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: metricsPrefix + "cache_healthy", Help: "1 while Redis answers, 0 while the breaker is open.",
		}),
	}
	return m, register(r, m.failures, m.healthy)
}
