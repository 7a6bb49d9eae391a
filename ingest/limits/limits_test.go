package limits

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/address"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

// TestKnownAddresses: an address is known for a time, of one courier, and not too many
// are.
func TestKnownAddresses(t *testing.T) {
	t.Parallel()
	var b addressBook
	at := func(text string) netip.Prefix { return address.Group(address.Of(&net.TCPAddr{IP: net.ParseIP(text)})) }
	b.add(at("2001:db8::1"), noon)
	if !b.has(at("2001:db8::2"), noon) || b.has(at("2001:db8:0:1::1"), noon) || b.has(at("192.0.2.1"), noon) {
		t.Error("not just the /64 is known")
	}
	b.add(at("2001:db8::1"), noon.Add(knownFor-1))
	if !b.has(at("2001:db8::1"), noon.Add(knownFor+time.Hour)) || b.has(at("2001:db8::1"), noon.Add(2*knownFor)) {
		t.Error("it is not known for the time after its last request")
	}
	for i := range 3 * maxKnown {
		b.add(at(fmt.Sprintf("10.0.%d.%d", i/256, i%256)), noon)
	}
	if len(b.seen) > maxKnown {
		t.Errorf("%d are known", len(b.seen))
	}
}

func TestUnverifiedRates(t *testing.T) {
	t.Parallel()
	from := func(i int) netip.Prefix {
		return address.Group(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	u := newUnverifiedRates(2, 3)
	for i := range 3 {
		if !u.take(from(0), noon) {
			t.Errorf("request %d of a burst is too many", i)
		}
	}
	if u.take(from(0), noon) || u.wait(from(0), noon) != 500*time.Millisecond || u.wait(from(1), noon) != 0 {
		t.Error("a burst does not end, or is that of another")
	}
	for i := range 10 * maxUnverified {
		if !u.take(from(i+1), noon) {
			t.Fatal("an address that is new has used up its rate")
		}
	}
	if n := len(u.paid); n > maxUnverified {
		t.Errorf("%d addresses are counted", n)
	}
	for _, per := range []float64{1e-300, 1e300} {
		u := newUnverifiedRates(per, 1<<40)
		if !u.take(from(0), noon) || u.every <= 0 || u.ahead <= 0 {
			t.Errorf("at %v a second: every %v, ahead %v", per, u.every, u.ahead)
		}
	}
	if !newUnverifiedRates(0.1, 1).take(from(0), noon) {
		t.Error("a burst of 1 lets none in")
	}
}

// BenchmarkUnverifiedRates counts requests from many more addresses than are kept.
func BenchmarkUnverifiedRates(b *testing.B) {
	u, i := newUnverifiedRates(5, 5), uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		i += 7919
		u.take(address.Group(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), noon)
	}
}
