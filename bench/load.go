package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// loadConfig says how much to send, and how fast.
type loadConfig struct {
	rate        rate          // open loop; none for closed loop
	connections int           // in closed loop also how many requests are under way at once
	duration    time.Duration // 0 for none: until all requests are sent
	requests    uint64        // most requests; 0 for none: until the time is up
	timeout     time.Duration // for one answer
}

// load sends the requests of a plan and records what becomes of them. One of its
// two clients does the sending: [load.lean] or [load.vegeta].
type load struct {
	cfg    loadConfig
	plan   *plan
	signer *Signer
	past   time.Duration // how old a stale request's timestamp is
	to     *site
	rec    *recorder
	start  time.Time
	// begun, when set, is called when the connections are open and the clock
	// starts.
	begun func(start time.Time)
}

func (l *load) composer() *composer {
	return &composer{plan: l.plan, signer: l.signer, now: time.Now, staleBy: l.past}
}

// begin starts the clock.
func (l *load) begin() {
	l.start = time.Now()
	l.rec.begin(l.start)
	if l.begun != nil {
		l.begun(l.start)
	}
}

// share returns how much of the load is done after so many requests.
func (l *load) share(sent uint64) (done float64) {
	if l.cfg.duration > 0 {
		done = l.rec.elapsed().Seconds() / l.cfg.duration.Seconds()
	}
	if l.cfg.requests > 0 {
		done = max(done, ratio(sent, l.cfg.requests))
	}
	return min(done, 1)
}

// most returns how many requests there are at most.
func (l *load) most() uint64 {
	if l.cfg.requests > 0 {
		return l.cfg.requests
	}
	return 1 << 62
}

// lean sends by our own client: a fixed number of connections, each with a
// goroutine that composes, signs, writes and reads. Every connection is open
// before the clock starts. An error means that the load could not begin.
func (l *load) lean(ctx context.Context) error {
	workers := make([]*worker, l.cfg.connections)
	defer func() {
		for _, w := range workers {
			w.close()
		}
	}()
	head := newHeading(l.to.host, l.to.target, l.signer.headers)
	for i := range workers {
		workers[i] = &worker{load: l, composer: l.composer(), heading: head}
		if err := workers[i].connect(ctx); err != nil {
			return fmt.Errorf("open connection %d of %d to %s: %w", i+1, len(workers), l.to.address, err)
		}
	}
	l.begin()
	next := l.closedLoop()
	if l.cfg.rate.set() {
		alarm, err := newAlarm()
		if err != nil {
			return err
		}
		next = l.openLoop(ctx, alarm)
	}
	var running sync.WaitGroup
	for _, w := range workers {
		running.Go(func() { w.run(ctx, next) })
	}
	running.Wait()
	return nil
}

// turn hands out the next request and when it was due; ok is false when there is
// none any more.
type turn func() (n uint64, due time.Duration, ok bool)

// closedLoop lets each connection send its next request as soon as it has the
// answer to the last one.
func (l *load) closedLoop() turn {
	var sent atomic.Uint64
	return func() (uint64, time.Duration, bool) {
		n, now := sent.Add(1)-1, time.Since(l.start)
		return n, now, n < l.most() && (l.cfg.duration == 0 || now < l.cfg.duration)
	}
}

