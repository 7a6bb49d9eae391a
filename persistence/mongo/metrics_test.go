package mongo

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// TestPoolMetrics has a command hold the only connection, and another wait for it in vain;
// then the server closes a connection in the middle of a command.
func TestPoolMetrics(t *testing.T) {
	t.Parallel()
	answer, asked := make(chan struct{}), make(chan struct{})
	var drop atomic.Bool
	s := &scriptedMongo{answer: func(name string, c bson.M) bson.M {
		switch {
		case name != "find":
			return nil
		case drop.Load():
			return dropped
		}
		close(asked)
		<-answer
		return nil
	}}
	c := testConfig(s.start(t))
	registry := prometheus.NewRegistry()
	c.Registerer = registry
	m := openTest(t, c)
	if err := m.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	find := func(ctx context.Context) error {
		return errorOf(m.Ledger.Records(ctx, []event.Identity{{Courier: "c", Key: "k"}}))
	}
	wants := func(want map[string]float64) {
		t.Helper()
		storetest.Eventually(t, fmt.Sprintf("the metrics to be %v", want), func() bool {
			got := poolFigures(registry)
			for name, n := range want {
				if got[name] != n {
					return false
				}
			}
			return true
		})
	}
	var first error
	var running sync.WaitGroup
	running.Go(func() { first = find(context.WithoutCancel(t.Context())) })
	<-asked
	wants(map[string]float64{"connections": 1, "connections_in_use": 1, "connections_created_total": 1})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	before := poolFigures(registry)["wait_seconds"]
	if err := find(short); event.CodeOf(err) != event.DependencyDown {
		t.Errorf("without a connection: %v", err)
	}
	wants(map[string]float64{"wait_failures_total timeout": 1, "wait_seconds": before + 1, "connections_in_use": 1})
	close(answer)
	running.Wait()
	if first != nil {
		t.Error(first)
	}
	wants(map[string]float64{"connections": 1, "connections_in_use": 0, "cleared_total": 0})

	drop.Store(true)
	if err := find(t.Context()); err == nil {
		t.Error("a closed connection has answered")
	}
	figures := poolFigures(registry)
	if figures["cleared_total"] < 1 || figures["connections_closed_total error"]+figures["connections_closed_total stale"] < 1 {
		t.Errorf("after closed connections the metrics are %v", figures)
	}
}

// poolFigures returns the metrics of the pools by name and reason; of the histogram, how many
// it has seen.
func poolFigures(r *prometheus.Registry) map[string]float64 {
	figures := map[string]float64{}
	const prefix = persistence.MetricsPrefix + "mongodb_pool_"
	for _, family := range storetest.Must(r.Gather()) {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if len(name) > len(prefix) {
				figures[name[len(prefix):]] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return figures
}
