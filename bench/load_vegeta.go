package bench

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// vegetaWorkers bounds the requests that vegeta has under way at once in open
// loop: it starts a worker and a connection more whenever all are busy.
const vegetaWorkers = 1000

// vegeta sends by vegeta's own attacker and net/http, for those who would rather
// trust a load client that others use. It takes more of the machine than the
// lean one.
func (l *load) vegeta(ctx context.Context) error {
	workers := uint64(vegetaWorkers)
	if !l.cfg.rate.set() {
		workers = uint64(l.cfg.connections)
	}
	attacker := vegeta.NewAttacker(
		vegeta.Workers(uint64(l.cfg.connections)), vegeta.MaxWorkers(workers),
		vegeta.Client(&http.Client{
			Timeout: l.cfg.timeout, Transport: l.to.transport(int(workers)),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
	)
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	l.begin()
	var key []byte
	for r := range attacker.Attack(l.targeter(), vegeta.Rate(l.cfg.rate), l.cfg.duration, "") {
		h, ok := l.read(r)
		if !ok || ctx.Err() != nil && h.err != nil {
			continue
		}
		if h.err == nil {
			key = l.plan.events.appendKey(key[:0], h.event)
			h.duplicate, h.err = judge(&h, r.Body, key)
		}
		l.rec.add(h)
	}
	return nil
}

// targeter hands out the requests of the plan. A request's number travels in the
// fragment of its URL, which is never sent, so that its result can be told.
func (l *load) targeter() vegeta.Targeter {
	composers := make(chan *composer, vegetaWorkers)
	var next atomic.Uint64
	return func(t *vegeta.Target) error {
		n := next.Add(1) - 1
		if n >= l.most() {
			return vegeta.ErrNoTargets
		}
		var c *composer
		select {
		case c = <-composers:
		default:
			c = l.composer()
		}
		*t = c.target(n)
		t.URL += "#" + strconv.FormatUint(n, 10)
		select {
		case composers <- c:
		default:
		}
		return nil
	}
}

// read makes a hit of a result; ok is false for one that no request stands
// behind.
func (l *load) read(r *vegeta.Result) (h hit, ok bool) {
	_, number, _ := strings.Cut(r.URL, "#")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return h, false
	}
	h = hit{n: n, at: r.Timestamp.Sub(l.start), took: r.Latency, status: int(r.Code), out: int(r.BytesOut), in: len(r.Body)}
	h.kind, h.event = l.plan.request(n)
	h.err = failure(r)
	h.unsent = errors.Is(h.err, errRefused)
	return h, true
}

// failure returns why a result has no answer, nil when it has one. A refusal is
// an error to vegeta; here it has its status.
func failure(r *vegeta.Result) error {
	switch {
	case r.Code > 0:
		return nil
	case strings.Contains(r.Error, "Timeout"), strings.Contains(r.Error, "deadline"):
		return errTimeout
	case strings.Contains(r.Error, "refused"):
		return errRefused
	default:
		return errLost
	}
}
