package load

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"os"
	"text/tabwriter"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/bench/proof"
)

// Report is everything that is known after a load. Times are in seconds.
type Report struct {
	Passed    bool            `json:"passed"`
	Run       RunInfo         `json:"run"`
	Criteria  []Criterion     `json:"criteria"`
	Answers   []AnswerCount   `json:"answers"`
	Latency   Latency         `json:"latency"` // of acknowledged events
	Proof     *proof.Proof    `json:"proof,omitempty"`
	Moments   []Moment        `json:"moments"`
	Width     float64         `json:"momentSeconds"`     // how long a moment lasts
	Samples   []proof.Sample  `json:"samples,omitempty"` // of the appliance's own figures
	Vegeta    *vegeta.Metrics `json:"vegeta"`            // valid requests, as vegeta reports them; in nanoseconds
	ResultsIn string          `json:"resultsIn,omitempty"`
}

// RunInfo says what was done.
type RunInfo struct {
	Title       string    `json:"title"`
	Command     string    `json:"command,omitempty"` // that does it again
	StartedAt   time.Time `json:"startedAt,omitzero"`
	Lasted      float64   `json:"lastedSeconds"` // from the first request to the last answer
	Target      string    `json:"target,omitempty"`
	Version     string    `json:"version,omitempty"` // of the appliance
	Machine     string    `json:"machine,omitempty"`
	Load        string    `json:"load"`
	Client      string    `json:"client"`
	Mix         string    `json:"mix,omitempty"`
	Faults      string    `json:"faults,omitempty"`
	Sync        string    `json:"sync,omitempty"` // how the appliance flushes
	Seed        string    `json:"seed,omitempty"` // text, because JSON numbers end at 2^53
	Connections int       `json:"connections,omitempty"`
}

// Latency summarises the times from when a request was due to its answer.
type Latency struct {
	Count        uint64              `json:"count"`
	PerSecond    float64             `json:"perSecond"`
	Mean         float64             `json:"meanSeconds"`
	P50          float64             `json:"p50Seconds"`
	P90          float64             `json:"p90Seconds"`
	P95          float64             `json:"p95Seconds"`
	P99          float64             `json:"p99Seconds"`
	P999         float64             `json:"p999Seconds"`
	Max          float64             `json:"maxSeconds"`
	Distribution []DistributionPoint `json:"distribution"`
}

// newReport makes a report of what a recorder has, judged by t.
func newReport(r *recorder, t Thresholds, info RunInfo) *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.Close()
	info.Lasted = r.ended.Seconds()
	q := func(q float64) float64 { return r.acks.quantile(q).Seconds() }
	var c criteria
	c.speed(t, r)
	c.answers(r)
	rep := &Report{
		Run: info, Criteria: c, Answers: r.table(), Vegeta: &r.metrics,
		Moments: r.series.moments(r.ended), Width: r.series.width.Seconds(),
		Latency: Latency{
			Count: r.acks.n, PerSecond: float64(r.acks.n) / max(info.Lasted, 1e-9), Mean: r.acks.mean().Seconds(),
			P50: q(0.5), P90: q(0.9), P95: q(0.95), P99: q(0.99), P999: q(0.999), Max: r.acks.max.Seconds(),
			Distribution: r.acks.distribution(),
		},
	}
	rep.judge(c)
	return rep
}

// prove adds what the ledger says.
func (r *Report) prove(p *proof.Proof, t Thresholds) {
	c := criteria(r.Criteria)
	c.ledger(t, p)
	r.Proof = p
	r.judge(c)
}

func (r *Report) judge(c criteria) { r.Criteria, r.Passed = c, c.missed() == 0 }

// verdict is nil when every threshold was reached.
func (r *Report) verdict() error {
	if r.Passed {
		return nil
	}
	missed := criteria(r.Criteria).missed()
	noun := "thresholds were"
	if missed == 1 {
		noun = "threshold was"
	}
	return &missedError{fmt.Sprintf("%d %s missed", missed, noun)}
}

// missedError means that the load was done, and a threshold was missed.
type missedError struct{ text string }

func (e *missedError) Error() string { return e.text }

// ExitCode returns the code that the process should exit with.
func (*missedError) ExitCode() int { return 3 }

