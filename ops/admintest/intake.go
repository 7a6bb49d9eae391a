package admintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
)

// Ids of the sample's records, by what is particular about them.
var (
	RefusedID       = RecordID(Noon.Add(-time.Minute), 1)
	ObservedID      = RecordID(Noon.Add(-2*time.Minute), 2)
	LaterAcceptedID = RecordID(Noon.Add(-3*time.Minute), 3)
	CutID           = RecordID(Noon.Add(-4*time.Minute), 4)
	RedactedID      = RecordID(Noon.Add(-5*time.Minute), 5)
	AggregateID     = RecordID(Noon.Add(-time.Hour), 6)
	AcceptedID      = RecordID(Noon.Add(-time.Hour), 5)
)

// RecordID names an ingestion record as the intake does: a later one has a greater
// id.
func RecordID(at time.Time, n uint64) string { return fmt.Sprintf("%012x-%016x", at.UnixMilli(), n) }

// Intake is an intake and its records in memory, as far as operators see them. Set
// its fields before it is served.
type Intake struct {
	Records    []ingestion.Record // newest first
	Filters    []ingestion.Filter // as asked for
	Refusals   map[string]error   // of accepting, by record
	Unmarkable error              // of marking a record
	Couriers   []ops.CourierInfo
	Report     ops.ReloadReport
	Misconfig  error // of a reload

	mu       sync.Mutex // of Records, Filters and accepted
	accepted []string   // ids, "vouched " before those that were vouched for
}

// Ingestions is of [admin.Ingestions].
func (m *Stores) Ingestions(_ context.Context, f ingestion.Filter) ([]ingestion.Record, error) {
	m.Intake.mu.Lock()
	defer m.Intake.mu.Unlock()
	m.Intake.Filters = append(m.Intake.Filters, f)
	return pageOf(m.Intake.Records, f.Limit, f.After, func(r ingestion.Record) (id string, selected bool) {
		return r.ID, (f.Courier == "" || f.Courier == r.Courier) && (f.Code == "" || f.Code == r.Code) &&
			slices.Contains(f.Outcomes, r.Outcome) && (!f.Open || r.AcceptedAt.IsZero())
	}), m.Fault
}

// Ingestion is of [admin.Ingestions].
func (m *Stores) Ingestion(_ context.Context, id string) (ingestion.Record, error) {
	m.Intake.mu.Lock()
	defer m.Intake.mu.Unlock()
	if r := m.Intake.find(id); r != nil {
		return *r, m.Fault
	}
	return ingestion.Record{}, event.Errorf(event.NotFound, "memory", "no record")
}

// AcceptIngestion is of [admin.Ingestions].
func (m *Stores) AcceptIngestion(ctx context.Context, id, key, keyID string, at time.Time) (ingestion.Record, error) {
	m.Intake.mu.Lock()
	defer m.Intake.mu.Unlock()
	if err := errors.Join(m.Intake.Unmarkable, ctx.Err()); err != nil {
		return ingestion.Record{}, err
	}
	r := m.Intake.find(id)
	r.AcceptedKey, r.AcceptedBy, r.AcceptedAt = key, keyID, at
	return *r, nil
}

func (m *Intake) find(id string) *ingestion.Record {
	i := slices.IndexFunc(m.Records, func(r ingestion.Record) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return &m.Records[i]
}

// Record returns a record as it is now.
func (m *Intake) Record(id string) ingestion.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.find(id)
}

// Accepted returns the ids of what was accepted, in order.
func (m *Intake) Accepted() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.accepted)
}

// AcceptRefused makes it an [admin.Intake].
func (m *Intake) AcceptRefused(_ context.Context, r ingestion.Record, vouch bool) (ingestion.Acceptance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	accepted := ingestion.Acceptance{
		Identity: event.Identity{Courier: r.Courier, Key: r.Courier + ":" + r.TraceID}, EventID: r.TraceID, Sequence: uint64(100 + len(m.accepted)),
		Duplicate: r.Code == event.InvalidPayload, KeyID: "4f2a",
	}
	prefix := ""
	if vouch {
		accepted.KeyID, prefix = ingestion.KeyIDOperator, "vouched "
	} else if err := m.Refusals[r.ID]; err != nil {
		return ingestion.Acceptance{}, err
	}
	m.accepted = append(m.accepted, prefix+r.ID)
	return accepted, nil
}

func (m *Intake) reload(context.Context) (ops.ReloadReport, error) {
	return m.Report, m.Misconfig
}

