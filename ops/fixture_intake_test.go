package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Ids of the sample's records, by what is particular about them.
var (
	refusedID  = recordID(noon.Add(-time.Minute), 1)
	observedID = recordID(noon.Add(-2*time.Minute), 2)
	takenID    = recordID(noon.Add(-3*time.Minute), 3)
	cutID      = recordID(noon.Add(-4*time.Minute), 4)
	redactedID = recordID(noon.Add(-5*time.Minute), 5)
	sumID      = recordID(noon.Add(-time.Hour), 6)
	acceptedID = recordID(noon.Add(-time.Hour), 5)
)

// recordID names an ingestion record as the intake does: a later one has a greater
// id.
func recordID(at time.Time, n uint64) string { return fmt.Sprintf("%012x-%016x", at.UnixMilli(), n) }

// memoryIntake is an intake and its records in memory, as far as operators see
// them.
type memoryIntake struct {
	mu         sync.Mutex
	records    []event.IngestionRecord // newest first
	filters    []event.IngestionFilter // as asked for
	took       []string                // ids that were taken in, "vouched " before those that were vouched for
	refusals   map[string]error        // of taking in, by record
	unmarkable error                   // of marking a record
	couriers   []CourierInfo
	report     ReloadReport
	misconfig  error // of a reload
}

func (m *memory) Ingestions(_ context.Context, f event.IngestionFilter) ([]event.IngestionRecord, error) {
	m.intake.mu.Lock()
	defer m.intake.mu.Unlock()
	m.intake.filters = append(m.intake.filters, f)
	return pageOf(m.intake.records, f.Limit, f.After, func(r event.IngestionRecord) (id string, selected bool) {
		return r.ID, (f.Courier == "" || f.Courier == r.Courier) && (f.Code == "" || f.Code == r.Code) &&
			slices.Contains(f.Outcomes, r.Outcome) && (!f.Open || r.TakenAt.IsZero())
	}), m.fault
}

func (m *memory) Ingestion(_ context.Context, id string) (event.IngestionRecord, error) {
	m.intake.mu.Lock()
	defer m.intake.mu.Unlock()
	if r := m.intake.find(id); r != nil {
		return *r, m.fault
	}
	return event.IngestionRecord{}, event.Errorf(event.NotFound, "memory", "no record")
}

func (m *memory) TakeIngestion(ctx context.Context, id, key, keyID string, at time.Time) (event.IngestionRecord, error) {
	m.intake.mu.Lock()
	defer m.intake.mu.Unlock()
	if err := errors.Join(m.intake.unmarkable, ctx.Err()); err != nil {
		return event.IngestionRecord{}, err
	}
	r := m.intake.find(id)
	r.TakenKey, r.TakenBy, r.TakenAt = key, keyID, at
	return *r, nil
}

func (m *memoryIntake) find(id string) *event.IngestionRecord {
	i := slices.IndexFunc(m.records, func(r event.IngestionRecord) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return &m.records[i]
}

// record returns a record as it is now.
func (m *memoryIntake) record(id string) event.IngestionRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.find(id)
}

// takenIn returns what was taken in, in order.
func (m *memoryIntake) takenIn() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.took)
}

func (m *memoryIntake) Take(_ context.Context, r event.IngestionRecord, vouch bool) (event.Taken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := event.Taken{
		Identity: event.Identity{Courier: r.Courier, Key: r.Courier + ":" + r.TraceID}, EventID: r.TraceID, Sequence: uint64(100 + len(m.took)),
		Duplicate: r.Code == event.InvalidPayload, KeyID: "4f2a",
	}
	prefix := ""
	if vouch {
		taken.KeyID, prefix = event.KeyIDOperator, "vouched "
	} else if err := m.refusals[r.ID]; err != nil {
		return event.Taken{}, err
	}
	m.took = append(m.took, prefix+r.ID)
	return taken, nil
}

func (m *memoryIntake) reload(context.Context) (ReloadReport, error) {
	return m.report, m.misconfig
}

