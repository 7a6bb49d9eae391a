package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// maxShown is how many answers are shown one by one; of more events
// only those that were not accepted are.
const maxShown = 20

// outcome is what became of one event: an answer, or the reason why there is
// none.
type outcome struct {
	answer bench.Answer
	err    error
}

// tally counts outcomes.
type tally struct {
	accepted, duplicates, refused, unsent int
	last                                  error // why events are unsent
}

func (t *tally) add(o outcome) {
	switch {
	case o.err != nil:
		t.unsent++
		t.last = o.err
	case o.answer.Accepted():
		t.accepted++
		if o.answer.Duplicate() {
			t.duplicates++
		}
	default:
		t.refused++
	}
}

func (t *tally) total() int { return t.accepted + t.refused + t.unsent }

func (t *tally) String() string {
	s := fmt.Sprintf("%d accepted", t.accepted)
	if t.duplicates > 0 {
		s += fmt.Sprintf(" (%d duplicates)", t.duplicates)
	}
	if t.refused > 0 {
		s += fmt.Sprintf(", %d refused", t.refused)
	}
	if t.unsent > 0 {
		s += fmt.Sprintf(", %d not sent", t.unsent)
	}
	return s
}

// verdict is nil when every event was accepted. cause is why sending ended early,
// nil when it did not.
func (t *tally) verdict(cause error) error {
	failed := t.refused + t.unsent
	switch {
	case cause != nil:
		return cause
	case failed == 0:
		return nil
	case t.total() > 1:
		return fmt.Errorf("%d of %d events were not accepted", failed, t.total())
	case t.last != nil:
		return t.last
	default:
		return errors.New("the event was refused")
	}
}

// sendAll sends every body, prints the answers as they come, and sums up. It
// fails when any event was not accepted. total is 0 when it is not known.
func (c *courierCommands) sendAll(ctx context.Context, courier *bench.Courier, bodies iter.Seq2[[]byte, error], total int, flags sendFlags) error {
	trusted, err := bench.Authorities(flags.caFile)
	if err != nil {
		return err
	}
	sender := bench.NewSender(bench.SenderConfig{
		Signer: courier.Signer, Authorities: trusted, Connections: flags.concurrency, Timeout: sendTimeout, Now: courier.Now,
	})
	defer sender.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	var t tally
	start := c.now()
	progress := c.progress("sent", total)
	few := total > 0 && total <= maxShown
	for o := range send(ctx, stop, sender, bodies, flags.concurrency) {
		t.add(o)
		progress.Step(o.err == nil && o.answer.Accepted())
		switch {
		case o.err != nil && (total == 1 || ctx.Err() != nil): // the verdict says it
		case o.err != nil:
			progress.Print(terminal.Escape(o.err.Error()))
		case few || flags.asJSON || !o.answer.Accepted():
			progress.Clear()
			if err := c.printAnswer(o.answer, flags.asJSON); err != nil {
				stop(err)
			}
		}
	}
	progress.Clear()
	if total != 1 {
		took := c.now().Sub(start)
		_, _ = fmt.Fprintf(c.err, "%s in %v (%.0f a second)\n", &t, took.Round(time.Millisecond), float64(t.total())/max(took.Seconds(), 1e-6))
	}
	return t.verdict(context.Cause(ctx))
}

func (c *courierCommands) printAnswer(a bench.Answer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(c.out).Encode(a)
	}
	_, err := fmt.Fprintf(c.out, "%d %s\n", a.Status, terminal.Escape(string(a.Body)))
	return err
}

// job is an event to send, or the reason why it can't be read.
type job struct {
	body []byte
	err  error
}

// send sends the bodies by so many workers at once and returns what becomes of
// each, in the order in which they end; the caller takes them all. When ctx ends
// it takes no more bodies, without waiting for one that is slow to be read. A
// failure that every other event would have too stops it.
func send(ctx context.Context, stop context.CancelCauseFunc, sender *bench.Sender, bodies iter.Seq2[[]byte, error], workers int) <-chan outcome {
	jobs, outcomes := make(chan job), make(chan outcome)
	go func() {
		defer close(jobs)
		for body, err := range bodies {
			select {
			case jobs <- job{body, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	var running sync.WaitGroup
	for range workers {
		running.Go(func() { work(ctx, stop, sender, jobs, outcomes) })
	}
	go func() {
		running.Wait()
		close(outcomes)
	}()
	return outcomes
}

func work(ctx context.Context, stop context.CancelCauseFunc, sender *bench.Sender, jobs <-chan job, outcomes chan<- outcome) {
	for {
		select {
		case <-ctx.Done():
			return
		case j, more := <-jobs:
			if !more {
				return
			}
			o := outcome{err: j.err}
			if j.err == nil {
				o.answer, o.err = sender.Send(ctx, j.body)
			}
			if errors.Is(o.err, bench.ErrNoConnection) {
				stop(o.err)
			}
			outcomes <- o
		}
	}
}
