package ingest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// Recorder keeps what the intake has seen. One goroutine calls it, with batches.
type Recorder interface {
	// PutIngestions stores records. After an error the same ones may come again,
	// with the same ids. They are the recorder's to keep.
	PutIngestions(ctx context.Context, records []ingestion.Record) error
}

// RecordsConfig bounds what is recorded of the intake. Refused and observed
// requests have records of their own, with all that was sent, up to a rate for
// each courier; beyond it, and beyond the queue, they are summed up. So a flood of
// bad requests costs bounded memory and disk.
//
// Accepted events are summed up too, always: each of them has a row in the ledger,
// and another write for each would halve what the appliance can take.
type RecordsConfig struct {
	BodyBytes int           // kept of a request's body
	PerSecond float64       // records of single requests of one courier, of each class of senders
	Burst     int           // of them at once, after a silence
	Every     time.Duration // between two writes of what is waiting
	SumEvery  time.Duration // between two writes of the sums
	Queue     int           // records of single requests that wait to be written, at most
}

func defaultRecords() RecordsConfig {
	return RecordsConfig{BodyBytes: 32 << 10, PerSecond: 10, Burst: 50, Every: time.Second, SumEvery: time.Minute, Queue: 256}
}

const (
	// putTime bounds one call of the recorder.
	putTime = 10 * time.Second
	// putTries is how often records of single requests are written before they are
	// given up and summed, so that one that can't be stored does not stop the rest.
	putTries = 3
)

// records hands the recorder what happens, without letting anybody wait for it.
type records struct {
	config  RecordsConfig
	to      Recorder
	journal *journal
	dropped *prometheus.CounterVec
	sums    sums
	unknown *shares // of requests for no courier of ours

	mu      sync.Mutex
	waiting []ingestion.Record
	inHand  int // singles that were taken from waiting and not settled
	begun   bool
	ended   bool
	end     chan struct{} // closed to end run
	done    chan struct{} // closed by run

	// What follows is run's alone.
	singles []ingestion.Record
	tries   int // that singles have had
	taken   []ingestion.Record
	failing bool
}

// newRecords returns nil, which records nothing, when there is nobody to tell.
func newRecords(c RecordsConfig, to Recorder, j *journal, dropped *prometheus.CounterVec) *records {
	if to == nil {
		return nil
	}
	r := &records{config: c, to: to, journal: j, dropped: dropped, end: make(chan struct{}), done: make(chan struct{})}
	r.unknown = newShares(c)
	return r
}

// sum returns the sum of a key, nil when nothing is recorded.
func (r *records) sum(key sumKey) *sum {
	if r == nil {
		return nil
	}
	return r.sums.of(key)
}

// full reports whether no more single records of a class can wait. What is likely to be
// noise leaves half of the queue to the rest.
func (r *records) full(class recordClass) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isFull(class)
}

// isFull is called with mu held.
func (r *records) isFull(class recordClass) bool {
	most := r.config.Queue
	if class == otherSender {
		most = (most + 1) / 2
	}
	return len(r.waiting)+r.inHand >= most
}

// put lets a single record wait to be written; false when there is no place.
func (r *records) put(one ingestion.Record, class recordClass) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isFull(class) {
		return false
	}
	r.waiting = append(r.waiting, one)
	return true
}

// begin starts run, unless stop came first.
func (r *records) begin(ctx context.Context) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.begun {
		return
	}
	r.begun = true
	go r.run(ctx)
}

// stop has everything written that is there and waits for it.
func (r *records) stop(ctx context.Context) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	begun := r.begun
	if !r.ended {
		r.ended = true
		close(r.end)
	}
	r.mu.Unlock()
	if !begun {
		return nil
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("what the intake saw last is not recorded: %w", ctx.Err())
	}
}

func (r *records) run(ctx context.Context) {
	defer close(r.done)
	every, sumEvery := time.NewTicker(r.config.Every), time.NewTicker(r.config.SumEvery)
	defer every.Stop()
	defer sumEvery.Stop()
	for {
		select {
		case <-every.C:
			r.writeSingles(ctx, putTries)
			r.writeTaken(ctx)
		case <-sumEvery.C:
			r.writeSums(ctx)
		case <-r.end:
			for range 2 { // what an earlier try has left, and what came meanwhile
				r.writeSingles(ctx, 1)
			}
			for range 2 {
				r.writeSums(ctx)
			}
			return
		}
	}
}

// writeSingles writes the records of single requests. Those that are not stored
// by the last try are summed up.
func (r *records) writeSingles(ctx context.Context, tries int) {
	if len(r.singles) == 0 {
		r.mu.Lock()
		r.singles, r.waiting = r.waiting, nil
		r.inHand = len(r.singles)
		r.mu.Unlock()
		r.tries = 0
	}
	if !r.write(ctx, r.singles) {
		if r.tries++; r.tries < tries {
			return
		}
		for i := range r.singles {
			r.demote(&r.singles[i])
		}
	}
	r.mu.Lock()
	r.singles, r.inHand = nil, 0
	r.mu.Unlock()
}

// demote sums a request up that was to have a record of its own.
func (r *records) demote(one *ingestion.Record) {
	r.dropped.WithLabelValues(droppedUnstored).Inc()
	r.sum(sumKey{one.Courier, one.Outcome, one.Code, one.Reason}).add(one.At, int(one.Bytes))
}

// writeSums writes down the sums. While those taken before are not stored, the
// next ones grow.
func (r *records) writeSums(ctx context.Context) {
	if len(r.taken) == 0 {
		r.taken = r.sums.take()
	}
	r.writeTaken(ctx)
}

func (r *records) writeTaken(ctx context.Context) {
	if r.write(ctx, r.taken) {
		r.taken = nil
	}
}

// write hands a batch to the recorder and reports whether it is stored.
func (r *records) write(ctx context.Context, batch []ingestion.Record) bool {
	if len(batch) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	err := r.to.PutIngestions(ctx, batch)
	if err != nil && !r.failing { // once, not for every try
		r.journal.warn("ingestion records are not stored, the intake goes on", "error", err)
	}
	r.failing = err != nil
	return err == nil
}
