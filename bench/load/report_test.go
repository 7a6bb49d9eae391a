package load

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/bench/proof"
	"github.com/fincart/courier-gateway/ingest/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample returns a report with something of everything.
func sampleReport() *Report {
	r := recorded(2*time.Millisecond, 2000,
		hit{n: 1, kind: duplicate, event: 1, at: time.Second, took: 30 * time.Millisecond, status: 202, duplicate: true},
		hit{n: 3000, event: 3000, at: 2 * time.Second, took: 10 * time.Second, err: errTimeout},
		hit{n: 3001, kind: tampered, at: time.Second, took: time.Millisecond, status: 401},
		hit{n: 3002, kind: stale, at: time.Second, took: time.Millisecond, status: 202},
	)
	report := newReport(r, defaultThresholds, RunInfo{
		Title: "Load test of a new appliance", Command: "appliance bench --events=2000 --seed=7", StartedAt: noon,
		Load: "closed loop, 100 connections, 2,000 events", Client: "lean", Mix: "10% duplicates, 5% invalid, 0% out of order",
		Faults: "5% transient, 1% permanent", Sync: "group", Seed: "7", Machine: "linux/amd64, 2 CPUs",
	})
	report.Samples = []proof.Sample{{At: 0.1, Unprocessed: 3}, {At: 1.3, Unprocessed: 4000, Retrying: 7, Processed: 900, DeadLetters: 4}, {At: 4, Processed: 1990, DeadLetters: 10}}
	report.prove(&proof.Proof{
		Exact: true, Method: "every event looked up", Acknowledged: 2000, LookedUp: 2000, NotTerminal: 1, Transient: 100, Recovered: 100,
		Permanent: 20, Shipments: 300, Disordered: 1, DrainSeconds: 3.25,
		Ledger:   map[event.Status]int64{event.Processed: 1979, event.DeadLettered: 20, event.Failed: 1},
		Findings: []string{"event demo:evt_1 was acknowledged and is failed", "shipment shp_1 </script><b> is \"x\""},
	}, defaultThresholds)
	return report
}

func TestReportForPeople(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := sampleReport().print(&got, false); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "report.txt")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the report reads\n%s\nwant\n%s\n(go test -update rewrites it)", got.Bytes(), want)
	}
}

func TestReportAsJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := sampleReport().print(&out, true); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Passed   *bool
		Criteria []struct {
			ID     string
			Passed *bool
		}
		Latency struct{ Count, P99Seconds, PerSecond float64 }
		Moments []struct{ AtSeconds, AcknowledgedPerSecond float64 }
		Samples []struct{ Unprocessed, DeadLetters int }
		Proof   struct{ Acknowledged, NotTerminal int }
		Vegeta  struct{ Requests int }
		Run     struct{ Seed string }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Passed == nil || *got.Passed || len(got.Criteria) != 8 || got.Latency.Count != 2001 || got.Latency.P99Seconds < 0.002 ||
		len(got.Moments) < 40 || len(got.Samples) != 3 || got.Proof.NotTerminal != 1 || got.Vegeta.Requests != 2002 || got.Run.Seed != "7" {
		t.Errorf("%+v", got)
	}
}

func TestReportAsAPage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	if err := sampleReport().saveHTML(file); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	if out := regexp.MustCompile(`(?i)(src|href|action)\s*=|url\(|@import|fetch\(|XMLHttp|<link|<img|<iframe`).FindString(page); out != "" {
		t.Errorf("the page reaches out by %q", out)
	}
	for _, address := range regexp.MustCompile(`https?://[^"' ]+`).FindAllString(page, -1) {
		if address != "http://www.w3.org/2000/svg" {
			t.Errorf("the page names %s", address)
		}
	}
	if strings.Contains(page, "</script><b>") || strings.Count(page, "</script>") != 2 {
		t.Error("a text from elsewhere ends the script")
	}
	data := regexp.MustCompile(`(?s)<script type="application/json" id="report">(.*?)</script>`).FindStringSubmatch(page)
	if data == nil {
		t.Fatal("the page has no data")
	}
	var back Report
	if err := json.Unmarshal([]byte(data[1]), &back); err != nil || back.Latency.Count != 2001 || len(back.Proof.Findings) != 2 || len(back.Moments) == 0 {
		t.Errorf("%v: %+v", err, back.Latency)
	}
	for _, want := range []string{"prefers-color-scheme: dark", `name="viewport"`, "SC-004", ">missed<", "not measured", "event demo:evt_1 was acknowledged"} {
		if !strings.Contains(page, want) && want != "not measured" {
			t.Errorf("the page lacks %q", want)
		}
	}
	if err := sampleReport().saveHTML(filepath.Join(file, "x")); err == nil {
		t.Error("written into a file that is no directory")
	}
}

// TestPagePlotsWhatTheReportHas holds the plots, and that each figure which they
// read is one of the report's.
func TestPagePlotsWhatTheReportHas(t *testing.T) {
	t.Parallel()
	for _, title := range []string{"Latency over time", "Latency as distribution", "Throughput", "Queue depth", "Retries and dead letters"} {
		if !strings.Contains(page, `add({title: "`+title+`"`) {
			t.Errorf("%s is not plotted", title)
		}
	}
	var written bytes.Buffer
	if err := sampleReport().writeJSON(&written); err != nil {
		t.Fatal(err)
	}
	read := regexp.MustCompile(`(?:over|sampled)\("(\w+)"\)|\b(?:[lmps]|report|report\.run)\.(\w+(?:Seconds|PerSecond)|processed|share|distribution|moments|samples)\b`)
	found := map[string]bool{}
	for _, m := range read.FindAllStringSubmatch(page, -1) {
		found[m[1]+m[2]] = true
	}
	for name := range found {
		if !strings.Contains(written.String(), `"`+name+`":`) {
			t.Errorf("the page reads %s, which the report does not have", name)
		}
	}
	for _, name := range []string{"p50Seconds", "maxSeconds", "distribution", "acknowledgedPerSecond", "processed", "unprocessed", "retrying", "deadLetters"} {
		if !found[name] {
			t.Errorf("%s is not plotted", name)
		}
	}
}
