package ops

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

// memory is an appliance's stores and queue in memory, as far as operators see
// them.
type memory struct {
	mu        sync.Mutex
	records   []event.Record
	shipments []event.Shipment
	letters   []event.DeadLetter
	queue     event.QueueState
	lost      []event.Loss
	counts    event.StoreCounts
	filters   []event.DeadLetterFilter // as asked for
	replayed  []string
	ready     error
	fault     error            // of every store call
	broken    map[string]error // of replays, by letter
	health    int
	intake    *memoryIntake
}

func (m *memory) RecordsByKey(_ context.Context, key string) (found []event.Record, err error) {
	for _, r := range m.records {
		if r.Key == key {
			found = append(found, r)
		}
	}
	return found, m.fault
}

func (m *memory) ShipmentsByID(_ context.Context, id string) (found []event.Shipment, err error) {
	for _, s := range m.shipments {
		if s.ID == id {
			found = append(found, s)
		}
	}
	return found, m.fault
}

func (m *memory) DeadLetters(_ context.Context, f event.DeadLetterFilter) ([]event.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.filters = append(m.filters, f)
	return pageOf(m.letters, f.Limit, f.After, func(d event.DeadLetter) (id string, selected bool) {
		return d.ID, (f.Courier == "" || f.Courier == d.Courier) && (f.Code == "" || f.Code == d.Code) &&
			(f.Status == "" || f.Status == d.ReviewStatus) && (f.Key == "" || f.Key == d.Key)
	}), m.fault
}

// pageOf returns at most limit of the rows that are selected and stand behind the
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

func (m *memory) DeadLetter(_ context.Context, id string) (event.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.letters, func(d event.DeadLetter) bool { return d.ID == id })
	if i < 0 {
		return event.DeadLetter{}, event.Errorf(event.NotFound, "memory", "no letter")
	}
	return m.letters[i], m.fault
}

func (m *memory) Review(_ context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (event.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.letters {
		if d := &m.letters[i]; d.ID == id {
			d.ReviewStatus, d.Note, d.ReviewedAt = status, note, noon
			if link != nil {
				d.Replays = append(d.Replays, *link)
			}
			return *d, m.fault
		}
	}
	return event.DeadLetter{}, event.Errorf(event.NotFound, "memory", "no letter")
}

func (m *memory) Counts(context.Context) (event.StoreCounts, error) { return m.counts, m.fault }
func (m *memory) State(context.Context) (event.QueueState, error)   { return m.queue, m.fault }

func (m *memory) Losses() []event.Loss {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lost)
}

func (m *memory) AcknowledgeLoss(_ context.Context, id, note string) (event.Loss, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.lost {
		if l := &m.lost[i]; l.ID == id {
			l.AcknowledgedAt, l.Note = noon, note
			return *l, m.fault
		}
	}
	return event.Loss{}, event.Errorf(event.NotFound, "memory", "no loss")
}

func (m *memory) Replay(ctx context.Context, id string) (event.ReplayLink, error) {
	if err := m.broken[id]; err != nil {
		return event.ReplayLink{}, err
	}
	link := event.ReplayLink{Nonce: "nonce-" + id, Sequence: 1000, At: noon}
	if _, err := m.Review(ctx, id, event.ReviewReplayed, "", &link); err != nil {
		return event.ReplayLink{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replayed = append(m.replayed, id)
	return link, nil
}

// wasReplayed returns the ids of the letters that were replayed, in order.
func (m *memory) wasReplayed() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.replayed)
}

// letter returns the i-th letter as it is now.
func (m *memory) letter(i int) event.DeadLetter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.letters[i]
}

