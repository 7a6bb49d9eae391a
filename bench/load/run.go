package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/bench/proof"
)

// run is a load test on its way.
type run struct {
	*commands
	cmd     *cobra.Command
	flags   benchFlags
	info    RunInfo
	courier bench.Target
	load    *load
	ledger  proof.Ledger   // nil when nothing is to be looked up
	watch   *proof.Watcher // nil as well
	spawned *spawned       // nil when a running appliance is under load
	checks  uint64         // most events to look up
}

// runBench does a load test from start to verdict.
func (c *commands) runBench(ctx context.Context, cmd *cobra.Command, flags benchFlags) (err error) {
	r := &run{commands: c, cmd: cmd, flags: flags}
	if err := r.prepare(ctx); err != nil {
		return errors.Join(err, r.end())
	}
	defer func() { err = errors.Join(err, r.end()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.spawned != nil {
		go func() {
			select {
			case <-r.spawned.ended:
				cancel(r.spawned.gone())
			case <-ctx.Done():
			}
		}()
	}
	report, err := r.do(ctx)
	if err != nil {
		return err
	}
	if err := r.publish(report); err != nil {
		return err
	}
	return report.verdict()
}

// end stops what the run has started.
func (r *run) end() error {
	if r.spawned == nil {
		return nil
	}
	if r.flags.spawn.keep {
		r.Progress.Print(fmt.Sprintf("the appliance's directory is kept: %s", r.spawned.dir))
	}
	return r.spawned.stop(r.flags.spawn.keep)
}

// do sends, waits and verifies.
func (r *run) do(ctx context.Context) (*Report, error) {
	r.info.StartedAt = r.Now()
	if err := r.send(ctx); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if r.load.rec.valid() == 0 {
		return nil, errors.New("nothing valid was sent: give it more time or more events")
	}
	var proved *proof.Proof
	if r.ledger != nil {
		var err error
		if proved, err = r.prove(ctx); err != nil {
			return nil, err
		}
	}
	report := newReport(r.load.rec, r.flags.limits, r.info)
	report.ResultsIn = r.flags.results
	if proved != nil {
		report.Samples = r.watch.Samples()
		report.prove(proved, r.flags.limits)
	}
	return report, nil
}

// send puts the load on, watching the appliance meanwhile.
func (r *run) send(ctx context.Context) error {
	stored, err := r.storeResults()
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	r.load.begun = func(start time.Time) {
		go func() {
			defer close(watched)
			if r.watch != nil {
				r.watch.Run(watching, start)
			}
		}()
	}
	client := r.load.lean
	if r.flags.load.client == clientVegeta {
		client = r.load.vegeta
	}
	r.Progress.Print(fmt.Sprintf("sending: %s", r.info.Load))
	err = r.showing(ctx, r.sending(), func() error { return client(ctx) })
	stop()
	if !r.load.start.IsZero() {
		<-watched
	}
	return errors.Join(err, stored(), r.load.rec.encoded)
}

// showing shows what line returns while do runs.
func (r *run) showing(ctx context.Context, line func() (string, float64), do func() error) error {
	ctx, stop := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		r.Progress.During(ctx, line)
	}()
	err := do()
	stop()
	<-shown
	return err
}

// sending returns the line of progress for the load.
func (r *run) sending() func() (string, float64) {
	var before snapshot
	last := time.Now()
	return func() (string, float64) {
		now, at := r.load.rec.snapshot(), time.Now()
		text := fmt.Sprintf("%s sent, %s/s acknowledged, p99 %s", thousands(now.sent),
			thousands(uint64(float64(now.acknowledged-before.acknowledged)/at.Sub(last).Seconds())), show(now.p99))
		before, last = now, at
		if r.watch != nil {
			text += ", backlog " + thousands(r.watch.Last().Unprocessed)
		}
		if now.wrong > 0 {
			text += fmt.Sprintf(", %s not answered as they should", thousands(now.wrong))
		}
		return text, r.load.share(now.sent)
	}
}

// prove waits for the backlog and compares the ledger with what was sent.
func (r *run) prove(ctx context.Context) (*proof.Proof, error) {
	r.Progress.Print("waiting for the backlog")
	began := time.Now()
	err := r.showing(ctx, func() (string, float64) {
		s := r.watch.Last()
		return fmt.Sprintf("backlog %s, %s waiting for another attempt", thousands(s.Unprocessed), thousands(uint64(s.Retrying))), -1
	}, func() error { return r.watch.WaitDrained(ctx, r.flags.drain) })
	late, isLate := errors.AsType[*proof.NotDrainedError](err)
	if err != nil && !isLate {
		return nil, err
	}
	drained := time.Since(began)
	r.Progress.Print("reading the ledger")
	rec := r.load.rec
	p := &proof.Prover{
		Ledger: r.ledger, Courier: r.courier.Courier, Events: r.load.plan.events, Acknowledged: &rec.acked, Unsure: &rec.unsure,
		Exclusive: r.spawned != nil, Faults: r.flags.spawn.faults, Check: r.checks,
	}
	proved, err := p.Prove(ctx, late)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	proved.DrainSeconds = drained.Seconds()
	return &proved, nil
}

// publish prints the report and writes its page.
func (r *run) publish(report *Report) error {
	if err := report.print(r.Out, r.flags.asJSON); err != nil {
		return err
	}
	if r.flags.html == "" {
		return nil
	}
	if err := report.saveHTML(r.flags.html); err != nil {
		return err
	}
	r.Progress.Print(fmt.Sprintf("report: %s", r.flags.html))
	return nil
}

// storeResults has every result written to a file, if one is asked for. The
// caller calls stored when all of them are in.
func (r *run) storeResults() (stored func() error, err error) {
	if r.flags.results == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(r.flags.results)
	if err != nil {
		return nil, fmt.Errorf("write the results: %w", err)
	}
	out := bufio.NewWriterSize(f, 1<<16)
	r.load.rec.encode = encoderFor(r.flags.results)(out)
	return func() error { return errors.Join(out.Flush(), f.Close()) }, nil
}

// encoderFor returns vegeta's encoding for a file's name.
func encoderFor(file string) func(io.Writer) vegeta.Encoder {
	switch filepath.Ext(file) {
	case ".json":
		return vegeta.NewJSONEncoder
	case ".csv":
		return vegeta.NewCSVEncoder
	default:
		return vegeta.NewEncoder
	}
}
