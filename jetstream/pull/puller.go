// Package pull fetches messages for a consumer of the broker ahead of those who take
// them.
//
//	broker ──one request at a time──▶ buffer ──Take──▶ caller
//	  ▲                                 │
//	  └──── in progress, every fifth ◀──┘
//	        of the acknowledgement wait
//
// It knows messages, not what is in them. The consumer of the queue calls it.
package pull

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Puller keeps one pull request open on a consumer whenever there is space for what it
// may bring, and holds what has come until it is taken.
//
// # While nothing is taken
//
// A message that waits here is a delivery whose acknowledgement wait runs, and
// the broker can't take a delivery back. So the buffer is small, and what waits
// in it for longer than a fifth of the wait ([KeepAliveEvery]) is kept alive with
// in-progress signals: a pause of any length spends no attempt. It is checked
// twice in that time, so the caller that takes a message has seven tenths of its wait
// left at least. Once the buffer is more than half full no pull is open, and then the
// broker neither redelivers nor sends advisories, as a paused worker needs it.
// As soon as messages are taken the next pull opens and the broker catches up with both.
//
// # Accounting
//
// At most one request is open. Its reply subject carries its number, so that
// statuses of older requests are distinguished; messages have no number, and are those of
// the request before as long as some of it are to come. A request whose end does not
// come is given up, and so is every request when the connection is lost.
//
// # Stopping
//
// A request to the broker can't be cancelled, and a server of a cluster notices a moment
// late that a process has stopped listening: what it delivers in between spends an attempt
// and reaches no process. So requests are short, and [Puller.Stop] listens until the open one has ended.
// With replicas, messages are sent only when the followers know of their delivery, so that
// the end of a request may overtake them; it says how many there were not, and so how many
// are still to come.
//
// Its methods may be called by any number of goroutines, [Puller.Run] by one.
type Puller struct {
	cfg       Config
	subject   string // of pull requests
	inbox     string // requests are answered at "<inbox>.<number>"
	keepEvery time.Duration

	ready chan struct{} // one token while the buffer may hold something
	want  chan struct{} // one token when a request may be due
	over  chan struct{} // one token when a request may have ended
	ended chan struct{} // closed by Stop
	end   sync.Once

	mu       sync.Mutex
	sub      *nats.Subscription // nil until the first Take
	buf      []pulled           // oldest first
	bytes    int                // of buf
	asked    int                // messages that the open request may still bring; 0 when none is open
	late     int                // messages that are still to come of the request before
	lateFrom time.Time          // when that had ended
	stopping bool               // no request follows
	number   uint64             // of the latest request
	lastSign time.Time          // of life from the broker
}

// Config is what a [Puller] works with. Every field but Remote is needed.
type Config struct {
	Conn             *nats.Conn
	Stream, Consumer string
	Limit            int           // messages, buffered or asked for
	AckWait          time.Duration // of the consumer's first attempt
	// Remote says that events go on coming in while this process stops: others publish.
	Remote bool
	// Refused is called with the broker's reason when it ends a request because of
	// trouble, at each such end. It must not call the Puller.
	Refused func(why string)
}

// pulled is a message in the buffer.
type pulled struct {
	msg   *nats.Msg
	alive time.Time // when its acknowledgement wait last began
}

// What a request asks for at most, which the consumer must allow.
const (
	Expires  = 500 * time.Millisecond // duration of a request, and so of a stop
	MaxBytes = 64 << 20               // buffered or asked for
)

// silence is how long after the last sign of life a request is given up.
const silence = 2 * time.Second

var inProgress = []byte("+WPI") // the broker restarts a delivery's acknowledgement wait

// KeepAliveEvery returns how often a delivery that a caller holds is to be kept
// alive. With the time for which it may have waited here, no more than half of
// ackWait passes without a signal to the broker: 3/10 before it is taken, and
// 2/10 until the first signal after.
func KeepAliveEvery(ackWait time.Duration) time.Duration { return ackWait / 5 }

