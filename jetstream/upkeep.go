package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	// upkeepEvery is how often what we have on the broker is looked at, and
	// upkeepTimeout bounds one look.
	upkeepEvery   = 5 * time.Second
	upkeepTimeout = 5 * time.Second
)

// changedOutside is what of ours on the broker is not as we need it, because somebody
// has changed it or because it can't be put right.
type changedOutside struct {
	mu   sync.Mutex
	list []string
	wake chan struct{} // one token when a look is due; made by the upkeep
}

func (c *changedOutside) problems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list
}

func (c *changedOutside) set(problems []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = problems
}

// look asks for a look now.
func (c *changedOutside) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wake != nil {
		signal(c.wake)
	}
}

// upkeep keeps what we have on the broker in being: a consumer or stream that was
// deleted is made again, one that was changed is changed back on an embedded broker
// and reported on an external one, and a consumer that was paused is reported.
func (b *Broker) upkeep(ctx context.Context) {
	wake := make(chan struct{}, 1)
	b.changed.mu.Lock()
	b.changed.wake = wake
	b.changed.mu.Unlock()
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
		if b.gate.holds(recovering) || !b.admin.IsConnected() {
			continue // the restart does all of this
		}
		if problems, err := b.lookOutside(ctx); err == nil {
			b.changed.set(problems)
		} // else the broker can't be asked, as [Broker.State] says
	}
}

// lookOutside puts right what can be, and returns the problems that stay. The error
// is that the broker can't be asked.
func (b *Broker) lookOutside(ctx context.Context) (problems []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	t := &topology{}
	if t.events, err = b.js.Stream(ctx, eventsStream); err != nil {
		return nil, err // also when it is missing: State says so, and a start makes it
	}
	_, shape := b.fitStream(ctx, t.events, b.cfg.eventsConfig())
	for _, err := range []error{shape, b.ensureConsuming(ctx, t)} {
		if problems, err = stands(problems, err); err != nil {
			return nil, err
		}
	}
	now := b.topo.Load()
	for _, c := range []natsjs.Consumer{now.processors, now.deadLetters} {
		problem, err := b.paused(ctx, c)
		if problems, err = stands(problems, err); err != nil {
			return nil, err
		}
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		return problems, nil // positions are of no use while something is missing
	}
	if err := b.endOverruns(ctx); err != nil {
		return nil, err
	}
	return nil, b.clampVerified(ctx, false)
}

// stands adds what the broker has refused, or can't be changed, to the problems.
// Another error says only that the broker can't be asked, and is returned.
func stands(problems []string, err error) ([]string, error) {
	if _, refused := errors.AsType[*natsjs.APIError](err); err == nil || !refused && !errors.Is(err, errShape) {
		return problems, err
	}
	return append(problems, err.Error()), nil
}

// paused says until when a consumer hands nothing out because somebody paused it. The
// embedded broker can't be reached by an operator's tools, so that it is resumed: its
// store may have been an external server's.
func (b *Broker) paused(ctx context.Context, c natsjs.Consumer) (problem string, err error) {
	info, err := c.Info(ctx)
	if err != nil || !info.Paused {
		return "", err
	}
	if b.server != nil {
		b.log.Warn("a consumer is paused, it is resumed", "consumer", info.Name, "stream", info.Stream)
		_, err := b.js.ResumeConsumer(ctx, info.Stream, info.Name)
		return "", err
	}
	return fmt.Sprintf("consumer %s of stream %s is paused from outside until %s and hands nothing out: resume it with `nats consumer resume %s %s`",
		info.Name, info.Stream, time.Now().Add(info.PauseRemaining).UTC().Truncate(time.Second).Format(time.RFC3339), info.Stream, info.Name), nil
}
