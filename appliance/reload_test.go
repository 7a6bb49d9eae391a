package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// reloadable starts an appliance whose one courier is parcels, and returns what
// reloads it with other couriers.
func reloadable(t *testing.T) (*testApp, Courier, func(map[string]Courier) error) {
	t.Helper()
	parcels := loaded(t, fmt.Sprintf("[couriers.parcels]\npreset = \"easypost\"\nsecrets = [%q]\n", secretFile(t, "a secret"))).Couriers["parcels"]
	cfg := quick(t)
	cfg.Couriers = map[string]Courier{"parcels": parcels}
	a := startApp(t, cfg, nil)
	return a, parcels, func(couriers map[string]Courier) error {
		next := cfg
		next.Couriers = couriers
		a.reread = func() (Config, []string, error) { return next, nil, nil }
		_, err := a.reload()
		return err
	}
}

// readBy reports which couriers' payloads the workers can read.
func (a *testApp) readBy(courier string) bool { return (*a.readers.byCourier.Load())[courier] != nil }

// TestRefusedReloadLeavesNothing: what is wrong only in the appliance that runs is
// found while its couriers are being replaced.
func TestRefusedReloadLeavesNothing(t *testing.T) {
	t.Parallel()
	a, parcels, reload := reloadable(t)
	keys := loaded(t, fmt.Sprintf("[couriers.keys]\npreset = \"shipengine\"\njwks = %q\n", "file:"+filepath.Join(t.TempDir(), "keys.json"))).Couriers["keys"]

	large := parcels
	large.MaxBodyBytes = a.cfg.Ingest.MaxBodyBytes + 1
	if err := reload(map[string]Courier{"large": large, "keys": keys}); err == nil || !strings.Contains(err.Error(), "couriers.large.max_body_bytes: ") ||
		!strings.Contains(err.Error(), "restart") {
		t.Errorf("a courier with larger bodies than the listener: %v", err)
	}
	fast := parcels
	fast.RatePerSecond = math.Inf(1) // which only the intake finds
	if err := reload(map[string]Courier{"fast": fast, "keys": keys}); err == nil {
		t.Error("a courier without a possible rate was taken over")
	}
	if len(a.keys.held) > 0 {
		t.Errorf("keys are kept fresh that nobody needs: %v", a.keys.held)
	}
	if !a.readBy("parcels") || a.readBy("fast") {
		t.Error("the workers read by the couriers that were refused")
	}
	if err := reload(nil); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("a configuration without couriers: %v", err)
	}
	if err := reload(map[string]Courier{"keys": keys}); err != nil || len(a.keys.held) != 1 || a.readBy("parcels") {
		t.Errorf("afterwards: %v, keys %v", err, a.keys.held)
	}
}

// TestReloadsAtOnce reloads from both sides while events arrive and couriers are
// looked at: none of them is lost, and none is read by the wrong mapping.
func TestReloadsAtOnce(t *testing.T) {
	t.Parallel()
	a, parcels, reload := reloadable(t)
	more := map[string]Courier{"parcels": parcels, "other": parcels}
	if err := reload(more); err != nil {
		t.Fatal(err)
	}
	schemes, err := Config{Couriers: more}.schemes(newKeySource)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 30
	done := make(chan struct{}, 2)
	for range cap(done) {
		go func() {
			for range rounds {
				if _, err := a.reload(); err != nil {
					t.Error(err)
				}
				a.courierInfos()
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
