package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/jetstream/embedconn"
	"github.com/fincart/courier-gateway/jetstream/embedded"
	"github.com/fincart/courier-gateway/jetstream/external"
)

// loadTimeout bounds one read whose caller gave no bound.
const loadTimeout = 5 * time.Second

// maxHeaders is the number of headers on a message: the envelope's and the id.
const maxHeaders = 10

// transport carries publishes to the broker.
type transport interface {
	// Publish sends m, to be answered at m.Reply. It keeps no reference to it. After
	// an error nothing is sent.
	Publish(m embedconn.Message) error
}

// connections are those to the broker: one to publish to an external broker, one for
// administration and reading, and one to consume if this process does. They are
// separate because a connection's writes queue behind each other.
type connections struct {
	cfg     Config
	log     *slog.Logger
	server  *embedded.Server // nil when external
	life    lifecycle
	closing func() bool           // whether the process stops
	waiting func(error)           // is called with why a connection is not there yet
	denied  atomic.Pointer[error] // what the broker has last not permitted

	publish, admin, consume *nats.Conn // publish is nil with embedded, consume without Config.Consume
	embedded                *embedconn.Conn
	js                      natsjs.JetStream
	lost                    atomic.Pointer[closedConnection] // one that will not come back
}

// open opens the connections, apart from embedded. With natsgo, this process publishes
// to an embedded broker as to an external one.
func (c *connections) open(ctx context.Context, natsgo bool) (err error) {
	if c.server == nil || natsgo {
		if c.publish, err = c.dial(ctx, "publish",
			nats.ReconnectBufSize(-1), // nothing is kept for later: a publisher waits for the answer
		); err != nil {
			return err
		}
	}
	if c.admin, err = c.dial(ctx, "admin", nats.ReconnectBufSize(-1)); err != nil {
		return err
	}
	if c.js, err = natsjs.New(c.admin, natsjs.WithDefaultTimeout(loadTimeout)); err != nil || !c.cfg.Consume {
		return err
	}
	c.consume, err = c.dial(ctx, "consume")
	return err
}

// refusal returns what the broker has not permitted since it was last asked for.
func (c *connections) refusal() error {
	if denied := c.denied.Swap(nil); denied != nil {
		return *denied
	}
	return nil
}

// all returns the connections by their roles; to an embedded broker, those of nats.go.
func (c *connections) all() map[string]*nats.Conn {
	all := map[string]*nats.Conn{"admin": c.admin}
	if c.publish != nil {
		all["publish"] = c.publish
	}
	if c.consume != nil {
		all["consume"] = c.consume
	}
	return all
}

// connected reports whether the broker can be asked.
func (c *connections) connected() bool { return c.admin.IsConnected() }

// openTransport returns the transport of a publisher, whose answers p takes.
func (c *connections) openTransport(ctx context.Context, p answers) (transport, error) {
	if c.publish != nil {
		t, err := newClient(c.publish, p)
		if err != nil {
			return nil, fmt.Errorf("subscribe to the broker's answers: %w", err)
		}
		c.publish.SetDisconnectErrHandler(func(_ *nats.Conn, err error) { p.disconnected(err) })
		c.publish.SetReconnectHandler(func(*nats.Conn) { p.reconnected() })
		return t, nil
	}
	conn, err := embedconn.Open(ctx, embedconn.Config{
		WriteTimeout: c.cfg.PublishTimeout, MaxPayload: int(c.cfg.MaxMessageBytes),
		Dial: c.server.InProcessConn, Name: c.cfg.Name + " publish",
		Inbox: p.inbox(), SubjectPrefix: subjectPrefix,
		OnAnswer: p.answered, OnRead: p.flushAnswered, OnLost: p.disconnected, OnBack: p.reconnected,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded broker: %w", err)
	}
	c.embedded = conn
	c.life.onStop("publish connection", func(context.Context) error { conn.Close(); return nil })
	return conn, nil
}

// answers takes the answers to publishes, and what becomes of their connection.
type answers interface {
	inbox() string // they come to "<inbox>.*"
	answered(subject []byte, noStream bool, answer []byte)
	flushAnswered() // there are no more for now
	disconnected(error)
	reconnected()
}

// client is the transport to an external broker: a connection of the nats.go client.
type client struct {
	conn     *nats.Conn
	messages sync.Pool // of *message
}

// message is what one publish over a client needs.
type message struct {
	msg    nats.Msg
	values [maxHeaders][1]string // what msg.Header's values point at
}

// newClient passes the answers that come on conn to p.
func newClient(conn *nats.Conn, p answers) (*client, error) {
	sub, err := conn.Subscribe(p.inbox()+".*", func(m *nats.Msg) {
		p.answered([]byte(m.Subject), len(m.Data) == 0 && m.Header.Get("Status") == "503", m.Data)
		p.flushAnswered()
	})
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn}
	c.messages.New = func() any { return &message{msg: nats.Msg{Header: make(nats.Header, maxHeaders)}} }
	return c, sub.SetPendingLimits(-1, -1)
}

func (c *client) Publish(p embedconn.Message) error {
	m := c.messages.Get().(*message)
	m.msg.Subject, m.msg.Reply, m.msg.Data = subjectPrefix+p.Courier, p.Reply, p.Body
	for i, h := range p.Headers {
		m.values[i][0] = h[1]
		m.msg.Header[h[0]] = m.values[i][:]
	}
	err := c.conn.PublishMsg(&m.msg)
	m.msg.Subject, m.msg.Reply, m.msg.Data = "", "", nil
	clear(m.msg.Header)
	clear(m.values[:])
	c.messages.Put(m)
	return err
}

