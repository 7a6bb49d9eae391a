package jetstream

import "sync"

// receipts follows the sequences that the broker acknowledges to this process. They
// only ever rise: one that does not was given to another event before, which the
// stream has lost.
type receipts struct {
	mu    sync.Mutex
	top   uint64 // the last one
	topID string // the message id at top; "" when that is not known
	run   reusedRun
}

// reusedRun is what the receipts show of a stream that was cut: the sequences from
// first to was were acknowledged before first was acknowledged again.
type reusedRun struct {
	first, was uint64
	wasID      string // the message id that was stored at was
	highest    uint64 // that was known then, of any process
}

// next takes over the sequence at which the event with a message id was stored, and
// reports whether one at or above it was acknowledged before. known does not have the
// sequence yet.
func (r *receipts) next(seq uint64, id string, known *positionFile) (reused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reused = seq <= r.top; reused {
		r.join(reusedRun{first: seq, was: r.top, wasID: r.topID, highest: max(r.top, known.get().highest)})
	}
	r.top, r.topID = seq, id
	return reused
}

// join adds a run to what is not looked at yet; mu is held.
func (r *receipts) join(run reusedRun) {
	if r.run.first == 0 {
		r.run = run
		return
	}
	r.run.first = min(r.run.first, run.first)
	if run.was > r.run.was {
		r.run.was, r.run.wasID = run.was, run.wasID
	}
	// Only the first of several knows what there was before.
}

// reset says where the stream ends; its next event has a higher sequence.
func (r *receipts) reset(last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.top, r.topID, r.run = last, "", reusedRun{}
}

// lowerTop says that the stream ends at last, whatever it acknowledged before.
func (p *publisher) lowerTop(last uint64) { p.receipts.reset(last) }

// reused returns the run of sequences that were acknowledged twice; ok is false when
// there is none. It is returned once.
func (p *publisher) reused() (run reusedRun, ok bool) {
	r := &p.receipts
	r.mu.Lock()
	defer r.mu.Unlock()
	run, r.run = r.run, reusedRun{}
	return run, run.first != 0
}

// noteReused has the run returned again.
func (p *publisher) noteReused(run reusedRun) {
	p.receipts.mu.Lock()
	defer p.receipts.mu.Unlock()
	p.receipts.join(run)
}
