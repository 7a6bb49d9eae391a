package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Names on the broker.
const (
	eventsStream     = "EVENTS"
	advisoriesStream = "ADVISORIES"
	progressStream   = "PROGRESS"
	processors       = "processors"  // consumer of EVENTS
	deadLetters      = "deadletters" // consumer of ADVISORIES

	subjectPrefix   = "events." // and the courier's name
	progressSubject = "progress.verified"
)

// Limits of the two small streams.
const (
	advisoriesMaxBytes = 64 << 20 // some 200,000 advisories
	progressMaxBytes   = 1 << 20  // one message

	advisoryAckWait  = 30 * time.Second
	advisoriesPulled = 256 // buffered or asked for
)

// eventsConfig holds the events: those to process, and the history behind them.
func (c Config) eventsConfig() natsjs.StreamConfig {
	return natsjs.StreamConfig{
		Name:        eventsStream,
		Description: "Couriers' events; retention follows the reconciler",
		Subjects:    []string{subjectPrefix + "*"},
		Retention:   natsjs.LimitsPolicy,
		Discard:     natsjs.DiscardNew,
		Storage:     natsjs.FileStorage,
		MaxBytes:    c.MaxBytes,
		Duplicates:  c.ownWindow(),
		Replicas:    c.Replicas,
		AllowDirect: true,
		MaxMsgs:     -1, MaxConsumers: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1,
	}
}

// ownWindow is how long the broker itself has to know duplicates, see learn.go.
func (c Config) ownWindow() time.Duration {
	if c.Mode == ModeExternal {
		return c.DuplicateWindow
	}
	return min(c.DuplicateWindow, cmp.Or(c.serverWindow, brokerWindow))
}

// advisoriesConfig keeps what the broker announces about the consumer of events.
// When it is full new ones are dropped rather than unhandled ones removed; long
// before that the log complains, and the reconciler finds what was dropped.
func (c Config) advisoriesConfig() natsjs.StreamConfig {
	return natsjs.StreamConfig{
		Name:        advisoriesStream,
		Description: "Notices about events that will not be delivered again",
		Subjects: []string{
			"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + eventsStream + "." + processors,
			"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED." + eventsStream + "." + processors,
		},
		Retention:   natsjs.LimitsPolicy,
		Discard:     natsjs.DiscardNew,
		Storage:     natsjs.FileStorage,
		MaxBytes:    advisoriesMaxBytes,
		Duplicates:  2 * time.Minute,
		Replicas:    c.Replicas,
		AllowDirect: true,
		MaxMsgs:     -1, MaxConsumers: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1,
	}
}

