package integrity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// Checker compares the events' stream with what is known of it. Its methods may be
// called by any number of goroutines.
type Checker struct {
	cfg      Config
	record   *Record
	receipts *Receipts

	mu       sync.Mutex  // held during a comparison and a restart
	damaged  atomic.Bool // the embedded stream has lost its end, so its server must be restarted
	previous previous
}

// previous is what the stream had at the last comparison; its owner holds mu.
type previous struct {
	deleted  int // sequences that the stream lacks inside
	behind   int // comparisons in a row that found a stream that ends too early
	last     uint64
	lastTime time.Time
}

// Config is what a [Checker] and a [Runs] work with. Every field is needed.
type Config struct {
	Embedded bool // the broker is this process's alone
	Consume  bool // this process also processes events
	Replicas int  // of the stream
	Logger   *slog.Logger
	Reader   Reader
	// Stream returns the stream as it was last made.
	Stream func() natsjs.Stream
	// Verified returns the highest sequence that the broker has as verified; known is
	// false when it has no position, so that the sequence is derived.
	Verified func(ctx context.Context) (seq uint64, known bool, err error)
	// Redefined reports whether the embedded stream's definition was lost and has been
	// made again, with the stream's messages.
	Redefined func() bool
	// Reopen starts the embedded server once more.
	Reopen func(ctx context.Context) error
	// Conn reaches the broker. FillerSubject is that of messages which take up lost
	// sequences, and no event.
	Conn          *nats.Conn
	FillerSubject string
}

// Reader reads stored messages. An error's code is NotFound or DependencyDown.
type Reader interface {
	// Load returns the message at seq.
	Load(ctx context.Context, seq uint64) (event.Delivery, error)
	// Read returns up to limit messages in their order, the first at from or after it.
	// It may return fewer than there are, and none at the end.
	Read(ctx context.Context, from uint64, limit int) ([]Message, error)
	// FirstSince returns the sequence of the first message that was stored at t or
	// later; ok is false when there is none.
	FirstSince(ctx context.Context, t time.Time) (seq uint64, ok bool, err error)
}

// Message is a stored message.
type Message struct {
	Subject  string
	ID       string    // the message id
	StoredAt time.Time // the zero time when that can't be read
	Delivery event.Delivery
}

// NewChecker returns a checker; [Checker.Start] comes first.
func NewChecker(cfg Config, record *Record) *Checker {
	highest := func() uint64 { return record.position.get().Highest }
	return &Checker{cfg: cfg, record: record, receipts: &Receipts{highest: highest}}
}

// Receipts returns what the publisher calls with each acknowledged sequence.
func (c *Checker) Receipts() *Receipts { return c.receipts }

// Damaged reports whether the embedded stream has lost its end, so that its server has
// to be restarted.
func (c *Checker) Damaged() bool { return c.damaged.Load() }

// Start compares the stream with what is known of it before anything is accepted, and
// makes an embedded one go on above what it had acknowledged. Then it calls rest, for
// what else has to be done before, and takes the stream as it is from then on: it is
// durable by then.
func (c *Checker) Start(ctx context.Context, rest func(context.Context) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damaged.Store(false)
	c.previous = previous{}
	if err := c.compareAtStart(ctx); err != nil {
		return err
	}
	if err := rest(ctx); err != nil {
		return err
	}
	last, err := c.begin(ctx)
	c.receipts.reset(last)
	return err
}

func (c *Checker) compareAtStart(ctx context.Context) error {
	s, err := c.snapshot(ctx, true)
	if err != nil {
		return err
	}
	c.reportUnreadable(s)
	same, err := c.sameEvents(ctx, s)
	if err != nil {
		return err
	}
	if same {
		c.cfg.Logger.Warn("the stream of the events has been defined again, and has the events that it had")
		c.record.position.update(func(p *Position) { p.Birth = s.birth() })
		if s, err = c.snapshot(ctx, true); err != nil {
			return err
		}
	}
	if s.end, err = c.unreadableEnd(ctx, s); err != nil {
		return err
	}
	if !c.cfg.Embedded && c.cfg.Replicas > 1 && s.behind() {
		if s, err = c.confirmBehind(ctx); err != nil {
			return err
		}
	}
	if err := c.reportMissing(s); err != nil {
		return err
	}
	if c.cfg.Embedded {
		return c.goOn(ctx, s)
	}
	first, err := c.replacedSince(ctx, s)
	if err != nil || first == 0 {
		return err
	}
	return c.reportReused(s, first, s.known.Highest)
}

// goOn makes the embedded stream ready for more events.
func (c *Checker) goOn(ctx context.Context, s snapshot) (err error) {
	if s.info.State.Lost != nil {
		if s, err = c.reopen(ctx); err != nil {
			return err
		}
	}
	if err := c.record.losses.notLost(s.birth(), loss.Hole, s.unacknowledged()); err != nil {
		return err
	}
	return c.continueAbove(ctx, s)
}

