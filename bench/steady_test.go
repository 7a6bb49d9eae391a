package bench

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// latencies renders the histogram that steady.awk reads: so many events within
// each bound, and in all.
func latencies(counts ...int) string {
	const name = "courier_gateway_process_latency_seconds"
	text := "# TYPE " + name + " histogram\n"
	for i, bound := range []string{"0.064", "0.128", "0.256", "+Inf"} {
		text += fmt.Sprintf("%s_bucket{le=%q} %d\n", name, bound, counts[i])
	}
	return text + fmt.Sprintf("%s_sum 1\n%s_count %d\n", name, name, counts[len(counts)-1])
}

// TestSteadyJudges holds the judge of bench/steady.sh to its exit codes.
func TestSteadyJudges(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		metrics string
		code    int
		says    string
	}{
		"in time":            {latencies(990, 1000, 1000, 1000), 0, "p99 at most 0.064 s of 1000 events, wanted within 0.25 s: ok"},
		"just in time":       {latencies(0, 990, 1000, 1000), 0, "p99 at most 0.128 s"},
		"perhaps in time":    {latencies(0, 989, 1000, 1000), 3, "p99 at most 0.256 s of 1000 events, wanted within 0.25 s: MISSED"},
		"beyond the buckets": {latencies(0, 0, 989, 1000), 3, "p99 at most +Inf s"},
		"nothing processed":  {latencies(0, 0, 0, 0), 3, "not measured"},
		"another name":       {strings.ReplaceAll(latencies(990, 1000, 1000, 1000), "process_latency", "processing"), 3, "not measured"},
		"no answer":          {"", 3, "not measured"},
	} {
		judge := exec.CommandContext(t.Context(), "awk", "-v", "within=0.25", "-f", "steady.awk")
		judge.Stdin = strings.NewReader(tc.metrics)
		out, err := judge.CombinedOutput()
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != tc.code || !strings.Contains(string(out), tc.says) {
			t.Errorf("%s: exit %d: %s", name, code, out)
		}
	}
}
