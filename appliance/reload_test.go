package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
	"github.com/fincart/courier-gateway/ops"
)

// reloadable starts an appliance whose one courier is parcels, and returns what
// reloads it with other couriers.
func reloadable(t *testing.T) (*testApp, config.Courier, func(map[string]config.Courier) error) {
	t.Helper()
	parcels := sendertest.Load(t, fmt.Sprintf("[couriers.parcels]\npreset = \"easypost\"\nsecrets = [%q]\n", secretFile(t, "a secret"))).Couriers["parcels"]
	cfg := quick(t)
	cfg.Couriers = map[string]config.Courier{"parcels": parcels}
	a := startApp(t, cfg, nil)
	return a, parcels, func(couriers map[string]config.Courier) error {
		next := cfg
		next.Couriers = couriers
		a.reread = func() (config.Config, []string, error) { return next, nil, nil }
		_, err := a.Reload()
		return err
	}
}

// TestReloadsAtOnce reloads from both sides while events arrive and couriers are
// looked at: none of them is lost, and none is read by the wrong mapping.
func TestReloadsAtOnce(t *testing.T) {
	t.Parallel()
	a, parcels, reload := reloadable(t)
	more := map[string]config.Courier{"parcels": parcels, "other": parcels}
	if err := reload(more); err != nil {
		t.Fatal(err)
	}
	schemes, err := config.Config{Couriers: more}.Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 30
	done := make(chan struct{}, 2)
	for range cap(done) {
		go func() {
			for range rounds {
				if _, err := a.Reload(); err != nil {
					t.Error(err)
				}
				var all ops.CourierList
				a.get("/api/v1/couriers", &all)
			}
			done <- struct{}{}
		}()
	}
	for i := range rounds {
		c := trackerUpdate(fmt.Sprint("e", i), "in_transit", "2026-03-01T10:00:00Z")
		if status, answer, _ := a.postAs("other", schemes["other"], c, time.Now()); status != 200 {
			t.Errorf("event %d is answered %d: %s", i, status, answer)
		}
	}
	<-done
	<-done
	for i := range rounds {
		a.ends(fmt.Sprint("e", i), event.Processed)
	}
}
