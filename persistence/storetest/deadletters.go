package storetest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

func contractLetterOnce(t *testing.T, s persistence.Store) {
	d := FullLetter("l", 7)
	CommitAll(t, s.Ledger, DeadLetters(d))
	again := FullLetter("l", 7)
	again.Message, again.Body, again.ReviewStatus, again.Note = "other", []byte("other"), event.ReviewPending, ""
	CommitAll(t, s.Ledger, DeadLetters(again), event.Change{DeadLetters: []event.DeadLetter{again}, Records: []event.Record{FullRecord("demo", "k")}})
	Same(t, Must(s.DeadLetters.DeadLetter(t.Context(), "l")), d)
	if r, ok := GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "k"}); !ok || r.Status != event.Processed {
		t.Errorf("the record beside a letter that exists: %t %+v", ok, r)
	}
	_, err := s.DeadLetters.DeadLetter(t.Context(), "other")
	if event.CodeOf(err) != event.NotFound {
		t.Errorf("a letter that does not exist: %v", err)
	}
}

// letterIDs returns the ids of letters.
func letterIDs(ds []event.DeadLetter) []string {
	list := []string{}
	for _, d := range ds {
		list = append(list, d.ID)
	}
	return list
}

func contractListing(t *testing.T, s persistence.Store) {
	letter := func(id, courier, key string, code event.Code, status event.ReviewStatus, minutes int) event.DeadLetter {
		return event.DeadLetter{ID: id, Identity: event.Identity{Courier: courier, Key: key}, Code: code, ReviewStatus: status,
			DeadAt: Noon.Add(time.Duration(minutes) * time.Minute)}
	}
	CommitAll(t, s.Ledger, DeadLetters(
		letter("1", "a", "k", event.Forged, event.ReviewPending, 1),
		letter("2", "b", "k", event.Forged, event.ReviewClosed, 3),
		letter("3", "a", "l", event.Malformed, event.ReviewPending, 2),
		letter("4", "b", "l", event.Malformed, event.ReviewPending, 2),
		letter("5", "a", "k", event.Malformed, event.ReviewClosed, 0),
	))
	for _, test := range []struct {
		filter event.DeadLetterFilter
		want   []string
	}{
		{event.DeadLetterFilter{}, []string{"2", "4", "3", "1", "5"}},
		{event.DeadLetterFilter{Courier: "a"}, []string{"3", "1", "5"}},
		{event.DeadLetterFilter{Code: event.Malformed}, []string{"4", "3", "5"}},
		{event.DeadLetterFilter{Status: event.ReviewPending}, []string{"4", "3", "1"}},
		{event.DeadLetterFilter{Key: "k"}, []string{"2", "1", "5"}},
		{event.DeadLetterFilter{Courier: "a", Code: event.Malformed, Status: event.ReviewClosed, Key: "k"}, []string{"5"}},
		{event.DeadLetterFilter{Courier: "c"}, []string{}},
		{event.DeadLetterFilter{Limit: 2}, []string{"2", "4"}},
		{event.DeadLetterFilter{After: "4"}, []string{"3", "1", "5"}},
		{event.DeadLetterFilter{After: "4", Courier: "a", Limit: 1}, []string{"3"}},
		{event.DeadLetterFilter{After: "5"}, []string{}},
	} {
		if got := letterIDs(Must(s.DeadLetters.DeadLetters(t.Context(), test.filter))); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v, want %v", test.filter, got, test.want)
		}
	}
	if _, err := s.DeadLetters.DeadLetters(t.Context(), event.DeadLetterFilter{After: "gone"}); event.CodeOf(err) != event.NotFound {
		t.Errorf("continued behind a letter that does not exist: %v", err)
	}
}

