package record

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// Store keeps what the intake has seen. One goroutine calls it, with batches.
type Store interface {
	// PutIngestions stores records. After an error the same ones may come again,
	// with the same ids. The store may keep them.
	PutIngestions(ctx context.Context, records []ingestion.Record) error
}

// Config bounds what is recorded of the intake. Refused and observed requests have
// records of their own, with all that was sent, up to a rate for each courier; beyond it,
// and beyond the queue, they are counted in aggregates. So a flood of bad requests costs
// bounded memory and disk.
//
// Accepted events are counted in aggregates too, always: each of them has a row in the
// ledger, and another write for each would halve the rate that the appliance accepts.
type Config struct {
	BodyBytes      int           // kept of a request's body
	PerSecond      float64       // records of single requests of one courier, of each class of senders
	Burst          int           // of them at once, after a silence
	Every          time.Duration // between two writes of what is waiting
	AggregateEvery time.Duration // between two writes of the aggregates
	Queue          int           // records of single requests that wait to be written, at most
}

// DefaultConfig returns the bounds that suit most installations.
func DefaultConfig() Config {
	return Config{BodyBytes: 32 << 10, PerSecond: 10, Burst: 50, Every: time.Second, AggregateEvery: time.Minute, Queue: 256}
}

// Check adds a fault for each bound that is not positive, under the given path.
func (c *Config) Check(faults *event.Faults, path string) {
	for _, bound := range []struct {
		name string
		ok   bool
	}{
		{"BodyBytes", c.BodyBytes > 0}, {"PerSecond", c.PerSecond > 0}, {"Burst", c.Burst > 0},
		{"Every", c.Every > 0}, {"AggregateEvery", c.AggregateEvery > 0}, {"Queue", c.Queue > 0},
	} {
		faults.Check(bound.ok, path+"."+bound.name, "must be positive")
	}
}

const (
	// putTime bounds one call of the store.
	putTime = 10 * time.Second
	// putTries is how often records of single requests are written before they are
	// given up and counted in aggregates, so that one that can't be stored does not stop
	// the rest.
	putTries = 3
)

// Deps are what a [Writer] works with.
type Deps struct {
	Store    Store
	Warn     func(msg string, args ...any) // logs, at a bounded rate
	Unstored func()                        // counts a record that was not stored
}

// Writer passes to the store what happens, and no request waits for it. It is safe for
// concurrent use.
type Writer struct {
	config     Config
	deps       Deps
	aggregates aggregates

	mu      sync.Mutex
	waiting []ingestion.Record
	inHand  int // singles that were taken from waiting and not settled
	begun   bool
	ended   bool
	end     chan struct{} // closed to end run
	done    chan struct{} // closed by run

	// What follows is run's alone.
	singles []ingestion.Record
	tries   int                // that singles have had
	taken   []ingestion.Record // of the aggregates
	failing bool
}

// NewWriter returns a writer that takes records, and writes them once it is started.
func NewWriter(c Config, d Deps) *Writer {
	return &Writer{config: c, deps: d, end: make(chan struct{}), done: make(chan struct{})}
}

// Aggregate returns the aggregate of a key, which stays the same forever.
func (w *Writer) Aggregate(key Key) *Aggregate {
	return w.aggregates.of(key)
}

// Full reports whether no more single records of a class can wait. What is likely to be
// noise leaves half of the queue to the rest.
func (w *Writer) Full(class Class) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isFull(class)
}

// isFull is called with mu held.
func (w *Writer) isFull(class Class) bool {
	most := w.config.Queue
	if class == Other {
		most = (most + 1) / 2
	}
	return len(w.waiting)+w.inHand >= most
}

// Put lets a single record wait to be written; false when there is no place.
func (w *Writer) Put(one ingestion.Record, class Class) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isFull(class) {
		return false
	}
	w.waiting = append(w.waiting, one)
	return true
}

// Start starts writing, unless Stop came first. When ctx is done, the store is no longer
// waited for.
func (w *Writer) Start(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.begun {
		return
	}
	w.begun = true
	go w.run(ctx)
}

// Stop has everything written that is there and waits for it, no longer than ctx.
func (w *Writer) Stop(ctx context.Context) error {
	w.mu.Lock()
	begun := w.begun
	if !w.ended {
		w.ended = true
		close(w.end)
	}
	w.mu.Unlock()
	if !begun {
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("what the intake saw last is not recorded: %w", ctx.Err())
	}
}

func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	every, aggregateEvery := time.NewTicker(w.config.Every), time.NewTicker(w.config.AggregateEvery)
	defer every.Stop()
	defer aggregateEvery.Stop()
	for {
		select {
		case <-every.C:
			w.writeSingles(ctx, putTries)
			w.writeTaken(ctx)
		case <-aggregateEvery.C:
			w.writeAggregates(ctx)
		case <-w.end:
			for range 2 { // what an earlier try has left, and what came meanwhile
				w.writeSingles(ctx, 1)
			}
			for range 2 {
				w.writeAggregates(ctx)
			}
			return
		}
	}
}

// writeSingles writes the records of single requests. Those that are not stored
// by the last try are counted in aggregates.
func (w *Writer) writeSingles(ctx context.Context, tries int) {
	if len(w.singles) == 0 {
		w.mu.Lock()
		w.singles, w.waiting = w.waiting, nil
		w.inHand = len(w.singles)
		w.mu.Unlock()
		w.tries = 0
	}
	if !w.write(ctx, w.singles) {
		if w.tries++; w.tries < tries {
			return
		}
		for i := range w.singles {
			w.demote(&w.singles[i])
		}
	}
	w.mu.Lock()
	w.singles, w.inHand = nil, 0
	w.mu.Unlock()
}

// demote counts a request in an aggregate that was to have a record of its own.
func (w *Writer) demote(one *ingestion.Record) {
	w.deps.Unstored()
	w.Aggregate(Key{one.Courier, one.Outcome, one.Code, one.Reason}).Add(one.At, int(one.Bytes))
}

// writeAggregates writes the aggregates. While those taken before are not stored, the
// next ones grow.
func (w *Writer) writeAggregates(ctx context.Context) {
	if len(w.taken) == 0 {
		w.taken = w.aggregates.take()
	}
	w.writeTaken(ctx)
}

func (w *Writer) writeTaken(ctx context.Context) {
	if w.write(ctx, w.taken) {
		w.taken = nil
	}
}

// write hands a batch to the store and reports whether it is stored.
func (w *Writer) write(ctx context.Context, batch []ingestion.Record) bool {
	if len(batch) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	err := w.deps.Store.PutIngestions(ctx, batch)
	if err != nil && !w.failing { // once, not for every try
		w.deps.Warn("ingestion records are not stored, the intake goes on", "error", err)
	}
	w.failing = err != nil
	return err == nil
}