// sampleIntake returns an intake with a record of every sort, and couriers of
// every sort.
func sampleIntake() *memoryIntake {
	single := func(id string, ago time.Duration, outcome event.IntakeOutcome, trace string) event.IngestionRecord {
		body := `{"eventId":"` + trace + `","note":"` + "\u202eevil\u009b31m" + `"}`
		return event.IngestionRecord{
			ID: id, Courier: "demo", Outcome: outcome, Count: 1, Bytes: int64(len(body)), At: noon.Add(-ago), Until: noon.Add(-ago),
			Code: event.InvalidSignature, Reason: "mismatch", Detail: "the signature does not match the body and the secret", Status: 401,
			Address: "192.0.2.7", TraceID: trace,
			Request: &event.CapturedRequest{
				Method: "POST", Path: "/v1/events/courier/demo", Query: "a=\x1b[2J",
				Headers: []event.CapturedHeader{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Signature", Value: "00ff\x1b[31m"}},
				Body:    []byte(body), BodyBytes: len(body),
			},
		}
	}
	refused := single(refusedID, time.Minute, event.IntakeRefused, "req_a")
	observed := single(observedID, 2*time.Minute, event.IntakeObserved, "req_b")
	observed.Status = 202
	taken := single(takenID, 3*time.Minute, event.IntakeRefused, "req_c")
	taken.TakenAt, taken.TakenBy, taken.TakenKey = noon.Add(-time.Second), event.KeyIDOperator, "demo:req_c\x1b[31m"
	cut := single(cutID, 4*time.Minute, event.IntakeRefused, "req_d")
	cut.Code, cut.Reason, cut.Detail, cut.Status, cut.Bytes, cut.Request.BodyBytes = event.PayloadTooLarge, "", "the body is too large", 413, 4<<20, 4<<20
	redacted := single(redactedID, 5*time.Minute, event.IntakeRefused, "req_e")
	redacted.Code, redacted.Reason, redacted.Detail, redacted.Status = event.InvalidPayload, "", "payload.shipmentId is missing\x1b[31m", 400
	redacted.Request.Headers[1].Value, redacted.Request.Redacted = "[redacted]", true
	return &memoryIntake{
		records: []event.IngestionRecord{
			refused, observed, taken, cut, redacted,
			{
				ID: sumID, Outcome: event.IntakeRefused, Count: 480, Bytes: 96 << 10, At: noon.Add(-time.Hour), Until: noon.Add(-59 * time.Minute),
				Code: event.UnknownCourier,
			},
			{ID: acceptedID, Courier: "demo", Outcome: event.IntakeAccepted, Count: 1200, Bytes: 400 << 10, At: noon.Add(-time.Hour), Until: noon.Add(-59 * time.Minute)},
		},
		refusals: map[string]error{redactedID: event.Errorf(event.InvalidSignature, "take", "nothing proves who sent it")},
		couriers: sampleCouriers(),
		report:   ReloadReport{Couriers: 4, Changed: []string{"ingest.listen", "log.level"}},
	}
}

func sampleCouriers() []CourierInfo {
	courier := func(name, scheme string) CourierInfo {
		return CourierInfo{
			Name: name, Scheme: scheme, Mode: ModeEnforce, Path: "/v1/events/courier/" + name, Binding: "the whole body and the time",
			BindsBody: true, Fresh: true, Keys: []KeyInfo{{ID: "4f2a", State: KeyValid}}, MaxBodyBytes: 1 << 20, SuccessStatus: 202,
		}
	}
	demo := courier("demo", "gateway")
	demo.Default = true
	demo.Keys = append(demo.Keys, KeyInfo{ID: "9c1b", NotBefore: noon.Add(time.Hour), State: KeyNotYet})
	old := courier("old", "hmac")
	old.Keys = []KeyInfo{{ID: "77aa", NotAfter: noon.Add(-time.Hour), State: KeyExpired}}
	open := courier("open", "static_header")
	open.Preset, open.Unverified, open.Mode, open.BindsBody, open.Fresh = "bosta", true, ModeObserve, false, false
	open.UnsignedID = "x-event-id"
	open.Binding, open.Mapped, open.Networks, open.RatePerSecond = "nothing of the body, not the time", true, []string{"192.0.2.0/24"}, 50
	rsa := courier("rsa", "rsa")
	rsa.Preset, rsa.Keys = "shipengine", nil
	rsa.PublicKeys = &KeySourceInfo{Address: "https://keys.example/jwks\x1b[2J", Count: 2, LoadedAt: noon.Add(-2 * time.Hour), Problem: "connection refused\x1b[31m"}
	return []CourierInfo{demo, old, open, rsa}
}