// openLoop lets requests go when they are due, whatever became of those before:
// the first free connection takes the next one. When none is free the request
// waits, and its wait counts.
func (l *load) openLoop(ctx context.Context, alarm *alarm) turn {
	due := make(chan uint64, 1024)
	go func() {
		defer close(due)
		defer alarm.close()
		for n := range l.most() {
			at := l.cfg.rate.due(n)
			if l.cfg.duration > 0 && at > l.cfg.duration {
				return
			}
			alarm.until(ctx, l.start.Add(at))
			select {
			case due <- n:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() (uint64, time.Duration, bool) {
		n, ok := <-due
		return n, l.cfg.rate.due(n), ok
	}
}

// until waits for a time to come, or for ctx to end; longer waits end with ctx.
func (a *alarm) until(ctx context.Context, at time.Time) {
	const short = 5 * time.Millisecond
	if d := time.Until(at); d > short {
		rest(ctx, d-short/2)
	}
	if d := time.Until(at); d > 0 && ctx.Err() == nil {
		a.wait(d)
	}
}

// rest waits for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// worker is one connection and what is needed to keep it busy.
type worker struct {
	*load
	composer *composer
	heading  heading
	request  []byte
	key      []byte
	wire     *wire
	unbind   func() bool
}

// connect opens the worker's connection, which ends with ctx.
func (w *worker) connect(ctx context.Context) error {
	wire, err := w.to.dialer(w.cfg.timeout).dial(ctx)
	if err != nil {
		return err
	}
	w.wire = wire
	w.unbind = context.AfterFunc(ctx, func() { _ = wire.conn.Close() })
	return nil
}

func (w *worker) close() {
	if w == nil || w.wire == nil {
		return
	}
	w.unbind()
	_ = w.wire.conn.Close() // everything that counts has been read
	w.wire = nil
}

func (w *worker) run(ctx context.Context, next turn) {
	for ctx.Err() == nil {
		n, due, ok := next()
		if !ok {
			return
		}
		h := w.hit(ctx, n, due)
		if ctx.Err() != nil && h.err != nil {
			return // cut off, which says nothing about the appliance
		}
		w.rec.add(h)
	}
}

// hit sends request n and waits for the answer.
func (w *worker) hit(ctx context.Context, n uint64, due time.Duration) hit {
	h := hit{n: n, at: due}
	if err := w.ready(ctx, due); err != nil {
		h.unsent, h.err = true, err
		h.kind, h.event = w.plan.request(n)
	} else {
		c := w.composer.compose(n)
		h.kind, h.event = c.kind, c.event
		w.request = w.heading.appendRequest(w.request[:0], c)
		if !w.cfg.rate.set() {
			h.at = time.Since(w.start) // composing it is no part of the answer's time
		}
		w.exchange(&h)
	}
	h.took = time.Since(w.start) - h.at
	return h
}

// maxIdle is how long a connection may rest before it is opened anew: the peer
// may be about to close it.
const maxIdle = 5 * time.Second

// ready sees to it that there is a connection, and says why a request that was due
// then can't be sent any more.
func (w *worker) ready(ctx context.Context, due time.Duration) error {
	if w.cfg.rate.set() && time.Since(w.start)-due > w.cfg.timeout {
		return errTooLate
	}
	if w.wire != nil && time.Since(w.wire.used) < maxIdle {
		return nil
	}
	w.close()
	err := w.connect(ctx)
	if err != nil {
		rest(ctx, 20*time.Millisecond) // or it would be refused again at once
	}
	return err
}

func (w *worker) exchange(h *hit) {
	r, err := w.wire.exchange(w.request)
	h.out = len(w.request)
	if err != nil || r.last {
		w.close()
	}
	if err != nil {
		h.err = err
		return
	}
	h.status, h.in = r.status, len(r.body)
	w.key = w.plan.events.appendKey(w.key[:0], h.event)
	h.duplicate, h.err = judge(h, r.body, w.key)
}

// errWrongEvent is the worst of answers: it acknowledges what was not sent.
var (
	errWrongEvent = errors.New("the answer is about another event")
	errWrongCode  = errors.New("refused, with another error code")
)

var (
	keyMember       = []byte(`"idempotencyKey":`)
	duplicateMember = []byte(`"duplicate":true`)
	codeMember      = []byte(`"errorCode":"`)
)

// judge reads an answer's body, as far as its sender has one: whether the event
// was known, whether it is about the right event, and whether a refusal has the
// right code. key is the event's, as JSON.
func judge(h *hit, body, key []byte) (duplicate bool, err error) {
	if h.acknowledged() {
		if about := bytes.Index(body, keyMember); about >= 0 && !bytes.HasPrefix(body[about+len(keyMember):], key) {
			return false, errWrongEvent
		}
		return bytes.Contains(body, duplicateMember), nil
	}
	want := refusals[h.kind]
	if h.status != want.status {
		return false, nil // shows by its status
	}
	if at := bytes.Index(body, codeMember); at < 0 || !bytes.HasPrefix(body[at+len(codeMember):], []byte(want.code)) {
		return false, errWrongCode
	}
	return false, nil
}
