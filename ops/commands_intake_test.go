package ops

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestAcceptByID(t *testing.T) {
	t.Parallel()
	m := sample()
	c := cli{address: start(t, DefaultAdminConfig(), m.deps())}
	stdout, stderr, code := c.run(t, "rejections", "accept", "--yes", refusedID, redactedID, refusedID, "nothing")
	golden(t, "rejections_accept", fmt.Sprintf("%s--- stderr\n%s--- exit %d\n", stdout, stderr, code))
	if got := m.intake.takenIn(); !slices.Equal(got, []string{refusedID}) {
		t.Errorf("taken in %v", got)
	}

	stdout, _, code = c.run(t, "rejections", "accept", "--yes", "--vouch", "--json", redactedID, takenID)
	var report ActionReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 1 {
		t.Fatalf("exit %d, %v: %s", code, err, stdout)
	}
	want := ActionResult{ID: redactedID, Courier: "demo", Key: "demo:req_e", Sequence: 101, Duplicate: true, KeyID: event.KeyIDOperator}
	if len(report.Done) != 1 || report.Done[0] != want || len(report.Failed) != 1 || report.Failed[0].Code != AlreadyTaken {
		t.Errorf("report %+v", report)
	}
}

func TestAcceptAllTakesTheOldestFirst(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"":                                 {refusedID}, // the other proves nothing
		"--vouch --courier demo":           {"vouched " + redactedID, "vouched " + refusedID},
		"--vouch --courier demo --limit 1": {"vouched " + refusedID},
		"--code invalid_signature":         {refusedID},
		"--courier nobody":                 nil,
	} {
		m := sample()
		_, stderr, code := cli{address: start(t, DefaultAdminConfig(), m.deps())}.run(t, append([]string{"rejections", "accept", "--all", "--yes"}, strings.Fields(args)...)...)
		if got := m.intake.takenIn(); !slices.Equal(got, want) || (code == 1) != (args == "") {
			t.Errorf("%s: taken in %v, want %v; exit %d: %s", args, got, want, code, stderr)
		}
	}
}

func TestAcceptAllOfManyPages(t *testing.T) {
	t.Parallel()
	m := sample()
	record := m.intake.record(refusedID)
	m.intake.records = nil
	var want []string
	for i := range 2*MaxPage + 1 {
		record.ID = recordID(noon, uint64(i))
		want = append(want, record.ID)
		m.intake.records = slices.Insert(m.intake.records, 0, record)
	}
	stdout, _, code := cli{address: start(t, DefaultAdminConfig(), m.deps())}.run(t, "rejections", "accept", "--all", "--yes")
	if got := m.intake.takenIn(); !slices.Equal(got, want) || code != 0 || !strings.HasSuffix(stdout, fmt.Sprintf("\n%d refused requests accepted\n", len(want))) {
		t.Errorf("taken in %d of %d, exit %d: %s", len(got), len(want), code, stdout)
	}
}

func TestAcceptAsksOnATerminal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer, flag, question string
		done                   bool
	}{
		{"y\n", "--yes=false", "Accept 1 refused request if they pass the checks now? [y/N]", true},
		{"n\n", "--yes=false", "Accept 1 refused request if they pass the checks now? [y/N]", false},
		{"yes\n", "--vouch", "Accept 1 refused request without proof of who sent them? [y/N]", true},
		{"\n", "--vouch", "Accept 1 refused request without proof of who sent them? [y/N]", false},
	} {
		m := sample()
		_, stderr, code := cli{address: start(t, DefaultAdminConfig(), m.deps()), stdin: c.answer, terminal: true}.run(t, "rejections", "accept", c.flag, refusedID)
		if (len(m.intake.takenIn()) == 1) != c.done || (code == 0) != c.done || !strings.Contains(stderr, c.question) {
			t.Errorf("%+v: taken in %v, exit %d: %s", c, m.intake.takenIn(), code, stderr)
		}
	}
}

func TestAcceptTellsWhatCouldNotBeMarked(t *testing.T) {
	t.Parallel()
	m := sample()
	m.intake.unmarkable = event.Errorf(event.DependencyDown, "sqlite write", "disk full\x1b[31m")
	c := cli{address: start(t, DefaultAdminConfig(), m.deps())}
	stdout, stderr, code := c.run(t, "rejections", "accept", "--yes", refusedID)
	if code != 0 || !strings.Contains(stdout, "accepted as event demo:req_a, sequence 100\n") ||
		!strings.Contains(stderr, `could not be marked as taken in: sqlite write: DEPENDENCY_DOWN: disk full\x1b[31m`) {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if stdout, _, code = c.run(t, "rejections", "accept", "--yes", "--json", refusedID); code != 0 || !strings.Contains(stdout, `"warning": "its event is on the queue, but`) {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

func TestReloadTellsEveryFaultInItsLine(t *testing.T) {
	t.Parallel()
	m := sample()
	m.intake.misconfig = errors.New("couriers.demo.scheme: is none of these\ncouriers.old\x1b[31m: no such file")
	stdout, stderr, code := cli{address: start(t, DefaultAdminConfig(), m.deps())}.run(t, "couriers", "reload")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "stay in force: couriers.demo.scheme: is none of these\ncouriers.old\\x1b[31m: no such file\n") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

func TestCouriersCommandsJoinTheGroup(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{"tested\n": {"test", "demo", "file"}, "listed\n": {"presets"}} {
		if stdout, stderr, code := (cli{}).run(t, append([]string{"couriers"}, args...)...); code != 0 || stdout != want {
			t.Errorf("exit %d: %s%s", code, stdout, stderr)
		}
	}
	if _, stderr, code := (cli{}).run(t, "couriers", "none"); code != ExitUsage || !strings.Contains(stderr, "it has list, reload, test, presets") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	for _, cmd := range Commands(CommandDeps{}) {
		if cmd.Name() == "couriers" && len(cmd.Commands()) != 2 {
			t.Error("the group has more commands than its own, though none are given")
		}
	}
}

func TestNoCouriersForPeople(t *testing.T) {
	t.Parallel()
	m := sample()
	m.intake.couriers = nil
	c := cli{address: start(t, DefaultAdminConfig(), m.deps())}
	if stdout, stderr, code := c.run(t, "couriers", "list"); code != 0 || !strings.HasPrefix(stdout, "no couriers: add one") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}
