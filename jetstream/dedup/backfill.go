package dedup

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Source is the events' stream, as a [Filler] reads it.
type Source interface {
	// Last returns the last sequence of the stream and those below it that were
	// removed; without removed, only the former is asked for.
	Last(ctx context.Context, removed bool) (last uint64, gone []uint64, err error)
	// FirstSince returns the sequence of the first message that was stored at t or
	// later; ok is false when there is none.
	FirstSince(ctx context.Context, t time.Time) (seq uint64, ok bool, err error)
	// Read returns up to limit messages in their order, the first at from or after
	// it. It may return fewer than there are, and none at the end.
	Read(ctx context.Context, from uint64, limit int) ([]Message, error)
}

// Message is what a [Filler] needs of a stored message.
type Message struct {
	Sequence uint64
	ID       []byte // the message id; empty for none
	StoredAt time.Time
}

// Filler enters into a window what was stored without an answer that was read.
type Filler struct {
	Window *Window
	Source Source
	Length time.Duration // of the window
	Header string        // that has the message id
	Stream string        // its name, and
	Dir    string        // the directory of its message files
	Logger *slog.Logger
	// Known is called with the number of ids in the window, after each round of Run.
	Known func(ids int)
}

const (
	roundEvery = 500 * time.Millisecond
	batch      = 4096 // messages of one read
)

// Backfill begins the window again with what is stored within its length. That may
// be a million events, which the server's files return several times as fast as the
// server; it is asked for what they don't have. Nothing may be written to the stream
// meanwhile.
func (f *Filler) Backfill(ctx context.Context) error {
	last, removed, err := f.Source.Last(ctx, true) // which the files may still have
	if err != nil {
		return err
	}
	slices.Sort(removed)
	first, ok, err := f.Source.FirstSince(ctx, time.Now().Add(-f.Length))
	if err != nil {
		return fmt.Errorf("find the events of the duplicate window: %w", err)
	}
	if !ok || first > last {
		f.Window.Reset(last)
		return nil
	}
	start := time.Now()
	f.Window.Reset(first - 1)
	f.Window.stored(last)
	fromFiles := 0
	err = readBlocks(f.Dir, f.Stream, first, func(seq uint64, headers []byte, at time.Time) {
		if _, gone := slices.BinarySearch(removed, seq); !gone && seq <= last {
			f.enter(Message{seq, headerOf(headers, f.Header), at})
			fromFiles++
		}
	})
	if err != nil {
		f.Logger.Warn("the ids of the duplicate window can't be read from the store's files, the broker is asked for them", "error", err)
	}
	if err := f.fillHoles(ctx, last); err != nil {
		return fmt.Errorf("read the ids of the duplicate window: %w", err)
	}
	f.Logger.Info("ids of the duplicate window read", "events", last-first+1, "from_files", fromFiles, "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// Run keeps the window complete and small until ctx ends. A round is left out while
// ready is false.
func (f *Filler) Run(ctx context.Context, ready func() bool) {
	tick := time.NewTicker(roundEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !ready() {
			continue
		}
		if err := f.round(ctx); err != nil && ctx.Err() == nil {
			f.Logger.Warn("can't read what was stored without an answer, trying again", "error", err)
		}
	}
}

// round asks the broker how far it has stored, and reads what an earlier round or
// an answer has shown to be stored and whose answer was not read since.
func (f *Filler) round(ctx context.Context) error {
	last, _, err := f.Source.Last(ctx, false)
	if err != nil {
		return err
	}
	before := f.Window.stored(last)
	err = f.fillHoles(ctx, before)
	f.Known(f.Window.Expire(time.Now()))
	return err
}

// fillHoles reads what is stored in the holes up to upTo.
func (f *Filler) fillHoles(ctx context.Context, upTo uint64) error {
	for {
		from, to, ok := f.Window.Hole(upTo)
		if !ok {
			return nil
		}
		messages, err := f.Source.Read(ctx, from, int(min(to-from+1, batch)))
		if err != nil {
			return err
		}
		next := from
		for _, m := range messages {
			for ; next < min(m.Sequence, to+1); next++ {
				f.Window.skip(next) // removed
			}
			if m.Sequence > to {
				break
			}
			f.enter(m)
			next = m.Sequence + 1
		}
		if len(messages) == 0 {
			for ; next <= to; next++ {
				f.Window.skip(next)
			}
		}
	}
}

// enter enters a message as it is stored.
func (f *Filler) enter(m Message) {
	if len(m.ID) == 0 {
		f.Window.skip(m.Sequence)
		return
	}
	f.Window.Put(f.Window.fingerprintBytes(m.ID), m.Sequence, m.StoredAt)
}

// headerOf returns the value of a header in a block of them, as the appliance writes
// it; nil when it isn't there.
func headerOf(block []byte, name string) []byte {
	_, after, found := bytes.Cut(block, []byte("\r\n"+name+": "))
	if !found {
		return nil
	}
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	return value
}
