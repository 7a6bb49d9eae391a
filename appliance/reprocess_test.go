package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// TestAStatusThatNoMappingKnowsIsPutRight: it is listed, survives a restart, and after its
// mapping is added the events that had it are read again.
func TestAStatusThatNoMappingKnowsIsPutRight(t *testing.T) {
	t.Parallel()
	secret := string(secretFile(t, "a secret"))
	couriers := func(states string) map[string]config.Courier {
		return sendertest.Load(t, fmt.Sprintf("[couriers.hooks]\npreset = \"easypost\"\nsecrets = [%q]\n%s", secret, states)).Couriers
	}
	cfg := quick(t)
	cfg.Couriers = couriers("")
	a := startApp(t, cfg, nil)
	schemes, err := cfg.Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
	for i, push := range []sendertest.Case{
		trackerUpdate("e1", "in_transit", at),
		trackerUpdate("e2", "beamed_up", time.Now().UTC().Format(time.RFC3339), "in_transit "+at),
	} {
		if status, answer, _ := a.postAs("hooks", schemes["hooks"], push, time.Now()); status != http.StatusOK {
			t.Fatalf("answered %d: %s", status, answer)
		}
		a.ends(fmt.Sprintf("e%d", i+1), event.Processed)
	}
	shows := func(state shipment.State) {
		t.Helper()
		var s shipment.Shipment
		if !a.get("/api/v1/shipments/T1", &s) || s.State != state || s.RawStatus != "beamed_up" || len(s.History) != 2 {
			t.Errorf("the shipment is %s", asJSON(s))
		}
	}
	listed := func(want string) {
		t.Helper()
		if code, out := a.cli("couriers", "unmapped"); code != 0 || !strings.Contains(out, want) {
			t.Errorf("couriers unmapped: exit %d: %s, want %q", code, out, want)
		}
	}
	type report struct {
		Selected int
		Changes  []struct {
			Before, After struct{ State shipment.State }
		}
	}
	reprocess := func(args ...string) (r report) {
		t.Helper()
		code, out := a.cli(append([]string{"events", "reprocess", "--courier", "hooks", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
			t.Fatalf("events reprocess: exit %d, %v: %s", code, err, out)
		}
		return r
	}
	shows(shipment.InTransit)
	listed("not mapped")
	a.halt()
	cfg.Couriers = couriers("event.states.exception = [\"beamed_up\"]\nevent.states.in_transit = [\"in_transit\"]\n")
	a = startApp(t, cfg, nil)
	listed("beamed_up")
	listed("mapped, reprocess")

	if r := reprocess("--dry-run"); r.Selected != 2 || len(r.Changes) != 1 || r.Changes[0].Before.State != shipment.InTransit || r.Changes[0].After.State != shipment.Exception {
		t.Errorf("a dry run reports %+v", r)
	}
	shows(shipment.InTransit)
	if r := reprocess("--yes", "--status", "Beamed_Up", "--since", "1h"); r.Selected != 1 || len(r.Changes) != 1 {
		t.Errorf("reprocessing reports %+v", r)
	}
	shows(shipment.Exception)
	if r := reprocess("--yes"); r.Selected != 2 || len(r.Changes) != 0 {
		t.Errorf("once more it reports %+v", r)
	}
	listed("every status that came is mapped")
}
