package bench

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/bits"
	"strconv"
	"sync/atomic"
	"time"
)

// GeneratorConfig says which events a [Generator] makes.
type GeneratorConfig struct {
	// The same seed makes the same events; two seeds never share an event, a key or
	// a shipment.
	Seed   uint64
	Source string // the source member and the first part of each key; not empty
	// Start is when a shipment's first event occurred, Step how long after it
	// the next one did; at least a millisecond.
	Start time.Time
	Step  time.Duration
	// Interleave is how many shipments are under way at once, at least 1: so
	// many events lie between two of the same shipment.
	Interleave int
	// Fixed are members that all events have alike.
	Fixed Fixed
}

// Fixed are members of a generated event that are given; an empty one is made
// up.
type Fixed struct{ EventID, Key, ShipmentID, Status string }

// journeys are the ways that shipments go, one status for each event. All have
// the same length, so that an event's number gives its shipment and its step.
var journeys = [...][JourneySteps]string{
	{"info_received", "in_transit", "in_transit", "in_transit", "out_for_delivery", "delivered"},
	{"pending", "info_received", "in_transit", "in_transit", "out_for_delivery", "delivered"},
	{"info_received", "in_transit", "out_for_delivery", "attempt_failed", "out_for_delivery", "delivered"},
	{"info_received", "in_transit", "exception", "in_transit", "out_for_delivery", "delivered"},
	{"info_received", "in_transit", "in_transit", "out_for_delivery", "available_for_pickup", "delivered"},
	{"info_received", "in_transit", "out_for_delivery", "attempt_failed", "in_transit", "returned"},
}

// JourneySteps is how many events a shipment has.
const JourneySteps = 6

var places = [...]string{
	`{"city":"Rotterdam","country":"NL"}`, `{"city":"Antwerpen","country":"BE"}`, `{"city":"Hamburg","country":"DE"}`, `{"city":"Marseille","country":"FR"}`,
	`{"city":"Gdańsk","country":"PL"}`, `{"city":"Barcelona","country":"ES"}`, `{"city":"Göteborg","country":"SE"}`, `{"city":"Bergamo","country":"IT"}`,
}

// Generator makes canonical events of about 330 bytes. Event number i is a
// function of the config and i alone, so that what was sent is known
// later without being remembered. It is safe for concurrent use.
type Generator struct {
	cfg   GeneratorConfig
	run   string // 16 hex digits of the seed, in every id
	next  atomic.Uint64
	src   string // the source, JSON without quotes
	fixed Fixed  // each as JSON with quotes, or empty
}

// NewGenerator checks cfg and returns a generator that begins with event 0.
func NewGenerator(cfg GeneratorConfig) (*Generator, error) {
	if cfg.Source == "" || cfg.Step < time.Millisecond || cfg.Interleave < 1 {
		return nil, fmt.Errorf("generator: needs a source (%q), a step of 1 ms at least (%v) and an interleave of 1 at least (%d)",
			cfg.Source, cfg.Step, cfg.Interleave)
	}
	var seed [8]byte
	for i := range seed {
		seed[i] = byte(cfg.Seed >> (56 - 8*i))
	}
	source := quote(cfg.Source)
	return &Generator{
		cfg: cfg, run: hex.EncodeToString(seed[:]), src: source[1 : len(source)-1],
		fixed: Fixed{
			EventID: quote(cfg.Fixed.EventID), Key: quote(cfg.Fixed.Key),
			ShipmentID: quote(cfg.Fixed.ShipmentID), Status: quote(cfg.Fixed.Status),
		},
	}, nil
}

// quote returns s as a JSON string, and an empty s as it is.
func quote(s string) string {
	if s == "" {
		return ""
	}
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}

// Seed returns the number that decides the events.
func (g *Generator) Seed() uint64 { return g.cfg.Seed }

// Next returns the number of the next event; no two calls return the same.
func (g *Generator) Next() uint64 { return g.next.Add(1) - 1 }

// Key returns the idempotency key of event i.
func (g *Generator) Key(i uint64) string {
	if g.cfg.Fixed.Key != "" {
		return g.cfg.Fixed.Key
	}
	if g.cfg.Fixed.EventID != "" {
		return g.cfg.Source + ":" + g.cfg.Fixed.EventID
	}
	return g.cfg.Source + ":" + string(g.appendID(nil, "evt_", i))
}

