package process

import (
	"sync/atomic"
	"time"
)

// phase is what a worker is doing.
type phase int32

const (
	phaseStarting phase = iota
	phasePulling
	phaseWorking
	phaseHolding
	phaseStopped
)

func (p phase) String() string {
	return [...]string{"starting", "pulling", "working", "holding", "stopped"}[p]
}

// Heartbeat is a worker's sign of life. The zero value is that of a worker that has
// not started; it is safe for concurrent use.
type Heartbeat struct {
	phase  atomic.Int32
	at     atomic.Int64 // Unix nanoseconds of the last sign
	events atomic.Int64
	batch  atomic.Int64
	held   atomic.Pointer[Hold]
}

// Hold is why a worker keeps events without handling them.
type Hold struct {
	Since time.Time
	Cause error // of the latest try
}

// HeartbeatState is a reading of a [Heartbeat].
type HeartbeatState struct {
	Phase   string    // starting, pulling, working, holding or stopped
	At      time.Time // of the last sign of life, zero before the first
	Events  int64     // deliveries handled since the start
	Batches int64
	Held    *Hold // nil while events are handled
}

// Read returns the current state.
func (b *Heartbeat) Read() HeartbeatState {
	h := HeartbeatState{Phase: phase(b.phase.Load()).String(), Events: b.events.Load(), Batches: b.batch.Load(), Held: b.held.Load()}
	if at := b.at.Load(); at != 0 {
		h.At = time.Unix(0, at)
	}
	return h
}

// signal says that the worker is alive, in this phase.
func (b *Heartbeat) signal(now phase) {
	b.phase.Store(int32(now))
	b.at.Store(time.Now().UnixNano())
}

// handled counts a batch of n deliveries.
func (b *Heartbeat) handled(n int) { b.events.Add(int64(n)); b.batch.Add(1); b.release() }

// hold says that nothing can be handled because of cause.
func (b *Heartbeat) hold(cause error) {
	since := time.Now()
	if before := b.held.Load(); before != nil {
		since = before.Since
	}
	b.held.Store(&Hold{Since: since, Cause: cause})
	b.signal(phaseHolding)
}

// release says that events are handled again.
func (b *Heartbeat) release() { b.held.Store(nil) }
