package jetstream

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// firstSeq returns where the stream begins after its history was measured.
func firstSeq(t *testing.T, b *Broker) uint64 {
	t.Helper()
	if err := b.retention.retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := b.topo.now().events.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.FirstSeq
}

// smallHistory is over its high water with 100 events of 1000 bytes.
func smallHistory(cfg Config) Config {
	cfg.MaxBytes, cfg.HistoryHighBytes, cfg.HistoryLowBytes = 1<<20, 64<<10, 32<<10
	cfg.DuplicateWindow = 100 * time.Millisecond
	return cfg
}

func publishLarge(t *testing.T, b *Broker, n int) {
	t.Helper()
	for i := range n {
		e := envelope(strconv.Itoa(i + 1))
		e.Body = bytes.Repeat([]byte("x"), 1000)
		publish(t, b, e)
	}
}

func TestRetentionStaysBehindEveryFloor(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, smallHistory(cfg))
		publishLarge(t, b, 100)
		windowIsOver(t, b)
		if got := firstSeq(t, b); got != 1 {
			t.Errorf("unprocessed events were purged, first is %d", got)
		}
		ds := pullN(t, b, 100)
		settle(t, b, event.Verdict{Action: event.Ack}, ds[:9]...)
		settle(t, b, event.Verdict{Action: event.Dead, Code: event.Forged}, ds[9])
		settle(t, b, event.Verdict{Action: event.Ack}, ds[10:90]...)
		floorReaches(t, b, 90)
		if got := firstSeq(t, b); got != 1 {
			t.Errorf("unverified events were purged, first is %d", got)
		}
		verify(t, b, 5)
		if got := firstSeq(t, b); got != 6 {
			t.Errorf("first is %d, want 6: only what is verified goes", got)
		}
		verify(t, b, 90)
		if got := firstSeq(t, b); got != 10 {
			t.Errorf("first is %d, want 10: its advisory waits", got)
		}
		as, err := b.PullAdvisories(within(t, 30*time.Second), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.SettleAdvisory(as[0], true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "purge down to the low water", func() bool { return firstSeq(t, b) > 50 })
		if got := firstSeq(t, b); got > 90 {
			t.Errorf("first is %d: past the ack floor", got)
		}
		s, err := b.State(t.Context())
		eventually(t, "fresh state", func() bool { s, err = b.State(t.Context()); return err == nil && s.FirstSeq > 50 })
		if s.Bytes > 66<<10 || s.Verified != 90 {
			t.Errorf("state after the purge: %+v", s)
		}
	})
}

func verify(t *testing.T, b *Broker, seq uint64) {
	t.Helper()
	if err := b.Verified(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
	// The floor counts once it has lasted.
	eventually(t, "settled floor", func() bool {
		_, err := b.progress.settledFloor(t.Context())
		b.progress.floors.mu.Lock()
		defer b.progress.floors.mu.Unlock()
		return err == nil && b.progress.floors.lasting >= seq
	})
}

// windowIsOver waits until the duplicate window lies behind all that is stored.
func windowIsOver(t *testing.T, b *Broker) {
	t.Helper()
	eventually(t, "end of the duplicate window", func() bool {
		_, inside, err := b.reader.FirstSince(t.Context(), time.Now().Add(-b.cfg.DuplicateWindow))
		return err == nil && !inside
	})
}

func TestRetentionSparesTheDuplicateWindow(t *testing.T) {
	t.Parallel()
	cfg := smallHistory(testConfig(t))
	cfg.DuplicateWindow = time.Hour
	b := open(t, cfg)
	publishLarge(t, b, 100)
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 100)...)
	floorReaches(t, b, 100)
	verify(t, b, 100)
	if got := firstSeq(t, b); got != 1 {
		t.Errorf("first is %d: ids inside the window are unknown to the next start", got)
	}
	b.retention.cfg.MaxBytes = 100 << 10 // now space demands it
	if got := firstSeq(t, b); got < 50 {
		t.Errorf("first is %d: the stream would fill up with history", got)
	}
}

func TestRetentionByAge(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.DuplicateWindow, cfg.HistoryMaxAge = 100*time.Millisecond, 200*time.Millisecond
	b := open(t, cfg)
	publishN(t, b, 10)
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 10)...)
	floorReaches(t, b, 10)
	verify(t, b, 7)
	eventually(t, "what is old and verified is purged", func() bool { return firstSeq(t, b) == 8 })
	verify(t, b, 10)
	eventually(t, "all is purged", func() bool { return firstSeq(t, b) == 11 })
	if r := publish(t, b, envelope("next")); r.Sequence != 11 {
		t.Errorf("sequence %d after all history went, want 11", r.Sequence)
	}
}

func TestHandledAdvisoriesAreRemoved(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	publishN(t, b, 3)
	settle(t, b, event.Verdict{Action: event.Dead, Code: event.Forged}, pullN(t, b, 3)...)
	stored := func() uint64 {
		if err := b.retention.retainAdvisories(t.Context()); err != nil {
			t.Fatal(err)
		}
		info, err := b.topo.now().advisories.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}
	eventually(t, "three advisories", func() bool { return stored() == 3 })
	var as []event.Advisory
	for len(as) < 3 {
		more, err := b.PullAdvisories(within(t, 30*time.Second), 10)
		if err != nil {
			t.Fatal(err)
		}
		as = append(as, more...)
	}
	for _, a := range as[:2] {
		if err := b.SettleAdvisory(a, true); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the unhandled one stays", func() bool { return stored() == 1 })
}
