package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/jetstream/external"
)

// Limits of the two small streams.
const (
	advisoriesMaxBytes = 64 << 20 // some 200,000 advisories
	progressMaxBytes   = 1 << 20  // one message

	advisoryAckWait  = 30 * time.Second
	advisoriesPulled = 256 // buffered or asked for
)

// fileStream returns what the streams have in common.
func (c Config) fileStream(name, description string, maxBytes int64, subjects ...string) natsjs.StreamConfig {
	return natsjs.StreamConfig{
		Name:        name,
		Description: description,
		Subjects:    subjects,
		Retention:   natsjs.LimitsPolicy,
		Discard:     natsjs.DiscardNew,
		Storage:     natsjs.FileStorage,
		MaxBytes:    maxBytes,
		Duplicates:  2 * time.Minute,
		Replicas:    c.Replicas,
		AllowDirect: true,
		MaxMsgs:     -1, MaxConsumers: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1,
	}
}

// eventsConfig holds the events: those to process, and the history behind them.
func (c Config) eventsConfig() natsjs.StreamConfig {
	s := c.fileStream(eventsStream, "Couriers' events; retention follows the reconciler", c.MaxBytes, subjectPrefix+"*")
	s.Duplicates = c.ownWindow()
	return s
}

// brokerWindow is for how long an embedded broker itself knows duplicates. Package dedup
// enters what it missed long before.
const brokerWindow = 3 * time.Second

// ownWindow is how long the broker itself has to know duplicates, see package dedup.
func (c Config) ownWindow() time.Duration {
	if c.Mode == ModeExternal {
		return c.DuplicateWindow
	}
	return min(c.DuplicateWindow, cmp.Or(c.serverWindow, brokerWindow))
}

// advisoriesConfig keeps what the broker announces about the consumer of events.
// When it is full new ones are dropped rather than unhandled ones removed; long
// before that an error is logged, and the reconciler finds what was dropped.
func (c Config) advisoriesConfig() natsjs.StreamConfig {
	return c.fileStream(advisoriesStream, "Notices about events that will not be delivered again", advisoriesMaxBytes,
		"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."+eventsStream+"."+processors,
		"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED."+eventsStream+"."+processors)
}

// progressConfig keeps one message: how far the reconciler has come.
func (c Config) progressConfig() natsjs.StreamConfig {
	s := c.fileStream(progressStream, "How far the events are reconciled", progressMaxBytes, "progress.>")
	s.Discard, s.MaxMsgsPerSubject = natsjs.DiscardOld, 1
	return s
}

func (c Config) processorsConfig() natsjs.ConsumerConfig {
	return natsjs.ConsumerConfig{
		Durable:       processors,
		AckPolicy:     natsjs.AckExplicitPolicy,
		DeliverPolicy: natsjs.DeliverAllPolicy,
		AckWait:       c.AckWait,
		MaxDeliver:    c.MaxDeliver,
		BackOff:       c.backOff(),
		MaxAckPending: c.MaxAckPending,
	}
}

func (c Config) deadLettersConfig() natsjs.ConsumerConfig {
	return natsjs.ConsumerConfig{
		Durable:       deadLetters,
		AckPolicy:     natsjs.AckExplicitPolicy,
		DeliverPolicy: natsjs.DeliverAllPolicy,
		AckWait:       advisoryAckWait,
		MaxDeliver:    -1,
		MaxAckPending: 1000,
	}
}

// topology makes and checks the streams and consumers on the broker.
type topology struct {
	cfg Config
	log *slog.Logger
	js  natsjs.JetStream
	// resumeAt returns the sequence at which a consumer of the events that is missing
	// begins.
	resumeAt func(context.Context, natsjs.Stream) (uint64, error)
	current  atomic.Pointer[streams] // as last made or checked
}

// streams are the streams and consumers on the broker. All but events is nil in a process
// that only publishes.
type streams struct {
	events, advisories      natsjs.Stream
	processors, deadLetters natsjs.Consumer
}

// now returns the streams as they were last made or checked.
func (t *topology) now() *streams { return t.current.Load() }

func (t *topology) events() natsjs.Stream { return t.now().events }

// birth distinguishes streams of the events: another one of the same name, made after the
// first was deleted, has another birth.
func (t *topology) birth() int64 { return birthOf(t.events()) }

func birthOf(s natsjs.Stream) int64 { return s.CachedInfo().Created.UnixNano() }

// ensure makes what is missing and checks what exists. Of an embedded
// broker it changes what can be changed without harm; of an external one it
// changes nothing. The error lists every difference that stays.
func (t *topology) ensure(ctx context.Context) (err error) {
	found := &streams{}
	if found.events, err = t.ensureStream(ctx, t.cfg.eventsConfig()); err != nil {
		return err
	}
	if t.cfg.Consume {
		if err := t.ensureConsuming(ctx, found); err != nil {
			return err
		}
	}
	t.current.Store(found)
	return nil
}

// ensureConsuming adds what a process needs that consumes. Advisories are
// captured before the first event can be delivered.
func (t *topology) ensureConsuming(ctx context.Context, found *streams) (err error) {
	if found.advisories, err = t.ensureStream(ctx, t.cfg.advisoriesConfig()); err != nil {
		return err
	}
	if _, err = t.ensureStream(ctx, t.cfg.progressConfig()); err != nil {
		return err
	}
	if found.deadLetters, err = t.ensureConsumer(ctx, found.advisories, t.cfg.deadLettersConfig(), advisoriesPulled, fromFirst); err != nil {
		return err
	}
	found.processors, err = t.ensureConsumer(ctx, found.events, t.cfg.processorsConfig(), t.cfg.PullBuffer, func() (uint64, error) {
		return t.resumeAt(ctx, found.events)
	})
	return err
}

