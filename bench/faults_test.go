package bench

import (
	"fmt"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestFaultsBefallTheirShares(t *testing.T) {
	t.Parallel()
	f := Faults{Seed: 3, Transient: 0.05, Permanent: 0.01}
	other := Faults{Seed: 4, Transient: 0.05, Permanent: 0.01}
	const events = 100_000
	transient, permanent, alike := 0, 0, 0
	for i := range events {
		key := fmt.Sprint("courier-x:evt_", i)
		fault := f.Of(key)
		switch {
		case fault.Permanent && fault.Failures > 0:
			t.Fatalf("%s has both faults", key)
		case fault.Permanent:
			permanent++
		case fault.Failures > 0:
			transient++
		}
		if fault != f.Of(key) {
			t.Fatalf("%s has two fates", key)
		}
		if fault != (Fault{}) && fault == other.Of(key) {
			alike++
		}
	}
	if transient < events*4/100 || transient > events*6/100 || permanent < events*8/1000 || permanent > events*12/1000 {
		t.Errorf("%d transient and %d permanent faults", transient, permanent)
	}
	if alike > transient/5 {
		t.Errorf("two seeds share %d of %d faults", alike, transient)
	}
	if (Faults{Seed: 3}).Of("k") != (Fault{}) {
		t.Error("a fault where there are none")
	}
}

func TestErrorsOfFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault Fault
		want  []event.Code // of the attempts
	}{
		{Fault{}, []event.Code{"", ""}},
		{Fault{Failures: 2}, []event.Code{event.Throttled, event.Throttled, "", ""}},
		{Fault{Permanent: true}, []event.Code{event.DomainInvalid, event.DomainInvalid}},
	} {
		for i, want := range c.want {
			if got := event.CodeOf(c.fault.Err(i + 1)); got != want {
				t.Errorf("%+v at attempt %d: %q, want %q", c.fault, i+1, got, want)
			}
		}
	}
}
