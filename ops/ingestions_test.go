package ops

import (
	"context"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// ids returns the ids of a page's records.
func ids(page IngestionPage) (list []string) {
	for _, r := range page.Records {
		list = append(list, r.ID)
	}
	return list
}

func TestRejectionsAndIngestions(t *testing.T) {
	t.Parallel()
	address := start(t, DefaultAdminConfig(), sample().deps())
	for query, want := range map[string][]string{
		"rejections":                                         {refusedID, observedID, takenID, cutID, redactedID, sumID},
		"rejections?outcome=all":                             {refusedID, observedID, takenID, cutID, redactedID, sumID},
		"rejections?outcome=observed":                        {observedID},
		"rejections?outcome=refused&courier=demo":            {refusedID, takenID, cutID, redactedID},
		"rejections?open=true&code=INVALID_SIGNATURE":        {refusedID, observedID},
		"rejections?open=false&code=INVALID_SIGNATURE":       {refusedID, observedID, takenID},
		"rejections?outcome=observed,refused&after=" + cutID: {redactedID, sumID},
		"ingestions?outcome=accepted":                        {acceptedID},
		"ingestions?outcome=accepted,observed":               {observedID, acceptedID},
		"ingestions":                                         {refusedID, observedID, takenID, cutID, redactedID, sumID, acceptedID},
	} {
		if got := ids(read[IngestionPage](t, address, "/api/v1/"+query)); !slices.Equal(got, want) {
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
	m := sample()
	address := start(t, DefaultAdminConfig(), m.deps())
	first := read[IngestionPage](t, address, "/api/v1/rejections?limit=4")
	if len(first.Records) != 4 || first.Next != cutID {
		t.Fatalf("first page %v, next %q", ids(first), first.Next)
	}
	second := read[IngestionPage](t, address, "/api/v1/rejections?limit=2&after="+first.Next)
	if !slices.Equal(ids(second), []string{redactedID, sumID}) || second.Next != "" {
		t.Errorf("second page %v, next %q: it is exactly full and the last", ids(second), second.Next)
	}
	want := event.IngestionFilter{Outcomes: rejections, Limit: 5}
	if got := m.intake.filters[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("filter %+v, want %+v", got, want)
	}
	_, body := request{path: "/api/v1/rejections"}.send(t, address)
	if strings.Contains(body, `"body"`) || strings.Contains(body, `"headers"`) || !strings.Contains(body, `"bodyBytes"`) || !strings.Contains(body, `"path"`) {
		t.Errorf("rows should have all of a request but body and headers: %s", body)
	}
	page := read[IngestionPage](t, address, "/api/v1/rejections")
	for _, r := range page.Records {
		if r.Single() != (r.ID != sumID) || r.Single() && r.Request.Cut != (r.ID == cutID) {
			t.Errorf("row %+v", r)
		}
	}
}

func TestRejectionWhole(t *testing.T) {
	t.Parallel()
	m := sample()
	address := start(t, DefaultAdminConfig(), m.deps())
	for _, want := range m.intake.records {
		if got := read[event.IngestionRecord](t, address, "/api/v1/rejections/"+want.ID); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if p := (request{path: "/api/v1/rejections/nothing"}).refused(t, address, 404, event.NotFound); !strings.Contains(p.Detail, `"nothing"`) {
		t.Errorf("detail %q", p.Detail)
	}
}

// accepting returns the request that takes in a record.
func accepting(id, body string) request {
	return request{method: "POST", path: "/api/v1/rejections/" + id + "/accept", body: body, header: map[string]string{"Content-Type": "application/json"}}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	m := sample()
	address := start(t, DefaultAdminConfig(), m.deps())
	before := time.Now()
	resp, body := accepting(refusedID, "").send(t, address)
	if want := `{"courier":"demo","idempotencyKey":"demo:req_a","eventId":"req_a","sequence":100,"duplicate":false,"conflict":false,"keyId":"4f2a"}` + "\n"; resp.status != 200 || body != want {
		t.Errorf("%d %s, want %s", resp.status, body, want)
	}
	if r := m.intake.record(refusedID); r.TakenKey != "demo:req_a" || r.TakenAt.Before(before) || r.TakenAt.After(time.Now()) {
		t.Errorf("the record is not marked: %+v", r)
	}
	p := accepting(refusedID, "").refused(t, address, 409, AlreadyTaken)
	if p.Key != "demo:req_a" || !strings.Contains(p.Detail, "demo:req_a") {
		t.Errorf("taken already: %+v", p)
	}

	p = accepting(redactedID, `{"vouch":false}`).refused(t, address, 422, event.InvalidSignature)
	if !strings.Contains(p.Detail, "nothing proves who sent it") || !m.intake.record(redactedID).TakenAt.IsZero() {
		t.Errorf("refused again: %+v", p)
	}
	if resp, body := accepting(redactedID, `{"vouch":true}`).send(t, address); resp.status != 200 || !strings.Contains(body, `"keyId":"operator"`) || !strings.Contains(body, `"duplicate":true`) {
		t.Errorf("vouched for: %d %s", resp.status, body)
	}
	if got, want := m.intake.takenIn(), []string{refusedID, "vouched " + redactedID}; !slices.Equal(got, want) {
		t.Errorf("taken in %v, want %v", got, want)
	}
}

func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	m := sample()
	address := start(t, DefaultAdminConfig(), m.deps())
	for id, want := range map[string]struct {
		status int
		code   event.Code
		detail string
	}{
		takenID:    {409, AlreadyTaken, "demo:req_c"},
		observedID: {409, AlreadyTaken, "accepted when it came"},
		sumID:      {422, event.Incomplete, "a sum"},
		acceptedID: {422, event.Incomplete, "a sum"},
		cutID:      {422, event.Incomplete, "of 4194304 bytes were kept"},
		"nothing":  {404, event.NotFound, `"nothing"`},
	} {
		if p := accepting(id, `{"vouch":true}`).refused(t, address, want.status, want.code); !strings.Contains(p.Detail, want.detail) {
			t.Errorf("%s: %q", id, p.Detail)
		}
	}
	for _, body := range []string{"[]", `{"vouch":1}`, `{"vouched":true}`, `{"vouch":true}{}`, "x"} {
		accepting(refusedID, body).refused(t, address, 400, event.BadRequest)
	}
	request{method: "POST", path: "/api/v1/rejections/" + refusedID + "/accept", body: "vouch=true"}.refused(t, address, 415, event.UnsupportedMediaType)
	if took := m.intake.takenIn(); len(took) > 0 {
		t.Errorf("taken in nevertheless: %v", took)
	}
}

// What the intake says is about the request that was kept: never a status that
// an operator would read as one about the request to accept it.
func TestAcceptTellsOfTheIntake(t *testing.T) {
	t.Parallel()
	for code, status := range map[event.Code]int{
		event.InvalidSignature: 422, event.InvalidPayload: 422, event.UnknownCourier: 422, event.PayloadTooLarge: 422, event.UnsupportedMediaType: 422,
		event.BadRequest: 422, AlreadyTaken: 409, event.IntakeUnavailable: 503, event.DependencyDown: 503, event.Timeout: 504, event.Internal: 500,
	} {
		m := sample()
		m.intake.refusals[refusedID] = event.Errorf(code, "take", "why")
		address := start(t, DefaultAdminConfig(), m.deps())
		accepting(refusedID, "").refused(t, address, status, code)
		if !m.intake.record(refusedID).TakenAt.IsZero() {
			t.Errorf("%s: marked as taken in", code)
		}
	}
}

func TestAcceptAnswersThoughTheRecordCanNotBeMarked(t *testing.T) {
	t.Parallel()
	m := sample()
	m.intake.unmarkable = event.Errorf(event.DependencyDown, "sqlite write", "disk full")
	resp, body := accepting(refusedID, "").send(t, start(t, DefaultAdminConfig(), m.deps()))
	if resp.status != 200 || !strings.Contains(body, `"sequence":100`) || !strings.Contains(body, `"notMarkedBecause":"sqlite write: DEPENDENCY_DOWN: disk full"`) {
		t.Errorf("%d %s", resp.status, body)
	}
}

// slowIntake has published the event when the time of the request is over.
type slowIntake struct{ *memoryIntake }

func (s slowIntake) Take(ctx context.Context, r event.IngestionRecord, vouch bool) (event.Taken, error) {
	<-ctx.Done()
	return s.memoryIntake.Take(ctx, r, vouch)
}

func TestAcceptMarksAfterTheTimeOfTheRequest(t *testing.T) {
	t.Parallel()
	m := sample()
	cfg, deps := DefaultAdminConfig(), m.deps()
	cfg.RequestTimeout = 200 * time.Millisecond
	deps.Intake = slowIntake{m.intake}
	resp, body := accepting(refusedID, "").send(t, start(t, cfg, deps))
	if resp.status != 200 || strings.Contains(body, "notMarkedBecause") || m.intake.record(refusedID).TakenAt.IsZero() {
		t.Errorf("%d %s", resp.status, body)
	}
}

func TestRecordsOfAStoreThatFails(t *testing.T) {
	t.Parallel()
	m := sample()
	m.fault = event.Errorf(event.DependencyDown, "mongo find", "connection refused")
	address := start(t, DefaultAdminConfig(), m.deps())
	for _, q := range []request{{path: "/api/v1/rejections"}, {path: "/api/v1/ingestions"}, {path: "/api/v1/rejections/" + refusedID}, accepting(refusedID, "")} {
		q.refused(t, address, 503, event.DependencyDown)
	}
	if took := m.intake.takenIn(); len(took) > 0 {
		t.Errorf("taken in %v", took)
	}
}

func TestRoleWithoutIntakeOrRecords(t *testing.T) {
	t.Parallel()
	without := func(change func(*AdminDeps), role string) string {
		deps := sample().deps()
		change(&deps)
		deps.About.Role = role
		return start(t, DefaultAdminConfig(), deps)
	}
	process := without(func(d *AdminDeps) { d.Intake, d.Couriers, d.Reload = nil, nil, nil }, "process")
	intake := without(func(d *AdminDeps) { d.Ingestions = nil }, "ingest")
	for _, c := range []struct {
		address, want string
		requests      []request
	}{
		{process, "role process has no couriers: ask one that receives", []request{{path: "/api/v1/couriers"}, {method: "POST", path: "/api/v1/couriers/reload"}}},
		{process, "role process can't take in", []request{accepting(refusedID, "")}},
		{intake, "role ingest can't take in", []request{accepting(refusedID, "")}},
		{intake, "role ingest has no records of requests: ask one that processes", []request{
			{path: "/api/v1/rejections"}, {path: "/api/v1/ingestions"}, {path: "/api/v1/rejections/" + refusedID},
		}},
	} {
		for _, q := range c.requests {
			if p := q.refused(t, c.address, 503, event.DependencyDown); !strings.Contains(p.Detail, c.want) {
				t.Errorf("%s: %q", q.path, p.Detail)
			}
		}
	}
	if status := read[Status](t, process, "/api/v1/status"); status.Observing != nil || len(status.Problems) > 0 {
		t.Errorf("status %+v", status)
	}
}

// FuzzListingQueries holds the parsers of both listings against their inverses:
// what is understood is asked for again in the same words.
func FuzzListingQueries(f *testing.F) {
	for _, query := range []string{
		"", "courier=a%2Fb&code=X&limit=7&after=1", "status=closed&key=%00", "outcome=refused,observed&open=true", "outcome=all&open=", "outcome=,", "limit=0&limit=1", "a;b=%zz", "outcome=accepted&limit=501",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		letters, err := parseFilter(query)
		again, errAgain := parseFilter(formatFilter(letters))
		if err == nil && (errAgain != nil || again != letters || letters.Limit < 1 || letters.Limit > MaxPage) {
			t.Fatalf("%q is %+v and then %+v, %v", raw, letters, again, errAgain)
		}
		for _, outcomes := range [][]event.IntakeOutcome{rejections, event.IntakeOutcomes} {
			records, err := parseIngestionFilter(query, outcomes)
			if err != nil {
				continue
			}
			again, err := parseIngestionFilter(formatIngestionFilter(records), outcomes)
			if err != nil || fmt.Sprint(again) != fmt.Sprint(records) || records.Limit < 1 || records.Limit > MaxPage || len(records.Outcomes) == 0 {
				t.Fatalf("%q is %+v and then %+v, %v", raw, records, again, err)
			}
		}
	})
}
