package process

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// fakeStore is a [Store], [DeadLetters] and [DeadLetterIndex] in maps.
type fakeStore struct {
	mu        sync.Mutex
	records   map[event.Identity]event.Record
	shipments map[shipment.Ref]shipment.Shipment
	letters   map[string]event.DeadLetter
	unmapped  map[string]shipment.Unmapped
	calls     map[string]int
	applied   map[event.Identity]int // how often an identity reached a shipment

	// recordFailures, when set, is asked before each change that touches a shipment.
	fail func(event.Change) error
	// down, when set, is what every call returns.
	down error
	// whole, when set, is asked before each commit, and what it returns is the call's.
	whole func([]event.Change) error
	// refuseForeign, when set, is asked before each change of any kind.
	refuse func(event.Change) error
	// odd is the key of a ledger row, or the id of a shipment, that can't be read.
	odd string
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		records: map[event.Identity]event.Record{}, shipments: map[shipment.Ref]shipment.Shipment{},
		letters: map[string]event.DeadLetter{}, unmapped: map[string]shipment.Unmapped{}, calls: map[string]int{}, applied: map[event.Identity]int{},
	}
}

// enter locks the store and counts the call; leave it with the returned function.
func (m *fakeStore) enter(call string) (leave func(), err error) {
	m.mu.Lock()
	m.calls[call]++
	return m.mu.Unlock, m.down
}

func (m *fakeStore) Ping(context.Context) error {
	leave, err := m.enter("ping")
	defer leave()
	return err
}

func (m *fakeStore) ChangeUnmapped(_ context.Context, courier string, change func(*shipment.Unmapped)) error {
	leave, err := m.enter("unmapped")
	defer leave()
	if err != nil {
		return err
	}
	u := m.unmapped[courier]
	u.Courier = courier
	change(&u)
	m.unmapped[courier] = u
	return nil
}

func (m *fakeStore) Records(_ context.Context, ids []event.Identity) ([]event.Record, error) {
	leave, err := m.enter("records")
	defer leave()
	var found []event.Record
	for _, id := range ids {
		if id.Key == m.odd {
			return nil, event.Errorf(event.Internal, "memory", "row %s is odd", id)
		}
		if r, ok := m.records[id]; ok {
			r.Attempts = slices.Clone(r.Attempts)
			found = append(found, r)
		}
	}
	return found, err
}

func (m *fakeStore) Shipments(_ context.Context, refs []shipment.Ref) ([]shipment.Shipment, error) {
	leave, err := m.enter("shipments")
	defer leave()
	var found []shipment.Shipment
	for _, ref := range refs {
		if ref.ID == m.odd {
			return nil, event.Errorf(event.Internal, "memory", "shipment %s is odd", ref)
		}
		if s, ok := m.shipments[ref]; ok {
			s.History = slices.Clone(s.History)
			found = append(found, s)
		}
	}
	return found, err
}

func (m *fakeStore) Commit(_ context.Context, changes []event.Change) ([]error, error) {
	leave, err := m.enter("commit")
	defer leave()
	if err != nil {
		return nil, err
	}
	if m.whole != nil {
		if err := m.whole(changes); err != nil {
			return nil, err
		}
	}
	errs := make([]error, len(changes))
	for i, c := range changes {
		errs[i] = m.commit(c)
	}
	return errs, nil
}

func (m *fakeStore) commit(c event.Change) error {
	if m.refuse != nil {
		if err := m.refuse(c); err != nil {
			return err
		}
	}
	if c.Shipment != nil && m.fail != nil {
		if err := m.fail(c); err != nil {
			return err
		}
	}
	moved := c.Shipment != nil && m.shipments[c.Shipment.Ref].Version != c.Shipment.Version
	for _, r := range c.Records {
		moved = moved || m.records[r.Identity].Version != r.Version
	}
	if moved {
		return event.Errorf(event.VersionConflict, "memory", "a row moved")
	}
	for _, r := range c.Records {
		r.Version++
		m.records[r.Identity] = r
		if c.Shipment != nil {
			m.applied[r.Identity]++
		}
	}
	if c.Shipment != nil {
		s := *c.Shipment
		s.Version++
		m.shipments[s.Ref] = s
	}
	for _, l := range c.DeadLetters {
		if _, ok := m.letters[l.ID]; !ok {
			m.letters[l.ID] = l
		}
	}
	return nil
}

func (m *fakeStore) DeadLetter(_ context.Context, id string) (event.DeadLetter, error) {
	leave, err := m.enter("letter")
	defer leave()
	l, ok := m.letters[id]
	if !ok {
		return l, event.Errorf(event.NotFound, "memory", "no dead letter %s", id)
	}
	return l, err
}

