package admin_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

// attention returns what the status of an appliance with these couriers and records
// draws attention to, as "courier: what".
func attention(t *testing.T, couriers []ops.CourierInfo, records []ingestion.Record) (lines []string) {
	t.Helper()
	m := admintest.Sample()
	m.Intake.Couriers, m.Intake.Records, m.Unmapped = couriers, records, nil
	deps := m.Deps()
	deps.About.StartedAt = time.Now().Add(-24 * time.Hour)
	address := admintest.Start(t, admin.DefaultConfig(), deps)
	for range 2 { // the second answer has what the first one found
		lines = nil
		for _, a := range read[ops.Status](t, address, "/api/v1/status").Attention {
			if a.Do == "" || !strings.Contains(a.Do, a.Courier) {
				t.Errorf("%q: to do is %q", a.What, a.Do)
			}
			lines = append(lines, a.Courier+": "+a.What)
		}
	}
	return lines
}

func TestAttentionToUnverifiedPresets(t *testing.T) {
	t.Parallel()
	lines := attention(t, []ops.CourierInfo{
		{Name: "enforced", Preset: "lalamove", Unverified: true, Mode: ops.ModeEnforce},
		{Name: "observed", Preset: "lalamove", Unverified: true, Mode: ops.ModeObserve},
		{Name: "verified", Preset: "stripe", Mode: ops.ModeEnforce},
	}, nil)
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "enforced: its preset lalamove") {
		t.Errorf("%q", lines)
	}
}

func TestAttentionToUnmappedStatuses(t *testing.T) {
	t.Parallel()
	m := admintest.Sample() // alpha's status is in no mapping, demo's is by now
	status := read[ops.Status](t, admintest.Start(t, admin.DefaultConfig(), m.Deps()), "/api/v1/status")
	i := slices.IndexFunc(status.Attention, func(a ops.Attention) bool { return strings.Contains(a.What, "RTO_OFD") })
	if i < 0 || status.Attention[i].Courier != "alpha" || !strings.HasPrefix(status.Attention[i].What, "1 of its statuses is in no mapping and moves no shipment") || !strings.Contains(status.Attention[i].Do, "couriers unmapped") {
		t.Errorf("%+v", status.Attention)
	}
	if slices.ContainsFunc(status.Attention, func(a ops.Attention) bool { return a.Courier == "demo" && strings.Contains(a.What, "statuses") }) {
		t.Errorf("a status that is mapped by now: %+v", status.Attention)
	}
}

// TestAttentionToWhatIsIgnored: a rule that is wrong would otherwise show nowhere.
func TestAttentionToWhatIsIgnored(t *testing.T) {
	t.Parallel()
	at := func(ago time.Duration, courier string, outcome ingestion.Outcome, count int64) ingestion.Record {
		when := time.Now().Add(-ago)
		return ingestion.Record{ID: admintest.RecordID(when, 1), Courier: courier, Outcome: outcome, At: when, Until: when, Count: count}
	}
	lines := attention(t, []ops.CourierInfo{{Name: "all"}, {Name: "some"}, {Name: "few"}, {Name: "before"}}, []ingestion.Record{
		at(1*time.Minute, "all", ingestion.Ignored, 1), at(2*time.Minute, "all", ingestion.Ignored, 9), at(25*time.Hour, "all", ingestion.Accepted, 5),
		at(1*time.Minute, "some", ingestion.Ignored, 90), at(2*time.Hour, "some", ingestion.Duplicate, 1),
		at(1*time.Minute, "few", ingestion.Ignored, 9),
		at(25*time.Hour, "before", ingestion.Ignored, 90),
	})
	if len(lines) != 1 || lines[0] != "all: all 10 requests that it sent in the last day and that verify were ignored: none became an event" {
		t.Errorf("%q", lines)
	}
}

// TestAttentionToSilence has couriers that were heard every ten minutes, but for one
// silence, and were last heard some time ago.
func TestAttentionToSilence(t *testing.T) {
	t.Parallel()
	heard := func(courier string, periods int, longest, last time.Duration) (records []ingestion.Record) {
		at := time.Now().Add(-last)
		for i := range periods {
			if i == periods/2 {
				at = at.Add(10*time.Minute - longest)
			}
			records = append(records, ingestion.Record{ID: admintest.RecordID(at, uint64(i)), Courier: courier, Outcome: ingestion.Accepted, At: at, Until: at, Count: 1})
			at = at.Add(-10 * time.Minute)
		}
		return records
	}
	var couriers []ops.CourierInfo
	var records []ingestion.Record
	for name, of := range map[string][]ingestion.Record{
		"silent": heard("silent", 30, 40*time.Minute, 3*time.Hour),
		"nights": heard("nights", 30, 8*time.Hour, 9*time.Hour),
		"recent": heard("recent", 30, 10*time.Minute, 50*time.Minute),
		"rare":   heard("rare", 19, 10*time.Minute, 20*time.Hour),
	} {
		couriers, records = append(couriers, ops.CourierInfo{Name: name}), append(records, of...)
	}
	lines := attention(t, couriers, records)
	if len(lines) != 1 || lines[0] != "silent: it has sent nothing for 3h0m0s; its longest silence before was 40m0s" {
		t.Errorf("%q", lines)
	}
}
