// Package proof compares what a load test was acknowledged with what the appliance
// has stored: that every acknowledged event ended, that none has two outcomes, and
// that each shipment is the result of its events.
//
//	acknowledged ─┐
//	              ├─▶ Prover.Prove ──▶ Proof
//	    Ledger ───┘
//
// In come the events by number (a [bench.Generator] makes their keys), out goes a
// [Proof]. Package load calls it; appliance/app makes the [Ledger] of the client of the
// admin API.
package proof

import (
	"context"
	"fmt"
	"iter"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// Ledger reads what an appliance has stored. It is called concurrently. A row or
// shipment that does not exist is an error with the code [event.NotFound].
type Ledger interface {
	// Figures returns the counts of queue and store.
	Figures(ctx context.Context) (Figures, error)
	Event(ctx context.Context, key, courier string) (event.Record, error)
	Shipment(ctx context.Context, id, courier string) (shipment.Shipment, error)
	// DeadLetters yields the dead letters of a courier; an error ends them.
	DeadLetters(ctx context.Context, courier string) iter.Seq2[event.DeadLetter, error]
	// Applied returns how often events were applied to shipments since the start.
	Applied(ctx context.Context) (uint64, error)
}

// Figures are an appliance's own counts.
type Figures struct {
	Version  string
	Queue    event.QueueState
	Store    event.StoreCounts
	Requeued int64 // events that the reconciler has put on the queue again
}

// Proof is what the ledger says about the events of a load.
type Proof struct {
	// Exact means that the figures cover every acknowledged event: each was
	// looked up, or the counts of a ledger that holds nothing else leave no other
	// explanation.
	Exact        bool   `json:"exact"`
	Method       string `json:"method"`
	Acknowledged uint64 `json:"acknowledged"` // distinct events
	LookedUp     uint64 `json:"lookedUp"`     // of those, one by one
	// NotTerminal events were acknowledged and are missing or still under way, or
	// were on the queue without a verified outcome when the time to wait was over.
	NotTerminal uint64 `json:"notTerminal"`
	Twice       uint64 `json:"twice"` // outcomes beyond one per identity
	// Stray events were stored although their sender got no acknowledgement: it
	// was lost or came too late. They are terminal too, or count as NotTerminal.
	Stray uint64 `json:"stray"`

	Transient uint64 `json:"transient"` // acknowledged events with a transient fault, as far as known
	Recovered uint64 `json:"recovered"` // of those, processed in the end, and not known to have failed too rarely
	Permanent uint64 `json:"permanent"` // acknowledged events with a permanent fault
	// Unexplained events are dead letters without a permanent fault, or processed
	// in spite of one, or processed with fewer failed attempts than faults. Only
	// where faults were injected or ruled out.
	Unexplained uint64 `json:"unexplained"`

	Shipments  uint64 `json:"shipments"`  // compared with their events
	Disordered uint64 `json:"disordered"` // of those, with another state or history than theirs

	Requeued     int64                  `json:"requeued"` // by the reconciler
	Ledger       map[event.Status]int64 `json:"ledger,omitempty"`
	DrainSeconds float64                `json:"drainSeconds"`
	// Findings explain what is wrong, the first few of all.
	Findings []string `json:"findings,omitempty"`
}

// maxFindings bounds the explanations.
const maxFindings = 20

// find adds an explanation, within the bound.
func (p *Proof) find(format string, args ...any) {
	if len(p.Findings) < maxFindings {
		p.Findings = append(p.Findings, fmt.Sprintf(format, args...))
	}
}

// Set is a set of small numbers, one bit each. The zero value is empty.
type Set struct {
	words []uint64
	n     uint64
}

// Len returns how many numbers are in the set.
func (s *Set) Len() uint64 { return s.n }

// Add adds a number.
func (s *Set) Add(i uint64) {
	for uint64(len(s.words)) <= i/64 {
		s.words = append(s.words, 0)
	}
	if w, bit := &s.words[i/64], uint64(1)<<(i%64); *w&bit == 0 {
		*w |= bit
		s.n++
	}
}

// Has reports whether a number is in the set.
func (s *Set) Has(i uint64) bool {
	return i/64 < uint64(len(s.words)) && s.words[i/64]>>(i%64)&1 == 1
}

// All yields the numbers in their order.
func (s *Set) All(yield func(uint64) bool) {
	for i := range uint64(len(s.words)) * 64 {
		if s.Has(i) && !yield(i) {
			return
		}
	}
}
