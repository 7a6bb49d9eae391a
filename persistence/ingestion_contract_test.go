package persistence

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// ingestionContract is what every store has to pass with ingestion records. It is
// part of the storeContract.
func ingestionContract(t *testing.T, open func(t *testing.T, keep Retention) Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Store)
		keep Retention
	}{
		{"come back as they went in", contractIngestionRoundTrip, Retention{}},
		{"text of every kind", contractIngestionText, Retention{}},
		{"are never overwritten", contractIngestionOnce, Retention{}},
		{"too large", contractIngestionTooLarge, Retention{}},
		{"listing", contractIngestionListing, Retention{}},
		{"pages", contractIngestionPages, Retention{}},
		{"taken once", contractIngestionTaken, Retention{}},
		{"taken at the same time", contractIngestionTakenAtOnce, Retention{}},
		{"memory is not shared", contractIngestionMemory, Retention{}},
		{"cancelled and closed", contractIngestionEnds, Retention{}},
		{"without a bound", contractIngestionNoBound, Retention{}},
		{"a bound for each courier and kind", contractIngestionBound, Retention{IngestionsPerCourier: 3}},
		{"a bound that networks share", contractIngestionShares, Retention{IngestionsPerCourier: 6}},
		{"a bound that kinds of refusal share", contractIngestionKinds, Retention{IngestionsPerCourier: 6}},
		{"a bound with some slack", contractIngestionSlack, Retention{IngestionsPerCourier: 40}},
		{"a bound with many writers", contractIngestionWriters, Retention{IngestionsPerCourier: 20}},
		{"counts", contractIngestionCounts, Retention{IngestionsPerCourier: 3}},
	} {
		t.Run("ingestion records/"+test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t, test.keep))
		})
	}
}

// recordID names an ingestion record as the intake does: a later one has a greater
// id.
func recordID(at time.Time, n uint64) string { return fmt.Sprintf("%012x-%016x", at.UnixMilli(), n) }

// ingestionID returns the id of the nth record; ids of greater n are greater.
func ingestionID(n int) string {
	return recordID(noon.Add(time.Duration(n/3)*time.Second), uint64(n))
}

func fullIngestion(n int) event.IngestionRecord {
	return event.IngestionRecord{
		ID: ingestionID(n), Courier: "demo", Outcome: event.IntakeRefused, Count: 1, Bytes: 12, At: noon, Until: noon.Add(1),
		Code: event.InvalidSignature, Reason: "mismatch", Detail: "the signature does not match", Status: 401,
		Address: "2001:db8::1", TraceID: "req_1",
		Request: &event.CapturedRequest{
			Method: "POST", Path: "/v1/events/courier/demo", Query: "a=1&a=2",
			Headers: []event.CapturedHeader{
				{Name: "Content-Type", Value: "application/json"}, {Name: "X-B", Value: "2"}, {Name: "X-A", Value: ""},
				{Name: "X-B", Value: "1"}, {Name: "$odd.name", Value: "\x00\x7f"}, {Name: "", Value: "no name"},
			},
			Body: []byte("{\"a\":1}\n\x00\xff"), BodyBytes: 12, Redacted: true,
		},
	}
}

// sum returns a record of many requests.
func sum(n int, courier string, outcome event.IntakeOutcome) event.IngestionRecord {
	return event.IngestionRecord{ID: ingestionID(n), Courier: courier, Outcome: outcome, Count: 1 << 40, Bytes: 1 << 50, At: noon, Until: noon.Add(time.Minute)}
}

// single returns a record of one request.
func single(n int, courier string, outcome event.IntakeOutcome) event.IngestionRecord {
	return event.IngestionRecord{ID: ingestionID(n), Courier: courier, Outcome: outcome, Count: 1, At: noon,
		Request: &event.CapturedRequest{Method: "POST", Headers: []event.CapturedHeader{}, Body: []byte{}}}
}

