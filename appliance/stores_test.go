package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence/sqlite"
)

// TestRetentionOfTheStore starts on a store with rows a day older and a day younger
// than each kind is kept by default, and again with shipments that expire.
func TestRetentionOfTheStore(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	cfg := quick(t)
	fillStore(t, cfg, map[string]int{"event": 30, "letter": 90, "shipment": 365, "request": 7})
	a := startApp(t, cfg, nil)
	var row map[string]any
	kept := func(kind string, days int) bool {
		path := map[string]string{
			"event": "/api/v1/events/", "letter": "/api/v1/dead-letters/", "shipment": "/api/v1/shipments/", "request": "/api/v1/rejections/",
		}[kind]
		return a.get(path+aged(kind, days), &row)
	}
	for kind, days := range map[string]int{"event": 30, "letter": 90, "request": 7} {
		eventually(t, "an old "+kind+" to go", func() bool { return !kept(kind, days+1) })
		if !kept(kind, days-1) {
			t.Errorf("the %s is gone before its %d days are over", kind, days)
		}
	}
	if !kept("shipment", 366) {
		t.Error("a shipment is gone, which are kept forever")
	}
	a.halt()
	cfg.Persistence.ShipmentTTL = 365 * day
	a = startApp(t, cfg, nil)
	eventually(t, "an old shipment to go", func() bool { return !kept("shipment", 366) })
	if !kept("shipment", 364) {
		t.Error("the shipment is gone before its time is over")
	}
}

// aged names a row that is so many days old.
func aged(kind string, days int) string { return fmt.Sprintf("%s-%d", kind, days) }

// fillStore puts two rows of each kind into a configuration's store, a day younger
// and a day older than so many days.
func fillStore(t *testing.T, cfg config.Config, days map[string]int) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{
		Path: filepath.Join(cfg.DataDir, "store.db"), Readers: 1, CacheBytes: 1 << 20, BusyTimeout: time.Second, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, more := range []int{-1, 1} {
		row := func(kind string) (name string, at time.Time) {
			return aged(kind, days[kind]+more), time.Now().AddDate(0, 0, -days[kind]-more)
		}
		key, ended := row("event")
		id, changed := row("shipment")
		letter, died := row("letter")
		changes := []event.Change{
			{
				Records:  []event.Record{{Identity: event.Identity{Courier: config.DemoCourier, Key: key}, Status: event.Processed, EndedAt: ended}},
				Shipment: &shipment.Shipment{Ref: shipment.Ref{Courier: config.DemoCourier, ID: id}, UpdatedAt: changed},
			},
			{DeadLetters: []event.DeadLetter{{ID: letter, DeadAt: died, ReviewStatus: event.ReviewPending}}},
		}
		errs, err := store.Ledger.Commit(t.Context(), changes)
		for _, e := range append(errs, err) {
			if e != nil {
				t.Fatal(e)
			}
		}
		request, at := row("request")
		if err := store.Ingestions.PutIngestions(t.Context(), []ingestion.Record{{ID: request, Outcome: ingestion.Refused, Count: 1, At: at, Until: at}}); err != nil {
			t.Fatal(err)
		}
	}
}
