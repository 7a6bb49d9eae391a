package jetstream

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// load is publishers that never stop of themselves, and what was acknowledged to
// them.
type load struct {
	wg      sync.WaitGroup
	stop    context.CancelFunc
	mu      sync.Mutex
	stored  map[string]uint64 // by key
	refused int
}

func startLoad(t *testing.T, b *Broker, publishers int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel, stored: map[string]uint64{}}
	for p := range publishers {
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%d-%d", p, i)
				r, err := b.Publish(t.Context(), envelope(key))
				for err != nil && ctx.Err() == nil { // as a courier would
					if event.CodeOf(err) != event.IntakeUnavailable {
						t.Errorf("%s: %v", key, err)
					}
					l.mu.Lock()
					l.refused++
					l.mu.Unlock()
					_ = sleep(ctx, 20*time.Millisecond)
					r, err = b.Publish(t.Context(), envelope(key))
				}
				if err == nil {
					l.mu.Lock()
					l.stored[key] = r.Sequence
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

// more waits until n more events are acknowledged.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	count := func() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.stored) }
	start := count()
	eventually(t, "more events are acknowledged", func() bool { return count() >= start+n })
}

// end stops the publishers.
func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// checkLoadable expects each acknowledged event where it was said to be.
func (l *load) checkLoadable(t *testing.T, b *Broker) {
	t.Helper()
	for key, seq := range l.stored {
		if d, err := b.Load(t.Context(), seq); err != nil || d.Key != key {
			t.Fatalf("%s was acknowledged, sequence %d holds %q, %v", key, seq, d.Key, err)
		}
	}
}

// checkAllStored pulls everything and expects each acknowledged event, once.
func (l *load) checkAllStored(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.conns.waitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	bySeq := map[uint64]string{}
	for range lastSeq(t, b) {
		d := pullN(t, b, 1)[0]
		if before, twice := bySeq[d.Sequence]; twice && d.Attempt == 1 {
			t.Errorf("sequence %d came twice: %s, %s", d.Sequence, before, d.Key)
		}
		bySeq[d.Sequence] = d.Key
		settle(t, b, event.Verdict{Action: event.Ack}, d)
	}
	keys := map[string]int{}
	for _, key := range bySeq {
		keys[key]++
	}
	for key, seq := range l.stored {
		if bySeq[seq] != key {
			t.Errorf("%s was acknowledged as %d, which holds %q", key, seq, bySeq[seq])
		}
		if keys[key] != 1 {
			t.Errorf("%s is stored %d times", key, keys[key])
		}
	}
	t.Logf("%d acknowledged, %d refused meanwhile", len(l.stored), l.refused)
}
