package jetstream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/external"
	"github.com/fincart/courier-gateway/jetstream/integrity"
)

// metrics are the figures of one Broker.
type metrics struct {
	stored         prometheus.Counter // publishes by outcome, as are the next three
	duplicates     prometheus.Counter
	conflicts      prometheus.Counter
	refused        prometheus.Counter
	publishSeconds prometheus.Histogram
	expiredSlots   prometheus.Counter
	windowIDs      prometheus.Gauge
	flushes        prometheus.Counter
	flushedEvents  prometheus.Counter
	flushErrors    prometheus.Counter
	flushSeconds   prometheus.Histogram
	restarts       prometheus.Counter
	missing        prometheus.Counter
	lost           prometheus.Gauge
	lostOpen       prometheus.Gauge
	unreadable     prometheus.Gauge
	purged         prometheus.Counter
	deliveries     prometheus.Counter
	settled        *prometheus.CounterVec // by action: ack, retry, exhausted, dead
	advisories     prometheus.Counter
	foreign        prometheus.Counter
	healthy        prometheus.Gauge
	messages       prometheus.Gauge
	bytes          prometheus.Gauge
	limit          prometheus.Gauge
	pending        prometheus.Gauge
	inFlight       prometheus.Gauge
	unhandled      prometheus.Gauge
	ackFloor       prometheus.Gauge
	verified       prometheus.Gauge
	diskFree       prometheus.Gauge
	unconsumed     prometheus.Gauge
	hasLeader      prometheus.Gauge
	wanted         prometheus.Gauge
	current        prometheus.Gauge
	lag            prometheus.Gauge
	connections    *prometheus.GaugeVec // by connection and server

	integrity  integrity.Metrics // some of these
	unregister func()            // takes them out of the registry again
}

// newMetrics makes the figures and registers them with r.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	set := &collectors{}
	publishes := set.counters("publishes_total", "Publishes, by outcome.", "outcome")
	m := &metrics{
		stored:         publishes.WithLabelValues("stored"),
		duplicates:     publishes.WithLabelValues("duplicate"),
		conflicts:      publishes.WithLabelValues("conflict"),
		refused:        publishes.WithLabelValues("refused"),
		publishSeconds: set.histogram("publish_seconds", "Time from a publish to its answer, the flush included."),
		expiredSlots:   set.counter("expired_slots_total", "Publishes that got no answer in time."),
		windowIDs:      set.gauge("window_ids", "Message ids of the duplicate window in memory, embedded only."),
		flushes:        set.counter("flushes_total", "Group flushes."),
		flushedEvents:  set.counter("flushed_events_total", "Publishes made durable by a group flush."),
		flushErrors:    set.counter("flush_errors_total", "Group flushes that failed, their whole group refused."),
		flushSeconds:   set.histogram("flush_seconds", "Duration of one group flush."),
		restarts:       set.counter("restarts_total", "Restarts of the embedded broker after an error."),
		missing:        set.counter("missing_events_total", "Events found missing from the stream since the start, before they were looked up in the ledger."),
		lost:           set.gauge("lost_events", "Accepted events that the queue has lost, acknowledged losses included."),
		lostOpen:       set.gauge("unacknowledged_lost_events", "Accepted events that the queue has lost and no operator has acknowledged."),
		unreadable:     set.gauge("unreadable_bytes", "Bytes that the broker could not read and dropped when it last opened its files."),
		purged:         set.counter("purged_messages_total", "Events of the history that retention removed."),
		deliveries:     set.counter("deliveries_total", "Deliveries returned by pulls, redeliveries included."),
		settled:        set.counters("settled_total", "Verdicts sent to the broker, by action.", "action"),
		advisories:     set.counter("advisories_total", "Advisories returned by pulls, repeats included."),
		foreign:        set.counter("foreign_advisories_total", "Advisories ignored because they are not about our verdicts."),
		healthy:        set.gauge("healthy", "1 when events are accepted, else 0."),
		messages:       set.gauge("stored_messages", "Events in the stream, history included."),
		bytes:          set.gauge("stored_bytes", "Bytes in the stream, history included."),
		limit:          set.gauge("stored_limit_bytes", "Limit of the stream."),
		pending:        set.gauge("pending_events", "Events waiting for their first delivery."),
		inFlight:       set.gauge("in_flight_events", "Events delivered and not settled yet."),
		unhandled:      set.gauge("unhandled_advisories", "Advisories waiting to become dead letters."),
		ackFloor:       set.gauge("ack_floor_sequence", "Every sequence up to here is settled."),
		verified:       set.gauge("verified_sequence", "Every sequence up to here is reconciled."),
		diskFree:       set.gauge("disk_free_bytes", "Free space on the store's file system."),
		unconsumed:     set.gauge("unconsumed_seconds", "For how long no process has asked for events, 0 while one does."),
		hasLeader:      set.gauge("has_leader", "1 when a server leads the stream, external only."),
		wanted:         set.gauge("replicas_wanted", "Servers that are to hold the stream, external only."),
		current:        set.gauge("replicas_current", "Servers that hold all of the stream, its leader included, external only."),
		lag:            set.gauge("replica_lag_operations", "Of the replica that is furthest behind the leader, external only."),
		connections:    set.gauges("connection_server", "1 for the server that each connection is on, external only.", "connection", "server"),
	}
	m.integrity = integrity.Metrics{Missing: m.missing, Lost: m.lost, LostOpen: m.lostOpen, Unreadable: m.unreadable}
	m.unregister = func() {
		for _, c := range set.all {
			r.Unregister(c)
		}
	}
	for _, c := range set.all {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// collectors makes collectors under the package's prefix and lists them.
type collectors struct{ all []prometheus.Collector }

const metricsPrefix = "courier_gateway_jetstream_"

func add[C prometheus.Collector](s *collectors, c C) C {
	s.all = append(s.all, c)
	return c
}

func (s *collectors) counter(name, help string) prometheus.Counter {
	return add(s, prometheus.NewCounter(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help}))
}

