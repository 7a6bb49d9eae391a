package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

func TestAcceptByID(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	c := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}
	stdout, stderr, code := c.run(t, "rejections", "accept", "--yes", admintest.RefusedID, admintest.RedactedID, admintest.RefusedID, "nothing")
	golden(t, "rejections_accept", fmt.Sprintf("%s--- stderr\n%s--- exit %d\n", stdout, stderr, code))
	if got := m.Intake.Accepted(); !slices.Equal(got, []string{admintest.RefusedID}) {
		t.Errorf("accepted %v", got)
	}

	stdout, _, code = c.run(t, "rejections", "accept", "--yes", "--vouch", "--json", admintest.RedactedID, admintest.LaterAcceptedID)
	var report actionReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 1 {
		t.Fatalf("exit %d, %v: %s", code, err, stdout)
	}
	want := actionResult{ID: admintest.RedactedID, Courier: "demo", Key: "demo:req_e", Sequence: 101, Duplicate: true, KeyID: ingestion.KeyIDOperator}
	if len(report.Done) != 1 || report.Done[0] != want || len(report.Failed) != 1 || report.Failed[0].Code != ops.AlreadyAccepted {
		t.Errorf("report %+v", report)
	}
}

func TestAcceptAllTakesTheOldestFirst(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"":                                 {admintest.RefusedID}, // the other does not verify
		"--vouch --courier demo":           {"vouched " + admintest.RedactedID, "vouched " + admintest.RefusedID},
		"--vouch --courier demo --limit 1": {"vouched " + admintest.RefusedID},
		"--code invalid_signature":         {admintest.RefusedID},
		"--courier unknown":                nil,
	} {
		m := admintest.Sample()
		_, stderr, code := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}.run(t, append([]string{"rejections", "accept", "--all", "--yes"}, strings.Fields(args)...)...)
		if got := m.Intake.Accepted(); !slices.Equal(got, want) || (code == 1) != (args == "") {
			t.Errorf("%s: accepted %v, want %v; exit %d: %s", args, got, want, code, stderr)
		}
	}
}

func TestAcceptAllOfManyPages(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	record := m.Intake.Record(admintest.RefusedID)
	m.Intake.Records = nil
	var want []string
	for i := range 2*ops.MaxPage + 1 {
		record.ID = admintest.RecordID(admintest.Noon, uint64(i))
		want = append(want, record.ID)
		m.Intake.Records = slices.Insert(m.Intake.Records, 0, record)
	}
	stdout, _, code := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}.run(t, "rejections", "accept", "--all", "--yes")
	if got := m.Intake.Accepted(); !slices.Equal(got, want) || code != 0 || !strings.HasSuffix(stdout, fmt.Sprintf("\n%d refused requests accepted\n", len(want))) {
		t.Errorf("accepted %d of %d, exit %d: %s", len(got), len(want), code, stdout)
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
		{"yes\n", "--vouch", "Accept 1 refused request without verifying them? [y/N]", true},
		{"\n", "--vouch", "Accept 1 refused request without verifying them? [y/N]", false},
	} {
		m := admintest.Sample()
		_, stderr, code := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps()), stdin: c.answer, terminal: true}.run(t, "rejections", "accept", c.flag, admintest.RefusedID)
		if (len(m.Intake.Accepted()) == 1) != c.done || (code == 0) != c.done || !strings.Contains(stderr, c.question) {
			t.Errorf("%+v: accepted %v, exit %d: %s", c, m.Intake.Accepted(), code, stderr)
		}
	}
}

func TestAcceptReportsWhatCouldNotBeMarked(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Intake.Unmarkable = event.Errorf(event.DependencyDown, "sqlite write", "disk full\x1b[31m")
	c := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}
	stdout, stderr, code := c.run(t, "rejections", "accept", "--yes", admintest.RefusedID)
	if code != 0 || !strings.Contains(stdout, "accepted as event demo:req_a, sequence 100\n") ||
		!strings.Contains(stderr, `could not be marked as accepted: sqlite write: DEPENDENCY_DOWN: disk full\x1b[31m`) {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if stdout, _, code = c.run(t, "rejections", "accept", "--yes", "--json", admintest.RefusedID); code != 0 || !strings.Contains(stdout, `"warning": "its event is on the queue, but`) {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

func TestReloadPrintsEveryFaultInItsLine(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Intake.Misconfig = errors.New("couriers.demo.scheme: is none of these\ncouriers.old\x1b[31m: no such file")
	stdout, stderr, code := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}.run(t, "couriers", "reload")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "stay active: couriers.demo.scheme: is none of these\ncouriers.old\\x1b[31m: no such file\n") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

func TestCouriersCommandsJoinTheGroup(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{"tested\n": {"test", "demo", "file"}, "listed\n": {"presets"}} {
		if stdout, stderr, code := (caller{}).run(t, append([]string{"couriers"}, args...)...); code != 0 || stdout != want {
			t.Errorf("exit %d: %s%s", code, stdout, stderr)
		}
	}
	if _, stderr, code := (caller{}).run(t, "couriers", "none"); code != 2 || !strings.Contains(stderr, "it has list, presets, reload, test, unmapped") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	for _, cmd := range Commands(Deps{}) {
		if cmd.Name() == "couriers" && len(cmd.Commands()) != 3 {
			t.Error("the group has more commands than its own, though none are given")
		}
	}
}

func TestNoCouriersForPeople(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Intake.Couriers = nil
	c := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}
	if stdout, stderr, code := c.run(t, "couriers", "list"); code != 0 || !strings.HasPrefix(stdout, "no couriers: add one") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}