// fromFirst has a consumer begin with all that its stream holds.
func fromFirst() (uint64, error) { return 1, nil }

func (t *topology) ensureStream(ctx context.Context, want natsjs.StreamConfig) (natsjs.Stream, error) {
	s, err := t.js.Stream(ctx, want.Name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		if t.now() != nil {
			t.log.Warn("a stream is missing on the broker, it is made again", "stream", want.Name)
		}
		s, err = t.js.CreateStream(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", want.Name, err)
	}
	return t.fitStream(ctx, s, want)
}

// fitStream checks a stream, and changes it if it may.
func (t *topology) fitStream(ctx context.Context, s natsjs.Stream, want natsjs.StreamConfig) (natsjs.Stream, error) {
	diffs := streamDiffs(s.CachedInfo().Config, want)
	if len(diffs) == 0 {
		return s, nil
	}
	if err := t.mayChange("stream "+want.Name, diffs); err != nil {
		return nil, err
	}
	changed, err := t.js.UpdateStream(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("change stream %s (%s): %w", want.Name, diffs, err)
	}
	return changed, nil
}

// ensureConsumer does so for a consumer that is asked for up to batch messages at once.
// When it is missing it begins at what from returns: never behind the end of the
// stream, because its position was removed with it.
func (t *topology) ensureConsumer(ctx context.Context, s natsjs.Stream, want natsjs.ConsumerConfig, batch int, from func() (uint64, error)) (natsjs.Consumer, error) {
	c, err := s.Consumer(ctx, want.Durable)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		c, err = t.makeConsumer(ctx, s, want, from)
	}
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", want.Durable, err)
	}
	have := c.CachedInfo().Config
	if have.DeliverPolicy == natsjs.DeliverByStartSequencePolicy { // made again; what is before it is reconciled
		want.DeliverPolicy, want.OptStartSeq = have.DeliverPolicy, have.OptStartSeq
	}
	diffs := consumerDiffs(have, want, s.CachedInfo().Config.Replicas, batch)
	if len(diffs) == 0 {
		return c, nil
	}
	if err := t.mayChange("consumer "+want.Durable, diffs); err != nil {
		return nil, err
	}
	if c, err = s.UpdateConsumer(ctx, want); err != nil {
		return nil, fmt.Errorf("change consumer %s (%s): %w", want.Durable, diffs, err)
	}
	return c, nil
}

func (t *topology) makeConsumer(ctx context.Context, s natsjs.Stream, want natsjs.ConsumerConfig, from func() (uint64, error)) (natsjs.Consumer, error) {
	start, err := from()
	if err != nil {
		return nil, err
	}
	if s.CachedInfo().State.LastSeq > 0 {
		t.log.Warn("a consumer is missing on the broker, it is made again and begins behind what is verified",
			"consumer", want.Durable, "stream", s.CachedInfo().Config.Name, "from_sequence", start)
	}
	return createConsumer(ctx, s, startingAt(want, start))
}

// mayChange says whether the differences of what may be removed by changing it.
func (t *topology) mayChange(what string, diffs differences) error {
	if !t.cfg.embedded() {
		return fmt.Errorf("%s %w: %s; change it there, or the configuration here, so that they agree", what, errShape, diffs)
	}
	if diffs.fixed() {
		return fmt.Errorf("%s %w: %s; use another store directory, or the version that made this one", what, errShape, diffs)
	}
	t.log.Warn("changing the broker to the configuration", "what", what, "differences", diffs.String())
	return nil
}

// startingAt is a consumer that begins at a sequence, the first when there is nothing
// before it.
func startingAt(want natsjs.ConsumerConfig, from uint64) natsjs.ConsumerConfig {
	if from > 1 {
		want.DeliverPolicy, want.OptStartSeq = natsjs.DeliverByStartSequencePolicy, from
	}
	return want
}

// createConsumer makes a consumer, or returns the one that another process has just
// made.
func createConsumer(ctx context.Context, s natsjs.Stream, want natsjs.ConsumerConfig) (natsjs.Consumer, error) {
	c, err := s.CreateConsumer(ctx, want)
	if errors.Is(err, natsjs.ErrConsumerExists) {
		return s.Consumer(ctx, want.Durable)
	}
	return c, err
}

// topologyTimeout bounds one try at making what is missing on an external broker.
const topologyTimeout = 1500 * time.Millisecond

// ensureExternal is ensure on a broker that may be starting, or that its operator has to
// repair: it goes on trying until ctx ends, unless what is there, or the configuration,
// has to be changed. refusal returns what the broker has not permitted meanwhile; waiting
// is called with why a try has failed.
func (t *topology) ensureExternal(ctx context.Context, refusal func() error, waiting func(error)) error {
	_, err := external.Until(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, topologyTimeout)
		defer cancel()
		err := t.ensure(ctx)
		denied := refusal()
		if err != nil {
			err = external.Explain(err, denied)
		}
		return struct{}{}, err
	}, func(err error) bool { return errors.Is(err, errShape) || external.Final(err) }, waiting)
	return err
}