func (s *collectors) counters(name, help, label string) *prometheus.CounterVec {
	return add(s, prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help}, []string{label}))
}

func (s *collectors) gauge(name, help string) prometheus.Gauge {
	return add(s, prometheus.NewGauge(prometheus.GaugeOpts{Name: metricsPrefix + name, Help: help}))
}

func (s *collectors) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return add(s, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricsPrefix + name, Help: help}, labels))
}

func (s *collectors) histogram(name, help string) prometheus.Histogram {
	return add(s, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: metricsPrefix + name, Help: help, Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
	}))
}

func (m *metrics) flushed(took time.Duration) {
	m.flushes.Inc()
	m.flushSeconds.Observe(took.Seconds())
}

func (m *metrics) published(r event.Receipt, err error, took time.Duration) {
	outcome := m.stored
	switch {
	case err != nil:
		outcome = m.refused
	case r.Conflict:
		outcome = m.conflicts
	case r.Duplicate:
		outcome = m.duplicates
	}
	outcome.Inc()
	m.publishSeconds.Observe(took.Seconds())
}

func (m *metrics) state(s event.QueueState) {
	m.healthy.Set(0)
	if s.Healthy {
		m.healthy.Set(1)
	}
	m.messages.Set(float64(s.Messages))
	m.bytes.Set(float64(s.Bytes))
	m.limit.Set(float64(s.MaxBytes))
	m.pending.Set(float64(s.Pending))
	m.inFlight.Set(float64(s.InFlight))
	m.unhandled.Set(float64(s.Advisories))
	m.ackFloor.Set(float64(s.AckFloor))
	m.verified.Set(float64(s.Verified))
	m.diskFree.Set(float64(s.DiskFree))
	m.unconsumed.Set(0)
	if !s.UnconsumedSince.IsZero() {
		m.unconsumed.Set(time.Since(s.UnconsumedSince).Seconds())
	}
	if s.Servers != nil {
		m.servers(s.Servers)
	}
}

func (m *metrics) servers(s *event.QueueServers) {
	m.hasLeader.Set(0)
	if s.Leader != "" {
		m.hasLeader.Set(1)
	}
	lag := uint64(0)
	for _, r := range s.Replicas {
		lag = max(lag, r.Lag)
	}
	m.wanted.Set(float64(s.Wanted))
	m.current.Set(float64(external.Current(s)))
	m.lag.Set(float64(lag))
	m.connections.Reset()
	for role, server := range s.Connected {
		if server != "" {
			m.connections.WithLabelValues(role, server).Set(1)
		}
	}
}