// AppendBody appends the body of event i to dst. It allocates nothing when dst
// has space for it.
func (g *Generator) AppendBody(dst []byte, i uint64) []byte {
	shipment, step := g.Place(i)
	random := Spread(g.cfg.Seed ^ Spread(i+1))

	dst = append(dst, `{"eventId":`...)
	dst = g.appendMember(dst, g.fixed.EventID, "evt_", i)
	dst = append(dst, `,"eventType":"shipment.status.updated","occurredAt":"`...)
	dst = g.occurredAt(step, random).AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","source":"`...)
	dst = append(dst, g.src...)
	dst = append(dst, `","idempotencyKey":`...)
	dst = g.AppendKey(dst, i)
	dst = append(dst, `,"payload":{"shipmentId":`...)
	dst = g.appendMember(dst, g.fixed.ShipmentID, "shp_", shipment)
	dst = append(dst, `,"orderId":`...)
	dst = g.appendMember(dst, "", "ord_", shipment)
	dst = append(dst, `,"status":`...)
	dst = g.appendStatus(dst, shipment, step)
	dst = append(dst, `,"location":`...)
	dst = append(dst, places[random%uint64(len(places))]...)
	return append(dst, `}}`...)
}

// Place returns the shipment that event i is of, and which step of its way.
func (g *Generator) Place(i uint64) (shipment, step uint64) {
	wide := uint64(g.cfg.Interleave)
	round, within := i/(wide*JourneySteps), i%(wide*JourneySteps)
	return round*wide + within%wide, within / wide
}

// EventOf is the inverse of [Generator.Place].
func (g *Generator) EventOf(shipment, step uint64) uint64 {
	wide := uint64(g.cfg.Interleave)
	return shipment/wide*wide*JourneySteps + step*wide + shipment%wide
}

// Partner returns the event one step before or after event i of the same
// shipment. It is its own inverse.
func (g *Generator) Partner(i uint64) uint64 {
	shipment, step := g.Place(i)
	return g.EventOf(shipment, step^1)
}

// ShipmentID returns the id of a shipment.
func (g *Generator) ShipmentID(shipment uint64) string {
	return string(g.appendID(nil, "shp_", shipment))
}

// occurredAt lies in the first half of its step, so that a shipment's events
// stay in order, and on a whole millisecond.
func (g *Generator) occurredAt(step, random uint64) time.Time {
	jitter, _ := bits.Mul64(random, uint64(g.cfg.Step/2/time.Millisecond))
	return g.cfg.Start.UTC().Add(time.Duration(step)*g.cfg.Step + time.Duration(jitter)*time.Millisecond)
}

// appendMember appends the given value, or the made up id number n.
func (g *Generator) appendMember(dst []byte, given, prefix string, n uint64) []byte {
	if given != "" {
		return append(dst, given...)
	}
	dst = append(dst, '"')
	dst = g.appendID(dst, prefix, n)
	return append(dst, '"')
}

func (g *Generator) appendID(dst []byte, prefix string, n uint64) []byte {
	dst = append(dst, prefix...)
	dst = append(dst, g.run...)
	dst = append(dst, '_')
	return strconv.AppendUint(dst, n, 10)
}

// AppendKey appends the idempotency key of event i, as JSON, to dst.
func (g *Generator) AppendKey(dst []byte, i uint64) []byte {
	if g.fixed.Key != "" {
		return append(dst, g.fixed.Key...)
	}
	dst = append(dst, '"')
	dst = append(dst, g.src...)
	dst = append(dst, ':')
	if id := g.fixed.EventID; id != "" {
		return append(dst, id[1:]...)
	}
	dst = g.appendID(dst, "evt_", i)
	return append(dst, '"')
}

func (g *Generator) appendStatus(dst []byte, shipment, step uint64) []byte {
	if g.fixed.Status != "" {
		return append(dst, g.fixed.Status...)
	}
	dst = append(dst, '"')
	dst = append(dst, g.Status(shipment, step)...)
	return append(dst, '"')
}

// Status returns the made up status of a shipment after a step of its way.
func (g *Generator) Status(shipment, step uint64) string {
	return journeys[Spread(g.cfg.Seed^Spread(shipment))%uint64(len(journeys))][step]
}