// dial opens one connection that reconnects forever. Its stop is registered.
func (c *connections) dial(ctx context.Context, role string, more ...nats.Option) (*nats.Conn, error) {
	var warnings logLimiter
	opts := []nats.Option{
		nats.Name(c.cfg.Name + " " + role),
		nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				c.denied.Store(&err)
			}
			if warnings.allow(err.Error()) {
				c.log.Warn("connection to the broker", "role", role, "error", err)
			}
		}),
		nats.ClosedHandler(func(conn *nats.Conn) { c.closedForGood(role, conn.LastError()) }),
	}
	address := "embedded"
	if c.server != nil {
		opts = append(opts, nats.InProcessServer(c.server), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	} else {
		address = strings.Join(c.cfg.URLs, ",")
		opts = append(opts, c.externalOptions()...)
	}
	opts = append(opts, more...)
	conn, err := external.Until(ctx, func() (*nats.Conn, error) {
		conn, err := nats.Connect(address, opts...)
		if err != nil {
			return nil, fmt.Errorf("connect to the broker at %s: %w", WithoutCredentials(address), external.Explain(err, nil))
		}
		return conn, nil
	}, external.Final, c.waiting)
	if err != nil {
		return nil, err
	}
	c.life.onStop(role+" connection", func(ctx context.Context) error {
		if conn.IsConnected() {
			_ = flushConnection(ctx, conn) // verdicts on their way; lost ones come again
		}
		conn.Close()
		return nil
	})
	return conn, nil
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
func (c *connections) externalOptions() []nats.Option {
	opts := []nats.Option{
		nats.IgnoreAuthErrorAbort(),
		nats.Timeout(1500 * time.Millisecond),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(c.cfg.PublishTimeout), nats.ReconnectOnFlusherError(),
	}
	if c.cfg.CredentialsFile != "" {
		opts = append(opts, credentials(c.cfg.CredentialsFile))
	}
	if c.cfg.TLS != nil {
		opts = append(opts, nats.Secure(c.cfg.TLS))
	}
	return opts
}

// credentials takes the user from a file, which is read again for each connection: a token
// and a key, as NATS's own tools write them, or USER:PASSWORD on a line.
func credentials(file string) nats.Option {
	return func(o *nats.Options) error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte("-----BEGIN ")) || !bytes.Contains(text, []byte(":")) {
			return nats.UserCredentials(file)(o)
		}
		return nats.UserInfoHandler(func() (user, password string) {
			if latest, err := os.ReadFile(file); err == nil { // otherwise what it was
				text = latest
			}
			user, password, _ = strings.Cut(strings.TrimSpace(string(text)), ":")
			return user, password
		})(o)
	}
}

// noticeAfter is when a wait for an external broker is reported that has not failed yet.
const noticeAfter = 1500 * time.Millisecond

// reportWaiting returns what reports why Open goes on trying: to report and, when it is
// new, to the log; and if nothing has failed by then, after noticeAfter.
func reportWaiting(log *slog.Logger, urls []string, report func(error)) (waiting func(error), stop func() bool) {
	var warnings logLimiter
	var notice *time.Timer
	say := func(problem error) {
		if warnings.allow(problem.Error()) {
			log.Warn("the broker can't be used yet, trying again", "problem", problem)
		}
		if report != nil {
			report(problem)
		}
	}
	notice = time.AfterFunc(noticeAfter, func() {
		say(fmt.Errorf("the broker at %s has not answered yet", WithoutCredentials(strings.Join(urls, ","))))
	})
	return func(problem error) { notice.Stop(); say(problem) }, notice.Stop
}

// backTimeout bounds the wait for the connections after a restart.
const backTimeout = 10 * time.Second

// waitConnected returns when every connection is back: the server answers on it. A
// connection whose end it has not noticed yet still calls itself connected.
func (c *connections) waitConnected(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, backTimeout, errors.New("connections don't come back"))
	defer cancel()
	for c.embedded != nil && !c.embedded.Connected() {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	for _, conn := range []*nats.Conn{c.publish, c.admin, c.consume} {
		for conn != nil && flushConnection(ctx, conn) != nil {
			if err := sleep(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// closedForGood reports a connection that will not come back although this process
// has not closed it: the client does that after errors of the broker's that it does not
// know.
func (c *connections) closedForGood(role string, err error) {
	if c.closing() {
		return
	}
	c.log.Error("connection to the broker is closed for good, restart this process", "role", role, "error", err)
	c.lost.Store(&closedConnection{role, err})
}

// closedConnection is one that will not come back.
type closedConnection struct {
	role string
	err  error // the last one on it, nil when there was none
}

func (c *closedConnection) Error() string {
	return fmt.Sprintf("the connection to %s is closed for good (last error: %v), restart this process", c.role, c.err)
}

// repeatAfter is when a warning is worth repeating.
const repeatAfter = time.Minute

// logLimiter keeps a warning that comes again and again, such as that of a refused
// connection, from filling the log. Its zero value is ready; it is safe for concurrent
// use.
type logLimiter struct {
	mu   sync.Mutex
	last string
	at   time.Time
}

// allow reports whether to log a warning: its text is not that of the last one, or that
// was repeatAfter ago.
func (l *logLimiter) allow(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text == l.last && time.Since(l.at) < repeatAfter {
		return false
	}
	l.last, l.at = text, time.Now()
	return true
}

// sleep waits for d, or for ctx and returns its cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// signal leaves a token in a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
