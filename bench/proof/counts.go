package proof

import (
	"context"
	"errors"

	"github.com/fincart/courier-gateway/ingest/event"
)

// counts compares the counts of an appliance that holds nothing but this load. Its
// ledger has one row for each identity, only signed events get into it, and all
// of those are ours: so when it has as many rows as events were acknowledged, and
// those that were not acknowledged are accounted for, its rows are these events.
func (p *Prover) counts(ctx context.Context) error {
	f, err := p.Ledger.Figures(ctx)
	if err != nil {
		return err
	}
	p.proof.Ledger, p.proof.Requeued = f.Store.Records, f.Requeued
	if err := p.strays(ctx); err != nil {
		return err
	}
	rows, open := p.rows()
	known := p.proof.Acknowledged + p.proof.Stray
	if rows < known {
		p.proof.NotTerminal = max(p.proof.NotTerminal, known-rows)
		p.proof.find("the ledger has %d rows, %d events were acknowledged and %d stored without", rows, p.proof.Acknowledged, p.proof.Stray)
	}
	if rows > known && p.Unsure.Len() <= p.Check {
		p.proof.Twice += rows - known
		p.proof.find("the ledger has %d rows, more than the %d events there are", rows, known)
	}
	if open > 0 {
		p.proof.NotTerminal = max(p.proof.NotTerminal, open)
		p.proof.find("%d rows of the ledger are not terminal", open)
	}
	if !p.proof.Exact && p.Unsure.Len() <= p.Check {
		p.proof.Exact = true
		p.proof.Method = "counts of a ledger with nothing else in it, and " + p.proof.Method
	}
	return errors.Join(p.deadLetters(ctx), p.applied(ctx))
}

// rows returns how many rows the ledger has, and how many of those are open.
func (p *Prover) rows() (rows, open uint64) {
	for status, n := range p.proof.Ledger {
		rows += uint64(n)
		if !status.Terminal() {
			open += uint64(n)
		}
	}
	return rows, open
}

// strays counts the events that are in the ledger without an acknowledgement.
func (p *Prover) strays(ctx context.Context) error {
	var unsure []uint64
	for e := range p.Unsure.All {
		if !p.Acknowledged.Has(e) && uint64(len(unsure)) < p.Check {
			unsure = append(unsure, e)
		}
	}
	return inParallel(ctx, unsure, func(ctx context.Context, e uint64) error {
		_, err := p.Ledger.Event(ctx, p.Events.Key(e), p.Courier)
		if event.CodeOf(err) == event.NotFound {
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

// deadLetters compares the dead letters with the faults.
func (p *Prover) deadLetters(ctx context.Context) error {
	dead := map[string]bool{}
	for l, err := range p.Ledger.DeadLetters(ctx, p.Courier) {
		if err != nil {
			return err
		}
		if dead[l.Key] {
			p.proof.Twice++
			p.proof.find("event %s has two dead letters", l.Key)
		}
		dead[l.Key] = true
		if !p.Faults.Of(l.Key).Permanent {
			p.proof.Unexplained++
			p.proof.find("event %s is a dead letter (%s) without a permanent fault", l.Key, l.Code)
		}
	}
	if n := uint64(p.proof.Ledger[event.DeadLettered]); n != uint64(len(dead)) {
		p.proof.Twice += max(n, uint64(len(dead))) - min(n, uint64(len(dead)))
		p.proof.find("%d events are dead letters, %d are dead by the ledger", len(dead), n)
	}
	for e := range p.Acknowledged.All {
		key := p.Events.Key(e)
		switch f := p.Faults.Of(key); {
		case f.Permanent:
			p.proof.Permanent++
			if !dead[key] {
				p.proof.Unexplained++
				p.proof.find("event %s has a permanent fault and is no dead letter", key)
			}
		case f.Failures > 0:
			p.proof.Transient++
			if !dead[key] && !p.failedTooFew.Has(e) {
				p.proof.Recovered++
			}
		}
	}
	return nil
}

// applied compares how often events were applied with how many are processed.
func (p *Prover) applied(ctx context.Context) error {
	n, err := p.Ledger.Applied(ctx)
	if processed := uint64(p.proof.Ledger[event.Processed]); err == nil && n > processed {
		p.proof.Twice += n - processed
		p.proof.find("events were applied %d times, %d are processed", n, processed)
	}
	return err
}
