package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence"
)

// ingestionContract is what every store has to pass with ingestion records. It is
// part of [Store].
func ingestionContract(t *testing.T, open func(t *testing.T, keep persistence.Retention) persistence.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, persistence.Store)
		keep persistence.Retention
	}{
		{"come back as they went in", contractIngestionRoundTrip, persistence.Retention{}},
		{"text of every kind", contractIngestionText, persistence.Retention{}},
		{"are never overwritten", contractIngestionOnce, persistence.Retention{}},
		{"too large", contractIngestionTooLarge, persistence.Retention{}},
		{"listing", contractIngestionListing, persistence.Retention{}},
		{"pages", contractIngestionPages, persistence.Retention{}},
		{"accepted once", contractIngestionAccepted, persistence.Retention{}},
		{"accepted at the same time", contractIngestionAcceptedAtOnce, persistence.Retention{}},
		{"memory is not shared", contractIngestionMemory, persistence.Retention{}},
		{"cancelled and closed", contractIngestionEnds, persistence.Retention{}},
		{"without a bound", contractIngestionNoBound, persistence.Retention{}},
		{"a bound for each courier and kind", contractIngestionBound, persistence.Retention{IngestionsPerCourier: 3}},
		{"a bound that networks share", contractIngestionShares, persistence.Retention{IngestionsPerCourier: 6}},
		{"a bound that kinds of refusal share", contractIngestionKinds, persistence.Retention{IngestionsPerCourier: 6}},
		{"a bound with some slack", contractIngestionSlack, persistence.Retention{IngestionsPerCourier: 40}},
		{"a bound with many writers", contractIngestionWriters, persistence.Retention{IngestionsPerCourier: 20}},
		{"counts", contractIngestionCounts, persistence.Retention{IngestionsPerCourier: 3}},
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
	return recordID(Noon.Add(time.Duration(n/3)*time.Second), uint64(n))
}

// FullIngestion returns the n-th record, with every member set.
func FullIngestion(n int) ingestion.Record {
	return ingestion.Record{
		ID: ingestionID(n), Courier: "demo", Outcome: ingestion.Refused, Count: 1, Bytes: 12, At: Noon, Until: Noon.Add(1),
		Code: event.InvalidSignature, Reason: "mismatch", Detail: "the signature does not match", Status: 401,
		Address: "2001:db8::1", TraceID: "req_1",
		Request: &ingestion.Request{
			Method: "POST", Path: "/v1/events/courier/demo", Query: "a=1&a=2",
			Headers: []ingestion.Header{
				{Name: "Content-Type", Value: "application/json"}, {Name: "X-B", Value: "2"}, {Name: "X-A", Value: ""},
				{Name: "X-B", Value: "1"}, {Name: "$odd.name", Value: "\x00\x7f"}, {Name: "", Value: "no name"},
			},
			Body: []byte("{\"a\":1}\n\x00\xff"), BodyBytes: 12, Redacted: true,
		},
	}
}

// Aggregate returns a record of many requests.
func Aggregate(n int, courier string, outcome ingestion.Outcome) ingestion.Record {
	return ingestion.Record{ID: ingestionID(n), Courier: courier, Outcome: outcome, Count: 1 << 40, Bytes: 1 << 50, At: Noon, Until: Noon.Add(time.Minute)}
}

// Single returns a record of one request.
func Single(n int, courier string, outcome ingestion.Outcome) ingestion.Record {
	return ingestion.Record{ID: ingestionID(n), Courier: courier, Outcome: outcome, Count: 1, At: Noon,
		Request: &ingestion.Request{Method: "POST", Headers: []ingestion.Header{}, Body: []byte{}}}
}

