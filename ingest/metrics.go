package ingest

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Values of the code label besides those of [event.Code].
const (
	codeAccepted  = "ACCEPTED"
	codeDuplicate = "DUPLICATE"
	codeConflict  = "CONFLICT" // a duplicate with another body
	codeHandshake = "HANDSHAKE"
	codeIgnored   = "IGNORED"
)

// Why a request that was to have a record of its own was only counted in an aggregate.
const (
	droppedFull     = "queue_full"
	droppedUnstored = "not_stored"
)

// noCourier is the courier label of requests that name no courier of ours. No
// courier can have this name.
const noCourier = "-"

type metrics struct {
	requests     *prometheus.CounterVec
	accepted     prometheus.Observer
	refused      prometheus.Observer
	ignored      prometheus.Observer
	inFlight     prometheus.Gauge
	connsRefused *prometheus.CounterVec
	bytes        prometheus.Counter
	observed     *prometheus.CounterVec
	dropped      *prometheus.CounterVec
	leftOut      *prometheus.CounterVec
}

// newMetrics registers the metrics with r; open returns how many connections are open.
func newMetrics(r prometheus.Registerer, open func() int) (*metrics, error) {
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "courier_gateway_ingest_request_seconds",
		Help:    "Time from a request read to its answer made, by whether the event was accepted, refused or ignored.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"outcome"})
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "courier_gateway_ingest_requests_total",
			Help: "Answered requests by courier and by what was answered.",
		}, []string{"courier", "code"}),
		accepted: durations.WithLabelValues("accepted"),
		refused:  durations.WithLabelValues("refused"),
		ignored:  durations.WithLabelValues("ignored"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "courier_gateway_ingest_requests_in_flight",
			Help: "Requests whose headers are read and that are not answered yet.",
		}),
		connsRefused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "courier_gateway_ingest_connections_refused_total",
			Help: "Connections that were refused, by the limit they met.",
		}, []string{"code"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "courier_gateway_ingest_body_bytes_total",
			Help: "Bytes of the bodies whose signatures were checked.",
		}),
		observed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "courier_gateway_ingest_observed_total",
			Help: "Accepted requests of couriers in observe mode, by what they would have been refused with.",
		}, []string{"courier", "code"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "courier_gateway_ingest_records_dropped_total",
			Help: "Refused and observed requests that are only counted in aggregates because the store did not accept their records, by where they were lost.",
		}, []string{"reason"}),
	}
	m.leftOut = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "courier_gateway_ingest_left_out_total",
		Help: "Accepted events of which something could not be read and was left out, by courier; the attempt in the ledger says what.",
	}, []string{"courier"})
	conns := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "courier_gateway_ingest_connections",
		Help: "Open connections.",
	}, func() float64 { return float64(open()) })
	var errs []error
	for _, reason := range []string{droppedFull, droppedUnstored} {
		m.dropped.WithLabelValues(reason) // so that the first one is seen as a rise
	}
	for _, c := range []prometheus.Collector{m.requests, durations, m.inFlight, conns, m.connsRefused, m.bytes, m.observed, m.dropped, m.leftOut} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// count counts an answer; courier is nil for no courier of ours.
func (m *metrics) count(courier *courier, code event.Code) {
	name := noCourier
	if courier != nil {
		name = courier.name
	}
	m.requests.WithLabelValues(name, string(code)).Inc()
}
