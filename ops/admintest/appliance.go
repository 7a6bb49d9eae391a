// Package admintest is what the tests of ops/admin, ops/client and ops/cli share: an
// appliance's stores, queue and intake in memory, with something of everything in
// them ([Sample]), behind a real admin listener ([Start]). Only tests import it.
package admintest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
)

// Noon is the time of the sample.
var Noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

// Stores are the stores and the queue of an appliance in memory, as far as operators
// see them. Set its fields before it is served.
type Stores struct {
	Records   []event.Record
	Shipments []shipment.Shipment
	Letters   []event.DeadLetter
	Unmapped  []ops.UnmappedStatus
	Queue     event.QueueState
	Lost      []loss.Loss
	Totals    event.StoreCounts
	Ready     error
	Fault     error            // of every store call
	Broken    map[string]error // of replays, by letter
	Health    int
	Intake    *Intake
	Filters   []event.DeadLetterFilter // as asked for

	mu       sync.Mutex // of Letters, Lost, Filters and replayed
	replayed []string
}

// RecordsByKey makes the stores an [admin.Events].
func (m *Stores) RecordsByKey(_ context.Context, key string) (found []event.Record, err error) {
	for _, r := range m.Records {
		if r.Key == key {
			found = append(found, r)
		}
	}
	return found, m.Fault
}

// ShipmentsByID makes the stores an [admin.Shipments].
func (m *Stores) ShipmentsByID(_ context.Context, id string) (found []shipment.Shipment, err error) {
	for _, s := range m.Shipments {
		if s.ID == id {
			found = append(found, s)
		}
	}
	return found, m.Fault
}

// DeadLetters is of [admin.DeadLetters].
func (m *Stores) DeadLetters(_ context.Context, f event.DeadLetterFilter) ([]event.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Filters = append(m.Filters, f)
	return pageOf(m.Letters, f.Limit, f.After, func(d event.DeadLetter) (id string, selected bool) {
		return d.ID, (f.Courier == "" || f.Courier == d.Courier) && (f.Code == "" || f.Code == d.Code) &&
			(f.Status == "" || f.Status == d.ReviewStatus) && (f.Key == "" || f.Key == d.Key)
	}), m.Fault
}

// pageOf returns at most limit of the rows that are selected and come after the
// one with the id after.
func pageOf[T any](rows []T, limit int, after string, look func(T) (id string, selected bool)) (found []T) {
	behind := after == ""
	for _, row := range rows {
		id, selected := look(row)
		if behind && selected && len(found) < limit {
			found = append(found, row)
		}
		behind = behind || id == after
	}
	return found
}

// DeadLetter is of [admin.DeadLetters].
func (m *Stores) DeadLetter(_ context.Context, id string) (event.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.Letters, func(d event.DeadLetter) bool { return d.ID == id })
	if i < 0 {
		return event.DeadLetter{}, event.Errorf(event.NotFound, "memory", "no letter")
	}
	return m.Letters[i], m.Fault
}

// Review is of [admin.DeadLetters].
func (m *Stores) Review(_ context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (event.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.Letters {
		if d := &m.Letters[i]; d.ID == id {
			d.ReviewStatus, d.Note, d.ReviewedAt = status, note, Noon
			if link != nil {
				d.Replays = append(d.Replays, *link)
			}
			return *d, m.Fault
		}
	}
	return event.DeadLetter{}, event.Errorf(event.NotFound, "memory", "no letter")
}

// Counts makes the stores an [admin.Counter].
func (m *Stores) Counts(context.Context) (event.StoreCounts, error) { return m.Totals, m.Fault }

// State makes the stores an [admin.Queue].
func (m *Stores) State(context.Context) (event.QueueState, error) { return m.Queue, m.Fault }

// Losses is of [admin.Queue].
func (m *Stores) Losses() []loss.Loss {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.Lost)
}

// AcknowledgeLoss is of [admin.Queue].
func (m *Stores) AcknowledgeLoss(_ context.Context, id, note string) (loss.Loss, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.Lost {
		if l := &m.Lost[i]; l.ID == id {
			l.AcknowledgedAt, l.Note = Noon, note
			return *l, m.Fault
		}
	}
	return loss.Loss{}, event.Errorf(event.NotFound, "memory", "no loss")
}

// Replay makes the stores an [admin.Replayer].
func (m *Stores) Replay(ctx context.Context, id string) (event.ReplayLink, error) {
	if err := m.Broken[id]; err != nil {
		return event.ReplayLink{}, err
	}
	link := event.ReplayLink{Nonce: "nonce-" + id, Sequence: 1000, At: Noon}
	if _, err := m.Review(ctx, id, event.ReviewReplayed, "", &link); err != nil {
		return event.ReplayLink{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replayed = append(m.replayed, id)
	return link, nil
}

// Replayed returns the ids of the letters that were replayed, in order.
func (m *Stores) Replayed() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.replayed)
}

