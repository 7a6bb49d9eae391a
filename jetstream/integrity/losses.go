package integrity

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/jetstream/durable"
)

// lossRecord is a loss as it is kept.
type lossRecord struct {
	ID      string     `json:"id"`
	FoundAt time.Time  `json:"foundAt"`
	Cause   loss.Cause `json:"cause"`
	Birth   int64      `json:"birth"` // of the stream whose sequences these are
	Bytes   uint64     `json:"bytes,omitempty"`
	// Examined is everything that was ever missing here, so that it isn't reported
	// twice; Lost is the part that has no outcome, Unchecked the part that was not
	// looked up yet.
	Examined  ranges `json:"examined"`
	Lost      ranges `json:"lost"`
	Unchecked ranges `json:"unchecked"`
	// More counts events beyond maxLossRanges; they are named by Examined only.
	More uint64 `json:"more,omitempty"`
	// Of the events, for the look-up in the ledger; see [loss.Missing].
	EndedAfter     time.Time `json:"endedAfter,omitzero"`
	ReceivedBefore time.Time `json:"receivedBefore,omitzero"`
	AcknowledgedAt time.Time `json:"acknowledgedAt,omitzero"`
	Note           string    `json:"note,omitempty"`
}

const (
	lossesName = "losses.json"
	// maxLossRanges bounds what a record has of runs of sequences, each kind.
	maxLossRanges = 10_000
	// maxLosses bounds the records. The oldest that are acknowledged go first; with
	// that many unacknowledged ones, a new loss joins the last of them.
	maxLosses = 500
	// checkedAtOnce bounds a run of sequences that is looked up in the ledger.
	checkedAtOnce = 4096
)

// events returns how many events are lost, as far as is known.
func (r *lossRecord) events() uint64 { return r.Lost.count() + r.Unchecked.count() + r.More }

// dismissed says that everything in the record turned out to have its outcome.
func (r *lossRecord) dismissed() bool { return r.events() == 0 && r.Bytes == 0 }

func (r *lossRecord) open() bool { return r.AcknowledgedAt.IsZero() && !r.dismissed() }

func (r *lossRecord) loss() loss.Loss {
	sequences := r.Lost.union(r.Unchecked)
	if sequences == nil {
		sequences = ranges{}
	}
	return loss.Loss{
		ID: r.ID, FoundAt: r.FoundAt, Cause: r.Cause, Events: r.events(), Bytes: r.Bytes,
		Sequences: sequences, Truncated: r.More > 0, Unchecked: r.Unchecked.count(),
		AcknowledgedAt: r.AcknowledgedAt, Note: r.Note,
	}
}

// add takes more missing sequences into the record.
func (r *lossRecord) add(missing ranges) {
	r.Examined = r.Examined.union(missing)
	if n := len(r.Examined); n > maxLossRanges {
		r.Examined = ranges{{First: r.Examined[0].First, Last: r.Examined[n-1].Last}}
	}
	if left := max(maxLossRanges-len(r.Unchecked)-len(r.Lost), 0); len(missing) > left {
		r.More += missing[left:].count()
		missing = missing[:left]
	}
	r.Unchecked = r.Unchecked.union(missing)
}

// losses is the list of what the queue has lost, in a file that survives this
// process and a power cut. It is safe for concurrent use.
type losses struct {
	path string

	mu   sync.Mutex
	list []*lossRecord
	last int // the highest id so far
}

// openLosses reads the list in dir. A file that can't be read as one is set aside,
// and aside says where.
func openLosses(dir string) (l *losses, aside string, err error) {
	l = &losses{path: filepath.Join(dir, lossesName)}
	content, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the list of losses: %w", err)
	}
	if json.Unmarshal(content, &l.list) != nil || slices.Contains(l.list, nil) {
		l.list, aside = nil, l.path+".damaged"
		if err := os.Rename(l.path, aside); err != nil {
			return nil, "", fmt.Errorf("set the damaged list of losses aside: %w", err)
		}
	}
	for _, r := range l.list {
		id, _ := strconv.Atoi(r.ID)
		l.last = max(l.last, id)
	}
	return l, aside, nil
}

// missing is what was found missing at one time.
type missing struct {
	cause          loss.Cause
	birth          int64
	sequences      ranges
	bytes          uint64
	endedAfter     time.Time
	receivedBefore time.Time
}

// add puts on the list what is not on it yet, durably, and returns what that is.
func (l *losses) add(m missing, now time.Time) (id string, added ranges, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	added = m.sequences.without(l.examined(m.birth))
	if len(added) == 0 && (m.bytes == 0 || l.knownBytes(m)) {
		return "", nil, nil
	}
	err = l.update(func() {
		r := l.recordFor(m, now)
		if r.Birth == m.birth {
			r.add(added)
		} else {
			r.More += added.count() // sequences of another stream
		}
		r.Bytes += m.bytes
		id = r.ID
	})
	if err != nil {
		return "", nil, err
	}
	return id, added, nil
}

// knownBytes reports whether the same bytes were reported before: the broker
// repeats what it dropped until its files are opened again.
func (l *losses) knownBytes(m missing) bool {
	return slices.ContainsFunc(l.list, func(r *lossRecord) bool { return r.Birth == m.birth && r.Bytes == m.bytes })
}

