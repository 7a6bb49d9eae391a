package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Proof is what the appliance's own books say about the events of a load.
type Proof struct {
	// Exact means that the figures cover every acknowledged event: each was
	// looked up, or the counts of a ledger that holds nothing else leave no room.
	Exact        bool   `json:"exact"`
	Method       string `json:"method"`
	Acknowledged uint64 `json:"acknowledged"` // distinct events
	LookedUp     uint64 `json:"lookedUp"`     // of those, one by one
	// NotTerminal events were acknowledged and are missing or still under way, or
	// were on the queue without a proven outcome when patience ended.
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

	PutBack      int64                  `json:"putBack"` // by the reconciler
	Ledger       map[event.Status]int64 `json:"ledger,omitempty"`
	DrainSeconds float64                `json:"drainSeconds"`
	// Findings explain what is wrong, the first few of each kind.
	Findings []string `json:"findings,omitempty"`
}

// maxFindings bounds the explanations.
const maxFindings = 20

func (p *Proof) find(format string, args ...any) {
	if len(p.Findings) < maxFindings {
		p.Findings = append(p.Findings, fmt.Sprintf(format, args...))
	}
}

// prover compares what was acknowledged with what the appliance has in its
// books.
type prover struct {
	admin   *admin
	courier string
	plan    *plan
	acked   *bitset
	unsure  *bitset
	// own is set when the appliance holds nothing but this load, with these
	// faults.
	own    bool
	faults Faults
	check  uint64 // most events to look up one by one
	atOnce int    // look-ups under way at once

	proof  Proof
	spared bitset     // processed, with fewer failed attempts than faults
	mu     sync.Mutex // of both, while look-ups are under way
}

// maxShipments bounds the shipments that are compared.
const maxShipments = 500

// prove asks for everything and returns what it found. Its error means that the
// books could not be read.
func (p *prover) prove(ctx context.Context) (Proof, error) {
	p.proof.Acknowledged = p.acked.n
	events := p.sample()
	p.proof.LookedUp = uint64(len(events))
	p.proof.Exact = p.proof.LookedUp == p.proof.Acknowledged
	p.proof.Method = fmt.Sprintf("%d of %d events looked up", p.proof.LookedUp, p.proof.Acknowledged)
	if p.proof.Exact {
		p.proof.Method = "every event looked up"
	}
	if err := inParallel(ctx, p.atOnce, events, p.lookUp); err != nil {
		return p.proof, err
	}
	if !p.own {
		return p.proof, nil
	}
	return p.proof, errors.Join(p.books(ctx), inParallel(ctx, p.atOnce, p.shipments(), p.compare))
}

// sample returns the acknowledged events to look up: all, or as many as may be
// looked up, spread evenly.
func (p *prover) sample() []uint64 {
	want, n := min(p.check, p.acked.n), p.acked.n
	events := make([]uint64, 0, want)
	i := uint64(0)
	for e := range p.acked.all {
		if i++; i*want/n > (i-1)*want/n {
			events = append(events, e)
		}
	}
	return events
}

// lookUp reads one acknowledged event's row.
func (p *prover) lookUp(ctx context.Context, e uint64) error {
	key := p.plan.events.Key(e)
	r, err := p.admin.record(ctx, p.courier, key)
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || !r.Status.Terminal() {
		p.proof.NotTerminal++
		p.proof.find("event %s was acknowledged and is %s", key, missing(r.Status))
		return nil
	}
	p.count(e, key, &r)
	return nil
}

func missing(s event.Status) string {
	if s == "" {
		return "not in the ledger"
	}
	return string(s)
}

// count adds up one terminal row.
func (p *prover) count(e uint64, key string, r *event.Record) {
	succeeded, failed := 0, 0
	for _, a := range r.Attempts {
		switch a.Outcome {
		case event.Succeeded:
			succeeded++
		case event.WillRetry, event.WasLost:
			failed++
		case event.GaveUp:
		}
	}
	dead := r.Status == event.DeadLettered
	if succeeded > 1 || dead && succeeded > 0 {
		p.proof.Twice += uint64(max(succeeded-1, 1))
		p.proof.find("event %s succeeded %d times and is %s", key, succeeded, r.Status)
	}
	switch {
	case p.own && !dead:
		p.harmed(e, key, failed)
	case !p.own && failed > 0: // nobody tells which faults there are, but attempts show
		p.proof.Transient++
		if !dead {
			p.proof.Recovered++
		}
	}
}

// harmed holds the failed attempts of a processed event against its faults. One
// that never failed has recovered from nothing.
func (p *prover) harmed(e uint64, key string, failed int) {
	if f := p.faults.Of(key); failed < f.Failures {
		p.spared.set(e)
		p.proof.Unexplained++
		p.proof.find("event %s has %d transient faults and %d failed attempts", key, f.Failures, failed)
	}
}

// books reads the counts of an appliance that holds nothing but this load. Its
// ledger has one row for each identity, only signed events get into it, and all
// of those are ours: so when it has as many rows as events were acknowledged, and
// those that were not acknowledged are accounted for, its rows are these events.
func (p *prover) books(ctx context.Context) error {
	s, err := p.admin.status(ctx)
	if err != nil {
		return err
	}
	if p.proof.Ledger = s.Store.Records; s.Reconciler != nil {
		p.proof.PutBack = s.Reconciler.PutBack
	}
	if err := p.strays(ctx); err != nil {
		return err
	}
	rows, open := p.rows()
	known := p.proof.Acknowledged + p.proof.Stray
	if rows < known {
		p.proof.NotTerminal = max(p.proof.NotTerminal, known-rows)
		p.proof.find("the ledger has %d rows, %d events were acknowledged and %d stored without", rows, p.proof.Acknowledged, p.proof.Stray)
	}
	if rows > known && p.unsure.n <= p.check {
		p.proof.Twice += rows - known
		p.proof.find("the ledger has %d rows, more than the %d events there are", rows, known)
	}
	if open > 0 {
		p.proof.NotTerminal = max(p.proof.NotTerminal, open)
		p.proof.find("%d rows of the ledger are not terminal", open)
	}
	if !p.proof.Exact && p.unsure.n <= p.check {
		p.proof.Exact = true
		p.proof.Method = "counts of a ledger with nothing else in it, and " + p.proof.Method
	}
	return errors.Join(p.graves(ctx), p.applied(ctx))
}

