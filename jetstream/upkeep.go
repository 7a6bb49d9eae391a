package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	// upkeepEvery is how often what we have on the broker is checked, and
	// upkeepTimeout bounds one check.
	upkeepEvery   = 5 * time.Second
	upkeepTimeout = 5 * time.Second
)

// upkeep makes sure that what we have on the broker stays as we need it: a consumer or
// stream that was deleted is made again, one that was changed is changed back on an
// embedded broker and reported on an external one, and a consumer that was paused is
// reported.
type upkeep struct {
	cfg     Config
	log     *slog.Logger
	js      natsjs.JetStream
	topo    *topology
	aligner *aligner
	ready   func() bool   // whether the broker can be asked and is not being restarted
	wake    chan struct{} // one token when a check is due

	mu   sync.Mutex
	list []string // what is not as we need it
}

// problems returns what is not as we need it, because it was changed from outside or
// because it can't be put right.
func (u *upkeep) problems() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.list
}

func (u *upkeep) set(problems []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = problems
}

// wakeUp asks for a check now.
func (u *upkeep) wakeUp() { signal(u.wake) }

// run checks until ctx ends.
func (u *upkeep) run(ctx context.Context) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.wake:
		case <-tick.C:
		}
		if !u.ready() {
			continue // the restart does all of this
		}
		if problems, err := u.check(ctx); err == nil {
			u.set(problems)
		} // else the broker can't be asked, as [Broker.State] says
	}
}

// check puts right what can be, and returns the problems that stay. The error
// is that the broker can't be asked.
func (u *upkeep) check(ctx context.Context) (problems []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	found := &streams{}
	if found.events, err = u.js.Stream(ctx, eventsStream); err != nil {
		return nil, err // also when it is missing: State says so, and a start makes it
	}
	_, shape := u.topo.fitStream(ctx, found.events, u.cfg.eventsConfig())
	for _, err := range []error{shape, u.topo.ensureConsuming(ctx, found)} {
		if problems, err = addRefused(problems, err); err != nil {
			return nil, err
		}
	}
	now := u.topo.now()
	for _, c := range []natsjs.Consumer{now.processors, now.deadLetters} {
		problem, err := u.paused(ctx, c)
		if problems, err = addRefused(problems, err); err != nil {
			return nil, err
		}
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		return problems, nil // positions are of no use while something is missing
	}
	if err := u.aligner.endOverruns(ctx); err != nil {
		return nil, err
	}
	return nil, u.aligner.clampVerified(ctx, false)
}

// addRefused adds what the broker has refused, or can't be changed, to the problems.
// Another error says only that the broker can't be asked, and is returned.
func addRefused(problems []string, err error) ([]string, error) {
	if _, refused := errors.AsType[*natsjs.APIError](err); err == nil || !refused && !errors.Is(err, errShape) {
		return problems, err
	}
	return append(problems, err.Error()), nil
}

// paused says until when a consumer delivers nothing because it was paused. The
// embedded broker can't be reached by an operator's tools, so that it is resumed: its
// store may have been an external server's.
func (u *upkeep) paused(ctx context.Context, c natsjs.Consumer) (problem string, err error) {
	info, err := c.Info(ctx)
	if err != nil || !info.Paused {
		return "", err
	}
	if u.cfg.embedded() {
		u.log.Warn("a consumer is paused, it is resumed", "consumer", info.Name, "stream", info.Stream)
		_, err := u.js.ResumeConsumer(ctx, info.Stream, info.Name)
		return "", err
	}
	return fmt.Sprintf("consumer %s of stream %s is paused from outside until %s and delivers nothing: resume it with `nats consumer resume %s %s`",
		info.Name, info.Stream, time.Now().Add(info.PauseRemaining).UTC().Truncate(time.Second).Format(time.RFC3339), info.Stream, info.Name), nil
}
