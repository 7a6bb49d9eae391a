package integrity

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/jetstream/durable"
)

// Record is what this process knows of the events' stream apart from the stream: a
// position and the list of losses, in a directory of its own. Its methods may be called
// by any number of goroutines.
type Record struct {
	log      *slog.Logger
	m        Metrics
	unlock   func() error
	position *positionFile
	losses   *losses
}

// Metrics are the figures that this package keeps.
type Metrics struct {
	Missing    prometheus.Counter // events found missing, before they were looked up
	Lost       prometheus.Gauge   // events lost, acknowledged losses included
	LostOpen   prometheus.Gauge   // of them, those of losses that are not acknowledged
	Unreadable prometheus.Gauge   // bytes that the broker dropped when it opened its files
}

// maxSharedState bounds how many processes keep their records side by side.
const maxSharedState = 16

// OpenRecord opens the record in dir, and makes it when it is missing. A directory that
// another process uses is an error, or with shared a reason to take one beside it:
// several processes that share an external broker may share a data directory too.
func OpenRecord(dir string, shared bool, log *slog.Logger, m Metrics) (*Record, error) {
	dir, unlock, err := lockState(dir, shared)
	if err != nil {
		return nil, err
	}
	r := &Record{log: log, m: m, unlock: unlock}
	var damaged bool
	if r.position, damaged, err = openPosition(dir); err != nil {
		return nil, errors.Join(err, unlock())
	}
	if damaged {
		log.Warn("the file of what is known of the queue is damaged and begins again: an end of the queue that is lost can't be noticed by this start", "dir", dir)
	}
	var aside string
	if r.losses, aside, err = openLosses(dir); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if aside != "" {
		log.Error("the list of losses can't be read, it was set aside and a new one begun", "file", aside)
	}
	r.countLosses()
	return r, nil
}

// lockState takes a directory for this process.
func lockState(dir string, shared bool) (locked string, unlock func() error, err error) {
	for n := range maxSharedState {
		if locked = dir; n > 0 {
			locked = fmt.Sprint(dir, "-", n+1)
		}
		if err = os.MkdirAll(locked, 0o700); err != nil {
			return "", nil, fmt.Errorf("make the directory of what is known of the queue: %w", err)
		}
		if unlock, err = durable.Lock(locked); err == nil {
			return locked, unlock, nil
		}
		if !shared {
			break
		}
	}
	return "", nil, err
}

// Close makes the record survive a power cut and gives its directory free.
func (r *Record) Close() error { return errors.Join(r.position.close(), r.unlock()) }

// Sync makes the record survive a power cut. It returns the error of the last write of
// the position, too.
func (r *Record) Sync() error { return r.position.sync() }

// Acknowledged takes over that an event was acknowledged at a sequence. It costs one
// write(2) when that is the highest.
func (r *Record) Acknowledged(seq uint64) { r.position.raise(seq, time.Now()) }

// Position returns what is known of the stream.
func (r *Record) Position() Position { return r.position.get() }

// RaiseVerified takes over how far the stream of that birth is verified, and when the
// event there was stored; the zero time when that is not known.
func (r *Record) RaiseVerified(birth int64, seq uint64, stored time.Time) {
	r.position.update(func(p *Position) {
		if p.Birth == birth && seq > p.Verified {
			p.Verified = seq
			if !stored.IsZero() {
				p.VerifiedAt = stored.UnixNano()
			}
		}
	})
}

// ReportMissing puts sequences on the list of losses that the stream of that birth
// should have and doesn't. The error's code is Internal when the list can't be written.
func (r *Record) ReportMissing(birth int64, seqs []uint64) error {
	return r.report(missing{
		cause: loss.Hole, birth: birth, sequences: sequencesOf(seqs), endedAfter: endedAfter(r.position.get()),
	})
}

// report puts one kind of what is missing on the list, and logs what is new there.
func (r *Record) report(m missing) error {
	id, added, err := r.losses.add(m, time.Now())
	if err != nil {
		r.log.Error("events are missing from the queue, and the list of losses can't be written",
			"cause", string(m.cause), "count", m.sequences.count(), "bytes", m.bytes, "sequences", m.sequences.String(), "error", err)
		return fmt.Errorf("%d events are missing from the queue (%s), which can't be recorded: %w", m.sequences.count(), m.sequences, err)
	}
	if id == "" {
		return nil
	}
	r.countLosses()
	r.m.Missing.Add(float64(added.count()))
	r.log.Error("events are missing from the queue, those without an outcome in the ledger are lost",
		"loss", id, "cause", string(m.cause), "count", added.count(), "bytes", m.bytes, "sequences", added.String())
	return nil
}

// countLosses brings the figures up to date with the list.
func (r *Record) countLosses() {
	all, open := r.losses.counts()
	r.m.Lost.Set(float64(all))
	r.m.LostOpen.Set(float64(open))
}

// Losses returns what the queue is known to have lost, the oldest first.
func (r *Record) Losses() []loss.Loss { return r.losses.all() }

// Problem says which losses are not acknowledged, "" when there is none.
func (r *Record) Problem() string { return r.losses.problem() }

// Acknowledge marks a loss as known to an operator, for good; the note may be empty.
// The error's code is NotFound when there is no such loss.
func (r *Record) Acknowledge(id, note string) (loss.Loss, error) {
	l, err := r.losses.acknowledge(id, note, time.Now())
	if err == nil {
		r.countLosses()
		r.log.Info("loss acknowledged", "loss", id, "count", l.Events, "note", note)
	}
	return l, err
}

// Unchecked returns some of the missing events that are to be looked up in the ledger;
// none when all were.
func (r *Record) Unchecked() []loss.Missing { return r.losses.unchecked() }

// Checked takes over which of m have their outcome. The others are lost.
func (r *Record) Checked(m loss.Missing, ended []uint64) error {
	lost, err := r.losses.checked(m, ended)
	if err != nil {
		return err
	}
	r.countLosses()
	if len(lost) == 0 {
		r.log.Warn("missing events have their outcome in the ledger, they are not lost",
			"loss", m.LossID, "first_sequence", m.Sequence.First, "last_sequence", m.Sequence.Last)
		return nil
	}
	r.log.Error("accepted events are lost: they are not in the queue and have no outcome in the ledger",
		"loss", m.LossID, "count", lost.count(), "sequences", lost.String())
	return nil
}