// progressConfig keeps one message: how far the reconciler has come.
func (c Config) progressConfig() natsjs.StreamConfig {
	return natsjs.StreamConfig{
		Name:        progressStream,
		Description: "How far the events are reconciled",
		Subjects:    []string{"progress.>"},
		Retention:   natsjs.LimitsPolicy,
		Discard:     natsjs.DiscardOld,
		Storage:     natsjs.FileStorage,
		MaxBytes:    progressMaxBytes,
		Duplicates:  2 * time.Minute,
		Replicas:    c.Replicas,
		AllowDirect: true,
		MaxMsgs:     -1, MaxConsumers: -1, MaxMsgSize: -1, MaxMsgsPerSubject: 1,
	}
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

// topology is what the broker holds for us. All but events is nil in a process
// that only publishes.
type topology struct {
	events, advisories      natsjs.Stream
	processors, deadLetters natsjs.Consumer
}

// ensureTopology makes what is missing and checks what exists. Of an embedded
// broker it changes what can be changed without harm; of an external one it
// changes nothing. The error lists every difference that stands.
func (b *Broker) ensureTopology(ctx context.Context) (err error) {
	t := &topology{}
	if t.events, err = b.ensureStream(ctx, b.cfg.eventsConfig()); err != nil {
		return err
	}
	if b.cfg.Consume {
		if err := b.ensureConsuming(ctx, t); err != nil {
			return err
		}
	}
	b.topo.Store(t)
	return nil
}

// ensureConsuming adds what a process needs that consumes. Advisories are
// captured before the first event can be delivered.
func (b *Broker) ensureConsuming(ctx context.Context, t *topology) (err error) {
	if t.advisories, err = b.ensureStream(ctx, b.cfg.advisoriesConfig()); err != nil {
		return err
	}
	if _, err = b.ensureStream(ctx, b.cfg.progressConfig()); err != nil {
		return err
	}
	if t.deadLetters, err = b.ensureConsumer(ctx, t.advisories, b.cfg.deadLettersConfig(), advisoriesPulled, fromFirst); err != nil {
		return err
	}
	t.processors, err = b.ensureConsumer(ctx, t.events, b.cfg.processorsConfig(), b.cfg.PullBuffer, func() (uint64, error) {
		verified, err := b.verifiedOf(ctx, t.events)
		return verified + 1, err
	})
	return err
}

// fromFirst has a consumer begin with all that its stream holds.
func fromFirst() (uint64, error) { return 1, nil }

func (b *Broker) ensureStream(ctx context.Context, want natsjs.StreamConfig) (natsjs.Stream, error) {
	s, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		if b.topo.Load() != nil {
			b.log.Warn("a stream is missing on the broker, it is made again", "stream", want.Name)
		}
		s, err = b.js.CreateStream(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", want.Name, err)
	}
	return b.fitStream(ctx, s, want)
}

// fitStream checks a stream, and changes it if it may.
func (b *Broker) fitStream(ctx context.Context, s natsjs.Stream, want natsjs.StreamConfig) (natsjs.Stream, error) {
	diffs := streamDiffs(s.CachedInfo().Config, want)
	if len(diffs) == 0 {
		return s, nil
	}
	if err := b.mayChange("stream "+want.Name, diffs); err != nil {
		return nil, err
	}
	changed, err := b.js.UpdateStream(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("change stream %s (%s): %w", want.Name, diffs, err)
	}
	return changed, nil
}

// ensureConsumer does so for a consumer that is asked for up to batch messages at once.
// When it is missing it begins at what from returns: never behind the end of the
// stream, because whoever removed it removed its position too.
func (b *Broker) ensureConsumer(ctx context.Context, s natsjs.Stream, want natsjs.ConsumerConfig, batch int, from func() (uint64, error)) (natsjs.Consumer, error) {
	c, err := s.Consumer(ctx, want.Durable)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		c, err = b.makeConsumer(ctx, s, want, from)
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
	if err := b.mayChange("consumer "+want.Durable, diffs); err != nil {
		return nil, err
	}
	if c, err = s.UpdateConsumer(ctx, want); err != nil {
		return nil, fmt.Errorf("change consumer %s (%s): %w", want.Durable, diffs, err)
	}
	return c, nil
}

func (b *Broker) makeConsumer(ctx context.Context, s natsjs.Stream, want natsjs.ConsumerConfig, from func() (uint64, error)) (natsjs.Consumer, error) {
	start, err := from()
	if err != nil {
		return nil, err
	}
	if s.CachedInfo().State.LastSeq > 0 {
		b.log.Warn("a consumer is missing on the broker, it is made again and begins behind what is verified",
			"consumer", want.Durable, "stream", s.CachedInfo().Config.Name, "from_sequence", start)
	}
	return createConsumer(ctx, s, startingAt(want, start))
}

// errShape says that something on the broker has another shape than we need.
var errShape = errors.New("exists with another shape")

// mayChange says whether the differences of what may be removed by changing it.
func (b *Broker) mayChange(what string, diffs differences) error {
	if b.server == nil {
		return fmt.Errorf("%s %w: %s; change it there, or the configuration here, so that they agree", what, errShape, diffs)
	}
	for _, d := range diffs {
		if d.fixed {
			return fmt.Errorf("%s %w: %s; use another store directory, or the version that made this one", what, errShape, diffs)
		}
	}
	b.log.Warn("changing the broker to the configuration", "what", what, "differences", diffs.String())
	return nil
}

// difference is one field that is not as we want it.
type difference struct {
	field      string
	have, want any
	fixed      bool // can't be changed, or not without losing something
}

type differences []difference

func (ds differences) String() string {
	texts := make([]string, len(ds))
	for i, d := range ds {
		texts[i] = fmt.Sprintf("%s is %v, want %v", d.field, d.have, d.want)
	}
	return strings.Join(texts, "; ")
}

func (ds *differences) compare(field string, have, want any, fixed bool) {
	if !reflect.DeepEqual(have, want) {
		*ds = append(*ds, difference{field, have, want, fixed})
	}
}

// allow compares a limit on what may be asked for: there need be none, or one that is
// not below what we ask for.
func allow[T int | time.Duration](ds *differences, field string, have, need T) {
	if have > 0 && have < need {
		*ds = append(*ds, difference{field, have, fmt.Sprintf("at least %v or none", need), false})
	}
}

// streamDiffs compares what the promises rest on. Where a stream is kept, how it is
// compressed and who else gets a copy of its messages is its server's affair.
func streamDiffs(have, want natsjs.StreamConfig) (ds differences) {
	ds.compare("retention", have.Retention, want.Retention, true)
	ds.compare("storage", have.Storage, want.Storage, true)
	ds.compare("persist_mode", have.PersistMode, want.PersistMode, true) // async acknowledges before it has written
	ds.compare("subjects", have.Subjects, want.Subjects, false)
	ds.compare("discard", have.Discard, want.Discard, false)
	ds.compare("max_bytes", have.MaxBytes, want.MaxBytes, false)
	ds.compare("max_msgs", have.MaxMsgs, want.MaxMsgs, false)
	ds.compare("max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject, false)
	ds.compare("max_age", have.MaxAge, want.MaxAge, false)
	ds.compare("max_msg_size", have.MaxMsgSize, want.MaxMsgSize, false)
	ds.compare("duplicate_window", have.Duplicates, want.Duplicates, false)
	ds.compare("num_replicas", have.Replicas, want.Replicas, false)
	ds.compare("allow_direct", have.AllowDirect, want.AllowDirect, false)
	ds.compare("no_ack", have.NoAck, want.NoAck, false)
	ds.compare("sealed", have.Sealed, want.Sealed, true)
	ds.compare("deny_purge", have.DenyPurge, want.DenyPurge, true)
	// Messages from elsewhere, and subjects that are not those which were published to.
	ds.compare("mirror", have.Mirror != nil, want.Mirror != nil, true)
	ds.compare("sources", len(have.Sources), len(want.Sources), false)
	ds.compare("subject_transform", have.SubjectTransform != nil, want.SubjectTransform != nil, false)
	return ds
}

// consumerDiffs compares what the promises rest on, with the replicas of the consumer's
// stream and how many messages are asked for at once. What an operator does for a
// while, as a pause, is no difference.
func consumerDiffs(have, want natsjs.ConsumerConfig, replicas, batch int) (ds differences) {
	ds.compare("ack_policy", have.AckPolicy, want.AckPolicy, true)
	ds.compare("deliver_policy", have.DeliverPolicy, want.DeliverPolicy, true)
	ds.compare("replay_policy", have.ReplayPolicy, want.ReplayPolicy, true)
	ds.compare("mem_storage", have.MemoryStorage, want.MemoryStorage, true)
	ds.compare("filter_subject", have.FilterSubject, want.FilterSubject, true)
	if len(have.FilterSubjects)+len(want.FilterSubjects) > 0 {
		ds.compare("filter_subjects", have.FilterSubjects, want.FilterSubjects, true)
	}
	ds.compare("headers_only", have.HeadersOnly, want.HeadersOnly, false)
	ds.compare("num_replicas", cmp.Or(have.Replicas, replicas), replicas, false) // 0 is as many as the stream
	ds.compare("inactive_threshold", have.InactiveThreshold, want.InactiveThreshold, false)
	ds.compare("ack_wait", have.AckWait, want.AckWait, false)
	ds.compare("max_deliver", have.MaxDeliver, want.MaxDeliver, false)
	if len(have.BackOff)+len(want.BackOff) > 0 {
		ds.compare("backoff", have.BackOff, want.BackOff, false)
	}
	ds.compare("max_ack_pending", have.MaxAckPending, want.MaxAckPending, false)
	ds.compare("priority_policy", have.PriorityPolicy, want.PriorityPolicy, false)
	allow(&ds, "max_batch", have.MaxRequestBatch, batch)
	allow(&ds, "max_expires", have.MaxRequestExpires, pullExpires)
	allow(&ds, "max_bytes", have.MaxRequestMaxBytes, pullMaxBytes)
	return ds
}
