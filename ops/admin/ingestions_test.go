package admin_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

// ids returns the ids of a page's records.
func ids(page ops.IngestionPage) (list []string) {
	for _, r := range page.Records {
		list = append(list, r.ID)
	}
	return list
}

func TestRejectionsAndIngestions(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
	for query, want := range map[string][]string{
		"rejections":                                                   {admintest.RefusedID, admintest.ObservedID, admintest.LaterAcceptedID, admintest.CutID, admintest.RedactedID, admintest.AggregateID},
		"rejections?outcome=all":                                       {admintest.RefusedID, admintest.ObservedID, admintest.LaterAcceptedID, admintest.CutID, admintest.RedactedID, admintest.AggregateID},
		"rejections?outcome=observed":                                  {admintest.ObservedID},
		"rejections?outcome=refused&courier=demo":                      {admintest.RefusedID, admintest.LaterAcceptedID, admintest.CutID, admintest.RedactedID},
		"rejections?open=true&code=INVALID_SIGNATURE":                  {admintest.RefusedID, admintest.ObservedID},
		"rejections?open=false&code=INVALID_SIGNATURE":                 {admintest.RefusedID, admintest.ObservedID, admintest.LaterAcceptedID},
		"rejections?outcome=observed,refused&after=" + admintest.CutID: {admintest.RedactedID, admintest.AggregateID},
		"ingestions?outcome=accepted":                                  {admintest.AcceptedID},
		"ingestions?outcome=accepted,observed":                         {admintest.ObservedID, admintest.AcceptedID},
		"ingestions":                                                   {admintest.RefusedID, admintest.ObservedID, admintest.LaterAcceptedID, admintest.CutID, admintest.RedactedID, admintest.AggregateID, admintest.AcceptedID},
	} {
		if got := ids(read[ops.IngestionPage](t, address, "/api/v1/"+query)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{
		"rejections?outcome=accepted", "rejections?outcome=refused,", "rejections?outcome=refused,all", "rejections?open=yes", "rejections?limit=0", "rejections?status=pending",
		"rejections?open=true&open=true", "ingestions?outcome=open", "ingestions?key=k",
	} {
		request{path: "/api/v1/" + query}.refused(t, address, 400, event.BadRequest)
	}
}

func TestRejectionPages(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	first := read[ops.IngestionPage](t, address, "/api/v1/rejections?limit=4")
	if len(first.Records) != 4 || first.Next != admintest.CutID {
		t.Fatalf("first page %v, next %q", ids(first), first.Next)
	}
	second := read[ops.IngestionPage](t, address, "/api/v1/rejections?limit=2&after="+first.Next)
	if !slices.Equal(ids(second), []string{admintest.RedactedID, admintest.AggregateID}) || second.Next != "" {
		t.Errorf("second page %v, next %q: it is exactly full and the last", ids(second), second.Next)
	}
	want := ingestion.Filter{Outcomes: ops.Rejections, Limit: 5}
	if got := m.Intake.Filters[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("filter %+v, want %+v", got, want)
	}
	_, body := request{path: "/api/v1/rejections"}.send(t, address)
	if strings.Contains(body, `"body"`) || strings.Contains(body, `"headers"`) || !strings.Contains(body, `"bodyBytes"`) || !strings.Contains(body, `"path"`) {
		t.Errorf("rows should have all of a request but body and headers: %s", body)
	}
	page := read[ops.IngestionPage](t, address, "/api/v1/rejections")
	for _, r := range page.Records {
		if r.Single() != (r.ID != admintest.AggregateID) || r.Single() && r.Request.Cut != (r.ID == admintest.CutID) {
			t.Errorf("row %+v", r)
		}
	}
}

func TestRejectionWhole(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for _, want := range m.Intake.Records {
		if got := read[ingestion.Record](t, address, "/api/v1/rejections/"+want.ID); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if p := (request{path: "/api/v1/rejections/nothing"}).refused(t, address, 404, event.NotFound); !strings.Contains(p.Detail, `"nothing"`) {
		t.Errorf("detail %q", p.Detail)
	}
}

// accepting returns the request that accepts a record.
func accepting(id, body string) request {
	return request{method: "POST", path: "/api/v1/rejections/" + id + "/accept", body: body, header: map[string]string{"Content-Type": "application/json"}}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	before := time.Now()
	resp, body := accepting(admintest.RefusedID, "").send(t, address)
	if want := `{"courier":"demo","idempotencyKey":"demo:req_a","eventId":"req_a","sequence":100,"duplicate":false,"conflict":false,"keyId":"4f2a"}` + "\n"; resp.status != 200 || body != want {
		t.Errorf("%d %s, want %s", resp.status, body, want)
	}
	if r := m.Intake.Record(admintest.RefusedID); r.AcceptedKey != "demo:req_a" || r.AcceptedAt.Before(before) || r.AcceptedAt.After(time.Now()) {
		t.Errorf("the record is not marked: %+v", r)
	}
	p := accepting(admintest.RefusedID, "").refused(t, address, 409, ops.AlreadyAccepted)
	if p.Key != "demo:req_a" || !strings.Contains(p.Detail, "demo:req_a") {
		t.Errorf("taken already: %+v", p)
	}

	p = accepting(admintest.RedactedID, `{"vouch":false}`).refused(t, address, 422, event.InvalidSignature)
	if !strings.Contains(p.Detail, "no secret verifies it") || !m.Intake.Record(admintest.RedactedID).AcceptedAt.IsZero() {
		t.Errorf("refused again: %+v", p)
	}
	if resp, body := accepting(admintest.RedactedID, `{"vouch":true}`).send(t, address); resp.status != 200 || !strings.Contains(body, `"keyId":"operator"`) || !strings.Contains(body, `"duplicate":true`) {
		t.Errorf("vouched for: %d %s", resp.status, body)
	}
	if got, want := m.Intake.Accepted(), []string{admintest.RefusedID, "vouched " + admintest.RedactedID}; !slices.Equal(got, want) {
		t.Errorf("accepted %v, want %v", got, want)
	}
}

func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for id, want := range map[string]struct {
		status int
		code   event.Code
		detail string
	}{
		admintest.LaterAcceptedID: {409, ops.AlreadyAccepted, "demo:req_c"},
		admintest.ObservedID:      {409, ops.AlreadyAccepted, "accepted when it came"},
		admintest.AggregateID:     {422, event.Incomplete, "an aggregate"},
		admintest.AcceptedID:      {422, event.Incomplete, "an aggregate"},
		admintest.CutID:           {422, event.Incomplete, "of 4194304 bytes were kept"},
		"nothing":                 {404, event.NotFound, `"nothing"`},
	} {
		if p := accepting(id, `{"vouch":true}`).refused(t, address, want.status, want.code); !strings.Contains(p.Detail, want.detail) {
			t.Errorf("%s: %q", id, p.Detail)
		}
	}
	for _, body := range []string{"[]", `{"vouch":1}`, `{"vouched":true}`, `{"vouch":true}{}`, "x"} {
		accepting(admintest.RefusedID, body).refused(t, address, 400, event.BadRequest)
	}
	request{method: "POST", path: "/api/v1/rejections/" + admintest.RefusedID + "/accept", body: "vouch=true"}.refused(t, address, 415, event.UnsupportedMediaType)
	if took := m.Intake.Accepted(); len(took) > 0 {
		t.Errorf("accepted nevertheless: %v", took)
	}
}

// A refusal of the intake is of the request that was kept: its status is never one
// that an operator would read as one of the request to accept it.
func TestAcceptPassesTheIntakesRefusalOn(t *testing.T) {
	t.Parallel()
	for code, status := range map[event.Code]int{
		event.InvalidSignature: 422, event.InvalidPayload: 422, event.UnknownCourier: 422, event.PayloadTooLarge: 422, event.UnsupportedMediaType: 422,
		event.BadRequest: 422, ops.AlreadyAccepted: 409, event.IntakeUnavailable: 503, event.DependencyDown: 503, event.Timeout: 504, event.Internal: 500,
	} {
		m := admintest.Sample()
		m.Intake.Refusals[admintest.RefusedID] = event.Errorf(code, "accept", "why")
		address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
		accepting(admintest.RefusedID, "").refused(t, address, status, code)
		if !m.Intake.Record(admintest.RefusedID).AcceptedAt.IsZero() {
			t.Errorf("%s: marked as accepted", code)
		}
	}
}

func TestAcceptAnswersThoughTheRecordCanNotBeMarked(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Intake.Unmarkable = event.Errorf(event.DependencyDown, "sqlite write", "disk full")
	resp, body := accepting(admintest.RefusedID, "").send(t, admintest.Start(t, admin.DefaultConfig(), m.Deps()))
	if resp.status != 200 || !strings.Contains(body, `"sequence":100`) || !strings.Contains(body, `"notMarkedBecause":"sqlite write: DEPENDENCY_DOWN: disk full"`) {
		t.Errorf("%d %s", resp.status, body)
	}
}

// slowIntake has published the event when the time of the request is over.
type slowIntake struct{ *admintest.Intake }

func (s slowIntake) AcceptRefused(ctx context.Context, r ingestion.Record, vouch bool) (ingestion.Acceptance, error) {
	<-ctx.Done()
	return s.Intake.AcceptRefused(ctx, r, vouch)
}

func TestAcceptMarksAfterTheTimeOfTheRequest(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	cfg, deps := admin.DefaultConfig(), m.Deps()
	cfg.RequestTimeout = 200 * time.Millisecond
	deps.Intake = slowIntake{m.Intake}
	resp, body := accepting(admintest.RefusedID, "").send(t, admintest.Start(t, cfg, deps))
	if resp.status != 200 || strings.Contains(body, "notMarkedBecause") || m.Intake.Record(admintest.RefusedID).AcceptedAt.IsZero() {
		t.Errorf("%d %s", resp.status, body)
	}
}

func TestRecordsOfAStoreThatFails(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Fault = event.Errorf(event.DependencyDown, "mongo find", "connection refused")
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for _, q := range []request{{path: "/api/v1/rejections"}, {path: "/api/v1/ingestions"}, {path: "/api/v1/rejections/" + admintest.RefusedID}, accepting(admintest.RefusedID, "")} {
		q.refused(t, address, 503, event.DependencyDown)
	}
	if took := m.Intake.Accepted(); len(took) > 0 {
		t.Errorf("accepted %v", took)
	}
}

func TestRoleWithoutIntakeOrRecords(t *testing.T) {
	t.Parallel()
	without := func(change func(*admin.Deps), role string) string {
		deps := admintest.Sample().Deps()
		change(&deps)
		deps.About.Role = role
		return admintest.Start(t, admin.DefaultConfig(), deps)
	}
	process := without(func(d *admin.Deps) { d.Intake, d.Couriers, d.Reload = nil, nil, nil }, "process")
	intake := without(func(d *admin.Deps) { d.Ingestions = nil }, "ingest")
	for _, c := range []struct {
		address, want string
		requests      []request
	}{
		{process, "role process has no couriers: ask one that receives", []request{{path: "/api/v1/couriers"}, {method: "POST", path: "/api/v1/couriers/reload"}}},
		{process, "role process can't accept", []request{accepting(admintest.RefusedID, "")}},
		{intake, "role ingest can't accept", []request{accepting(admintest.RefusedID, "")}},
		{intake, "role ingest has no records of requests: ask one that processes", []request{
			{path: "/api/v1/rejections"}, {path: "/api/v1/ingestions"}, {path: "/api/v1/rejections/" + admintest.RefusedID},
		}},
	} {
		for _, q := range c.requests {
			if p := q.refused(t, c.address, 503, event.DependencyDown); !strings.Contains(p.Detail, c.want) {
				t.Errorf("%s: %q", q.path, p.Detail)
			}
		}
	}
	if status := read[ops.Status](t, process, "/api/v1/status"); status.Observing != nil || len(status.Problems) > 0 {
		t.Errorf("status %+v", status)
	}
}
