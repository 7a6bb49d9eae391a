package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// connect opens the connections: one to publish to an external broker, one for
// administration and reading, and one to consume if this process does. They are
// separate because a connection's writes queue behind each other.
func (b *Broker) connect(ctx context.Context) (err error) {
	if b.server == nil || b.natsgo {
		if b.publish, err = b.dial(ctx, "publish",
			nats.ReconnectBufSize(-1), // nothing is kept for later: who publishes waits for the answer
		); err != nil {
			return err
		}
	}
	if b.admin, err = b.dial(ctx, "admin", nats.ReconnectBufSize(-1)); err != nil {
		return err
	}
	if b.js, err = natsjs.New(b.admin, natsjs.WithDefaultTimeout(loadTimeout)); err != nil || !b.cfg.Consume {
		return err
	}
	b.consume, err = b.dial(ctx, "consume")
	return err
}

// dial opens one connection that reconnects for ever. Its stop is registered.
func (b *Broker) dial(ctx context.Context, role string, more ...nats.Option) (*nats.Conn, error) {
	var told news
	opts := []nats.Option{
		nats.Name(b.cfg.Name + " " + role),
		nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if told.is(err.Error()) {
				b.log.Warn("connection to the broker", "role", role, "error", err)
			}
		}),
		nats.ClosedHandler(func(c *nats.Conn) { b.closedForGood(role, c.LastError()) }),
	}
	address := "embedded"
	if b.server != nil {
		opts = append(opts, nats.InProcessServer(b.server), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	} else {
		address = strings.Join(b.cfg.URLs, ",")
		opts = append(opts, b.externalOptions()...)
	}
	opts = append(opts, more...)
	c, err := dialUntil(ctx, address, opts)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker at %s: %w", WithoutCredentials(address), err)
	}
	b.onStop(role+" connection", func(ctx context.Context) error {
		if c.IsConnected() {
			_ = flushConnection(ctx, c) // verdicts on their way; lost ones come again
		}
		c.Close()
		return nil
	})
	return c, nil
}

// flushConnection returns when the server has read all that was written to c.
func flushConnection(ctx context.Context, c *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return c.FlushWithContext(ctx)
}

// externalOptions are those of a connection over the network. A server that
// hangs without closing its connections is noticed by the write's deadline and
// by pings. One that refuses us may let us in again, once its users or our
// credentials file are put right; left to itself the client would close a
// connection for good when it is refused twice.
func (b *Broker) externalOptions() []nats.Option {
	opts := []nats.Option{
		nats.IgnoreAuthErrorAbort(),
		nats.Timeout(2 * time.Second),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(b.cfg.PublishTimeout), nats.ReconnectOnFlusherError(),
	}
	if b.cfg.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(b.cfg.CredentialsFile))
	}
	if b.cfg.TLS != nil {
		opts = append(opts, nats.Secure(b.cfg.TLS))
	}
	return opts
}

// dialUntil tries until ctx ends, because the broker may be starting too.
func dialUntil(ctx context.Context, url string, opts []nats.Option) (*nats.Conn, error) {
	return retry(ctx, func() (*nats.Conn, error) { return nats.Connect(url, opts...) }, func(err error) bool {
		return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, os.ErrNotExist)
	})
}

// retry calls f until it succeeds, fails for good, or ctx ends; then it returns
// the last error.
func retry[T any](ctx context.Context, f func() (T, error), forGood func(error) bool) (T, error) {
	for {
		v, err := f()
		if err == nil || forGood(err) {
			return v, err
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return v, err
		}
	}
}

// openWire gives the publisher its wire.
func (b *Broker) openWire(ctx context.Context) (err error) {
	if b.publish != nil {
		if b.pub.wire, err = newClient(b.publish, b.pub); err != nil {
			return fmt.Errorf("subscribe to the broker's answers: %w", err)
		}
		return nil
	}
	b.pipe = &pipe{
		patience: b.cfg.PublishTimeout,
		dial:     b.server.InProcessConn, name: b.cfg.Name + " publish",
		inbox: b.pub.slots.inbox, maxPayload: int(b.cfg.MaxMessageBytes),
		onFrame: b.pub.onFrame, onRead: b.pub.handOn,
		onLost: b.publishingLost, onBack: b.publishingBack,
	}
	b.pub.wire = b.pipe
	if err := b.pipe.open(ctx); err != nil {
		return fmt.Errorf("connect to the embedded broker: %w", err)
	}
	b.onStop("publish connection", func(context.Context) error { b.pipe.close(); return nil })
	return nil
}

// watchConnections says what to do when a connection is lost or comes back, and when
// pulls are refused on it.
func (b *Broker) watchConnections() {
	if b.publish != nil {
		b.publish.SetDisconnectErrHandler(func(_ *nats.Conn, err error) { b.publishingLost(err) })
		b.publish.SetReconnectHandler(func(*nats.Conn) { b.publishingBack() })
	}
	if b.cfg.Consume {
		b.consume.SetReconnectHandler(func(*nats.Conn) {
			b.events.reconnected()
			b.advisories.reconnected()
		})
		b.events.refused, b.advisories.refused = b.pullRefused(processors), b.pullRefused(deadLetters)
	}
}

// publishingLost ends the publishes that no answer can come to any more.
func (b *Broker) publishingLost(err error) {
	if b.gate.holds(closing) {
		return
	}
	b.log.Warn("connection to the broker lost", "error", err)
	b.gate.shut(disconnected, "not connected to the broker")
	b.pub.abandon(refuse("the connection to the broker broke before its answer came, it is not known whether it is stored"))
}

func (b *Broker) publishingBack() {
	b.log.Info("connection to the broker is back")
	b.gate.open(disconnected)
}

// pullRefused tells that consumer hands nothing out, and why.
func (b *Broker) pullRefused(consumer string) func(why string) {
	return func(why string) {
		b.log.Warn("the broker ended a pull, the next one follows", "consumer", consumer, "status", why)
	}
}

// closedForGood tells of a connection that will not come back although nobody closed
// it: the client does that after errors of the broker's that it does not know.
func (b *Broker) closedForGood(role string, err error) {
	if b.gate.holds(closing) {
		return
	}
	b.log.Error("connection to the broker is closed for good, restart this process", "role", role, "error", err)
	b.state.closed.Store(&closedConnection{role, err})
}

// closedConnection is one that will not come back.
type closedConnection struct {
	role string
	err  error // the last one on it, nil when there was none
}

func (c *closedConnection) Error() string {
	return fmt.Sprintf("the connection to %s is closed for good (last error: %v), restart this process", c.role, c.err)
}

// newsAfter is when something said before is worth saying again.
const newsAfter = time.Minute

// news keeps what happens again and again, such as a refused connection, from
// filling the log. Its zero value is ready.
type news struct {
	mu   sync.Mutex
	last string
	at   time.Time
}

// is reports whether text is not what was said last, or that was a while ago.
func (n *news) is(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text == n.last && time.Since(n.at) < newsAfter {
		return false
	}
	n.last, n.at = text, time.Now()
	return true
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
