package load

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/bench"
)

func (c *commands) assert() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "assert [FILE|-]",
		Short: "Judge vegeta's results by the success criteria",
		Long: "Judge vegeta's results, in any of its encodings, from FILE or standard input, by\n" +
			"SC-001: 99 % of the events acknowledged within 2 s, 95 % within 150 ms. Every\n" +
			"request counts as a valid event. Exits with 3 when a threshold is missed.",
		Example: "  vegeta attack -format=json -targets=targets.json -rate=500/s -duration=10s | appliance bench assert\n" +
			"  appliance bench assert --p99 10ms --html report.html results.gob",
		Args: cobra.MaximumNArgs(1),
	}
	var limits Thresholds
	limits.add(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print the report as JSON")
	html := cmd.Flags().String("html", "", "write the report as one self-contained page to this file")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		name := "-"
		if len(args) > 0 {
			name = args[0]
		}
		rec, err := c.readResults(name, limits.Within)
		if err != nil {
			return err
		}
		report := newReport(rec, limits, RunInfo{
			Title: "Results of vegeta", StartedAt: rec.started, Load: fmt.Sprintf("%s requests", thousands(rec.valid())), Client: "vegeta",
		})
		if err := report.print(c.Out, *asJSON); err != nil {
			return err
		}
		if *html != "" {
			if err := report.saveHTML(*html); err != nil {
				return err
			}
		}
		return report.verdict()
	}
	return cmd
}

// readResults records the results in a file, "-" for standard input.
func (c *commands) readResults(name string, within time.Duration) (*recorder, error) {
	in, err := bench.Open(name, c.In)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	decode := vegeta.DecoderFor(in)
	if decode == nil {
		return nil, errors.New("these are no results of vegeta, or there are none: pipe in what `vegeta attack` prints")
	}
	rec := newRecorder("", within)
	for n := uint64(0); ; n++ {
		var r vegeta.Result
		switch err := decode(&r); {
		case errors.Is(err, io.EOF):
			return rec, nil
		case err != nil:
			return nil, fmt.Errorf("read result %d: %w", n+1, err)
		}
		if n == 0 {
			rec.begin(r.Timestamp)
		}
		rec.add(foreignHit(n, &r, rec.started))
	}
}

// foreignHit makes a hit of a result of which only vegeta knows what was sent.
// Results come in the order in which they ended, so one may be due before the
// first.
func foreignHit(n uint64, r *vegeta.Result, start time.Time) hit {
	return hit{
		n: n, event: n, at: max(r.Timestamp.Sub(start), 0), took: r.Latency, status: int(r.Code),
		out: int(r.BytesOut), in: len(r.Body), err: failure(r),
	}
}