func (m *memory) deps() AdminDeps {
	reg := prometheus.NewRegistry()
	return AdminDeps{
		Events: m, Shipments: m, DeadLetters: m, Counts: m, Queue: m, Replayer: m,
		Worker: func() WorkerStatus {
			return WorkerStatus{Phase: "pulling", LastBeat: noon.Add(-time.Second), Events: 42, Batches: 7}
		},
		Reconciler: func() ReconcilerStatus { return ReconcilerStatus{Verified: 40, Checked: 41, PutBack: 1, Waiting: 2} },
		About:      About{Version: "1.2.3", Role: "all", StartedAt: noon.Add(-3 * time.Hour), DataDir: "./data"},
		Listeners:  func() []Listener { return []Listener{{Name: "public", Address: "127.0.0.1:8080"}} },
		Ready:      func() error { return m.ready },
		Health: func() (int, []byte) {
			status := map[int]string{200: "healthy", 503: "unhealthy"}[m.health]
			return m.health, []byte(`{"status":"` + status + `","redis":"embedded","mongo":"connected","timestamp":"2026-02-26T12:00:00Z"}`)
		},
		Ingestions: m, Intake: m.intake, Couriers: func() []CourierInfo { return m.intake.couriers }, Reload: m.intake.reload,
		Gatherer: reg, Metrics: reg, Log: slog.New(slog.DiscardHandler),
	}
}

// sample returns a memory with something of everything in it.
func sample() *memory {
	attempts := []event.Attempt{
		{Number: 1, StartedAt: noon.Add(-10 * time.Minute), EndedAt: noon.Add(-10*time.Minute + 1500*time.Microsecond), Outcome: event.WillRetry, Code: event.Timeout, Message: "the store answered too late"},
		{Number: 2, StartedAt: noon.Add(-9 * time.Minute), EndedAt: noon.Add(-9*time.Minute + time.Millisecond), Outcome: event.GaveUp, Code: event.DomainInvalid, Message: "no such state\x1b[31m"},
	}
	record := func(courier, key string) event.Record {
		return event.Record{
			Identity: event.Identity{Courier: courier, Key: key}, Status: event.Processed, EventID: "evt_1", EventType: "shipment.status.updated",
			OccurredAt: noon.Add(-time.Hour), ShipmentID: "shp_1", TraceID: "req_1", ReceivedAt: noon.Add(-90 * time.Second), Sequence: 12,
			BodyHash: "ab12", Attempts: attempts[:1], Conflicts: 1, UpdatedAt: noon, EndedAt: noon.Add(-89 * time.Second),
		}
	}
	m := &memory{
		records: []event.Record{record("demo", "demo:evt_1"), record("beta", "shared"), record("alpha", "shared")},
		shipments: []event.Shipment{{
			ShipmentRef: event.ShipmentRef{Courier: "demo", ID: "shp_1"}, OrderID: "ord_1", State: event.StateOutForDelivery, RawStatus: "OFD",
			EventTime: noon.Add(-time.Hour), LastEvent: "demo:evt_1", Leg: 1, Dropped: 3, CreatedAt: noon.Add(-48 * time.Hour), UpdatedAt: noon.Add(-time.Minute),
			History: []event.Checkpoint{
				{At: noon.Add(-26 * time.Hour), State: event.StateInTransit, Status: "IT", Key: "demo:evt_0", EventID: "evt_0"},
				{At: noon.Add(-time.Hour), State: event.StateOutForDelivery, Status: "OFD", Key: "demo:evt_1", EventID: "evt_1"},
			},
		}},
		queue: event.QueueState{
			Mode: "embedded", Sync: "group", Healthy: true, Messages: 44, Bytes: 22528, MaxBytes: 10 << 30, FirstSeq: 1, LastSeq: 44,
			AckFloor: 40, Verified: 40, Pending: 1, InFlight: 3, Redelivered: 1, Advisories: 1, DiskFree: 123 << 30, At: noon,
		},
		lost: []event.Loss{
			{
				ID: "1", FoundAt: noon.Add(-48 * time.Hour), Cause: event.LossCut, Events: 3, Sequences: []event.SequenceRange{{First: 4, Last: 4}, {First: 6, Last: 7}},
				AcknowledgedAt: noon.Add(-47 * time.Hour), Note: "sent again\x1b[31m",
			},
			{
				ID: "2", FoundAt: noon.Add(-time.Minute), Cause: event.LossHole, Events: 7, Unchecked: 2, Sequences: []event.SequenceRange{
					{First: 20, Last: 20}, {First: 22, Last: 22}, {First: 24, Last: 24}, {First: 26, Last: 26}, {First: 28, Last: 28}, {First: 30, Last: 31},
				},
			},
			{ID: "3", FoundAt: noon.Add(-time.Second), Cause: event.LossCut, Bytes: 4096, Sequences: []event.SequenceRange{}},
		},
		counts: event.StoreCounts{
			Records:     map[event.Status]int64{event.Processed: 38, event.DeadLettered: 3},
			DeadLetters: map[event.ReviewStatus]int64{event.ReviewPending: 2, event.ReviewClosed: 1}, Shipments: 9,
		},
		broken: map[string]error{}, health: 200, intake: sampleIntake(),
	}
	for i, status := range []event.ReviewStatus{event.ReviewPending, event.ReviewReviewed, event.ReviewClosed} {
		n := strconv.Itoa(i + 1)
		m.letters = append(m.letters, event.DeadLetter{
			ID: n + "-abcd", Identity: event.Identity{Courier: "demo", Key: "demo:dead_" + n}, Sequence: uint64(i + 1), EventID: "dead_" + n,
			ShipmentID: "shp_1", TraceID: "req_" + n, ReceivedAt: noon.Add(-11 * time.Minute), DeadAt: noon.Add(-9 * time.Minute),
			Code: event.DomainInvalid, Message: "no such state\x1b[31m in a very long message that goes on and on for the listing", Attempts: attempts,
			Headers:      map[string]string{"Gw-Courier": "demo", "Gw-Key": "demo:dead_" + n},
			Body:         []byte("{\"eventId\":\"dead_" + n + "\",\"payload\":{\"shipmentId\":\"shp_1\",\"note\":\"\u202eevil\u009b31m\"}}"),
			ReviewStatus: status,
		})
	}
	return m
}

