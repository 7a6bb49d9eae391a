package integrity

import "sync"

// Receipts follows the sequences that the broker acknowledges to this process. They
// only ever rise: one that does not was given to another event before, which the
// stream has lost. It is safe for concurrent use.
type Receipts struct {
	highest func() uint64 // that any process is known to have had acknowledged

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

// Next takes over the sequence at which the event with a message id was stored, and
// reports whether one at or above it was acknowledged before. It must be called before
// [Record.Acknowledged] is with the sequence.
func (r *Receipts) Next(seq uint64, id string) (reused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reused = seq <= r.top; reused {
		r.join(reusedRun{first: seq, was: r.top, wasID: r.topID, highest: max(r.top, r.highest())})
	}
	r.top, r.topID = seq, id
	return reused
}

// join adds a run to what is not examined yet; mu is held.
func (r *Receipts) join(run reusedRun) {
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
func (r *Receipts) reset(last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.top, r.topID, r.run = last, "", reusedRun{}
}

// reused returns the run of sequences that were acknowledged twice; ok is false when
// there is none. It is returned once.
func (r *Receipts) reused() (run reusedRun, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run, r.run = r.run, reusedRun{}
	return run, run.first != 0
}

// restore has the run returned again.
func (r *Receipts) restore(run reusedRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.join(run)
}
