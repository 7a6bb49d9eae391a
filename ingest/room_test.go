package ingest

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

// slowly sends all of a long request but its last byte, from a connection of its own.
func (f *fixture) slowly(t *testing.T, path string, size int) *wireConn {
	t.Helper()
	whole := f.raw(f.plain, path, longBody(size))
	c := f.dial(t)
	c.send(t, whole[:len(whole)-1])
	return c
}

// TestLongBodiesOfManyTakeBoundedMemory: senders that keep almost complete bodies on
// the way get no more memory than there is for all, and what they take keeps neither
// small events out nor the long ones of another courier. It is not parallel, because it
// looks at the heap.
func TestLongBodiesOfManyTakeBoundedMemory(t *testing.T) {
	const senders, size, most = 60, 700_000, 6 << 20
	for _, courier := range []string{"plain", "nobody"} {
		f := start(t, nil)
		f.rooms.most = most
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range senders {
			f.slowly(t, "/v1/events/courier/"+courier, size)
		}
		waitFor(t, "all of them to be refused or waiting", func() bool {
			waiting, _ := f.metric(t, "requests_in_flight")
			full, _ := f.metric(t, "requests_total code=INTAKE_UNAVAILABLE courier=plain")
			unknown, _ := f.metric(t, "requests_total code=UNKNOWN_COURIER courier=-")
			return waiting+full+unknown == senders
		})
		lent := f.rooms.lent.Load()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if lent > most/2 {
			t.Errorf("%s: one sender has %d of %d bytes", courier, lent, most)
		}
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > most+senders*(48<<10) {
			t.Errorf("%s: the heap has grown by %d KiB", courier, grown>>10)
		}
		for i, n := range []int{len(goodBody), size} {
			if a := send(t, f.request(f.demo, "/v1/events/courier/demo", strings.ReplaceAll(longOr(n), "courier-x:evt_123", fmt.Sprint("other-", i)))); a.StatusCode != 202 {
				t.Errorf("%s: beside them an event of %d bytes is answered %d %s", courier, n, a.StatusCode, a.body)
			}
		}
	}
}

// longOr returns a good body of n bytes.
func longOr(n int) string {
	if n == len(goodBody) {
		return goodBody
	}
	return longBody(n)
}

// TestNoRoomForABody: who finds no room is told to come again, and may as soon as
// others are done, however they end.
func TestNoRoomForABody(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.rooms.most = 400_000
	const path, size = "/v1/events/courier/plain", 100_000
	first := f.slowly(t, path, size)
	f.inFlight(t, 1)
	waitFor(t, "its body", func() bool { return f.rooms.lent.Load() >= size })
	refused := f.dial(t)
	refused.send(t, f.raw(f.plain, path, longBody(size)))
	a := refused.answer(t)
	expectProblem(t, a, 503, event.IntakeUnavailable, "long bodies")
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("it may come again after %q", a.Header.Get("Retry-After"))
	}
	refused.expectClosed(t)
	first.send(t, "}")
	if a := first.answer(t); a.StatusCode != 200 {
		t.Errorf("the first is answered %d %s", a.StatusCode, a.body)
	}
	for _, body := range []string{longBody(size), strings.ReplaceAll(longBody(size), "courier-x:evt_123", "panic"), strings.Repeat("x", size), longBody(size)} {
		if a := send(t, f.request(f.plain, path, body)); a.StatusCode == 503 {
			t.Errorf("afterwards: %d %s", a.StatusCode, a.body)
		}
	}
	if n, own := f.rooms.lent.Load(), f.couriers.Load().byName["plain"].limits.room.Load(); n != 0 || own != 0 {
		t.Errorf("%d bytes are still lent, %d to the courier", n, own)
	}
}

// TestUnknownCouriersBodies: of what names no courier only that is read which its
// record keeps, however much comes.
func TestUnknownCouriersBodies(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	body := longBody(f.config.MaxBodyBytes)
	c := f.dial(t)
	whole := f.raw(f.plain, "/v1/events/courier/nobody", body)
	c.send(t, whole[:len(whole)-1]) // it isn't waited for
	expectProblem(t, c.answer(t), 404, event.UnknownCourier, "")
	c.expectClosed(t)
	f.records.mu.Lock()
	defer f.records.mu.Unlock()
	if len(f.records.waiting) != 1 {
		t.Fatalf("%d requests are on record", len(f.records.waiting))
	}
	r := f.records.waiting[0].Request
	if string(r.Body) != body[:f.config.Records.BodyBytes] || r.BodyBytes != len(body) {
		t.Errorf("recorded are %d of %d bytes", len(r.Body), r.BodyBytes)
	}
}

// TestSharesOfRoom: however much some take, as much as any of them has is left.
func TestSharesOfRoom(t *testing.T) {
	t.Parallel()
	r := &rooms{most: 1200}
	var greedy [3]atomic.Int64
	for more := true; more; {
		more = false
		for i := range greedy {
			more = r.lend(&greedy[i], 1) || more
		}
	}
	if a, b, c := greedy[0].Load(), greedy[1].Load(), greedy[2].Load(); a != 300 || b != 300 || c != 300 || r.lent.Load() != 900 {
		t.Errorf("three have %d, %d and %d, all %d", a, b, c, r.lent.Load())
	}
	var late atomic.Int64
	if !r.lend(&late, 150) || r.lend(&late, 1) {
		t.Error("one that comes later does not get half of what is left")
	}
	if got := newRooms(14 << 20).most; got != 16*(14<<20) {
		t.Errorf("for bodies of 14 MiB there are %d bytes", got)
	}
	if got := newRooms(1 << 20).most; got != 64<<20 {
		t.Errorf("for bodies of 1 MiB there are %d bytes", got)
	}
}
