package persistence

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
)

// MetricsPrefix is what the name of every metric of the stores and caches begins with.
const MetricsPrefix = "courier_gateway_persistence_"

// StoreMetrics are the figures of one store.
type StoreMetrics struct {
	seconds  *prometheus.HistogramVec // by operation
	failures *prometheus.CounterVec   // by operation and code
	refused  prometheus.Counter
	swept    *prometheus.CounterVec // by table
}

// NewStoreMetrics makes the figures of the named store and registers them with
// r, unless r is nil.
func NewStoreMetrics(r prometheus.Registerer, store string) (*StoreMetrics, error) {
	label := prometheus.Labels{"store": store}
	m := &StoreMetrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: MetricsPrefix + "operation_seconds", Help: "Duration of a store's operations, by operation.",
			ConstLabels: label, Buckets: prometheus.ExponentialBuckets(100e-6, 2, 17),
		}, []string{"operation"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: MetricsPrefix + "operation_failures_total", Help: "Operations that failed as a whole, by operation and code.",
			ConstLabels: label,
		}, []string{"operation", "code"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: MetricsPrefix + "refused_changes_total", Help: "Changes refused, nearly all because a row had changed.",
			ConstLabels: label,
		}),
		swept: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: MetricsPrefix + "swept_rows_total", Help: "Rows deleted because their time was up or there were too many, by table.",
			ConstLabels: label,
		}, []string{"table"}),
	}
	return m, register(r, m.seconds, m.failures, m.refused, m.swept)
}

// Observe records one operation; a row that does not exist is no failure.
func (m *StoreMetrics) Observe(op string, began time.Time, err error) {
	m.seconds.WithLabelValues(op).Observe(time.Since(began).Seconds())
	if code := event.CodeOf(err); code != "" && code != event.NotFound {
		m.failures.WithLabelValues(op, string(code)).Inc()
	}
}

// Committed records the outcomes of a commit's changes.
func (m *StoreMetrics) Committed(outcomes []error) {
	for _, err := range outcomes {
		if err != nil {
			m.refused.Inc()
		}
	}
}

// Swept counts rows of a table that were deleted because their time was up or there
// were too many.
func (m *StoreMetrics) Swept(table string, rows int64) {
	m.swept.WithLabelValues(table).Add(float64(rows))
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