// Letter returns the i-th letter as it is now.
func (m *Stores) Letter(i int) event.DeadLetter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Letters[i]
}

// Deps returns an admin server's view of the stores.
func (m *Stores) Deps() admin.Deps {
	reg := prometheus.NewRegistry()
	return admin.Deps{
		Events: m, Shipments: m, DeadLetters: m, Counts: m, Queue: m, Replayer: m,
		Worker: func() ops.WorkerStatus {
			return ops.WorkerStatus{Phase: "pulling", LastHeartbeat: Noon.Add(-time.Second), Events: 42, Batches: 7}
		},
		Reconciler: func() ops.ReconcilerStatus {
			return ops.ReconcilerStatus{Verified: 40, Checked: 41, Requeued: 1, Waiting: 2}
		},
		About:     admin.About{Version: "1.2.3", Role: "all", StartedAt: Noon.Add(-3 * time.Hour), DataDir: "./data"},
		Listeners: func() []ops.Listener { return []ops.Listener{{Name: "public", Address: "127.0.0.1:8080"}} },
		Ready:     func() error { return m.Ready },
		Health: func() (int, []byte) {
			status := map[int]string{200: "healthy", 503: "unhealthy"}[m.Health]
			return m.Health, []byte(`{"status":"` + status + `","redis":"embedded","mongo":"connected","store":"mongodb","cache":"memory","timestamp":"2026-02-26T12:00:00Z"}`)
		},
		Reprocess: m.reprocess,
		Unmapped: func(context.Context) (ops.UnmappedList, error) {
			return ops.UnmappedList{Statuses: m.Unmapped}, m.Fault
		},
		Ingestions: m, Intake: m.Intake, Couriers: func() []ops.CourierInfo { return m.Intake.Couriers }, Reload: m.Intake.reload,
		Gatherer: reg, Metrics: reg, Log: slog.New(slog.DiscardHandler),
	}
}

// reprocess has two pages, on which the same shipment is.
func (m *Stores) reprocess(_ context.Context, r reprocess.Request) (reprocess.Page, error) {
	page := reprocess.Page{To: 42, Read: 20, Selected: 3, NotApplied: 1, Changes: []reprocess.Change{}}
	if r.Sequence == 0 {
		page.Next = 21
	}
	if r.Courier == "" || r.Courier == "demo" {
		page.Changes = append(page.Changes, reprocess.Change{
			Ref:    shipment.Ref{Courier: "demo", ID: "shp_1\x1b[31m"},
			Before: reprocess.Outcome{State: shipment.Unknown, RawStatus: "RTO_OFD", Leg: 1, Checkpoints: 2},
			After:  reprocess.Outcome{State: shipment.OutForDelivery, RawStatus: "RTO_OFD", OrderID: "ord_1", Leg: 1, Checkpoints: 2}, Events: 2,
		})
	}
	return page, m.Fault
}

