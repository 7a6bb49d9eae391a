package integrity

import (
	"context"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Runs reads events in the order of the stream, and knows which of them are missing. Its
// methods may be called by any number of goroutines.
type Runs struct {
	cfg    Config
	losses *losses
	stored storedTimes
}

// NewRuns returns a reader of runs.
func NewRuns(cfg Config, record *Record) *Runs { return &Runs{cfg: cfg, losses: record.losses} }

// Read returns what became of the sequences from first to last, up to limit of
// them, in their order; a sequence at which the stream has nothing that can be read is
// a gap. What the broker leaves out, because its record is damaged or because the
// replica that answers lags behind, is asked for one by one. The error's code is
// DependencyDown.
func (rs *Runs) Read(ctx context.Context, first, last uint64, limit int) ([]event.Delivery, error) {
	r := run{of: rs, birth: rs.cfg.Stream().CachedInfo().Created.UnixNano(), limit: limit}
	defer func() { rs.stored.set(r.stored) }()
	for next := first; next <= last && len(r.ds) < limit; {
		messages, err := rs.cfg.Reader.Read(ctx, next, int(min(uint64(limit-len(r.ds)), last-next+1)))
		if err != nil {
			return nil, err
		}
		before := next
		for _, m := range messages {
			seq := m.Delivery.Sequence
			if next, err = r.fill(ctx, next, min(seq, last+1)); err != nil {
				return nil, err
			}
			if seq != next || seq > last || len(r.ds) == limit {
				break
			}
			r.add(m)
			next = seq + 1
		}
		if next == before {
			if next, err = r.fill(ctx, next, last+1); err != nil {
				return nil, err
			}
		}
	}
	return rs.stillMissing(ctx, r.ds)
}

// run is what Read has read so far.
type run struct {
	of     *Runs
	birth  int64 // of the stream
	limit  int
	ds     []event.Delivery
	stored []storedTime
}

// add takes a message over.
func (r *run) add(m Message) {
	seq := m.Delivery.Sequence
	if !m.StoredAt.IsZero() {
		r.stored = append(r.stored, storedTime{seq, m.StoredAt})
	}
	if m.Subject == r.of.cfg.FillerSubject {
		r.ds = append(r.ds, event.Delivery{Sequence: seq, Gap: event.GapKnown})
		return
	}
	r.ds = append(r.ds, m.Delivery)
}

// fill reads one by one the sequences from next up to but not including end, until
// the limit is reached, and returns where to go on. Those known to be lost are
// skipped.
func (r *run) fill(ctx context.Context, next, end uint64) (uint64, error) {
	for next < end && len(r.ds) < r.limit {
		if known, ok := r.of.losses.known(r.birth, next); ok {
			known = min(known, end-1)
			r.ds = append(r.ds, event.Delivery{Sequence: known, Gap: event.GapKnown})
			next = known + 1
			continue
		}
		d, err := r.of.cfg.Reader.Load(ctx, next)
		switch {
		case event.CodeOf(err) == event.NotFound:
			d = event.Delivery{Sequence: next, Gap: event.GapMissing}
		case err != nil:
			return next, err
		}
		r.ds = append(r.ds, d)
		next++
	}
	return next, nil
}

// stillMissing drops the missing sequences that another process has verified and
// purged since.
func (rs *Runs) stillMissing(ctx context.Context, ds []event.Delivery) ([]event.Delivery, error) {
	for i := range ds {
		if ds[i].Gap != event.GapMissing {
			continue
		}
		verified, _, err := rs.cfg.Verified(ctx)
		if err != nil {
			return nil, err
		}
		for len(ds) > 0 && ds[0].Sequence <= verified {
			ds = ds[1:]
		}
		break
	}
	return ds, nil
}

// StoredAt returns when the event at seq, or the last one before it, was stored; the
// zero time when that is not known. Only those of the latest Read are known.
func (rs *Runs) StoredAt(seq uint64) time.Time { return rs.stored.find(seq) }

// storedTime is when the event at a sequence was stored.
type storedTime struct {
	seq uint64
	at  time.Time
}

// storedTimes has those of the latest run.
type storedTimes struct {
	mu    sync.Mutex
	times []storedTime
}

func (s *storedTimes) set(times []storedTime) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = times
}

func (s *storedTimes) find(seq uint64) (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.times {
		if t.seq > seq {
			break
		}
		at = t.at
	}
	return at
}