// New returns a Puller. It pulls while [Puller.Run] runs, from the first Take on.
func New(cfg Config) *Puller {
	return &Puller{
		cfg: cfg, keepEvery: KeepAliveEvery(cfg.AckWait), inbox: cfg.Conn.NewInbox(),
		subject: "$JS.API.CONSUMER.MSG.NEXT." + cfg.Stream + "." + cfg.Consumer,
		ready:   make(chan struct{}, 1), want: make(chan struct{}, 1), over: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// Run asks for messages and keeps waiting ones alive until ctx ends; after [Puller.Stop]
// it only does the latter. It sleeps until the first Take.
func (p *Puller) Run(ctx context.Context) {
	tick := time.NewTicker(min(time.Second, p.keepEvery/2))
	defer tick.Stop()
	for {
		select {
		case <-p.want:
		case <-tick.C:
			p.keepAlive()
		case <-p.ended:
			// What is still buffered stays alive until it is taken or ctx ends.
			p.keepAliveUntil(ctx, tick.C)
			return
		case <-ctx.Done():
			return
		}
		p.ask()
	}
}

func (p *Puller) keepAliveUntil(ctx context.Context, tick <-chan time.Time) {
	for {
		select {
		case <-tick:
			p.keepAlive()
		case <-ctx.Done():
			return
		}
	}
}

// Take returns between 1 and limit messages, oldest first, as soon as there is one.
// They belong to the caller. After [Puller.Stop] it returns what is left and then
// [event.ErrStopped]; it returns the cause of ctx when that ends. Its error's code is
// DependencyDown when the connection is closed.
func (p *Puller) Take(ctx context.Context, limit int) ([]*nats.Msg, error) {
	if err := p.subscribe(); err != nil {
		return nil, err
	}
	for {
		if taken := p.takeNow(limit); len(taken) > 0 {
			return taken, nil
		}
		select {
		case <-p.ready:
			continue
		default:
		}
		select {
		case <-p.ready:
		case <-p.ended:
			if taken := p.takeNow(limit); len(taken) > 0 {
				return taken, nil
			}
			return nil, event.ErrStopped
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (p *Puller) takeNow(limit int) []*nats.Msg {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(max(limit, 1), len(p.buf))
	if n == 0 {
		return nil
	}
	taken := make([]*nats.Msg, n)
	for i, w := range p.buf[:n] {
		taken[i] = w.msg
		p.bytes -= len(w.msg.Data)
	}
	rest := copy(p.buf, p.buf[n:])
	clear(p.buf[rest:])
	p.buf = p.buf[:rest]
	if rest > 0 {
		signal(p.ready)
	}
	if p.asked == 0 {
		signal(p.want)
	}
	return taken
}

// subscribe listens for what the pull requests bring, once.
func (p *Puller) subscribe() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sub != nil || p.isEnded() {
		return nil
	}
	sub, err := p.cfg.Conn.Subscribe(p.inbox+".*", p.onMsg)
	if err != nil {
		return event.Errorf(event.DependencyDown, "broker pull", "%w", err)
	}
	p.sub = sub
	signal(p.want)
	return sub.SetPendingLimits(-1, -1)
}

// ask opens a request if none is open and there is space.
func (p *Puller) ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked > 0 && time.Since(p.lastSign) > silence {
		p.requestEnded(0)
	}
	if p.late > 0 && time.Since(p.lateFrom) > silence {
		p.late = 0 // lost: they are delivered again
	}
	free, bytes := p.cfg.Limit-len(p.buf), MaxBytes-p.bytes
	if p.sub == nil || p.asked > 0 || free < (p.cfg.Limit+1)/2 || bytes < MaxBytes/2 || p.stopping || !p.cfg.Conn.IsConnected() {
		return
	}
	p.number++
	request := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d}`, free, bytes, Expires)
	if err := p.cfg.Conn.PublishRequest(p.subject, p.inbox+"."+strconv.FormatUint(p.number, 10), request); err != nil {
		return // the next tick tries again
	}
	p.asked, p.lastSign = free, time.Now()
}

// onMsg takes in one message or status. It is called by one goroutine.
func (p *Puller) onMsg(m *nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastSign = time.Now()
	if m.Reply == "" {
		p.onStatus(m)
		return
	}
	p.buf = append(p.buf, pulled{msg: m, alive: p.lastSign})
	p.bytes += len(m.Data)
	switch {
	case p.late > 0:
		if p.late--; p.late == 0 {
			signal(p.over)
		}
	case p.asked > 0:
		if p.asked--; p.asked == 0 {
			p.requestEnded(0)
			signal(p.want)
		}
	}
	signal(p.ready)
}

// onStatus handles a status that the broker sends instead of a message; mu is held. Every
// status but a heartbeat ends its request. After one that means trouble, which is
// reported, the next request waits for the tick.
func (p *Puller) onStatus(m *nats.Msg) {
	status := m.Header.Get("Status")
	if status == "100" || m.Subject != p.inbox+"."+strconv.FormatUint(p.number, 10) {
		return
	}
	unsent, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
	if err != nil {
		unsent = p.asked
	}
	p.requestEnded(p.late + p.asked - unsent)
	if status == "408" || status == "409" && err == nil {
		signal(p.want) // expired, or its bytes are used up
		return
	}
	p.cfg.Refused(status + " " + m.Header.Get("Description"))
}

// Reconnected drops the open request: the broker may have dropped it too.
func (p *Puller) Reconnected() {
	p.mu.Lock()
	p.requestEnded(0)
	p.mu.Unlock()
	signal(p.want)
}

// requestEnded says that no request is open, and how many messages are still to come; mu
// is held.
func (p *Puller) requestEnded(late int) {
	p.asked, p.late, p.lateFrom = 0, max(late, 0), time.Now()
	signal(p.over)
}

// keepAlive resets the acknowledgement wait of what has been waiting here.
func (p *Puller) keepAlive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for i := range p.buf {
		w := &p.buf[i]
		if now.Sub(w.alive) >= p.keepEvery && p.cfg.Conn.Publish(w.msg.Reply, inProgress) == nil {
			w.alive = now
		}
	}
}

// Stop opens no further request, and returns when the open one has ended, if the broker is
// remote, and nothing more will come, or ctx ends. What has come until then can still be taken.
func (p *Puller) Stop(ctx context.Context) (err error) {
	p.end.Do(func() {
		p.mu.Lock()
		p.stopping = true
		sub := p.sub
		p.mu.Unlock()
		if p.cfg.Remote {
			p.awaitEnd(ctx)
		}
		if sub != nil {
			err = drainSubscription(ctx, sub)
		}
		close(p.ended)
	})
	return err
}

// awaitEnd returns when no request is open and nothing is to come, or that takes too long.
func (p *Puller) awaitEnd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	for p.open() {
		select {
		case <-p.over:
		case <-ctx.Done():
			return
		}
	}
}

// open reports whether something may still come.
func (p *Puller) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked+p.late > 0 && p.cfg.Conn.IsConnected()
}

// drainTimeout bounds the wait for a server to confirm that it sends no more.
const drainTimeout = 2 * time.Second

// drainSubscription ends sub after its last message has been handled.
func drainSubscription(ctx context.Context, sub *nats.Subscription) error {
	ctx, cancel := context.WithTimeoutCause(ctx, drainTimeout, errors.New("the broker doesn't answer"))
	defer cancel()
	closed := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(closed) })
	if err := sub.Drain(); err != nil {
		return sub.Unsubscribe() // not connected: nothing can come
	}
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Puller) isEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Buffered returns how many messages wait to be taken.
func (p *Puller) Buffered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.buf)
}

// signal leaves a token in a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