// rows returns how many rows the ledger has, and how many of those are open.
func (p *prover) rows() (rows, open uint64) {
	for status, n := range p.proof.Ledger {
		rows += uint64(n)
		if !status.Terminal() {
			open += uint64(n)
		}
	}
	return rows, open
}

// strays counts the events that are in the ledger although nobody was told so.
func (p *prover) strays(ctx context.Context) error {
	var unsure []uint64
	for e := range p.unsure.all {
		if !p.acked.has(e) && uint64(len(unsure)) < p.check {
			unsure = append(unsure, e)
		}
	}
	return inParallel(ctx, p.atOnce, unsure, func(ctx context.Context, e uint64) error {
		_, err := p.admin.record(ctx, p.courier, p.plan.events.Key(e))
		if errors.Is(err, errAbsent) {
			return nil
		}
		if err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.proof.Stray++
		}
		return err
	})
}

// graves compares the dead letters with the faults.
func (p *prover) graves(ctx context.Context) error {
	dead := map[string]bool{}
	err := p.admin.letters(ctx, p.courier, func(l letter) {
		if dead[l.Key] {
			p.proof.Twice++
			p.proof.find("event %s has two dead letters", l.Key)
		}
		dead[l.Key] = true
		if !p.faults.Of(l.Key).Permanent {
			p.proof.Unexplained++
			p.proof.find("event %s is a dead letter (%s) without a permanent fault", l.Key, l.Code)
		}
	})
	if n := uint64(p.proof.Ledger[event.DeadLettered]); err == nil && n != uint64(len(dead)) {
		p.proof.Twice += max(n, uint64(len(dead))) - min(n, uint64(len(dead)))
		p.proof.find("%d events are dead letters, %d are dead by the ledger", len(dead), n)
	}
	for e := range p.acked.all {
		key := p.plan.events.Key(e)
		switch f := p.faults.Of(key); {
		case f.Permanent:
			p.proof.Permanent++
			if err == nil && !dead[key] {
				p.proof.Unexplained++
				p.proof.find("event %s has a permanent fault and is no dead letter", key)
			}
		case f.Failures > 0:
			p.proof.Transient++
			if !dead[key] && !p.spared.has(e) {
				p.proof.Recovered++
			}
		}
	}
	return err
}

// appliedCounter counts each time that an event is applied to a shipment.
const appliedCounter = "courier_gateway_process_processed_total"

// applied compares how often events were applied with how many are processed.
func (p *prover) applied(ctx context.Context) error {
	n, err := p.admin.counter(ctx, appliedCounter)
	if processed := uint64(p.proof.Ledger[event.Processed]); err == nil && n > processed {
		p.proof.Twice += n - processed
		p.proof.find("events were applied %d times, %d are processed", n, processed)
	}
	return err
}

// shipments returns some shipments whose every event is known to be applied or
// not.
func (p *prover) shipments() []uint64 {
	var some []uint64
	seen := map[uint64]bool{}
	every := max(1, p.acked.n/(maxShipments*journeySteps))
	i := uint64(0)
	for e := range p.acked.all {
		s, _ := p.plan.events.place(e)
		if i++; (i-1)%every != 0 || seen[s] || len(some) >= maxShipments {
			continue
		}
		seen[s] = true
		if !p.doubtful(s) {
			some = append(some, s)
		}
	}
	return some
}

// doubtful reports whether an event of the shipment may or may not be stored.
func (p *prover) doubtful(shipment uint64) bool {
	for step := range uint64(journeySteps) {
		if e := p.plan.events.eventOf(shipment, step); p.unsure.has(e) && !p.acked.has(e) {
			return true
		}
	}
	return false
}

// compare holds a shipment against its events: the newest one's status, and a
// history with each of them once.
func (p *prover) compare(ctx context.Context, shipment uint64) error {
	id := p.plan.events.shipmentID(shipment)
	var status string
	var keys []string
	for step := range uint64(journeySteps) {
		e := p.plan.events.eventOf(shipment, step)
		if key := p.plan.events.Key(e); p.acked.has(e) && !p.faults.Of(key).Permanent {
			status, keys = p.plan.events.status(shipment, step), append(keys, key)
		}
	}
	s, err := p.admin.shipment(ctx, p.courier, id)
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	var got []string
	for _, c := range s.History {
		got = append(got, c.Key)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proof.Shipments++
	if s.RawStatus != status || !slices.Equal(got, keys) {
		p.proof.Disordered++
		p.proof.find("shipment %s is %q by %d events, want %q by %d", id, s.RawStatus, len(got), status, len(keys))
	}
	return nil
}

// inParallel calls do for each item, so many at once, until one fails.
func inParallel(ctx context.Context, atOnce int, items []uint64, do func(context.Context, uint64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan uint64)
	var running sync.WaitGroup
	for range min(atOnce, len(items)) {
		running.Go(func() {
			for item := range todo {
				if err := do(ctx, item); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for _, item := range items {
		select {
		case todo <- item:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(todo)
	running.Wait()
	return context.Cause(ctx)
}
