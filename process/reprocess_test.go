package process

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// fakeHistory is a [History] in a slice, of which a replica lacks the last ones.
type fakeHistory struct {
	events []event.Delivery
	lag    int
}

func (h *fakeHistory) ReadHistory(_ context.Context, from uint64, limit int) (found []event.Delivery, err error) {
	for _, d := range h.events[:len(h.events)-h.lag] {
		if d.Sequence >= from && len(found) < limit {
			found = append(found, d)
		}
	}
	return found, nil
}

func (h *fakeHistory) Load(_ context.Context, seq uint64) (event.Delivery, error) {
	for _, d := range h.events {
		if d.Sequence == seq {
			return d, nil
		}
	}
	return event.Delivery{}, event.Errorf(event.NotFound, "load", "no sequence %d", seq)
}

func (h *fakeHistory) State(context.Context) (state event.QueueState, err error) {
	if n := len(h.events); n > 0 {
		state.LastSeq = h.events[n-1].Sequence
	}
	return state, nil
}

// reprocessFixture is a fixture with a history, and a mapping that can be corrected.
type reprocessFixture struct {
	*fixture
	rep     *Reprocessor
	history fakeHistory
	mapping map[string]shipment.State // of statuses that the vocabulary has not
	moved   map[string]string         // shipments, by the ones that they were taken for
}

func newReprocessFixture(t *testing.T) *reprocessFixture {
	f := &reprocessFixture{fixture: newFixture(t), mapping: map[string]shipment.State{}, moved: map[string]string{}}
	read := f.Read
	f.Read = func(env *event.Envelope, e *event.Event, faults event.Faults) event.Faults {
		faults = read(env, e, faults)
		full := e.Status
		e.Status, e.Substatus, _ = strings.Cut(full, "/")
		if state, known := f.mapping[full]; known {
			e.State, e.Substatus = state, ""
		}
		if id, known := f.moved[e.ShipmentID]; known {
			e.ShipmentID = id
		}
		return faults
	}
	f.Mapped = func(_, status string, _ bool) bool { return f.mapping[status] != "" }
	f.rep = &Reprocessor{History: &f.history, Handler: f.Handler, Statuses: f.store, Log: slog.New(slog.DiscardHandler)}
	return f
}

// came has an event arrive and be processed.
func (f *reprocessFixture) came(t *testing.T, key, id, status string, at time.Time) event.Delivery {
	t.Helper()
	d := f.arrives(key, id, status, at)
	d.Sequence = uint64(len(f.history.events) + 1)
	f.history.events = append(f.history.events, d)
	f.handle(t, d)
	return d
}