// Sample returns stores with something of everything in them.
func Sample() *Stores {
	attempts := []event.Attempt{
		{Number: 1, StartedAt: Noon.Add(-10 * time.Minute), EndedAt: Noon.Add(-10*time.Minute + 1500*time.Microsecond), Outcome: event.WillRetry, Code: event.Timeout, Message: "the store answered too late"},
		{Number: 2, StartedAt: Noon.Add(-9 * time.Minute), EndedAt: Noon.Add(-9*time.Minute + time.Millisecond), Outcome: event.GaveUp, Code: event.DomainInvalid, Message: "no such state\x1b[31m"},
	}
	record := func(courier, key string) event.Record {
		return event.Record{
			Identity: event.Identity{Courier: courier, Key: key}, Status: event.Processed, EventID: "evt_1", EventType: "shipment.status.updated",
			OccurredAt: Noon.Add(-time.Hour), ShipmentID: "shp_1", TraceID: "req_1", ReceivedAt: Noon.Add(-90 * time.Second), Sequence: 12,
			BodyHash: "ab12", Attempts: attempts[:1], Conflicts: 1, UpdatedAt: Noon, EndedAt: Noon.Add(-89 * time.Second),
		}
	}
	odd := shipment.UnmappedStatus{
		Status: "RTO_OFD", Events: 12, FirstSeen: Noon.Add(-26 * time.Hour), LastSeen: Noon.Add(-time.Minute), Key: "demo:evt_1", ShipmentID: "shp_1",
	}
	seldom := odd
	seldom.Status, seldom.Events = "held\x1b[31m", 1
	m := &Stores{
		Unmapped: []ops.UnmappedStatus{{Courier: "alpha", UnmappedStatus: odd}, {Courier: "demo", UnmappedStatus: seldom, Mapped: true}},
		Records:  []event.Record{record("demo", "demo:evt_1"), record("beta", "shared"), record("alpha", "shared")},
		Shipments: []shipment.Shipment{{
			Ref: shipment.Ref{Courier: "demo", ID: "shp_1"}, OrderID: "ord_1", State: shipment.OutForDelivery, RawStatus: "OFD",
			EventTime: Noon.Add(-time.Hour), LastEvent: "demo:evt_1", Leg: 1, Dropped: 3, CreatedAt: Noon.Add(-48 * time.Hour), UpdatedAt: Noon.Add(-time.Minute),
			History: []shipment.Checkpoint{
				{At: Noon.Add(-26 * time.Hour), State: shipment.InTransit, Status: "IT", Key: "demo:evt_0", EventID: "evt_0"},
				{At: Noon.Add(-time.Hour), State: shipment.OutForDelivery, Status: "OFD", Key: "demo:evt_1", EventID: "evt_1"},
				{At: Noon.Add(-time.Minute), State: shipment.InTransit, Status: "IT", Key: "demo:evt_2", EventID: "evt_2", ClaimedAt: Noon.Add(72 * time.Hour)},
				{At: Noon, State: shipment.OutForDelivery, Status: "OFD", Key: "demo:evt_3", EventID: "evt_3", Type: "t", ScanAt: Noon.Add(-time.Hour)}, // not shown
			},
		}},
		Queue: event.QueueState{
			Mode: "embedded", Sync: "group", Healthy: true, Messages: 44, Bytes: 22528, MaxBytes: 10 << 30, FirstSeq: 1, LastSeq: 44,
			AckFloor: 40, Verified: 40, Pending: 1, InFlight: 3, Redelivered: 1, Advisories: 1, DiskFree: 123 << 30, At: Noon,
		},
		Lost: []loss.Loss{
			{
				ID: "1", FoundAt: Noon.Add(-48 * time.Hour), Cause: loss.Cut, Events: 3, Sequences: []loss.Range{{First: 4, Last: 4}, {First: 6, Last: 7}},
				AcknowledgedAt: Noon.Add(-47 * time.Hour), Note: "sent again\x1b[31m",
			},
			{
				ID: "2", FoundAt: Noon.Add(-time.Minute), Cause: loss.Hole, Events: 7, Unchecked: 2, Sequences: []loss.Range{
					{First: 20, Last: 20}, {First: 22, Last: 22}, {First: 24, Last: 24}, {First: 26, Last: 26}, {First: 28, Last: 28}, {First: 30, Last: 31},
				},
			},
			{ID: "3", FoundAt: Noon.Add(-time.Second), Cause: loss.Cut, Bytes: 4096, Sequences: []loss.Range{}},
		},
		Totals: event.StoreCounts{
			Records:     map[event.Status]int64{event.Processed: 38, event.DeadLettered: 3},
			DeadLetters: map[event.ReviewStatus]int64{event.ReviewPending: 2, event.ReviewClosed: 1}, Shipments: 9,
		},
		Broken: map[string]error{}, Health: 200, Intake: sampleIntake(),
	}
	for i, status := range []event.ReviewStatus{event.ReviewPending, event.ReviewReviewed, event.ReviewClosed} {
		n := strconv.Itoa(i + 1)
		m.Letters = append(m.Letters, event.DeadLetter{
			ID: n + "-abcd", Identity: event.Identity{Courier: "demo", Key: "demo:dead_" + n}, Sequence: uint64(i + 1), EventID: "dead_" + n,
			ShipmentID: "shp_1", TraceID: "req_" + n, ReceivedAt: Noon.Add(-11 * time.Minute), DeadAt: Noon.Add(-9 * time.Minute),
			Code: event.DomainInvalid, Message: "no such state\x1b[31m in a very long message that goes on and on for the listing", Attempts: attempts,
			Headers:      map[string]string{"Gw-Courier": "demo", "Gw-Key": "demo:dead_" + n},
			Body:         []byte("{\"eventId\":\"dead_" + n + "\",\"payload\":{\"shipmentId\":\"shp_1\",\"note\":\"\u202eevil\u009b31m\"}}"),
			ReviewStatus: status,
		})
	}
	return m
}

// Start serves an admin listener on a free port until the test ends, and returns
// its address.
func Start(t *testing.T, cfg admin.Config, deps admin.Deps) string {
	t.Helper()
	server, err := admin.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}
