package jetstream

import (
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestAdmission(t *testing.T) {
	t.Parallel()
	var a admission
	if a.admit() != nil || a.problem() != "" {
		t.Error("a new admission is shut")
	}
	if !a.shut(stalled, "no answer") || a.shut(stalled, "no answer") {
		t.Error("news only the first time")
	}
	if err := a.admit(); event.CodeOf(err) != event.IntakeUnavailable {
		t.Errorf("stalled: %v", err)
	}
	a.refusal.Load().lastTrial.Store(time.Now().Add(-trialEvery).UnixNano())
	if a.admit() != nil || a.admit() == nil {
		t.Error("want one trial, and one only")
	}
	a.shut(diskReserve, "disk")
	if a.problem() != "disk" {
		t.Errorf("problem %q, want the graver one", a.problem())
	}
	a.refusal.Load().lastTrial.Store(0)
	if a.admit() == nil {
		t.Error("a trial although the disk is full")
	}
	a.open(diskReserve)
	if a.problem() != "no answer" {
		t.Errorf("problem %q, want the one left", a.problem())
	}
	if !a.open(stalled) || a.admit() != nil {
		t.Error("still shut")
	}
}