// start serves an admin listener on a free port until the test ends, and returns
// its address.
func start(t *testing.T, cfg AdminConfig, deps AdminDeps) string {
	t.Helper()
	admin, err := NewAdmin(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- admin.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(admin.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// request is one request to an admin listener.
type request struct {
	method, path, body string
	header             map[string]string
	host               string
}

// reply is an answer without its body.
type reply struct {
	status int
	header http.Header
}

func (q request) send(t *testing.T, address string) (reply, string) {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), q.method, "http://"+address+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = q.host
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header}, string(body)
}

// refused sends q and checks that the answer is a whole problem document of this
// status and code, which it returns.
func (q request) refused(t *testing.T, address string, status int, code event.Code) Problem {
	t.Helper()
	resp, body := q.send(t, address)
	var p Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%s %s: %v: %s", q.method, q.path, err, body)
	}
	if resp.status != status || p.Status != status || p.Code != code {
		t.Errorf("%s %s: %d %s, want %d %s: %s", q.method, q.path, resp.status, p.Code, status, code, body)
	}
	if got := resp.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s %s: Content-Type %q", q.method, q.path, got)
	}
	if want := "urn:courier-gateway:problem:" + strings.ReplaceAll(strings.ToLower(string(code)), "_", "-"); p.Type != want {
		t.Errorf("%s %s: type %q, want %q", q.method, q.path, p.Type, want)
	}
	if p.Title == "" || p.Detail == "" || p.Message == "" || p.TraceID == "" {
		t.Errorf("%s %s: a member is missing: %s", q.method, q.path, body)
	}
	return p
}

// canceled returns a context that has ended.
func canceled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// hangingEvents answers when it is given up.
type hangingEvents struct{}

func (hangingEvents) RecordsByKey(ctx context.Context, _ string) ([]event.Record, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