func contractPages(t *testing.T, s persistence.Store) {
	const n = persistence.DefaultPage + 50
	var want []string
	var changes []event.Change
	for i := range n {
		id := fmt.Sprintf("%03d", i)
		want = append(want, id)
		// Seven letters share an instant, so that pages end amid equal times.
		changes = append(changes, DeadLetters(event.DeadLetter{ID: id, DeadAt: Noon.Add(time.Duration(i / 7))}))
	}
	slices.Reverse(want)
	CommitAll(t, s.Ledger, changes...)
	for _, limit := range []int{0, 61} {
		var got []string
		for f := (event.DeadLetterFilter{Limit: limit}); ; {
			page := letterIDs(Must(s.DeadLetters.DeadLetters(t.Context(), f)))
			if len(page) > persistence.PageSize(f.Limit) {
				t.Fatalf("a page of %d, asked for %d", len(page), persistence.PageSize(f.Limit))
			}
			if got = append(got, page...); len(page) < persistence.PageSize(f.Limit) {
				break
			}
			f.After = page[len(page)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
}

func contractReview(t *testing.T, s persistence.Store) {
	d := FullLetter("l", 1)
	d.ReviewStatus, d.ReviewedAt, d.Note, d.Replays = event.ReviewPending, time.Time{}, "", nil
	CommitAll(t, s.Ledger, DeadLetters(d, FullLetter("other", 2)))
	step := func(status event.ReviewStatus, note string, link *event.ReplayLink) {
		t.Helper()
		before := time.Now()
		got := Must(s.DeadLetters.Review(t.Context(), "l", status, note, link))
		if got.ReviewedAt.Before(before.Add(-time.Second)) || got.ReviewedAt.After(time.Now().Add(time.Second)) {
			t.Errorf("reviewed at %s, now is %s", got.ReviewedAt, before)
		}
		Same(t, Must(s.DeadLetters.DeadLetter(t.Context(), "l")), got)
		got.ReviewedAt = time.Time{}
		Same(t, got, d)
	}
	d.ReviewStatus, d.Note = event.ReviewReviewed, "wrong address"
	step(event.ReviewReviewed, "wrong address", nil)
	link := event.ReplayLink{Nonce: "n1", Sequence: 1<<63 + 1, At: Noon}
	d.ReviewStatus, d.Replays = event.ReviewReplayed, []event.ReplayLink{link}
	step(event.ReviewReplayed, "", &link)
	step(event.ReviewReplayed, "", &event.ReplayLink{Nonce: "n1", Sequence: 99})
	second := event.ReplayLink{Nonce: "n2", Sequence: 2, At: Noon.Add(1)}
	d.Note, d.Replays = "again \uFFFD", append(d.Replays, second)
	step(event.ReviewReplayed, "again \xff", &second)
	d.ReviewStatus = event.ReviewClosed
	step(event.ReviewClosed, "", nil)

	Same(t, Must(s.DeadLetters.DeadLetter(t.Context(), "other")), FullLetter("other", 2))
	if _, err := s.DeadLetters.Review(t.Context(), "none", event.ReviewClosed, "", nil); event.CodeOf(err) != event.NotFound {
		t.Errorf("a review of no letter: %v", err)
	}
	if _, err := s.DeadLetters.Review(t.Context(), "none", event.ReviewClosed, "", &link); event.CodeOf(err) != event.NotFound {
		t.Errorf("a replay of no letter: %v", err)
	}
	if _, err := s.DeadLetters.Review(t.Context(), "l", "shrugged", "", nil); event.CodeOf(err) != event.DomainInvalid {
		t.Errorf("a review with a status that is none: %v", err)
	}
}

func contractLinks(t *testing.T, s persistence.Store) {
	CommitAll(t, s.Ledger, DeadLetters(event.DeadLetter{ID: "l", DeadAt: Noon}))
	const n = 5
	var wg sync.WaitGroup
	for i := range 2 * n {
		wg.Go(func() {
			link := event.ReplayLink{Nonce: fmt.Sprint(i % n), Sequence: uint64(i % n), At: Noon}
			if _, err := s.DeadLetters.Review(t.Context(), "l", event.ReviewReplayed, "", &link); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	nonces := map[string]bool{}
	d := Must(s.DeadLetters.DeadLetter(t.Context(), "l"))
	for _, l := range d.Replays {
		nonces[l.Nonce] = true
	}
	if len(d.Replays) != n || len(nonces) != n {
		t.Errorf("%d links, %d different, want %d", len(d.Replays), len(nonces), n)
	}
}

func contractDeadSequences(t *testing.T, s persistence.Store) {
	CommitAll(t, s.Ledger, DeadLetters(FullLetter("a", 3), FullLetter("b", 1<<63+5), FullLetter("c", 0)))
	got := Must(s.DeadLetters.DeadSequences(t.Context(), []uint64{1, 2, 3, 4, 1<<63 + 5, 1<<63 + 6}))
	Same(t, got, map[uint64]bool{3: true, 1<<63 + 5: true})
}

// WantCounts fails the test unless the store counts as given; zeros may be absent.
// Ingestion records are not looked at.
func WantCounts(t *testing.T, s persistence.Database, events map[event.Status]int64, dead map[event.ReviewStatus]int64, shipments int64) {
	t.Helper()
	got := Must(s.Counts(t.Context()))
	maps.DeleteFunc(got.Records, func(_ event.Status, n int64) bool { return n == 0 })
	maps.DeleteFunc(got.DeadLetters, func(_ event.ReviewStatus, n int64) bool { return n == 0 })
	got.Ingestions = nil
	Same(t, got, event.StoreCounts{Records: events, DeadLetters: dead, Shipments: shipments})
}

func contractCounts(t *testing.T, s persistence.Store) {
	type statuses = map[event.Status]int64
	type reviews = map[event.ReviewStatus]int64
	WantCounts(t, s.Database, statuses{}, reviews{}, 0)
	row := func(key string, version int64, status event.Status) event.Record {
		return event.Record{Identity: event.Identity{Courier: "c", Key: key}, Version: version, Status: status}
	}
	p := FullShipment("c", "i")
	CommitAll(t, s.Ledger,
		event.Change{Shipment: &p, Records: []event.Record{row("1", 0, event.Processed), row("2", 0, event.Processed)}},
		Records(row("3", 0, event.Failed)), Records(row("4", 0, event.Received)), Records(row("5", 0, event.Processing)),
		DeadLetters(event.DeadLetter{ID: "1", DeadAt: Noon}, event.DeadLetter{ID: "2", DeadAt: Noon}))
	WantCounts(t, s.Database, statuses{event.Processed: 2, event.Failed: 1, event.Received: 1, event.Processing: 1}, reviews{event.ReviewPending: 2}, 1)

	p.Version = 1
	Same(t, Codes(t, CommitSome(t, s.Ledger,
		event.Change{Shipment: &p, Records: []event.Record{row("3", 1, event.DeadLettered), row("4", 1, event.Processed)}},
		Records(row("5", 0, event.Processed)),
		DeadLetters(event.DeadLetter{ID: "2", DeadAt: Noon}))), []event.Code{"", event.VersionConflict, ""})
	Must(s.DeadLetters.Review(t.Context(), "2", event.ReviewClosed, "", nil))
	Must(s.DeadLetters.Review(t.Context(), "2", event.ReviewClosed, "", nil))
	WantCounts(t, s.Database, statuses{event.Processed: 3, event.DeadLettered: 1, event.Processing: 1},
		reviews{event.ReviewPending: 1, event.ReviewClosed: 1}, 1)
}

// LetterFilters returns a filter for each set of conditions that a listing of dead letters
// may have.
func LetterFilters() (filters []event.DeadLetterFilter) {
	for _, courier := range []string{"", "x"} {
		for _, code := range []event.Code{"", "x"} {
			for _, status := range []event.ReviewStatus{"", "x"} {
				for _, key := range []string{"", "x"} {
					for _, after := range []string{"", "x"} {
						filters = append(filters, event.DeadLetterFilter{Courier: courier, Code: code, Status: status, Key: key, After: after})
					}
				}
			}
		}
	}
	return filters
}
