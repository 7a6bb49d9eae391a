package proof

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/event"
)

// Prover compares what was acknowledged with what the appliance has stored. It is for
// one use.
type Prover struct {
	Ledger       Ledger
	Courier      string
	Events       *bench.Generator
	Acknowledged *Set // numbers of events
	Unsure       *Set // sent, and the answer was no acknowledgement
	// Exclusive says that the appliance holds nothing but this load, with these
	// faults.
	Exclusive bool
	Faults    bench.Faults
	Check     uint64 // most events to look up one by one

	proof        Proof
	failedTooFew Set        // processed, with fewer failed attempts than faults
	mu           sync.Mutex // guards both while look-ups are under way
}

// LookUps is how many look-ups are under way at once at most.
const LookUps = 8

// Prove asks for everything and returns what it found. Its error means that the
// ledger could not be read. late is the error of a backlog that did not drain, nil when
// it did.
func (p *Prover) Prove(ctx context.Context, late *NotDrainedError) (Proof, error) {
	if late != nil {
		p.proof.find("%v", late)
	}
	err := p.lookUpAll(ctx)
	if p.Exclusive && err == nil {
		err = errors.Join(p.counts(ctx), inParallel(ctx, p.shipments(), p.compare))
	}
	if late != nil { // whatever a sample of the ledger shows
		p.proof.NotTerminal = max(p.proof.NotTerminal, late.Open())
	}
	return p.proof, err
}

// lookUpAll looks the acknowledged events up, or a sample of them.
func (p *Prover) lookUpAll(ctx context.Context) error {
	p.proof.Acknowledged = p.Acknowledged.Len()
	events := p.sample()
	p.proof.LookedUp = uint64(len(events))
	p.proof.Exact = p.proof.LookedUp == p.proof.Acknowledged
	p.proof.Method = fmt.Sprintf("%d of %d events looked up", p.proof.LookedUp, p.proof.Acknowledged)
	if p.proof.Exact {
		p.proof.Method = "every event looked up"
	}
	return inParallel(ctx, events, p.lookUp)
}

// sample returns the acknowledged events to look up: all, or as many as may be
// looked up, spread evenly.
func (p *Prover) sample() []uint64 {
	want, n := min(p.Check, p.Acknowledged.Len()), p.Acknowledged.Len()
	events := make([]uint64, 0, want)
	i := uint64(0)
	for e := range p.Acknowledged.All {
		if i++; i*want/n > (i-1)*want/n {
			events = append(events, e)
		}
	}
	return events
}

// lookUp reads one acknowledged event's row.
func (p *Prover) lookUp(ctx context.Context, e uint64) error {
	key := p.Events.Key(e)
	r, err := p.Ledger.Event(ctx, key, p.Courier)
	if err != nil && event.CodeOf(err) != event.NotFound {
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
func (p *Prover) count(e uint64, key string, r *event.Record) {
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
	case p.Exclusive && !dead:
		p.checkFailures(e, key, failed)
	case !p.Exclusive && failed > 0: // which faults there are is not known, but attempts show
		p.proof.Transient++
		if !dead {
			p.proof.Recovered++
		}
	}
}

// checkFailures compares the failed attempts of a processed event with its faults. One
// that never failed has recovered from nothing.
func (p *Prover) checkFailures(e uint64, key string, failed int) {
	if f := p.Faults.Of(key); failed < f.Failures {
		p.failedTooFew.Add(e)
		p.proof.Unexplained++
		p.proof.find("event %s has %d transient faults and %d failed attempts", key, f.Failures, failed)
	}
}

// inParallel calls do for each item, several at once, until one fails.
func inParallel(ctx context.Context, items []uint64, do func(context.Context, uint64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan uint64)
	var running sync.WaitGroup
	for range min(LookUps, len(items)) {
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
