package record

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/event"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

// TestLoneSenderHasTheWholeRate: what no other sender needs is not left unused.
func TestLoneSenderHasTheWholeRate(t *testing.T) {
	t.Parallel()
	s, now, had := &NewShares(Config{PerSecond: 10, Burst: 50}).classes[Other], noon, 0
	for range 30 * 60 {
		now = now.Add(time.Second / 30)
		if s.take(shareKey{code: event.InvalidSignature}, now) {
			had++
		}
	}
	if had < 10*60 {
		t.Errorf("a single one had %d records in a minute", had)
	}
}

// TestSharesAreBounded: addresses that are new cost no more memory than there is for all.
func TestSharesAreBounded(t *testing.T) {
	t.Parallel()
	s := &NewShares(Config{PerSecond: 1e9, Burst: 1 << 40}).classes[Other]
	for i := range 10 * maxShareKeys {
		from := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if !s.take(shareKey{address: address.Group(from), code: event.InvalidSignature}, noon) {
			t.Fatal("there is no place")
		}
	}
	if n := len(s.had); n > maxShareKeys {
		t.Errorf("%d keys are counted", n)
	}
}
func TestRecordIDsFollowTime(t *testing.T) {
	t.Parallel()
	first, same, later := NewID(noon), NewID(noon), NewID(noon.Add(time.Millisecond))
	if first == same || first >= later || same >= later || len(first) != len(later) {
		t.Errorf("got %s, %s and %s a millisecond later", first, same, later)
	}
	if before := NewID(time.Unix(-1, 0)); before >= first {
		t.Errorf("%s of a time before 1970 is greater than %s", before, first)
	}
}
