package external

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	// probeEvery and probeTimeout add up to less than the two seconds within which a server
	// that hangs has to be noticed.
	probeEvery   = 500 * time.Millisecond
	probeTimeout = time.Second
	// unansweredFor is for how long publishes may wait without an answer to any of them.
	unansweredFor = 1500 * time.Millisecond
)

// Probe finds out whether publishes would be answered, without publishing: it asks for the
// stream over the connection that publishes, which only the stream's leader answers.
type Probe struct {
	Conn   *nats.Conn
	Stream string
	// InFlight is how many publishes wait for their answer, and LastAnswer when one last
	// came, in Unix nanoseconds.
	InFlight   func() int
	LastAnswer func() int64
	Silent     func(why string) // the leader has not answered
	Answered   func()           // it has
	Unanswered func(why string) // it answers, but no publish is answered
}

// Run probes until ctx ends.
func (p *Probe) Run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	busySince := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !p.Conn.IsConnected() {
			continue // which is noticed elsewhere
		}
		began := time.Now()
		err := p.ask(ctx)
		now, answered := time.Now(), time.Unix(0, p.LastAnswer())
		switch {
		case ctx.Err() != nil || !p.Conn.IsConnected():
			continue
		case err != nil && answered.Before(began):
			p.Silent(err.Error())
		case err == nil:
			p.Answered()
		}
		if p.InFlight() == 0 {
			busySince = now
		} else if answered.After(busySince) {
			busySince = answered
		}
		if now.Sub(busySince) >= unansweredFor {
			p.Unanswered("the broker has not answered a publish for " + unansweredFor.String())
		}
	}
}

// ask returns why publishes would not be answered.
func (p *Probe) ask(ctx context.Context) error {
	server := p.Conn.ConnectedServerName()
	asked, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	m, err := p.Conn.RequestWithContext(asked, "$JS.API.STREAM.INFO."+p.Stream, nil)
	if errors.Is(err, nats.ErrNoResponders) {
		return errors.New("JetStream is off on the broker")
	}
	if err != nil {
		return fmt.Errorf("the broker's leader of stream %s has not answered for %s (asked through server %s)", p.Stream, probeTimeout, server)
	}
	var answer struct {
		Error *natsjs.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err == nil && answer.Error != nil {
		return fmt.Errorf("the broker can't use stream %s: %s", p.Stream, answer.Error.Description)
	}
	return nil
}
