package process

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// forgetful is a queue that does not keep what was verified, for as long as forgets is set.
type forgetful struct {
	*fakeBroker
	forgets atomic.Bool
	pulls   atomic.Int64
	stop    context.CancelFunc // called when it is pulled far too often
}

func (f *forgetful) PullSettled(ctx context.Context, limit int) ([]event.Delivery, error) {
	if f.pulls.Add(1) > 1000 {
		f.stop()
	}
	return f.fakeBroker.PullSettled(ctx, limit)
}

func (f *forgetful) Verified(ctx context.Context, seq uint64) error {
	if f.forgets.Load() {
		return nil
	}
	return f.fakeBroker.Verified(ctx, seq)
}

// TestReconcilerDoesNotSpin: a queue that returns the same events again costs a few
// look-ups a second, and once it keeps the position all goes on.
func TestReconcilerDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		d := newFixture(t)
		q := &forgetful{fakeBroker: newFakeBroker(), stop: stop}
		q.forgets.Store(true)
		r, _ := reconciler(d, q.fakeBroker)
		r.Queue, r.Every = q, 50*time.Millisecond
		done := d.arrives("done", "s", "in_transit", noon)
		d.handle(t, done)
		q.settledSeq = []event.Delivery{done}

		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := q.pulls.Load(); n > 40 {
			t.Errorf("pulled %d times in ten seconds", n)
		}
		q.forgets.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if q.verified != done.Sequence {
			t.Errorf("verified up to %d after the queue kept it again, want %d", q.verified, done.Sequence)
		}
	})
}