// fewWait is a backlog that is gone before the next look at it, so that its rate is
// not known.
const fewWait = 1000

// print writes the report as JSON or for people.
func (r *Report) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return r.writeJSON(out)
	}
	return r.writeText(out)
}

// writeJSON writes the report as one JSON document.
func (r *Report) writeJSON(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// writeText writes the report for people at a terminal.
func (r *Report) writeText(out io.Writer) error {
	var b bytes.Buffer
	i := r.Run
	fmt.Fprintf(&b, "%s\n", i.Title)
	for _, line := range [][2]string{
		{"load", i.Load}, {"client", i.Client}, {"mix", i.Mix}, {"faults", i.Faults}, {"sync", i.Sync}, {"seed", i.Seed}, {"machine", i.Machine},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%-10s%s\n", line[0], line[1])
		}
	}
	r.writeTables(&b)
	if most, perSecond := proof.Drained(r.Samples); most > 0 {
		fmt.Fprintf(&b, "\nbacklog: at most %s", thousands(most))
		if perSecond > 0 && most >= fewWait {
			fmt.Fprintf(&b, ", drained at %s/s", thousands(uint64(perSecond)))
		}
		b.WriteString("\n")
	}
	if r.Proof != nil {
		writeProof(&b, r.Proof)
	}
	for line := range bytes.Lines(b.Bytes()) { // without what pads the last column
		if _, err := fmt.Fprintf(out, "%s\n", bytes.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// writeTables writes what was answered, how fast, and how that is judged.
func (r *Report) writeTables(b *bytes.Buffer) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	defer func() { _ = w.Flush() }() // into memory
	fmt.Fprintf(w, "\nREQUESTS\tANSWER\tCOUNT\t\n")
	for _, a := range r.Answers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", a.Kind, a.answer(), thousands(a.Count), mark(a.Expected, "", "wrong"))
	}
	l := r.Latency
	fmt.Fprintf(w, "\nACKNOWLEDGED\tP50\tP90\tP95\tP99\tP99.9\tMAX\n%s/s", thousands(uint64(l.PerSecond)))
	for _, s := range []float64{l.P50, l.P90, l.P95, l.P99, l.P999, l.Max} {
		fmt.Fprintf(w, "\t%s", show(time.Duration(s*float64(time.Second))))
	}
	fmt.Fprintf(w, "\n\nCRITERION\tWHAT\tWANT\tGOT\t\n")
	for _, c := range r.Criteria {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.ID, c.What, c.Want, c.Got, mark(c.Passed, mark(c.Measured, "ok", "-"), "MISSED"))
	}
}

// writeProof writes how the ledger was read and what it shows.
func writeProof(b *bytes.Buffer, p *proof.Proof) {
	fmt.Fprintf(b, "\nproof: %s; drained %s after the last answer", p.Method, show(time.Duration(p.DrainSeconds*float64(time.Second))))
	if p.Requeued > 0 {
		fmt.Fprintf(b, "; the reconciler requeued %d", p.Requeued)
	}
	for _, f := range p.Findings {
		fmt.Fprintf(b, "\n  %s", f)
	}
	b.WriteString("\n")
}

func mark(yes bool, then, otherwise string) string {
	if yes {
		return then
	}
	return otherwise
}

// answer says in one word or two how requests were answered.
func (a AnswerCount) answer() string {
	switch {
	case a.Status == 0:
		return a.Error
	case a.Error != "":
		return fmt.Sprintf("%d, %s", a.Status, a.Error)
	default:
		return fmt.Sprint(a.Status)
	}
}

// thousands renders n in groups of three digits.
func thousands(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// page shows a report: one file with everything in it, drawn by its own script
// from the report's JSON.
//
//go:embed report.html
var page string

// writeHTML writes the report as a page.
func (r *Report) writeHTML(out io.Writer) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return fmt.Errorf("read the report's page: %w", err)
	}
	return t.Execute(out, r)
}

// saveHTML writes the page to a file.
func (r *Report) saveHTML(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := r.writeHTML(f); err != nil {
		_ = f.Close() // the first error says more
		return fmt.Errorf("write the report: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
