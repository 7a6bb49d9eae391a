package jetstream

import (
	"log/slog"
	"math"
	"strings"
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

// TestDiskReserveIsSaidInItsUnits: nobody reads a number of eight digits.
func TestDiskReserveIsSaidInItsUnits(t *testing.T) {
	t.Parallel()
	s := supervisor{log: slog.New(slog.DiscardHandler), admission: &admission{}}
	s.cfg.Mode, s.cfg.StoreDir, s.cfg.DiskReserveBytes = ModeEmbedded, t.TempDir(), 100<<50
	s.checkDisk()
	if problem := s.admission.problem(); !strings.Contains(problem, "less than jetstream.disk_reserve_bytes (100.0 PiB): free space") {
		t.Error(problem)
	}
	for n, want := range map[int64]string{0: "0.0 MiB", 512 << 20: "512.0 MiB", 52264 << 20: "51.0 GiB", math.MaxInt64: "8.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
