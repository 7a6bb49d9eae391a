// Package sendertest holds requests of every sender that there is a preset for, for the
// tests of presets, of the intake and of the commands.
//
//	samples/PRESET.json ──Cases──▶ Case ──Signed──▶ Request, as it comes in
//	                                  └─Want──▶ CheckEvent
//
// Only tests import it.
package sendertest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config/samples"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// Case is a request of a sender, before it is signed: a made up payload in the shape that
// the sender documents, and the event that it means.
type Case struct {
	samples.Request
	Want WantedEvent `json:"want"`
}

// CaseOf returns a request with a body, and nothing else that is particular.
func CaseOf(body []byte) Case { return Case{Request: samples.Request{Body: body}} }

// WantedEvent is the event that a request means.
type WantedEvent struct {
	EventID     string         `json:"eventId"` // "sha256:body" is the hash of the body as it was sent
	Key         string         `json:"idempotencyKey"`
	Type        string         `json:"eventType"`
	Source      string         `json:"source"`
	ShipmentID  string         `json:"shipmentId"`
	OrderID     string         `json:"orderId"`
	Status      string         `json:"status"`
	State       shipment.State `json:"state"`
	OccurredAt  time.Time      `json:"occurredAt"` // when absent: the moment at which it was signed and received
	Checkpoints []WantedMoment `json:"checkpoints"`
}

// WantedMoment is a checkpoint of the event.
type WantedMoment struct {
	OccurredAt time.Time      `json:"occurredAt"`
	State      shipment.State `json:"state"`
	Status     string         `json:"status"`
}

// Names returns the presets of which there are requests, in order.
func Names(t testing.TB) (names []string) {
	t.Helper()
	return samples.Presets()
}

// Cases reads the requests of a preset's sender that mean an event.
func Cases(t testing.TB, preset string) []Case {
	t.Helper()
	return slices.DeleteFunc(all(t, preset), func(c Case) bool { return c.Ignored })
}

// IgnoredCases reads those that say nothing of a shipment.
func IgnoredCases(t testing.TB, preset string) []Case {
	t.Helper()
	return slices.DeleteFunc(all(t, preset), func(c Case) bool { return !c.Ignored })
}

func all(t testing.TB, preset string) []Case {
	t.Helper()
	raw, err := samples.File(preset)
	if err != nil {
		t.Fatal(err)
	}
	var cases []Case
	DecodeStrictly(t, raw, &cases)
	return cases
}

// DecodeStrictly decodes JSON of which every member must be known.
func DecodeStrictly(t testing.TB, raw []byte, to any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}

// draft returns the request as it is before the sender signs it.
func (c *Case) draft(t testing.TB, courier string) signature.Draft {
	t.Helper()
	d := signature.Draft{Method: "POST", Path: c.Path, Body: c.Bytes()}
	if d.Path == "" {
		d.Path = "/v1/events/courier/" + courier
	}
	for name, value := range c.Headers {
		d.Headers = append(d.Headers, signature.Header{Name: name, Value: value})
	}
	return d
}

// Signed returns the request as it is sent: to the path of a courier, signed by a scheme
// at a time.
func (c *Case) Signed(t testing.TB, courier string, s *signature.Scheme, at time.Time) *Request {
	t.Helper()
	d := c.draft(t, courier)
	signed, err := s.SignRequest(d, at)
	if err != nil {
		t.Fatal(err)
	}
	return &Request{
		draft: d, RawHeaders: append(d.Headers, signed.Headers...), RawBody: signed.Body,
		RawQuery: strings.Trim(c.Query+"&"+signed.Query, "&"),
	}
}

// Request is a signed request. It can be read like one that has come in.
type Request struct {
	draft      signature.Draft
	RawHeaders []signature.Header
	RawQuery   string
	RawBody    []byte
}

// Header returns the first value of a header, and how many there are.
func (r *Request) Header(name string) (value []byte, count int) {
	for _, h := range r.RawHeaders {
		if strings.EqualFold(h.Name, name) {
			if count == 0 {
				value = []byte(h.Value)
			}
			count++
		}
	}
	return value, count
}

// Body returns the body.
func (r *Request) Body() []byte { return r.RawBody }

// Method returns the method.
func (r *Request) Method() []byte { return []byte(r.draft.Method) }

// Path returns the path.
func (r *Request) Path() []byte { return []byte(r.draft.Path) }

// Query returns the encoded query.
func (r *Request) Query() []byte { return []byte(r.RawQuery) }

// CheckEvent compares an event, read from a body that came at a time, with the wanted
// one.
func CheckEvent(t testing.TB, e event.Event, body []byte, at time.Time, want WantedEvent) {
	t.Helper()
	for _, id := range []*string{&want.EventID, &want.Key} {
		if *id == "sha256:body" {
			*id = event.BodyHash(body)
		}
	}
	if want.OccurredAt.IsZero() {
		want.OccurredAt = at.UTC()
	}
	got := WantedEvent{
		EventID: e.ID, Key: e.Key, Type: e.Type, Source: e.Source, ShipmentID: e.ShipmentID, OrderID: e.OrderID,
		Status: e.Status, State: e.State, OccurredAt: e.OccurredAt,
	}
	if e.State == "" && e.Status != "" { // the canonical body leaves it to the worker
		got.State = shipment.ParseState(e.Status)
	}
	for _, c := range e.Checkpoints {
		got.Checkpoints = append(got.Checkpoints, WantedMoment{OccurredAt: c.At, State: c.State, Status: c.Status})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}
