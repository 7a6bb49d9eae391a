package jetstream

import (
	"context"
	"crypto/tls"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Values of [Config].Mode.
const (
	ModeEmbedded = "embedded" // the broker runs inside this process
	ModeExternal = "external" // a NATS server or cluster beside it
)

// Values of [Config].Sync.
const (
	SyncGroup    = "group"    // one flush for all publishes acknowledged since the last
	SyncAlways   = "always"   // the broker's own flush for each message
	SyncInterval = "interval" // the broker's flush every two minutes: a power cut loses events
)

// Names on the broker.
const (
	eventsStream     = "EVENTS"
	advisoriesStream = "ADVISORIES"
	progressStream   = "PROGRESS"
	processors       = "processors"  // consumer of EVENTS
	deadLetters      = "deadletters" // consumer of ADVISORIES

	subjectPrefix   = "events."                // and the courier's name
	fillerSubject   = subjectPrefix + "=lost=" // of messages that take up lost sequences; no courier has such a name
	progressSubject = "progress.verified"
)

// derived are the streams that can be made again without losing an event: PROGRESS
// holds one number that the ledger proves again, and what ADVISORIES held the
// reconciler finds.
var derived = []string{progressStream, advisoriesStream}

// Config says what broker to run or reach, and how. Start from [Defaults]; no
// field has a hidden default of its own.
type Config struct {
	Mode string // ModeEmbedded or ModeExternal
	Name string // of this process, for the broker's reports
	// Consume says that this process also processes events: it pulls them and
	// advisories, reconciles and purges history. Without it only [Broker.Publish],
	// [Broker.Load] and [Broker.State] may be called.
	Consume bool

	// StateDir keeps what this process knows of the events' stream apart from it, and
	// the list of losses. Made when missing; an external broker's process that finds it
	// in use takes a directory beside it.
	StateDir string

	// For ModeEmbedded.
	StoreDir         string // made when missing; one process at a time
	Sync             string // SyncGroup, SyncAlways or SyncInterval
	MaxMemoryBytes   int64  // the broker's limit for streams in memory, of which there are none
	DiskReserveBytes int64  // below this much free space Publish refuses; 0 for no reserve

	// For ModeExternal.
	URLs            []string
	CredentialsFile string      // of the user to be, or with USER:PASSWORD; empty for none
	TLS             *tls.Config // nil for what the URLs say
	Replicas        int         // of each stream, 1 to 5

	// The streams and their consumers.
	MaxBytes        int64         // of the events' stream, history included
	MaxMessageBytes int32         // of one event with its headers; embedded only
	DuplicateWindow time.Duration // for how long a copy of an event is known as one, at least
	AckWait         time.Duration // until an unanswered first attempt is given up
	MaxDeliver      int           // attempts at one event
	// Delays[n-1] is the policy's delay after attempt n, without jitter. One for
	// each attempt but the last, none shorter than the one before it.
	Delays        []time.Duration
	MaxAckPending int // events delivered and not settled, over all processes

	// History: settled and verified events are kept until one of these is
	// passed, see [Broker].
	HistoryHighBytes int64 // purge when the stream is larger ...
	HistoryLowBytes  int64 // ... down to this
	HistoryMaxAge    time.Duration

	PublishTimeout time.Duration // until a publish without an answer is refused
	MaxInFlight    int           // publishes waiting for their answer; more callers queue
	PullBuffer     int           // events fetched ahead of Pull

	serverWindow time.Duration // of Deps
}

// Defaults returns the design's values for an embedded broker that does all.
// StoreDir and StateDir are left empty.
func Defaults() Config {
	const gib = 1 << 30
	return Config{
		Mode: ModeEmbedded, Name: "courier-gateway", Consume: true,
		Sync: SyncGroup, MaxMemoryBytes: 64 << 20, DiskReserveBytes: 512 << 20,
		Replicas: 1,
		MaxBytes: 8 * gib, MaxMessageBytes: 8 << 20, DuplicateWindow: 2 * time.Minute,
		AckWait: 30 * time.Second, MaxDeliver: 5,
		Delays:        []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second},
		MaxAckPending: 4096,

		HistoryHighBytes: 2 * gib, HistoryLowBytes: gib, HistoryMaxAge: 7 * 24 * time.Hour,
		PublishTimeout: 5 * time.Second, MaxInFlight: 4096, PullBuffer: 512,
	}
}