// reprocess does all pages and returns the changes, as "id: before → after".
func (f *reprocessFixture) reprocess(t *testing.T, r reprocess.Request) (changes []string, last reprocess.Page) {
	t.Helper()
	for {
		page, err := f.rep.Page(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Changes {
			changes = append(changes, fmt.Sprintf("%s: %s → %s", c.ID, c.Before.State, c.After.State))
		}
		if page.Next == 0 {
			return changes, page
		}
		r.Sequence, r.To = page.Next, page.To
	}
}

func (m *fakeStore) Unmapped(context.Context) (all []shipment.Unmapped, err error) {
	leave, err := m.enter("unmapped")
	defer leave()
	for _, u := range m.unmapped {
		all = append(all, u)
	}
	return all, err
}

func TestReprocessReadsAgainWhatWasReadWrongly(t *testing.T) {
	f := newReprocessFixture(t)
	f.came(t, "a", "s", "in_transit", noon)
	f.came(t, "b", "s", "RTO_OFD", noon.Add(time.Hour))
	f.came(t, "c", "other", "RTO_OFD", noon)
	f.came(t, "d", "third", "in_transit", noon)
	f.mapping["RTO_OFD"] = shipment.OutForDelivery
	want := []string{"s: in_transit → out_for_delivery", "other: unknown → out_for_delivery"}

	commits := f.store.calls["commit"]
	dry, page := f.reprocess(t, reprocess.Request{DryRun: true})
	if !slices.Equal(dry, want) || page.Read != 4 || page.Selected != 4 || page.To != 4 {
		t.Errorf("dry run: %q, %+v", dry, page)
	}
	if s := f.shipment(t, "s"); f.store.calls["commit"] != commits || s.State != shipment.InTransit || len(f.store.unmapped["demo"].Statuses) != 1 {
		t.Errorf("a dry run changes %+v", s)
	}
	before := f.record(t, "b")
	if got, _ := f.reprocess(t, reprocess.Request{}); !slices.Equal(got, want) {
		t.Errorf("changed are %q", got)
	}
	s := f.shipment(t, "s")
	if s.State != shipment.OutForDelivery || s.RawStatus != "RTO_OFD" || len(s.History) != 2 || s.LastEvent != "b" {
		t.Errorf("the shipment is %+v", s)
	}
	if r := f.record(t, "b"); !reflect.DeepEqual(r, before) {
		t.Errorf("the ledger row is %+v, was %+v", r, before)
	}
	if list := f.store.unmapped["demo"].Statuses; len(list) != 0 {
		t.Errorf("the status is listed still: %+v", list)
	}
	version := f.shipment(t, "s").Version
	if got, _ := f.reprocess(t, reprocess.Request{}); len(got) > 0 || f.shipment(t, "s").Version != version {
		t.Errorf("once more changes %q", got)
	}
}

// TestReprocessReadsWhatAReplicaLacks before it takes statuses off the list.
func TestReprocessReadsWhatAReplicaLacks(t *testing.T) {
	f := newReprocessFixture(t)
	f.came(t, "a", "s", "RTO_OFD", noon)
	f.came(t, "b", "other", "RTO_OFD", noon)
	f.came(t, "c", "third", "RTO_OFD", noon)
	f.mapping["RTO_OFD"], f.history.lag = shipment.OutForDelivery, 2
	got, page := f.reprocess(t, reprocess.Request{})
	if len(got) != 3 || page.Read != 3 || f.shipment(t, "third").State != shipment.OutForDelivery {
		t.Errorf("changed are %q, %+v", got, page)
	}
}

func TestReprocessSelects(t *testing.T) {
	f := newReprocessFixture(t)
	for i, id := range []string{"s", "other", "third"} {
		d := f.came(t, "key-"+id, id, "RTO_"+id, noon)
		f.history.events[i].ReceivedAt = d.ReceivedAt.Add(time.Duration(i) * time.Hour)
		f.Stamper.Stamp(&f.history.events[i].Envelope)
		f.mapping["RTO_"+id] = shipment.Returned
	}
	received := f.history.events[0].ReceivedAt
	for _, tt := range []struct {
		name string
		r    reprocess.Request
		want []string
	}{
		{"by courier", reprocess.Request{Courier: "demo"}, []string{"s", "other", "third"}},
		{"by another courier", reprocess.Request{Courier: "none"}, nil},
		{"by status", reprocess.Request{Status: " rto_Other "}, []string{"other"}},
		{"by shipment", reprocess.Request{ID: "third"}, []string{"third"}},
		{"by key", reprocess.Request{ID: "key-s"}, []string{"s"}},
		{"by event", reprocess.Request{ID: "evt_none"}, nil},
		{"by time", reprocess.Request{Since: received.Add(time.Hour), Until: received.Add(2 * time.Hour)}, []string{"other"}},
		{"from a sequence", reprocess.Request{Sequence: 3}, []string{"third"}},
		{"through a sequence", reprocess.Request{To: 1}, []string{"s"}},
	} {
		tt.r.DryRun = true
		page, err := f.rep.Page(t.Context(), tt.r)
		var got []string
		for _, c := range page.Changes {
			got = append(got, c.ID)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q, %v", tt.name, got, tt.want, err)
		}
	}
}

// TestReprocessLeavesTheRestAlone: what has no outcome to change, what can't be read, what
// no courier sent, and what only events said that the queue has no more.
func TestReprocessLeavesTheRestAlone(t *testing.T) {
	f := newReprocessFixture(t)
	f.came(t, "gone", "s", "pending", noon.Add(-time.Hour))
	f.came(t, "a", "s", "RTO_OFD", noon)
	f.history.events = f.history.events[1:]
	waiting := f.arrives("waiting", "s", "delivered", noon.Add(time.Hour))
	waiting.Sequence = 3
	copied := f.arrives("a", "s", "delivered", noon) // with another body
	copied.Sequence = 4
	forged := f.arrives("forged", "s", "delivered", noon)
	forged.Sequence, forged.Stamp = 5, "00"
	broken := f.arrives("broken", "", "delivered", noon)
	broken.Sequence = 6
	f.history.events = append(f.history.events, waiting, copied, forged, broken)
	f.mapping["RTO_OFD"] = shipment.OutForDelivery
	got, page := f.reprocess(t, reprocess.Request{})
	if !slices.Equal(got, []string{"s: pending → out_for_delivery"}) || page.Read != 5 || page.Selected != 4 || page.NotApplied != 2 || page.Unreadable != 1 {
		t.Errorf("%q, %+v", got, page)
	}
	if s := f.shipment(t, "s"); len(s.History) != 2 || s.History[0].State != shipment.Pending {
		t.Errorf("the shipment is %+v", s)
	}
}

// TestReprocessByTheDetailOfAStatus: it selects the events, and takes that one off the list.
func TestReprocessByTheDetailOfAStatus(t *testing.T) {
	f := newReprocessFixture(t)
	f.came(t, "a", "s", "UD/Undelivered", noon)
	f.came(t, "b", "other", "UD/Lost", noon)
	f.came(t, "c", "third", "UDX", noon)
	list := func() (all []string) {
		for _, s := range f.store.unmapped["demo"].Statuses {
			all = append(all, s.Status)
		}
		slices.Sort(all)
		return all
	}
	if got := list(); !slices.Equal(got, []string{"UD/Lost", "UD/Undelivered", "UDX"}) {
		t.Fatalf("listed are %q", got)
	}
	f.mapping["UD/Undelivered"], f.mapping["UD/Lost"], f.mapping["UDX"] = shipment.AttemptFailed, shipment.Exception, shipment.Delivered
	for _, step := range []struct{ status, moved, left string }{
		{"ud/undelivered", "s: unknown → attempt_failed, other: unknown → exception", "UD/Lost UDX"}, // the details of a known status are not kept
		{"UD", "", "UDX"},
		{"", "third: unknown → delivered", ""},
	} {
		got, _ := f.reprocess(t, reprocess.Request{Status: step.status})
		if moved, left := strings.Join(got, ", "), strings.Join(list(), " "); moved != step.moved || left != step.left {
			t.Errorf("%q changed %q and left %q, want %q and %q", step.status, moved, left, step.moved, step.left)
		}
	}
}

// TestReprocessMovesAnEventToItsShipment when it was read as another one's.
func TestReprocessMovesAnEventToItsShipment(t *testing.T) {
	f := newReprocessFixture(t)
	f.came(t, "a", "s", "in_transit", noon)
	f.came(t, "b", "s", "delivered", noon.Add(time.Hour))
	f.came(t, "c", "x", "pending", noon)
	f.Read = func(read Reader) Reader {
		return func(env *event.Envelope, e *event.Event, faults event.Faults) event.Faults {
			if faults = read(env, e, faults); e.Key == "b" {
				e.ShipmentID = "x"
			}
			return faults
		}
	}(f.Read)
	want := []string{"s: delivered → in_transit", "x: pending → delivered"}
	if got, _ := f.reprocess(t, reprocess.Request{}); !slices.Equal(got, want) {
		t.Errorf("changed are %q, want %q", got, want)
	}
	if r := f.record(t, "b"); r.ShipmentID != "x" || r.Status != event.Processed || len(r.Attempts) != 1 {
		t.Errorf("the ledger row is %+v", r)
	}
	if got, _ := f.reprocess(t, reprocess.Request{}); len(got) > 0 {
		t.Errorf("once more changes %q", got)
	}
}

// TestReprocessBesideWorkers: events that come for the same shipment meanwhile are not lost,
// and neither is what is read again.
func TestReprocessBesideWorkers(t *testing.T) {
	f := newReprocessFixture(t)
	f.came(t, "a", "s", "RTO_OFD", noon)
	f.mapping["RTO_OFD"] = shipment.OutForDelivery
	n := 0
	f.store.refuse = func(c event.Change) error {
		if c.Shipment == nil || len(c.Records) > 0 || n == 3 {
			return nil
		}
		n++ // another event is applied between reading and writing
		f.store.mu.Unlock()
		defer f.store.mu.Lock()
		d := f.arrives(fmt.Sprintf("new-%d", n), "s", "in_transit", noon.Add(-time.Duration(n)*time.Minute))
		d.Sequence = uint64(10 + n)
		f.handle(t, d)
		return event.Errorf(event.VersionConflict, "memory", "moved")
	}
	if got, _ := f.reprocess(t, reprocess.Request{}); !slices.Equal(got, []string{"s: in_transit → out_for_delivery"}) {
		t.Errorf("changed are %q", got)
	}
	if s := f.shipment(t, "s"); s.State != shipment.OutForDelivery || len(s.History) != 4 {
		t.Errorf("the shipment is %+v", s)
	}
}
