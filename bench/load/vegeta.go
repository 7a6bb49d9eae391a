package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/bench"
)

// vegetaWorkers bounds the requests that vegeta has under way at once in open
// loop: it starts a worker and a connection more whenever all are busy.
const vegetaWorkers = 1000

// vegeta sends by vegeta's own attacker and net/http, a load client that others use. It
// takes more of the machine than the lean one.
func (l *load) vegeta(ctx context.Context) error {
	workers := uint64(vegetaWorkers)
	if !l.cfg.rate.set() {
		workers = uint64(l.cfg.connections)
	}
	attacker := vegeta.NewAttacker(
		vegeta.Workers(uint64(l.cfg.connections)), vegeta.MaxWorkers(workers),
		vegeta.Client(&http.Client{
			Timeout: l.cfg.timeout, Transport: transport(int(workers), l.to.remote, l.to.tls),
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
			key = l.plan.events.AppendKey(key[:0], h.event)
			h.duplicate, h.err = judge(&h, r.Body, key)
		}
		l.rec.add(h)
	}
	return nil
}

// targeter hands out the requests of the plan. A request's number travels in the
// fragment of its URL, which is never sent, so that its result can be recognised.
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

// read makes a hit of a result; ok is false for one without a
// request.
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
	case strings.Contains(r.Error, "malformed HTTP"), strings.Contains(r.Error, "bad Content-Length"):
		return errNoHTTP
	default:
		return errLost
	}
}

func (c *commands) targets() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "targets",
		Short: "Print signed targets for vegeta",
		Long: "Print signed targets for vegeta, one line of JSON each.\n\n" +
			"A target is signed when it is printed, so it is good for as long as the courier's\n" +
			"tolerance. For longer runs let vegeta read while it attacks, by -lazy and\n" +
			"--count 0, which prints targets without end.",
		Example: "  appliance bench targets --count 0 |\n" +
			"    vegeta attack -format=json -lazy -rate=1000/s -duration=30s |\n" +
			"    appliance bench assert",
		Args: cobra.NoArgs,
	}
	var sign bench.SigningFlags
	var m Mix
	sign.Add(cmd, c.Target)
	m.add(cmd)
	count := cmd.Flags().Uint64("count", 1000, "how many targets, 0 for no end")
	text := cmd.Flags().String("seed", "", "number that decides the events (default: random)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		seed, err := parseSeed(*text)
		if err != nil {
			return err
		}
		courier, err := sign.Courier(cmd, c.Target, c.Now)
		if err != nil {
			return err
		}
		if courier.Mapped {
			return errMapped(courier.Name)
		}
		events, err := newEvents(courier.Name, seed, c.Now())
		if err != nil {
			return err
		}
		if _, err := courier.Sign(events.AppendBody(nil, 0), courier.Now()); err != nil {
			return fmt.Errorf("courier %s: %w", courier.Name, err)
		}
		composer := &composer{plan: &plan{events: events, mix: m}, signer: courier.Signer, now: courier.Now}
		return writeTargets(cmd, c.Out, composer, *count)
	}
	return cmd
}

// writeTargets writes so many targets, without end for 0.
func writeTargets(cmd *cobra.Command, out io.Writer, from *composer, count uint64) error {
	buffered := bufio.NewWriter(out)
	encode := vegeta.NewJSONTargetEncoder(buffered)
	for n := uint64(0); (count == 0 || n < count) && cmd.Context().Err() == nil; n++ {
		t := from.target(n)
		if err := encode(&t); err != nil {
			return fmt.Errorf("print the targets: %w", err)
		}
	}
	return buffered.Flush()
}
