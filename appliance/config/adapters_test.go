package config

import (
	"testing"
)

// TestRecordsWaitInBoundedMemory: where more is kept of each refused request, fewer
// of them wait.
func TestRecordsWaitInBoundedMemory(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	for bodyBytes, want := range map[int]int{1: 256, cfg.Ingest.RecordBodyBytes: 256, int(mebi): 31} {
		cfg.Ingest.RecordBodyBytes = bodyBytes
		records := cfg.Intake().Records
		if records.Queue != want || records.Queue*(records.BodyBytes+cfg.Ingest.MaxHeaderBytes) > waitingBytes {
			t.Errorf("of %d bytes each %d records may wait, want %d", bodyBytes, records.Queue, want)
		}
	}
	cfg.Ingest.MaxHeaderBytes = int(mebi) // the most that either can be
	if got := cfg.Intake().Records.Queue; got < 10 {
		t.Errorf("only %d records may wait", got)
	}
}
