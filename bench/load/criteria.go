package load

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/bench/proof"
)

// Thresholds are what a load has to reach. Zero disables one.
type Thresholds struct {
	Within       time.Duration // an acknowledgement is late after that
	Acknowledged bench.Share   // of valid events, in time; at least
	P95          time.Duration // at most
	P99          time.Duration // below
	Recovered    bench.Share   // of events with a transient failure, at least
}

// defaultThresholds are the success criteria. They are meant for a load that the
// machine can carry.
var defaultThresholds = Thresholds{
	Within: 2 * time.Second, Acknowledged: 0.99, P95: 150 * time.Millisecond, Recovered: 0.95,
}

// strict returns the thresholds that the appliance sets itself on top of t.
func (t Thresholds) strict() Thresholds {
	t.P99, t.Recovered = 10*time.Millisecond, 1
	return t
}

// add adds the flags that set other thresholds of speed.
func (t *Thresholds) add(cmd *cobra.Command) {
	*t = defaultThresholds
	cmd.Flags().DurationVar(&t.Within, "within", t.Within, "an acknowledgement is late after that")
	cmd.Flags().Var(&t.Acknowledged, "acknowledged", "share of valid events that has to be acknowledged in time")
	cmd.Flags().DurationVar(&t.P95, "p95", t.P95, "longest that 95 % of the acknowledgements may take, 0 for any")
	cmd.Flags().DurationVar(&t.P99, "p99", t.P99, "time below which 99 % of them have to stay, 0 for any")
}

// Criterion is one threshold with what was measured.
type Criterion struct {
	ID       string `json:"id"` // SC-001 to SC-004, or what it is about
	What     string `json:"what"`
	Want     string `json:"want"`
	Got      string `json:"got"`
	Passed   bool   `json:"passed"`
	Measured bool   `json:"measured"` // false when there was nothing to measure; then it is not missed
}

// criteria is a list that grows.
type criteria []Criterion

// add judges one threshold; it counts only when it was measured.
func (c *criteria) add(id, what, want, got string, measured, passed bool) {
	if !measured {
		got = "not measured"
	}
	*c = append(*c, Criterion{ID: id, What: what, Want: want, Got: got, Passed: passed || !measured, Measured: measured})
}

// missed returns how many thresholds were missed.
func (c criteria) missed() (n int) {
	for _, one := range c {
		if !one.Passed {
			n++
		}
	}
	return n
}

// speed judges SC-001: whether valid events were acknowledged, and how fast.
func (c *criteria) speed(t Thresholds, r *recorder) {
	valid := r.valid()
	share := ratio(r.inTime, valid)
	c.add("SC-001", fmt.Sprintf("valid events acknowledged within %v", t.Within), "≥ "+t.Acknowledged.String(),
		percent(share), valid > 0, share >= float64(t.Acknowledged))
	if p95 := r.acks.quantile(0.95); t.P95 > 0 {
		c.add("SC-001", "95 % of the acknowledgements within", "≤ "+t.P95.String(), show(p95), r.acks.n > 0, p95 <= t.P95)
	}
	if p99 := r.acks.quantile(0.99); t.P99 > 0 {
		c.add("SC-001", "99 % of the acknowledgements within", "< "+t.P99.String(), show(p99), r.acks.n > 0, p99 < t.P99)
	}
}

// answers judges whether every invalid request that was answered was refused as
// it had to be.
func (c *criteria) answers(r *recorder) {
	answered, refused := uint64(0), uint64(0)
	for k := range kind(kinds) {
		if !k.valid() {
			answered += r.kinds[k].answered
			refused += r.kinds[k].expected
		}
	}
	got := fmt.Sprintf("%d of %d", refused, answered)
	c.add("refusals", "invalid requests refused with their code", "all", got, answered > 0, refused == answered)
}

// ledger judges SC-002 to SC-004 by a proof.
func (c *criteria) ledger(t Thresholds, p *proof.Proof) {
	known := p.LookedUp
	if p.Exact {
		known = p.Acknowledged
	}
	got := fmt.Sprintf("%d of %d", known-min(known, p.NotTerminal), known)
	c.add("SC-002", "acknowledged events with a terminal outcome", "100%", got, known > 0, p.NotTerminal == 0)
	c.add("SC-003", "outcomes beyond one per identity", "0", fmt.Sprint(p.Twice), known > 0, p.Twice == 0)
	share := ratio(p.Recovered, p.Transient)
	c.add("SC-004", "transient failures recovered before the dead letters", "≥ "+t.Recovered.String(),
		fmt.Sprintf("%s of %d", percent(share), p.Transient), p.Transient > 0, share >= float64(t.Recovered))
	if p.Ledger == nil {
		return
	}
	c.add("faults", "dead letters that no fault explains, and faults without effect", "0", fmt.Sprint(p.Unexplained), true, p.Unexplained == 0)
	c.add("order", "shipments in the state and history of their events", "all",
		fmt.Sprintf("%d of %d", p.Shipments-p.Disordered, p.Shipments), p.Shipments > 0, p.Disordered == 0)
}

func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// percent renders a share so that one that is not whole never reads as 100 %.
func percent(share float64) string {
	text := fmt.Sprintf("%.3f%%", 100*share)
	if text == "100.000%" {
		if share < 1 {
			return "99.999%"
		}
		return "100%"
	}
	return text
}

// show renders a latency with three digits.
func show(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}