func (m *fakeStore) Review(_ context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (event.DeadLetter, error) {
	leave, err := m.enter("review")
	defer leave()
	l := m.letters[id]
	l.ReviewStatus, l.Note = status, note
	if link != nil {
		l.Replays = append(l.Replays, *link)
	}
	m.letters[id] = l
	return l, err
}

func (m *fakeStore) DeadSequences(_ context.Context, seqs []uint64) (map[uint64]bool, error) {
	leave, err := m.enter("dead sequences")
	defer leave()
	dead := map[uint64]bool{}
	for _, l := range m.letters {
		if slices.Contains(seqs, l.Sequence) {
			dead[l.Sequence] = true
		}
	}
	return dead, err
}

func (m *fakeStore) EndedSequences(_ context.Context, missing loss.Missing) (ended []uint64, err error) {
	leave, err := m.enter("ended")
	defer leave()
	for _, r := range m.records {
		if r.Status.Terminal() && r.Sequence >= missing.Sequence.First && r.Sequence <= missing.Sequence.Last {
			ended = append(ended, r.Sequence)
		}
	}
	return ended, err
}

// onlyLetter returns the single dead letter, and fails the test otherwise.
func (m *fakeStore) onlyLetter(t *testing.T) event.DeadLetter {
	t.Helper()
	letters := slices.Collect(maps.Values(m.letters))
	if len(letters) != 1 {
		t.Fatalf("%d dead letters, want 1: %+v", len(letters), letters)
	}
	return letters[0]
}

// fakeCache is a Cache in a map.
type fakeCache struct {
	mu     sync.Mutex
	hashes map[event.Identity]string
	err    error
}

func (s *fakeCache) Lookup(_ context.Context, ids []event.Identity) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hashes := make([]string, len(ids))
	for i, id := range ids {
		hashes[i] = s.hashes[id]
	}
	return hashes, s.err
}

func (s *fakeCache) Store(_ context.Context, ids []event.Identity, hashes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, id := range ids {
		s.hashes[id] = hashes[i]
	}
	return s.err
}

// noon is when every test begins.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// eventually waits until ok, and fails the test after a long time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// fixture is a handler on a memory store, with everything a test looks at.
type fixture struct {
	*Handler
	store *fakeStore
	cache *fakeCache
	seq   uint64
}

func newStamper(t testing.TB) *stamp.Stamper {
	t.Helper()
	s, err := stamp.New([]byte("a stamp key of enough bytes"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	store, cache := newFakeStore(), &fakeCache{hashes: map[event.Identity]string{}}
	return &fixture{store: store, cache: cache, Handler: &Handler{
		Store: store, Cache: cache, Stamper: newStamper(t), Read: (*payload.Decoder)(nil).DecodeQueued,
		Policy:   Policy{MaxAttempts: 5, Base: time.Second, Multiplier: 2, Jitter: 0.2},
		Log:      slog.New(slog.DiscardHandler),
		Metrics:  NewMetrics(prometheus.NewRegistry()),
		Now:      func() time.Time { return noon },
		MaxAhead: func(string) time.Duration { return DefaultMaxAhead },
		Mapped:   func(_, status string, _ bool) bool { return status == "unknown" },
		Statuses: store,
	}}
}

// body is a canonical event's JSON.
func body(key, shipment, status string, at time.Time) []byte {
	return fmt.Appendf(nil, `{"eventId":"evt_%s","eventType":"shipment.status.updated","occurredAt":%q,"source":"t",`+
		`"idempotencyKey":%q,"payload":{"shipmentId":%q,"status":%q}}`,
		key, at.Format(time.RFC3339Nano), key, shipment, status)
}

// arrives returns the first delivery of a stamped event, as the next in the stream.
func (d *fixture) arrives(key, shipment, status string, at time.Time) event.Delivery {
	d.seq++
	e := event.Envelope{
		Courier: "demo", EventID: "evt_" + key, Key: key, TraceID: "req_" + strconv.FormatUint(d.seq, 10),
		ReceivedAt: noon, Scheme: "gateway", KeyID: "k1", Body: body(key, shipment, status, at),
	}
	d.Stamper.Stamp(&e)
	return event.Delivery{Envelope: e, Sequence: d.seq, Attempt: 1}
}

// handle hands a batch in and returns the verdicts.
func (d *fixture) handle(t testing.TB, batch ...event.Delivery) []event.Verdict {
	t.Helper()
	verdicts, err := d.Handle(t.Context(), batch)
	if err != nil {
		t.Fatalf("handle: %v", err)
	}
	return verdicts
}

func (d *fixture) record(t *testing.T, key string) event.Record {
	t.Helper()
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	r, ok := d.store.records[event.Identity{Courier: "demo", Key: key}]
	if !ok {
		t.Fatalf("no ledger row for %s", key)
	}
	return r
}

func (d *fixture) shipment(t *testing.T, id string) shipment.Shipment {
	t.Helper()
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	s, ok := d.store.shipments[shipment.Ref{Courier: "demo", ID: id}]
	if !ok {
		t.Fatalf("no shipment %s", id)
	}
	return s
}