// Deps is what a [Broker] needs from outside.
type Deps struct {
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// Lifecycle stops what [Open] starts, also after it has failed.
	Lifecycle Lifecycle
	// Waiting is called with why [Open] goes on trying to reach an external broker, or to
	// use it, each time that a try has failed. Nil for no call.
	Waiting func(problem error)

	// For tests.
	flush       func() error  // instead of flushing the file system
	settleDelay time.Duration // instead of a second, see [Broker.PullSettled]
	natsgo      bool          // publish to the embedded server as to an external one, to compare
	// serverWindow is for how long the embedded server knows duplicates, instead
	// of brokerWindow.
	serverWindow time.Duration
}

// Lifecycle is what the parts of a [Broker] register with: the caller stops them, the
// last one first, within one bound for all.
type Lifecycle interface {
	// OnStop registers a stop.
	OnStop(name string, stop func(context.Context) error)
	// Run starts fn in the background, and registers its stop: its context ends, and
	// then it has to return.
	Run(name string, fn func(context.Context) error)
}

// lifecycle registers the parts of the queue.
type lifecycle struct{ of Lifecycle }

func (l lifecycle) onStop(name string, stop func(context.Context) error) {
	l.of.OnStop("queue: "+name, stop)
}

// start runs fn in the background until it is stopped.
func (l lifecycle) start(name string, fn func(context.Context)) {
	l.of.Run("queue: "+name, func(ctx context.Context) error { fn(ctx); return nil })
}

// embedded reports whether the broker runs inside this process.
func (c Config) embedded() bool { return c.Mode == ModeEmbedded }

// Validate returns [event.Faults], nil when there is none. Their paths are the
// fields of the Config.
func (c Config) Validate() error {
	var faults event.Faults
	need := faults.Check
	switch c.Mode {
	case ModeEmbedded:
		need(c.StoreDir != "", "StoreDir", "is not set")
		need(slices.Contains([]string{SyncGroup, SyncAlways, SyncInterval}, c.Sync),
			"Sync", "%q is none of group, always, interval", c.Sync)
		need(c.MaxMemoryBytes > 0, "MaxMemoryBytes", "must be positive")
		need(c.DiskReserveBytes >= 0, "DiskReserveBytes", "must not be negative")
		need(c.MaxMessageBytes >= 1024, "MaxMessageBytes", "must be at least 1024")
	case ModeExternal:
		need(len(c.URLs) > 0, "URLs", "are needed for an external broker")
		need(c.Replicas >= 1 && c.Replicas <= 5, "Replicas", "must be 1 to 5")
	default:
		need(false, "Mode", "%q is neither embedded nor external", c.Mode)
	}
	need(c.StateDir != "", "StateDir", "is not set")
	need(c.MaxBytes > 0, "MaxBytes", "must be positive")
	need(c.DuplicateWindow >= 100*time.Millisecond, "DuplicateWindow", "must be at least 100ms")
	need(c.AckWait > 0, "AckWait", "must be positive")
	need(c.MaxDeliver >= 1, "MaxDeliver", "must be at least 1")
	need(len(c.Delays) == c.MaxDeliver-1, "Delays", "are %d for %d attempts, must be one less than attempts", len(c.Delays), c.MaxDeliver)
	need(slices.IsSorted(c.Delays), "Delays", "must not become shorter")
	need(c.MaxAckPending > 0, "MaxAckPending", "must be positive")
	need(c.HistoryHighBytes > 0 && c.HistoryHighBytes <= c.MaxBytes, "HistoryHighBytes", "must be 1 to MaxBytes")
	need(c.HistoryLowBytes > 0 && c.HistoryLowBytes <= c.HistoryHighBytes, "HistoryLowBytes", "must be 1 to HistoryHighBytes")
	need(c.HistoryMaxAge > 0, "HistoryMaxAge", "must be positive")
	need(c.PublishTimeout > 0, "PublishTimeout", "must be positive")
	need(c.MaxInFlight > 0, "MaxInFlight", "must be positive")
	need(c.PullBuffer > 0, "PullBuffer", "must be positive")
	return faults.Err()
}

// backOff returns the broker's acknowledgement waits, attempt by attempt: each
// longer than AckWait by what the policy's delay has grown since the first. See
// [consumer.settle] for why.
func (c Config) backOff() []time.Duration {
	waits := make([]time.Duration, len(c.Delays))
	for i, d := range c.Delays {
		waits[i] = c.AckWait + d - c.Delays[0]
	}
	return waits
}

// userinfo is all of a URL up to its host.
var userinfo = regexp.MustCompile(`^(\w+://)?.*@`)

// WithoutCredentials returns a comma-separated list of URLs as it may be shown:
// without the users too, because one that has no password is a token.
func WithoutCredentials(urls string) string {
	shown := strings.Split(urls, ",")
	for i, s := range shown {
		shown[i] = userinfo.ReplaceAllString(s, "${1}xxxxx@")
	}
	return strings.Join(shown, ",")
}
