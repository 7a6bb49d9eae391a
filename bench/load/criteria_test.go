package load

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/bench/proof"
	"github.com/fincart/courier-gateway/ingest/event"
)

// recorded returns a recorder with so many acknowledgements that took this long.
func recorded(took time.Duration, n int, more ...hit) *recorder {
	r := newRecorder("http://127.0.0.1:1", defaultThresholds.Within)
	r.begin(noon)
	for i := range n {
		r.add(hit{n: uint64(i), event: uint64(i), at: time.Duration(i) * time.Millisecond, took: took, status: 202, out: 100, in: 10})
	}
	for _, h := range more {
		r.add(h)
	}
	return r
}

func missedIDs(c criteria) (ids []string) {
	for _, one := range c {
		if !one.Passed {
			ids = append(ids, one.ID)
		}
	}
	return ids
}

func repeated(h hit, n int) (all []hit) {
	for i := range n {
		h.n, h.event = uint64(10_000+i), uint64(10_000+i)
		all = append(all, h)
	}
	return all
}

func TestThresholdsOfSpeed(t *testing.T) {
	t.Parallel()
	strict := defaultThresholds.strict()
	for name, c := range map[string]struct {
		limits Thresholds
		rec    *recorder
		missed int
	}{
		"fast":                      {strict, recorded(time.Millisecond, 1000), 0},
		"as slow as may be":         {defaultThresholds, recorded(149*time.Millisecond, 1000), 0},
		"too slow":                  {defaultThresholds, recorded(151*time.Millisecond, 1000), 1},
		"too slow for ourselves":    {strict, recorded(11*time.Millisecond, 1000), 1},
		"far too slow":              {strict, recorded(3*time.Second, 1000), 3},
		"1 % refused":               {defaultThresholds, recorded(time.Millisecond, 990, repeated(hit{status: 503}, 10)...), 0},
		"2 % refused":               {defaultThresholds, recorded(time.Millisecond, 980, repeated(hit{status: 503}, 20)...), 1},
		"2 % without an answer":     {defaultThresholds, recorded(time.Millisecond, 980, repeated(hit{err: errTimeout}, 20)...), 1},
		"2 % about other events":    {defaultThresholds, recorded(time.Millisecond, 980, repeated(hit{status: 202, err: errWrongEvent}, 20)...), 1},
		"2 % too late":              {defaultThresholds, recorded(time.Millisecond, 980, repeated(hit{status: 202, took: 2100 * time.Millisecond}, 20)...), 1},
		"invalid ones don't matter": {defaultThresholds, recorded(time.Millisecond, 1000, repeated(hit{kind: tampered, status: 401, took: 5 * time.Second}, 500)...), 0},
		"p95 does not matter":       {Thresholds{Within: 2 * time.Second, Acknowledged: 0.99}, recorded(time.Second, 1000), 0},
	} {
		var got criteria
		got.speed(c.limits, c.rec)
		if got.missed() != c.missed {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestThresholdOfRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more   []hit
		passed bool
	}{
		"none sent":     {nil, true},
		"refused":       {[]hit{{kind: tampered, status: 401}, {kind: badBody, status: 400}, {kind: stale, status: 401}}, true},
		"not answered":  {[]hit{{kind: tampered, err: errTimeout}}, true},
		"accepted":      {[]hit{{kind: tampered, status: 202}}, false},
		"wrong status":  {[]hit{{kind: badBody, status: 401}}, false},
		"wrong code":    {[]hit{{kind: stale, status: 401, err: errWrongCode}}, false},
		"not available": {[]hit{{kind: stale, status: 503}}, false},
	} {
		var got criteria
		got.answers(recorded(time.Millisecond, 10, c.more...))
		if (got.missed() == 0) != c.passed {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestThresholdsOfTheLedger(t *testing.T) {
	t.Parallel()
	good := proof.Proof{Exact: true, Acknowledged: 1000, LookedUp: 10, Transient: 100, Recovered: 100, Shipments: 5, Ledger: map[event.Status]int64{event.Processed: 1000}}
	strict := defaultThresholds.strict()
	for name, c := range map[string]struct {
		change func(*proof.Proof)
		limits Thresholds
		missed string
	}{
		"good":                           {func(*proof.Proof) {}, strict, ""},
		"nothing injected":               {func(p *proof.Proof) { p.Transient, p.Recovered = 0, 0 }, strict, ""},
		"one not terminal":               {func(p *proof.Proof) { p.NotTerminal = 1 }, defaultThresholds, "SC-002"},
		"one twice":                      {func(p *proof.Proof) { p.Twice = 1 }, defaultThresholds, "SC-003"},
		"95 % recovered":                 {func(p *proof.Proof) { p.Recovered = 95 }, defaultThresholds, ""},
		"94 % recovered":                 {func(p *proof.Proof) { p.Recovered = 94 }, defaultThresholds, "SC-004"},
		"99 % recovered, strictly":       {func(p *proof.Proof) { p.Recovered = 99 }, strict, "SC-004"},
		"one died without a fault":       {func(p *proof.Proof) { p.Unexplained = 1 }, defaultThresholds, "faults"},
		"one shipment in disorder":       {func(p *proof.Proof) { p.Disordered = 1 }, defaultThresholds, "order"},
		"a foreign appliance, no ledger": {func(p *proof.Proof) { p.Ledger, p.Unexplained = nil, 1 }, defaultThresholds, ""},
		"a sample, with one too much":    {func(p *proof.Proof) { p.Exact, p.Twice = false, 2 }, defaultThresholds, "SC-003"},
	} {
		changed := good
		c.change(&changed)
		var got criteria
		got.ledger(c.limits, &changed)
		ids := missedIDs(got)
		if len(ids) > 1 || len(ids) == 1 && ids[0] != c.missed || len(ids) == 0 && c.missed != "" {
			t.Errorf("%s: %v missed: %+v", name, ids, got)
		}
	}
}

// An appliance that lets every event pass has recovered from nothing.
func TestThresholdsOfFaultsThatDoNothing(t *testing.T) {
	t.Parallel()
	var got criteria
	got.ledger(defaultThresholds, &proof.Proof{Exact: true, Acknowledged: 60, LookedUp: 60, Transient: 12, Unexplained: 12, Ledger: map[event.Status]int64{event.Processed: 60}})
	if missed := missedIDs(got); !slices.Equal(missed, []string{"SC-004", "faults"}) {
		t.Errorf("missed are %v: %+v", missed, got)
	}
}

func TestVerdictExitsWith3(t *testing.T) {
	t.Parallel()
	report := newReport(recorded(time.Millisecond, 10), defaultThresholds, RunInfo{})
	if err := report.verdict(); err != nil || !report.Passed {
		t.Errorf("%v, passed: %v", err, report.Passed)
	}
	report.prove(&proof.Proof{Acknowledged: 10, LookedUp: 10, Exact: true, NotTerminal: 1}, defaultThresholds)
	var missed *missedError
	if err := report.verdict(); !errors.As(err, &missed) || missed.ExitCode() != 3 || report.Passed {
		t.Errorf("%v, passed: %v", err, report.Passed)
	}
}

func TestFiguresForPeople(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{1: "100%", 0.999999: "99.999%", 0.5: "50.000%", 0: "0.000%"} {
		if got := percent(share); got != want {
			t.Errorf("%v is %s, want %s", share, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		123456: "123µs", 1234567: "1.23ms", 12345678: "12.3ms", 123456789: "123ms", 1234567891: "1.23s", 12345678912: "12.3s", 0: "0s",
	} {
		if got := show(d); got != want {
			t.Errorf("%d is %s, want %s", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