// reopen starts the embedded server once more when it has dropped a part of its files:
// what it counts by subject and delivers is wrong until then, because it has corrected
// its files under what it had read of them before (nats-server v2.15.2,
// server/filestore.go rebuildStateLocked).
func (c *Checker) reopen(ctx context.Context) (snapshot, error) {
	if err := c.cfg.Reopen(ctx); err != nil {
		return snapshot{}, err
	}
	s, err := c.snapshot(ctx, true)
	if err != nil {
		return s, err
	}
	return s, c.reportMissing(s)
}

const (
	confirmTimes = 4
	confirmEvery = 500 * time.Millisecond
)

// confirmBehind takes more snapshots of a cluster's stream that seems to end too early:
// a server that is no longer the leader may be the one that answered.
func (c *Checker) confirmBehind(ctx context.Context) (s snapshot, err error) {
	for range confirmTimes {
		select {
		case <-time.After(confirmEvery):
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
		if s, err = c.snapshot(ctx, true); err != nil || !s.behind() {
			return s, err
		}
	}
	return s, nil
}

// snapshot asks the broker for the stream, with or without the deleted sequences.
func (c *Checker) snapshot(ctx context.Context, details bool) (s snapshot, err error) {
	s.known, s.details, s.embedded = c.record.position.get(), details, c.cfg.Embedded
	var opts []natsjs.StreamInfoOpt
	if details {
		opts = append(opts, natsjs.WithDeletedDetails(true))
	}
	if s.info, err = c.cfg.Stream().Info(ctx, opts...); err != nil {
		return s, down("compare the stream", err)
	}
	s.verified, s.noPosition, err = c.verifiedBeside(ctx, s)
	return s, err
}

// verifiedBeside returns the highest sequence that is known as verified. Where the
// embedded broker has no position, the one in the record counts: the stream's first
// sequence, which is used otherwise, may be where a loss ends.
func (c *Checker) verifiedBeside(ctx context.Context, s snapshot) (verified uint64, noPosition bool, err error) {
	verified, known, err := c.cfg.Verified(ctx)
	if !c.cfg.Consume {
		err = nil // a process that only publishes can do without
	}
	switch {
	case s.known.Birth != s.birth():
	case c.cfg.Embedded && !known:
		verified = s.known.Verified
	default:
		verified = max(verified, s.known.Verified)
	}
	return verified, !known, err
}

// maxUnreadableEnd bounds how many sequences unreadableEnd asks for.
const maxUnreadableEnd = 4096

// unreadableEnd returns the last sequences of the stream if they can't be read. No
// consumer and so no reconciler passes them before another event follows.
func (c *Checker) unreadableEnd(ctx context.Context, s snapshot) (end ranges, err error) {
	state := s.info.State
	for seq := state.LastSeq; seq > s.verified && seq >= state.FirstSeq && state.LastSeq-seq < maxUnreadableEnd; seq-- {
		_, err := c.cfg.Reader.Load(ctx, seq)
		if err == nil {
			break
		}
		if event.CodeOf(err) != event.NotFound {
			return nil, err
		}
		end = append(end, loss.Range{First: seq, Last: seq})
	}
	return rangesOf(end...), nil
}

// reportUnreadable logs what the broker itself found unreadable when it opened its
// files. What of that was acknowledged, reportMissing finds out.
func (c *Checker) reportUnreadable(s snapshot) {
	c.record.m.Unreadable.Set(0)
	if lost := s.info.State.Lost; lost != nil {
		c.record.m.Unreadable.Set(float64(lost.Bytes))
		c.cfg.Logger.Warn("the broker could not read a part of its files and dropped it", "bytes", lost.Bytes, "events", len(lost.Msgs))
	}
}

// reportMissing puts on the list of losses what is missing.
func (c *Checker) reportMissing(s snapshot) error {
	var errs []error
	for _, m := range s.missing() {
		errs = append(errs, c.record.report(m))
	}
	return errors.Join(errs...)
}

// begin takes the stream as it is: everything it has is durable, and what it lacks is
// reported. It returns the stream's last sequence.
func (c *Checker) begin(ctx context.Context) (last uint64, err error) {
	s, err := c.snapshot(ctx, false)
	if err != nil {
		return 0, err
	}
	last = s.info.State.LastSeq
	c.record.position.update(func(p *Position) {
		sameStream := p.Birth == s.birth()
		p.Birth, p.Highest, p.At = s.birth(), last, time.Now().UnixNano()
		if !sameStream {
			p.VerifiedAt = 0
		}
		p.Verified = min(s.verified, p.Highest)
		if !sameStream && s.known.Birth != 0 && c.cfg.Embedded && s.noPosition {
			p.Verified = 0 // what was lost with the other stream is no outcome
		}
		p.Anchor, p.AnchorAt = anchorOf(s.info)
	})
	// What an earlier comparison saw may have been of the stream before it was cut.
	c.previous = previous{deleted: s.info.State.NumDeleted}
	c.record.losses.reopen(s.birth(), last+1)
	return last, c.record.Sync()
}

// down returns the error of a broker that can't be asked.
func down(op string, err error) error {
	return &event.Error{Code: event.DependencyDown, Op: "broker " + op, Err: fmt.Errorf("the events' stream: %w", err)}
}
