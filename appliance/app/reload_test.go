package app

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/appliance/config/sendertest"
)

// readBy reports whether the workers can read a courier's payloads.
func (a *App) readBy(courier string) bool {
	return (*a.couriers.decoders.byCourier.Load())[courier] != nil
}

// TestRefusedReloadLeavesNothing: what is wrong only in the appliance that runs is
// found while its couriers are being replaced.
func TestRefusedReloadLeavesNothing(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	parcels := sendertest.Load(t, fmt.Sprintf("[couriers.parcels]\npreset = \"easypost\"\nsecrets = [%q]\n", "file:"+secret)).Couriers["parcels"]
	keys := sendertest.Load(t, fmt.Sprintf("[couriers.keys]\npreset = \"shipengine\"\njwks = %q\n", "file:"+filepath.Join(t.TempDir(), "keys.json"))).Couriers["keys"]
	cfg := quick(t)
	cfg.Couriers = map[string]config.Courier{"parcels": parcels}
	next := cfg
	a := startApp(t, cfg, Deps{Reread: func() (config.Config, []string, error) { return next, nil, nil }})
	reload := func(couriers map[string]config.Courier) error {
		next.Couriers = couriers
		_, err := a.Reload()
		return err
	}

	large := parcels
	large.MaxBodyBytes = a.cfg.Ingest.MaxBodyBytes + 1
	if err := reload(map[string]config.Courier{"large": large, "keys": keys}); err == nil || !strings.Contains(err.Error(), "couriers.large.max_body_bytes: ") ||
		!strings.Contains(err.Error(), "restart") {
		t.Errorf("a courier with larger bodies than the listener: %v", err)
	}
	fast := parcels
	fast.RatePerSecond = math.Inf(1) // which only the intake finds
	if err := reload(map[string]config.Courier{"fast": fast, "keys": keys}); err == nil {
		t.Error("a courier without a possible rate was taken over")
	}
	if len(a.couriers.keys.held) > 0 {
		t.Errorf("keys are kept fresh that no courier needs: %v", a.couriers.keys.held)
	}
	if !a.readBy("parcels") || a.readBy("fast") {
		t.Error("the workers read by the couriers that were refused")
	}
	if err := reload(nil); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("a configuration without couriers: %v", err)
	}
	if err := reload(map[string]config.Courier{"keys": keys}); err != nil || len(a.couriers.keys.held) != 1 || a.readBy("parcels") {
		t.Errorf("afterwards: %v, keys %v", err, a.couriers.keys.held)
	}
}
