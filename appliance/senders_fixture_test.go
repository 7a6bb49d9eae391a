package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// senderCase is a request of a sender, before it is signed: a payload of our own
// making, in the shape that the sender documents, and the event that it tells.
type senderCase struct {
	Name    string            `json:"name"`
	Path    string            `json:"path"`    // the courier's address when empty
	Query   string            `json:"query"`   // encoded
	Headers map[string]string `json:"headers"` // but for those that signing adds
	Body    json.RawMessage   `json:"body"`    // sent as it stands in the file; of a string its text
	Want    wantedEvent       `json:"want"`
}

// wantedEvent is what a request tells.
type wantedEvent struct {
	EventID     string         `json:"eventId"` // "sha256:body" stands for the hash of the body as it was sent
	Key         string         `json:"idempotencyKey"`
	Type        string         `json:"eventType"`
	Source      string         `json:"source"`
	ShipmentID  string         `json:"shipmentId"`
	OrderID     string         `json:"orderId"`
	Status      string         `json:"status"`
	State       shipment.State `json:"state"`
	OccurredAt  time.Time      `json:"occurredAt"` // when absent: the moment at which it was signed and received
	Checkpoints []wantedMoment `json:"checkpoints"`
}

type wantedMoment struct {
	OccurredAt time.Time      `json:"occurredAt"`
	State      shipment.State `json:"state"`
	Status     string         `json:"status"`
}

const senderFixtures = "testdata/senders"

// senderCases reads the requests of a preset's sender.
func senderCases(t testing.TB, preset string) []senderCase {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(senderFixtures, preset+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []senderCase
	decodeStrictly(t, raw, &cases)
	return cases
}

// decodeStrictly decodes JSON of which every member must be known.
func decodeStrictly(t testing.TB, raw []byte, to any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}

// draft returns the request as it is before the sender signs it.
func (c *senderCase) draft(t testing.TB, courier string) signature.Draft {
	t.Helper()
	d := signature.Draft{Method: "POST", Path: c.Path, Body: c.Body}
	if d.Path == "" {
		d.Path = "/v1/events/courier/" + courier
	}
	for name, value := range c.Headers {
		d.Headers = append(d.Headers, signature.Header{Name: name, Value: value})
	}
	if c.Body[0] == '"' {
		var text string
		if err := json.Unmarshal(c.Body, &text); err != nil {
			t.Fatal(err)
		}
		d.Body = []byte(text)
	}
	return d
}

// sent returns the request as it goes out, signed by a scheme at a time.
func (c *senderCase) sent(t testing.TB, courier string, s *signature.Scheme, at time.Time) *sentRequest {
	t.Helper()
	d := c.draft(t, courier)
	signed, err := s.SignRequest(d, at)
	if err != nil {
		t.Fatal(err)
	}
	return &sentRequest{
		draft: d, headers: append(d.Headers, signed.Headers...), body: signed.Body,
		query: strings.Trim(c.Query+"&"+signed.Query, "&"),
	}
}

// sentRequest is a signed request, readable like one that has come in.
type sentRequest struct {
	draft   signature.Draft
	headers []signature.Header
	query   string
	body    []byte
}

func (r *sentRequest) Header(name string) (value []byte, count int) {
	for _, h := range r.headers {
		if strings.EqualFold(h.Name, name) {
			if count == 0 {
				value = []byte(h.Value)
			}
			count++
		}
	}
	return value, count
}

func (r *sentRequest) Body() []byte { return r.body }

func (r *sentRequest) Method() []byte { return []byte(r.draft.Method) }

func (r *sentRequest) Path() []byte { return []byte(r.draft.Path) }

func (r *sentRequest) Query() []byte { return []byte(r.query) }

// checkEvent compares the event that a body told at a moment with the wanted one.
func checkEvent(t testing.TB, e event.Event, body []byte, at time.Time, want wantedEvent) {
	t.Helper()
	for _, id := range []*string{&want.EventID, &want.Key} {
		if *id == "sha256:body" {
			*id = event.BodyHash(body)
		}
	}
	if want.OccurredAt.IsZero() {
		want.OccurredAt = at.UTC()
	}
	got := wantedEvent{
		EventID: e.ID, Key: e.Key, Type: e.Type, Source: e.Source, ShipmentID: e.ShipmentID, OrderID: e.OrderID,
		Status: e.Status, State: e.State, OccurredAt: e.OccurredAt,
	}
	if e.State == "" && e.Status != "" { // the canonical body leaves it to the worker
		got.State = shipment.ParseState(e.Status)
	}
	for _, c := range e.Checkpoints {
		got.Checkpoints = append(got.Checkpoints, wantedMoment{OccurredAt: c.At, State: c.State, Status: c.Status})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}