// PutIngestions stores records and fails the test unless they are stored.
func PutIngestions(t *testing.T, s persistence.Ingestions, records ...ingestion.Record) {
	t.Helper()
	if err := s.PutIngestions(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

// ingestionIDs returns which of the test's records a listing has, in its order.
func ingestionIDs(t *testing.T, s persistence.Ingestions, f ingestion.Filter) []int {
	t.Helper()
	list := []int{}
	for _, r := range Must(s.Ingestions(t.Context(), f)) {
		n := -1
		if _, err := fmt.Sscanf(r.ID[strings.IndexByte(r.ID, '-')+1:], "%x", &n); err != nil {
			t.Fatalf("the id %q: %v", r.ID, err)
		}
		list = append(list, n)
	}
	return list
}

// WantIngestions fails the test unless a listing has these records.
func WantIngestions(t *testing.T, s persistence.Ingestions, f ingestion.Filter, want ...int) {
	t.Helper()
	if got := ingestionIDs(t, s, f); !slices.Equal(got, want) {
		t.Errorf("%+v: %v, want %v", f, got, want)
	}
}

func contractIngestionRoundTrip(t *testing.T, s persistence.Store) {
	accepted := FullIngestion(1)
	accepted.AcceptedAt, accepted.AcceptedKey, accepted.AcceptedBy, accepted.Request.Redacted = Noon.Add(time.Hour), "key", "k", false
	full := Aggregate(2, "", ingestion.Duplicate)
	full.Code, full.Reason, full.Detail, full.Status = event.RateLimited, "reason", "detail", 429
	odd := ingestion.Record{ID: ingestionID(5), Outcome: "odd", Count: -1, At: Noon.In(time.FixedZone("", 3600)), Until: lastTime.Add(time.Hour)}
	want := []ingestion.Record{
		FullIngestion(0), accepted, full,
		{ID: ingestionID(3), Outcome: ingestion.Accepted},
		{ID: ingestionID(4), Request: &ingestion.Request{}},
		odd,
	}
	PutIngestions(t, s.Ingestions, want...)
	want[4].Request.Headers, want[4].Request.Body = []ingestion.Header{}, []byte{}
	want[5].At, want[5].Until = Noon, lastTime
	for _, r := range want {
		Same(t, Must(s.Ingestions.Ingestion(t.Context(), r.ID)), r)
	}
	slices.Reverse(want)
	Same(t, Must(s.Ingestions.Ingestions(t.Context(), ingestion.Filter{})), want)

	PutIngestions(t, s.Ingestions)
	if got := Must(s.Ingestions.Ingestions(t.Context(), ingestion.Filter{Courier: "none"})); len(got) != 0 {
		t.Errorf("records of a courier that has none: %v", got)
	}
	if _, err := s.Ingestions.Ingestion(t.Context(), "none"); event.CodeOf(err) != event.NotFound {
		t.Errorf("a record that does not exist: %v", err)
	}
}

func contractIngestionText(t *testing.T, s persistence.Store) {
	for i, text := range []string{"plain", "ümläut 日本語", "🚚\u200d📦", "quote\"back\\slash/", "line\nfeed\x01\x7f", "nul\x00inside", "%_*?[]$.", " ", "\u2028\uFFFD"} {
		r := ingestion.Record{
			ID: text, Courier: text, Outcome: ingestion.Outcome(text), Code: event.Code(text), Reason: text, Detail: text,
			Address: text, TraceID: text, AcceptedAt: Noon, AcceptedKey: text, AcceptedBy: text, Status: i,
			Request: &ingestion.Request{
				Method: text, Path: text, Query: text, Headers: []ingestion.Header{{Name: text, Value: text}}, Body: []byte(text), BodyBytes: i,
			},
		}
		PutIngestions(t, s.Ingestions, r)
		Same(t, Must(s.Ingestions.Ingestion(t.Context(), text)), r)
		Same(t, Must(s.Ingestions.AcceptIngestion(t.Context(), text, "other", "k", Noon)), r)
		Same(t, Must(s.Ingestions.Ingestions(t.Context(), ingestion.Filter{
			Courier: text, Outcomes: []ingestion.Outcome{r.Outcome}, Code: r.Code,
		})), []ingestion.Record{r})
	}

	bad, clean := "bad\xffbytes", "bad\uFFFDbytes"
	PutIngestions(t, s.Ingestions, ingestion.Record{
		ID: bad, Courier: bad, Outcome: ingestion.Refused, Code: event.Code(bad), Reason: bad, Detail: bad, Address: bad, TraceID: bad,
		Request: &ingestion.Request{Method: bad, Path: bad, Query: bad, Headers: []ingestion.Header{{Name: bad, Value: bad}}, Body: []byte(bad)},
	})
	want := ingestion.Record{
		ID: clean, Courier: clean, Outcome: ingestion.Refused, Code: event.Code(clean), Reason: clean, Detail: clean, Address: clean, TraceID: clean,
		Request: &ingestion.Request{Method: clean, Path: clean, Query: clean, Headers: []ingestion.Header{{Name: clean, Value: clean}}, Body: []byte(bad)},
	}
	Same(t, Must(s.Ingestions.Ingestion(t.Context(), bad)), want)
	want.AcceptedAt, want.AcceptedKey, want.AcceptedBy = Noon, clean, clean
	Same(t, Must(s.Ingestions.AcceptIngestion(t.Context(), bad, bad, bad, Noon)), want)
	Same(t, Must(s.Ingestions.Ingestions(t.Context(), ingestion.Filter{Courier: bad, Code: event.Code(bad)})), []ingestion.Record{want})
}

func contractIngestionOnce(t *testing.T, s persistence.Store) {
	again := Aggregate(1, "other", ingestion.Observed)
	PutIngestions(t, s.Ingestions, FullIngestion(1), again)
	PutIngestions(t, s.Ingestions, again, FullIngestion(2), again, FullIngestion(0))
	PutIngestions(t, s.Ingestions, again)
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 2, 1, 0)
	Same(t, Must(s.Ingestions.Ingestion(t.Context(), ingestionID(1))), FullIngestion(1))
}

func contractIngestionTooLarge(t *testing.T, s persistence.Store) {
	huge := FullIngestion(1)
	huge.Request.Body = make([]byte, persistence.MaxRowBytes)
	if err := s.Ingestions.PutIngestions(t.Context(), []ingestion.Record{FullIngestion(0), huge, FullIngestion(2)}); event.CodeOf(err) != event.DomainInvalid {
		t.Errorf("a record that is too large: %v", err)
	}
	WantIngestions(t, s.Ingestions, ingestion.Filter{})
}

func contractIngestionListing(t *testing.T, s persistence.Store) {
	refused := func(n int, courier string, code event.Code) ingestion.Record {
		r := Single(n, courier, ingestion.Refused)
		r.Code = code
		return r
	}
	manyRefused := Aggregate(7, "a", ingestion.Refused)
	manyRefused.Code = event.InvalidPayload
	PutIngestions(t, s.Ingestions, // in no order
		refused(5, "a", event.InvalidSignature), Aggregate(2, "a", ingestion.Accepted), refused(6, "a", event.InvalidPayload),
		Single(1, "a", ingestion.Observed), refused(4, "b", event.InvalidSignature), Aggregate(3, "b", ingestion.Duplicate),
		refused(8, "", event.UnknownCourier), manyRefused)
	Must(s.Ingestions.AcceptIngestion(t.Context(), ingestionID(5), "key", "k", Noon))
	type filter = ingestion.Filter
	type outcomes = []ingestion.Outcome
	for _, test := range []struct {
		filter filter
		want   []int
	}{
		{filter{}, []int{8, 7, 6, 5, 4, 3, 2, 1}},
		{filter{Courier: "a"}, []int{7, 6, 5, 2, 1}},
		{filter{Courier: "c"}, []int{}},
		{filter{Outcomes: outcomes{ingestion.Refused}}, []int{8, 7, 6, 5, 4}},
		{filter{Outcomes: outcomes{ingestion.Accepted, ingestion.Observed, ingestion.Accepted}}, []int{2, 1}},
		{filter{Outcomes: outcomes{"none"}}, []int{}},
		{filter{Code: event.InvalidSignature}, []int{5, 4}},
		{filter{Open: true}, []int{8, 6, 4, 1}},
		{filter{Open: true, Courier: "a"}, []int{6, 1}},
		{filter{Open: true, Courier: "a", Outcomes: outcomes{ingestion.Refused, ingestion.Duplicate}, Code: event.InvalidPayload, After: ingestionID(7)}, []int{6}},
		{filter{Limit: 3}, []int{8, 7, 6}},
		{filter{After: ingestionID(5)}, []int{4, 3, 2, 1}},
		{filter{After: ingestionID(7), Courier: "a", Limit: 2}, []int{6, 5}},
		{filter{After: ingestionID(1)}, []int{}},
		// Behind a record that never was, as behind one that is gone.
		{filter{After: ingestionID(6) + "0"}, []int{6, 5, 4, 3, 2, 1}},
		{filter{After: ingestionID(99), Limit: 1}, []int{8}},
	} {
		WantIngestions(t, s.Ingestions, test.filter, test.want...)
	}
}

func contractIngestionPages(t *testing.T, s persistence.Store) {
	const n = persistence.DefaultPage + 50
	var want []int
	var all []ingestion.Record
	for i := range n {
		want, all = append(want, n-1-i), append(all, Single(i, "demo", ingestion.Refused))
	}
	PutIngestions(t, s.Ingestions, all...)
	for _, limit := range []int{0, 61} {
		var got []int
		for f := (ingestion.Filter{Limit: limit}); ; {
			page := ingestionIDs(t, s.Ingestions, f)
			if len(page) > persistence.PageSize(limit) {
				t.Fatalf("a page of %d, asked for %d", len(page), persistence.PageSize(limit))
			}
			if got = append(got, page...); len(page) < persistence.PageSize(limit) {
				break
			}
			f.After = ingestionID(page[len(page)-1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
}

func contractIngestionAccepted(t *testing.T, s persistence.Store) {
	PutIngestions(t, s.Ingestions, FullIngestion(0), FullIngestion(1), FullIngestion(2))
	want := FullIngestion(1)
	want.AcceptedAt, want.AcceptedKey, want.AcceptedBy = Noon.Add(42), "demo:evt_1", ingestion.KeyIDOperator
	Same(t, Must(s.Ingestions.AcceptIngestion(t.Context(), want.ID, "demo:evt_1", ingestion.KeyIDOperator, Noon.Add(42).In(time.FixedZone("", 3600)))), want)
	Same(t, Must(s.Ingestions.AcceptIngestion(t.Context(), want.ID, "another", "k", Noon.Add(time.Hour))), want)
	Same(t, Must(s.Ingestions.Ingestion(t.Context(), want.ID)), want)
	PutIngestions(t, s.Ingestions, FullIngestion(1))
	Same(t, Must(s.Ingestions.Ingestion(t.Context(), want.ID)), want)

	nameless := FullIngestion(2)
	nameless.AcceptedAt = Noon
	Same(t, Must(s.Ingestions.AcceptIngestion(t.Context(), nameless.ID, "", "", Noon)), nameless)
	Same(t, Must(s.Ingestions.AcceptIngestion(t.Context(), nameless.ID, "too late", "k", Noon)), nameless)

	Same(t, Must(s.Ingestions.Ingestion(t.Context(), ingestionID(0))), FullIngestion(0))
	if _, err := s.Ingestions.AcceptIngestion(t.Context(), "none", "key", "k", Noon); event.CodeOf(err) != event.NotFound {
		t.Errorf("a record that does not exist was accepted: %v", err)
	}
	if _, err := s.Ingestions.AcceptIngestion(t.Context(), ingestionID(0), "key", "k", time.Time{}); event.CodeOf(err) != event.DomainInvalid {
		t.Errorf("a record was accepted at no time: %v", err)
	}
}

func contractIngestionAcceptedAtOnce(t *testing.T, s persistence.Store) {
	PutIngestions(t, s.Ingestions, FullIngestion(1))
	const n = 8
	keys := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, err := s.Ingestions.AcceptIngestion(t.Context(), ingestionID(1), fmt.Sprint(i), "k", Noon.Add(time.Duration(i)))
			if err != nil {
				t.Error(err)
			}
			keys[i] = r.AcceptedKey
		})
	}
	wg.Wait()
	r := Must(s.Ingestions.Ingestion(t.Context(), ingestionID(1)))
	if slices.Sort(keys); keys[0] != r.AcceptedKey || keys[n-1] != r.AcceptedKey || r.AcceptedKey == "" {
		t.Errorf("accepted as %q, returned %q", r.AcceptedKey, keys)
	}
	if want := Noon.Add(time.Duration(r.AcceptedKey[0] - '0')); !r.AcceptedAt.Equal(want) {
		t.Errorf("accepted as %q at %s", r.AcceptedKey, r.AcceptedAt)
	}
}

func contractIngestionMemory(t *testing.T, s persistence.Store) {
	scribble := func(r ingestion.Record) { r.Request.Body[0], r.Request.Headers[0].Name = 'X', "scribbled" }
	r := FullIngestion(1)
	PutIngestions(t, s.Ingestions, r)
	scribble(r)
	for range 2 {
		one, listed := Must(s.Ingestions.Ingestion(t.Context(), r.ID)), Must(s.Ingestions.Ingestions(t.Context(), ingestion.Filter{}))[0]
		Same(t, one, FullIngestion(1))
		Same(t, listed, FullIngestion(1))
		scribble(one)
		scribble(listed)
	}
}

func contractIngestionEnds(t *testing.T, s persistence.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ingestions.PutIngestions(ctx, []ingestion.Record{FullIngestion(1)}); event.CodeOf(err) != event.Interrupted {
		t.Errorf("cancelled: %v", err)
	}
	WantIngestions(t, s.Ingestions, ingestion.Filter{})
	if err := s.Database.Close(); err != nil {
		t.Fatal(err)
	}
	_, listErr := s.Ingestions.Ingestions(t.Context(), ingestion.Filter{})
	_, findErr := s.Ingestions.Ingestion(t.Context(), "id")
	_, takeErr := s.Ingestions.AcceptIngestion(t.Context(), "id", "key", "k", Noon)
	for _, err := range []error{s.Ingestions.PutIngestions(t.Context(), []ingestion.Record{FullIngestion(1)}), listErr, findErr, takeErr} {
		if event.CodeOf(err) != event.DependencyDown {
			t.Errorf("after Close: %v", err)
		}
	}
}

// IngestionFilters returns a filter for each set of conditions that a listing of records may
// have.
func IngestionFilters() (filters []ingestion.Filter) {
	for _, courier := range []string{"", "x"} {
		for _, code := range []event.Code{"", "x"} {
			for _, outcomes := range [][]ingestion.Outcome{nil, {ingestion.Refused}, {ingestion.Refused, ingestion.Observed}} {
				for _, open := range []bool{false, true} {
					for _, after := range []string{"", "x"} {
						filters = append(filters, ingestion.Filter{Courier: courier, Code: code, Outcomes: outcomes, Open: open, After: after})
					}
				}
			}
		}
	}
	return filters
}
