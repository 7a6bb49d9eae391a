package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

func generator(tb testing.TB, change func(*GeneratorConfig)) *Generator {
	tb.Helper()
	cfg := GeneratorConfig{Seed: 7, Source: "courier-x", Start: noon, Step: 2 * time.Hour, Interleave: 64}
	if change != nil {
		change(&cfg)
	}
	g, err := NewGenerator(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// canonical is the courier's body, as the intake wants it.
type canonical struct {
	EventID, EventType, Source, IdempotencyKey string
	OccurredAt                                 time.Time
	Payload                                    struct{ ShipmentID, OrderID, Status string }
}

func decode(t *testing.T, body []byte) (c canonical) {
	t.Helper()
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if c.EventID == "" || c.EventType == "" || c.OccurredAt.IsZero() || c.Source == "" || c.IdempotencyKey == "" || c.Payload.ShipmentID == "" || c.Payload.OrderID == "" || c.Payload.Status == "" {
		t.Fatalf("a member is missing: %s", body)
	}
	return c
}

func TestEventsAreUniqueAndPlausible(t *testing.T) {
	t.Parallel()
	g := generator(t, nil)
	seen := map[string]bool{}
	last := map[string]canonical{}
	steps := map[string]int{}
	for i := range uint64(10 * 64 * JourneySteps) {
		body := g.AppendBody(nil, i)
		if len(body) < 310 || len(body) > 380 {
			t.Fatalf("%d bytes: %s", len(body), body)
		}
		c := decode(t, body)
		if seen[c.EventID] || seen[c.IdempotencyKey] || c.IdempotencyKey != g.Key(i) || c.Source != "courier-x" {
			t.Fatalf("event %d: %s", i, body)
		}
		seen[c.EventID], seen[c.IdempotencyKey] = true, true
		before, known := last[c.Payload.ShipmentID]
		if known && (!c.OccurredAt.After(before.OccurredAt) || c.Payload.OrderID != before.Payload.OrderID || shipment.State(before.Payload.Status).Terminal()) {
			t.Fatalf("event %d does not follow %+v: %s", i, before, body)
		}
		if shipment.ParseState(c.Payload.Status) == shipment.Unknown {
			t.Fatalf("status %q is none of ours", c.Payload.Status)
		}
		last[c.Payload.ShipmentID] = c
		steps[c.Payload.ShipmentID]++
	}
	if len(last) != 640 {
		t.Errorf("%d shipments", len(last))
	}
	ends := map[string]int{}
	for id, c := range last {
		ends[c.Payload.Status]++
		if steps[id] != JourneySteps || !shipment.State(c.Payload.Status).Terminal() {
			t.Fatalf("shipment %s ends after %d steps as %s", id, steps[id], c.Payload.Status)
		}
	}
	if ends["delivered"] <= ends["returned"] || ends["returned"] == 0 {
		t.Errorf("journeys end in %v", ends)
	}
}

func TestSameSeedSameEvents(t *testing.T) {
	t.Parallel()
	a, b, other := generator(t, nil), generator(t, nil), generator(t, func(c *GeneratorConfig) { c.Seed = 8 })
	for i := range uint64(1000) {
		if !bytes.Equal(a.AppendBody(nil, i), b.AppendBody(nil, i)) {
			t.Fatalf("event %d differs", i)
		}
		mine, theirs := decode(t, a.AppendBody(nil, i)), decode(t, other.AppendBody(nil, i))
		if mine.EventID == theirs.EventID || mine.IdempotencyKey == theirs.IdempotencyKey || mine.Payload.ShipmentID == theirs.Payload.ShipmentID {
			t.Fatalf("event %d is in both runs", i)
		}
	}
}

func TestNextIsUniqueAcrossGoroutines(t *testing.T) {
	t.Parallel()
	g := generator(t, nil)
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			var buf []byte
			for range 500 {
				i := g.Next()
				buf = g.AppendBody(buf[:0], i)
				if !strings.Contains(string(buf), g.Key(i)) {
					t.Errorf("event %d: %s", i, buf)
				}
				mu.Lock()
				if seen[i] {
					t.Errorf("%d is given twice", i)
				}
				seen[i] = true
				mu.Unlock()
			}
		})
	}
	running.Wait()
	if len(seen) != 4000 {
		t.Errorf("%d events", len(seen))
	}
}

func TestFixedMembers(t *testing.T) {
	t.Parallel()
	g := generator(t, func(c *GeneratorConfig) {
		c.Source = `cou"rier`
		c.Fixed = Fixed{EventID: `e"vt\`, ShipmentID: "ключ\n", Status: "OFD"}
	})
	c := decode(t, g.AppendBody(nil, 5))
	if c.EventID != `e"vt\` || c.IdempotencyKey != `cou"rier:e"vt\` || c.Payload.ShipmentID != "ключ\n" || c.Payload.Status != "OFD" || g.Key(5) != c.IdempotencyKey {
		t.Errorf("%+v, key %q", c, g.Key(5))
	}
	g = generator(t, func(c *GeneratorConfig) { c.Fixed.Key = "k" })
	if c := decode(t, g.AppendBody(nil, 5)); c.IdempotencyKey != "k" || g.Key(5) != "k" || c.EventID == "" {
		t.Errorf("%+v", c)
	}
}

func TestGeneratorRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for _, cfg := range []GeneratorConfig{
		{}, {Source: "x", Step: time.Second}, {Source: "x", Interleave: 1}, {Step: time.Second, Interleave: 1},
	} {
		if _, err := NewGenerator(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

func TestAppendBodyAllocatesNothing(t *testing.T) {
	g := generator(t, nil)
	buf := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(1000, func() { buf = g.AppendBody(buf[:0], g.Next()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendBody(b *testing.B) {
	g := generator(b, nil)
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = g.AppendBody(buf[:0], g.Next())
	}
	b.SetBytes(int64(len(buf)))
}