func putIngestions(t *testing.T, s Store, records ...event.IngestionRecord) {
	t.Helper()
	if err := s.PutIngestions(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

// ingestionIDs returns which of the test's records a listing has, in its order.
func ingestionIDs(t *testing.T, s Store, f event.IngestionFilter) []int {
	t.Helper()
	list := []int{}
	for _, r := range must(s.Ingestions(t.Context(), f)) {
		n := -1
		if _, err := fmt.Sscanf(r.ID[strings.IndexByte(r.ID, '-')+1:], "%x", &n); err != nil {
			t.Fatalf("the id %q: %v", r.ID, err)
		}
		list = append(list, n)
	}
	return list
}

// wantIngestions fails the test unless a listing has these records.
func wantIngestions(t *testing.T, s Store, f event.IngestionFilter, want ...int) {
	t.Helper()
	if got := ingestionIDs(t, s, f); !slices.Equal(got, want) {
		t.Errorf("%+v: %v, want %v", f, got, want)
	}
}

func contractIngestionRoundTrip(t *testing.T, s Store) {
	taken := fullIngestion(1)
	taken.TakenAt, taken.TakenKey, taken.TakenBy, taken.Request.Redacted = noon.Add(time.Hour), "key", "k", false
	full := sum(2, "", event.IntakeDuplicate)
	full.Code, full.Reason, full.Detail, full.Status = event.RateLimited, "reason", "detail", 429
	odd := event.IngestionRecord{ID: ingestionID(5), Outcome: "odd", Count: -1, At: noon.In(time.FixedZone("", 3600)), Until: lastTime.Add(time.Hour)}
	want := []event.IngestionRecord{
		fullIngestion(0), taken, full,
		{ID: ingestionID(3), Outcome: event.IntakeAccepted},
		{ID: ingestionID(4), Request: &event.CapturedRequest{}},
		odd,
	}
	putIngestions(t, s, want...)
	want[4].Request.Headers, want[4].Request.Body = []event.CapturedHeader{}, []byte{}
	want[5].At, want[5].Until = noon, lastTime
	for _, r := range want {
		same(t, must(s.Ingestion(t.Context(), r.ID)), r)
	}
	slices.Reverse(want)
	same(t, must(s.Ingestions(t.Context(), event.IngestionFilter{})), want)

	putIngestions(t, s)
	if got := must(s.Ingestions(t.Context(), event.IngestionFilter{Courier: "none"})); len(got) != 0 {
		t.Errorf("records of a courier that has none: %v", got)
	}
	if _, err := s.Ingestion(t.Context(), "none"); event.CodeOf(err) != event.NotFound {
		t.Errorf("a record that does not exist: %v", err)
	}
}

func contractIngestionText(t *testing.T, s Store) {
	for i, text := range []string{"plain", "ümläut 日本語", "🚚\u200d📦", "quote\"back\\slash/", "line\nfeed\x01\x7f", "nul\x00inside", "%_*?[]$.", " ", "\u2028\uFFFD"} {
		r := event.IngestionRecord{
			ID: text, Courier: text, Outcome: event.IntakeOutcome(text), Code: event.Code(text), Reason: text, Detail: text,
			Address: text, TraceID: text, TakenAt: noon, TakenKey: text, TakenBy: text, Status: i,
			Request: &event.CapturedRequest{
				Method: text, Path: text, Query: text, Headers: []event.CapturedHeader{{Name: text, Value: text}}, Body: []byte(text), BodyBytes: i,
			},
		}
		putIngestions(t, s, r)
		same(t, must(s.Ingestion(t.Context(), text)), r)
		same(t, must(s.TakeIngestion(t.Context(), text, "other", "k", noon)), r)
		same(t, must(s.Ingestions(t.Context(), event.IngestionFilter{
			Courier: text, Outcomes: []event.IntakeOutcome{r.Outcome}, Code: r.Code,
		})), []event.IngestionRecord{r})
	}

	bad, clean := "bad\xffbytes", "bad\uFFFDbytes"
	putIngestions(t, s, event.IngestionRecord{
		ID: bad, Courier: bad, Outcome: event.IntakeRefused, Code: event.Code(bad), Reason: bad, Detail: bad, Address: bad, TraceID: bad,
		Request: &event.CapturedRequest{Method: bad, Path: bad, Query: bad, Headers: []event.CapturedHeader{{Name: bad, Value: bad}}, Body: []byte(bad)},
	})
	want := event.IngestionRecord{
		ID: clean, Courier: clean, Outcome: event.IntakeRefused, Code: event.Code(clean), Reason: clean, Detail: clean, Address: clean, TraceID: clean,
		Request: &event.CapturedRequest{Method: clean, Path: clean, Query: clean, Headers: []event.CapturedHeader{{Name: clean, Value: clean}}, Body: []byte(bad)},
	}
	same(t, must(s.Ingestion(t.Context(), bad)), want)
	want.TakenAt, want.TakenKey, want.TakenBy = noon, clean, clean
	same(t, must(s.TakeIngestion(t.Context(), bad, bad, bad, noon)), want)
	same(t, must(s.Ingestions(t.Context(), event.IngestionFilter{Courier: bad, Code: event.Code(bad)})), []event.IngestionRecord{want})
}

func contractIngestionOnce(t *testing.T, s Store) {
	again := sum(1, "other", event.IntakeObserved)
	putIngestions(t, s, fullIngestion(1), again)
	putIngestions(t, s, again, fullIngestion(2), again, fullIngestion(0))
	putIngestions(t, s, again)
	wantIngestions(t, s, event.IngestionFilter{}, 2, 1, 0)
	same(t, must(s.Ingestion(t.Context(), ingestionID(1))), fullIngestion(1))
}

func contractIngestionTooLarge(t *testing.T, s Store) {
	huge := fullIngestion(1)
	huge.Request.Body = make([]byte, MaxRowBytes)
	if err := s.PutIngestions(t.Context(), []event.IngestionRecord{fullIngestion(0), huge, fullIngestion(2)}); event.CodeOf(err) != event.DomainInvalid {
		t.Errorf("a record that is too large: %v", err)
	}
	wantIngestions(t, s, event.IngestionFilter{})
}

func contractIngestionListing(t *testing.T, s Store) {
	refused := func(n int, courier string, code event.Code) event.IngestionRecord {
		r := single(n, courier, event.IntakeRefused)
		r.Code = code
		return r
	}
	manyRefused := sum(7, "a", event.IntakeRefused)
	manyRefused.Code = event.InvalidPayload
	putIngestions(t, s, // in no order
		refused(5, "a", event.InvalidSignature), sum(2, "a", event.IntakeAccepted), refused(6, "a", event.InvalidPayload),
		single(1, "a", event.IntakeObserved), refused(4, "b", event.InvalidSignature), sum(3, "b", event.IntakeDuplicate),
		refused(8, "", event.UnknownCourier), manyRefused)
	must(s.TakeIngestion(t.Context(), ingestionID(5), "key", "k", noon))
	type filter = event.IngestionFilter
	type outcomes = []event.IntakeOutcome
	for _, test := range []struct {
		filter filter
		want   []int
	}{
		{filter{}, []int{8, 7, 6, 5, 4, 3, 2, 1}},
		{filter{Courier: "a"}, []int{7, 6, 5, 2, 1}},
		{filter{Courier: "c"}, []int{}},
		{filter{Outcomes: outcomes{event.IntakeRefused}}, []int{8, 7, 6, 5, 4}},
		{filter{Outcomes: outcomes{event.IntakeAccepted, event.IntakeObserved, event.IntakeAccepted}}, []int{2, 1}},
		{filter{Outcomes: outcomes{"none"}}, []int{}},
		{filter{Code: event.InvalidSignature}, []int{5, 4}},
		{filter{Open: true}, []int{8, 6, 4, 1}},
		{filter{Open: true, Courier: "a"}, []int{6, 1}},
		{filter{Open: true, Courier: "a", Outcomes: outcomes{event.IntakeRefused, event.IntakeDuplicate}, Code: event.InvalidPayload, After: ingestionID(7)}, []int{6}},
		{filter{Limit: 3}, []int{8, 7, 6}},
		{filter{After: ingestionID(5)}, []int{4, 3, 2, 1}},
		{filter{After: ingestionID(7), Courier: "a", Limit: 2}, []int{6, 5}},
		{filter{After: ingestionID(1)}, []int{}},
		// Behind a record that never was, as behind one that is gone.
		{filter{After: ingestionID(6) + "0"}, []int{6, 5, 4, 3, 2, 1}},
		{filter{After: ingestionID(99), Limit: 1}, []int{8}},
	} {
		wantIngestions(t, s, test.filter, test.want...)
	}
}

func contractIngestionPages(t *testing.T, s Store) {
	const n = defaultPage + 50
	var want []int
	var all []event.IngestionRecord
	for i := range n {
		want, all = append(want, n-1-i), append(all, single(i, "demo", event.IntakeRefused))
	}
	putIngestions(t, s, all...)
	for _, limit := range []int{0, 61} {
		var got []int
		for f := (event.IngestionFilter{Limit: limit}); ; {
			page := ingestionIDs(t, s, f)
			if len(page) > pageSize(limit) {
				t.Fatalf("a page of %d, asked for %d", len(page), pageSize(limit))
			}
			if got = append(got, page...); len(page) < pageSize(limit) {
				break
			}
			f.After = ingestionID(page[len(page)-1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
}

func contractIngestionTaken(t *testing.T, s Store) {
	putIngestions(t, s, fullIngestion(0), fullIngestion(1), fullIngestion(2))
	want := fullIngestion(1)
	want.TakenAt, want.TakenKey, want.TakenBy = noon.Add(42), "demo:evt_1", event.KeyIDOperator
	same(t, must(s.TakeIngestion(t.Context(), want.ID, "demo:evt_1", event.KeyIDOperator, noon.Add(42).In(time.FixedZone("", 3600)))), want)
	same(t, must(s.TakeIngestion(t.Context(), want.ID, "another", "k", noon.Add(time.Hour))), want)
	same(t, must(s.Ingestion(t.Context(), want.ID)), want)
	putIngestions(t, s, fullIngestion(1))
	same(t, must(s.Ingestion(t.Context(), want.ID)), want)

	nameless := fullIngestion(2)
	nameless.TakenAt = noon
	same(t, must(s.TakeIngestion(t.Context(), nameless.ID, "", "", noon)), nameless)
	same(t, must(s.TakeIngestion(t.Context(), nameless.ID, "too late", "k", noon)), nameless)

	same(t, must(s.Ingestion(t.Context(), ingestionID(0))), fullIngestion(0))
	if _, err := s.TakeIngestion(t.Context(), "none", "key", "k", noon); event.CodeOf(err) != event.NotFound {
		t.Errorf("a record that does not exist was taken: %v", err)
	}
	if _, err := s.TakeIngestion(t.Context(), ingestionID(0), "key", "k", time.Time{}); event.CodeOf(err) != event.DomainInvalid {
		t.Errorf("a record was taken at no time: %v", err)
	}
}

func contractIngestionTakenAtOnce(t *testing.T, s Store) {
	putIngestions(t, s, fullIngestion(1))
	const n = 8
	keys := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, err := s.TakeIngestion(t.Context(), ingestionID(1), fmt.Sprint(i), "k", noon.Add(time.Duration(i)))
			if err != nil {
				t.Error(err)
			}
			keys[i] = r.TakenKey
		})
	}
	wg.Wait()
	r := must(s.Ingestion(t.Context(), ingestionID(1)))
	if slices.Sort(keys); keys[0] != r.TakenKey || keys[n-1] != r.TakenKey || r.TakenKey == "" {
		t.Errorf("taken as %q, told %q", r.TakenKey, keys)
	}
	if want := noon.Add(time.Duration(r.TakenKey[0] - '0')); !r.TakenAt.Equal(want) {
		t.Errorf("taken as %q at %s", r.TakenKey, r.TakenAt)
	}
}

func contractIngestionMemory(t *testing.T, s Store) {
	scribble := func(r event.IngestionRecord) { r.Request.Body[0], r.Request.Headers[0].Name = 'X', "scribbled" }
	r := fullIngestion(1)
	putIngestions(t, s, r)
	scribble(r)
	for range 2 {
		one, listed := must(s.Ingestion(t.Context(), r.ID)), must(s.Ingestions(t.Context(), event.IngestionFilter{}))[0]
		same(t, one, fullIngestion(1))
		same(t, listed, fullIngestion(1))
		scribble(one)
		scribble(listed)
	}
}

func contractIngestionEnds(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.PutIngestions(ctx, []event.IngestionRecord{fullIngestion(1)}); event.CodeOf(err) != event.Interrupted {
		t.Errorf("cancelled: %v", err)
	}
	wantIngestions(t, s, event.IngestionFilter{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, listErr := s.Ingestions(t.Context(), event.IngestionFilter{})
	_, findErr := s.Ingestion(t.Context(), "id")
	_, takeErr := s.TakeIngestion(t.Context(), "id", "key", "k", noon)
	for _, err := range []error{s.PutIngestions(t.Context(), []event.IngestionRecord{fullIngestion(1)}), listErr, findErr, takeErr} {
		if event.CodeOf(err) != event.DependencyDown {
			t.Errorf("after Close: %v", err)
		}
	}
}
