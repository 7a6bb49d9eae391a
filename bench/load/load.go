// Package load puts an appliance under load and judges what became of it: the command
// bench, with its subcommands.
//
//	plan ▸ composer ▸ client ──▶ appliance
//	          recorder ◀── answers
//	          recorder ▸ proof ▸ criteria ▸ Report
//
// A plan says what each request is, a composer makes and signs it, one of two clients
// sends it, and a recorder counts the answer. Package proof then looks up what became of
// the acknowledged events; the criteria judge both. In come a courier, an address and a
// [proof.Ledger] (see [Deps]); out go the [Report] and an exit code. Package appliance
// adds the [Command] to its own; no other package calls this one.
package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/bench"
)

// loadConfig says how much to send, and how fast.
type loadConfig struct {
	rate        rate          // open loop; none for closed loop
	connections int           // in closed loop also how many requests are under way at once
	duration    time.Duration // 0 for none: until all requests are sent
	requests    uint64        // most requests; 0 for none: until the time is up
	timeout     time.Duration // for one answer
}

// rate is how often to send. The zero value is no rate: as fast as the answers
// come. As a flag it is written 5000, 5000/s or 300/m.
type rate vegeta.Rate

var perUnit = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// Set implements the flag.
func (r *rate) Set(text string) error {
	count, unit, per := strings.Cut(strings.TrimSpace(text), "/")
	if !per {
		unit = "s"
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 1e9 || perUnit[unit] == 0 {
		return errors.New("write a rate as 5000/s, 300/m or 100/h")
	}
	*r = rate{Freq: n, Per: perUnit[unit]}
	return nil
}

func (r rate) String() string {
	for unit, per := range perUnit {
		if r.Per == per {
			return fmt.Sprintf("%d/%s", r.Freq, unit)
		}
	}
	return ""
}

// Type names the value of the flag in help texts.
func (rate) Type() string { return "rate" }

func (r rate) set() bool { return r.Freq > 0 }

// due returns when hit number n is due, counted from the start of the load.
// vegeta's pacer, asked before anything has gone by, knows it of every hit.
func (r rate) due(n uint64) time.Duration {
	wait, _ := vegeta.Rate(r).Pace(0, n)
	return wait
}

// load sends the requests of a plan and records what becomes of them, by one of two
// clients: [load.lean] or [load.vegeta].
type load struct {
	cfg    loadConfig
	plan   *plan
	signer *bench.Signer
	past   time.Duration // how old a stale request's timestamp is
	to     *endpoint
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

// lean sends on a fixed number of connections, all of them open before the clock starts,
// each kept busy by a worker that composes, signs, sends and reads. An error means that
// the load could not begin.
func (l *load) lean(ctx context.Context) error {
	workers := make([]*worker, l.cfg.connections)
	defer func() {
		for _, w := range workers {
			w.close()
		}
	}()
	head := newHeading(l.to, l.signer.Headers())
	for i := range workers {
		workers[i] = &worker{load: l, composer: l.composer(), heading: head}
		if err := workers[i].connect(ctx); err != nil {
			return fmt.Errorf("%w: connection %d of %d to %s can't be opened (%w): is `appliance serve` running there? set --target", bench.ErrNoConnection, i+1, len(workers), l.to.address, err)
		}
	}
	l.begin()
	next := l.closedLoop()
	if l.cfg.rate.set() {
		timer, err := newTimer()
		if err != nil {
			return err
		}
		next = l.openLoop(ctx, timer)
	}
	var running sync.WaitGroup
	for _, w := range workers {
		running.Go(func() { w.run(ctx, next) })
	}
	running.Wait()
	return nil
}

// nextRequest returns the number of the next request and when it is due; ok is false
// when there is none any more.
type nextRequest func() (n uint64, due time.Duration, ok bool)

// closedLoop lets each connection send its next request as soon as it has the
// answer to the last one.
func (l *load) closedLoop() nextRequest {
	var sent atomic.Uint64
	return func() (uint64, time.Duration, bool) {
		n, now := sent.Add(1)-1, time.Since(l.start)
		return n, now, n < l.most() && (l.cfg.duration == 0 || now < l.cfg.duration)
	}
}

// openLoop lets requests go when they are due, whatever became of those before:
// the first free connection takes the next one. When none is free the request
// waits, and its wait counts.
func (l *load) openLoop(ctx context.Context, timer *timer) nextRequest {
	due := make(chan uint64, 1024)
	go func() {
		defer close(due)
		defer timer.close()
		for n := range l.most() {
			at := l.cfg.rate.due(n)
			if l.cfg.duration > 0 && at > l.cfg.duration {
				return
			}
			timer.until(ctx, l.start.Add(at))
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
func (t *timer) until(ctx context.Context, at time.Time) {
	const short = 5 * time.Millisecond
	if d := time.Until(at); d > short {
		rest(ctx, d-short/2)
	}
	if d := time.Until(at); d > 0 && ctx.Err() == nil {
		t.wait(d)
	}
}

// rest waits for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// worker is one connection and what is needed to keep it busy.
type worker struct {
	*load
	composer   *composer
	heading    heading
	request    []byte
	key        []byte
	connection *connection // nil when it has to be opened
}

func (w *worker) connect(ctx context.Context) (err error) {
	w.connection, err = dial(ctx, w.to, w.cfg.timeout)
	return err
}

func (w *worker) close() {
	if w != nil && w.connection != nil {
		w.connection.close()
		w.connection = nil
	}
}

func (w *worker) run(ctx context.Context, next nextRequest) {
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
		w.request = w.heading.appendRequest(w.request[:0], c.Signed)
		if !w.cfg.rate.set() {
			h.at = time.Since(w.start) // composing it is no part of the answer's time
		}
		w.exchange(&h)
	}
	h.took = time.Since(w.start) - h.at
	return h
}

// ready makes sure that there is a connection, and says why a request that was due
// then can't be sent any more.
func (w *worker) ready(ctx context.Context, due time.Duration) error {
	if w.cfg.rate.set() && time.Since(w.start)-due > w.cfg.timeout {
		return errTooLate
	}
	if w.connection != nil && time.Since(w.connection.used) < maxIdle {
		return nil
	}
	w.close()
	if err := w.connect(ctx); err != nil {
		rest(ctx, 20*time.Millisecond) // or it would be refused again at once
		return reasonOf(err)
	}
	return nil
}

func (w *worker) exchange(h *hit) {
	h.out = len(w.request)
	answer := &w.connection.answer
	if err := w.connection.exchange(w.request); err != nil {
		w.close()
		h.err = reasonOf(err)
		return
	}
	body := answer.Body()
	h.status, h.in = answer.StatusCode(), len(body)
	w.key = w.plan.events.AppendKey(w.key[:0], h.event)
	h.duplicate, h.err = judge(h, body, w.key)
	if answer.ConnectionClose() {
		w.close()
	}
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

// judge reads an answer's body, as far as there is one: whether the event
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