// sampleIntake returns an intake with a record of every sort, and couriers of
// every sort.
func sampleIntake() *Intake {
	single := func(id string, ago time.Duration, outcome ingestion.Outcome, trace string) ingestion.Record {
		body := `{"eventId":"` + trace + `","note":"` + "\u202eevil\u009b31m" + `"}`
		return ingestion.Record{
			ID: id, Courier: "demo", Outcome: outcome, Count: 1, Bytes: int64(len(body)), At: Noon.Add(-ago), Until: Noon.Add(-ago),
			Code: event.InvalidSignature, Reason: "mismatch", Detail: "the signature does not match the body and the secret", Status: 401,
			Address: "192.0.2.7", TraceID: trace,
			Request: &ingestion.Request{
				Method: "POST", Path: "/v1/events/courier/demo", Query: "a=\x1b[2J",
				Headers: []ingestion.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Signature", Value: "00ff\x1b[31m"}},
				Body:    []byte(body), BodyBytes: len(body),
			},
		}
	}
	refused := single(RefusedID, time.Minute, ingestion.Refused, "req_a")
	observed := single(ObservedID, 2*time.Minute, ingestion.Observed, "req_b")
	observed.Status = 202
	accepted := single(LaterAcceptedID, 3*time.Minute, ingestion.Refused, "req_c")
	accepted.AcceptedAt, accepted.AcceptedBy, accepted.AcceptedKey = Noon.Add(-time.Second), ingestion.KeyIDOperator, "demo:req_c\x1b[31m"
	cut := single(CutID, 4*time.Minute, ingestion.Refused, "req_d")
	cut.Code, cut.Reason, cut.Detail, cut.Status, cut.Bytes, cut.Request.BodyBytes = event.PayloadTooLarge, "", "the body is too large", 413, 4<<20, 4<<20
	redacted := single(RedactedID, 5*time.Minute, ingestion.Refused, "req_e")
	redacted.Code, redacted.Reason, redacted.Detail, redacted.Status = event.InvalidPayload, "", "payload.shipmentId is missing\x1b[31m", 400
	redacted.Request.Headers[1].Value, redacted.Request.Redacted = "[redacted]", true
	return &Intake{
		Records: []ingestion.Record{
			refused, observed, accepted, cut, redacted,
			{
				ID: AggregateID, Outcome: ingestion.Refused, Count: 480, Bytes: 96 << 10, At: Noon.Add(-time.Hour), Until: Noon.Add(-59 * time.Minute),
				Code: event.UnknownCourier,
			},
			{ID: AcceptedID, Courier: "demo", Outcome: ingestion.Accepted, Count: 1200, Bytes: 400 << 10, At: Noon.Add(-time.Hour), Until: Noon.Add(-59 * time.Minute)},
		},
		Refusals: map[string]error{RedactedID: event.Errorf(event.InvalidSignature, "accept", "no secret verifies it")},
		Couriers: Couriers(),
		Report:   ops.ReloadReport{Couriers: 4, Changed: []string{"ingest.listen", "log.level"}},
	}
}

// Couriers returns the couriers of the sample, one of every sort.
func Couriers() []ops.CourierInfo {
	courier := func(name, scheme string) ops.CourierInfo {
		return ops.CourierInfo{
			Name: name, Scheme: scheme, Mode: ops.ModeEnforce, Path: "/v1/events/courier/" + name, Binding: "the whole body and the time",
			BindsBody: true, Fresh: true, Keys: []ops.KeyInfo{{ID: "4f2a", State: ops.KeyValid}}, MaxBodyBytes: 1 << 20, SuccessStatus: 202,
		}
	}
	demo := courier("demo", "gateway")
	demo.Default = true
	demo.Keys = append(demo.Keys, ops.KeyInfo{ID: "9c1b", NotBefore: Noon.Add(time.Hour), State: ops.KeyNotYet})
	old := courier("old", "hmac")
	old.Keys = []ops.KeyInfo{{ID: "77aa", NotAfter: Noon.Add(-time.Hour), State: ops.KeyExpired}}
	open := courier("open", "static_header")
	open.Preset, open.Unverified, open.Mode, open.BindsBody, open.Fresh = "bosta", true, ops.ModeObserve, false, false
	open.UnsignedID = "x-event-id"
	open.Binding, open.Mapped, open.Networks, open.RatePerSecond = "nothing of the body, not the time", true, []string{"192.0.2.0/24"}, 50
	rsa := courier("rsa", "rsa")
	rsa.Preset, rsa.Keys = "shipengine", nil
	rsa.PublicKeys = &ops.KeySourceInfo{Address: "https://keys.example/jwks\x1b[2J", Count: 2, LoadedAt: Noon.Add(-2 * time.Hour), Problem: "connection refused\x1b[31m"}
	return []ops.CourierInfo{demo, old, open, rsa}
}