// recordFor returns the record that m joins: the last one, if it grows by the same
// cause and is not acknowledged, or a new one.
func (l *losses) recordFor(m missing, now time.Time) *lossRecord {
	if n := len(l.list); n > 0 {
		last := l.list[n-1]
		same := last.Cause == m.cause && last.Birth == m.birth
		if last.open() && (same && m.cause == loss.Hole || l.full()) {
			if m.endedAfter.Before(last.EndedAfter) {
				last.EndedAfter = m.endedAfter
			}
			return last
		}
	}
	l.last++
	r := &lossRecord{
		ID: strconv.Itoa(l.last), FoundAt: now.UTC(), Cause: m.cause, Birth: m.birth,
		EndedAfter: m.endedAfter, ReceivedBefore: m.receivedBefore,
	}
	l.list = append(l.list, r)
	return r
}

// full reports whether there is no place for one more record, having dropped an old
// one if it can.
func (l *losses) full() bool {
	for i, r := range l.list {
		if len(l.list) >= maxLosses && !r.open() {
			l.list = slices.Delete(l.list, i, i+1)
			break
		}
	}
	return len(l.list) >= maxLosses
}

// examined returns all sequences of a stream that were reported before.
func (l *losses) examined(birth int64) (all ranges) {
	for _, r := range l.list {
		if r.Birth == birth {
			all = all.union(r.Examined)
		}
	}
	return all
}

// known returns the last sequence of the run that seq is in, of those that were
// reported missing from a stream.
func (l *losses) known(birth int64, seq uint64) (last uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.examined(birth).end(seq)
}

// notLost records that a stream has lost nothing at sequences which it has no event for:
// none was ever acknowledged there.
func (l *losses) notLost(birth int64, cause loss.Cause, unused ranges) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if unused = unused.without(l.examined(birth)); len(unused) == 0 {
		return nil
	}
	return l.update(func() {
		l.full()
		l.list = append(l.list, &lossRecord{FoundAt: time.Now().UTC(), Cause: cause, Birth: birth, Examined: unused})
	})
}

// reopen has a stream's sequences from first on be reported again when they are
// missing: other events get them.
func (l *losses) reopen(birth int64, first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.list {
		if r.Birth == birth {
			r.Examined = r.Examined.without(ranges{{First: first, Last: math.MaxUint64}})
		}
	}
}

// all returns the losses, the oldest first.
func (l *losses) all() []loss.Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := []loss.Loss{}
	for _, r := range l.list {
		if !r.dismissed() {
			found = append(found, r.loss())
		}
	}
	return found
}

// acknowledge marks a loss as known to an operator.
func (l *losses) acknowledge(id, note string, now time.Time) (loss.Loss, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.list, func(r *lossRecord) bool { return r.ID == id && !r.dismissed() })
	if i < 0 {
		return loss.Loss{}, event.Errorf(event.NotFound, "acknowledge loss", "no loss has the id %q: `appliance queue losses` lists them", id)
	}
	r := l.list[i]
	if err := l.update(func() { r.AcknowledgedAt, r.Note = now.UTC(), cmp.Or(note, r.Note) }); err != nil {
		return loss.Loss{}, err
	}
	return r.loss(), nil
}

// unchecked returns some of what is to be looked up in the ledger.
func (l *losses) unchecked() (found []loss.Missing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.list {
		for _, run := range r.Unchecked[:min(len(r.Unchecked), 64)] {
			run.Last = min(run.Last, run.First+checkedAtOnce-1)
			found = append(found, loss.Missing{
				LossID: r.ID, Sequence: run, EndedAfter: r.EndedAfter, ReceivedBefore: r.ReceivedBefore,
			})
		}
	}
	return found
}

// checked takes over what the ledger has of one of unchecked: these have their
// outcome, the others of it are lost.
func (l *losses) checked(m loss.Missing, ended []uint64) (lost ranges, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.list, func(r *lossRecord) bool { return r.ID == m.LossID })
	if i < 0 {
		return nil, nil // was too old to be kept
	}
	r := l.list[i]
	run := ranges{m.Sequence}
	lost = run.without(run.without(r.Unchecked)).without(sequencesOf(ended))
	err = l.update(func() {
		r.Unchecked = r.Unchecked.without(run)
		r.Lost = r.Lost.union(lost)
	})
	if err != nil {
		return nil, err
	}
	return lost, nil
}

// counts returns how many events are lost, and how many of them are not
// acknowledged.
func (l *losses) counts() (all, open uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.list {
		all += r.events()
		if r.open() {
			open += r.events()
		}
	}
	return all, open
}

// problem says what is not acknowledged, "" when there is nothing.
func (l *losses) problem() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	var events, bytes uint64
	for _, r := range l.list {
		if r.open() {
			ids, events, bytes = append(ids, r.ID), events+r.events(), bytes+r.Bytes
		}
	}
	if len(ids) == 0 {
		return ""
	}
	what := fmt.Sprintf("%d accepted events", events)
	if events == 0 {
		what = fmt.Sprintf("%d bytes of events", bytes)
	}
	shown := ids[max(len(ids)-5, 0):]
	return fmt.Sprintf("the queue has lost %s (loss %s): see `appliance queue losses`, and acknowledge when dealt with", what, strings.Join(shown, ", "))
}

// update changes the list durably; after an error it is as before. mu is held.
func (l *losses) update(change func()) error {
	before := make([]*lossRecord, len(l.list))
	for i, r := range l.list {
		c := *r
		before[i] = &c
	}
	change()
	if err := l.store(); err != nil {
		l.list = before
		return err
	}
	return nil
}

// store writes the list so that either the old or the new one is there whatever
// happens; mu is held.
func (l *losses) store() error {
	content, err := json.Marshal(l.list)
	if err == nil {
		err = durable.WriteFile(l.path, content)
	}
	if err != nil {
		return &event.Error{Code: event.Internal, Op: "store the list of losses", Err: err}
	}
	return nil
}
