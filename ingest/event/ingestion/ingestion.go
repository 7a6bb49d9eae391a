// Package ingestion describes what the intake records of requests: one that was refused
// or observed with the request in it, so that an operator can look at it and accept it by
// hand, the others in aggregates.
//
// The intake writes records, the store keeps them, the admin API lists them. The package
// does no I/O and imports package event and the standard library only.
package ingestion

import (
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Outcome is what the intake made of a request.
type Outcome string

// The outcomes. Observed requests are accepted, although they would be refused
// if their courier were not in observe mode. Ignored ones are answered like accepted ones
// and not queued, because by their courier's settings they say nothing of a shipment.
const (
	Accepted  Outcome = "accepted"
	Duplicate Outcome = "duplicate"
	Observed  Outcome = "observed"
	Refused   Outcome = "refused"
	Ignored   Outcome = "ignored"
)

// Outcomes lists every outcome.
var Outcomes = []Outcome{Accepted, Duplicate, Observed, Refused, Ignored}

// Record is what the intake records of requests (ingestion_records). One
// that was refused or observed has a record of its own, with the request in it,
// as far as the bounds on records allow, and so have a few samples of those that are
// ignored; accepted ones, and those beyond the bounds, are aggregated: one record for each
// courier, outcome, code and reason in a stretch of time.
type Record struct {
	ID      string    `json:"id"`                // of a later record it is greater
	Courier string    `json:"courier,omitempty"` // empty when the request named none of ours
	Outcome Outcome   `json:"outcome"`
	Count   int64     `json:"count"` // requests that it counts
	Bytes   int64     `json:"bytes"` // of their bodies
	At      time.Time `json:"at"`    // of the first of them
	Until   time.Time `json:"until"` // of the last of them

	// Why a request was refused, or would have been.
	Code   event.Code `json:"errorCode,omitempty"`
	Reason string     `json:"reason,omitempty"` // kind of signature failure, such as "mismatch"; why it was ignored
	Detail string     `json:"detail,omitempty"` // as in the answer

	// What follows is of a single request.
	Status  int      `json:"status,omitempty"`  // that was answered
	Address string   `json:"address,omitempty"` // of the sender, behind trusted proxies
	TraceID string   `json:"traceId,omitempty"`
	Request *Request `json:"request,omitempty"` // nil for an aggregate of several

	// Set when an operator has accepted the request by hand.
	AcceptedAt  time.Time `json:"acceptedAt,omitzero"`
	AcceptedKey string    `json:"acceptedKey,omitempty"` // idempotency key of the event
	AcceptedBy  string    `json:"acceptedBy,omitempty"`  // id of the secret that verified it, or [KeyIDOperator]
}

// Request is a request as it was sent, less what is secret in it.
type Request struct {
	Method  string   `json:"method"`
	Path    string   `json:"path"`
	Query   string   `json:"query,omitempty"`
	Headers []Header `json:"headers"` // in their order
	Body    []byte   `json:"body"`    // at most as much as the bounds allow
	// BodyBytes is the size of the whole body, more than len(Body) when it was cut.
	BodyBytes int `json:"bodyBytes"`
	// Redacted says that a credential was taken out of the headers or the query,
	// so that the signature can no longer be verified.
	Redacted bool `json:"redacted,omitempty"`
}

// Whole reports whether all of the body is there.
func (r *Request) Whole() bool { return r.BodyBytes == len(r.Body) }

// Header is one header of a captured request.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Filter selects ingestion records; zero members select all.
type Filter struct {
	Courier  string
	Outcomes []Outcome
	Code     event.Code
	Open     bool   // only requests that were not accepted since
	Limit    int    // at most this many; 0 means 100
	After    string // continues a listing behind the record with this id
}

// Acceptance is what became of a refused request that an operator accepted by hand.
type Acceptance struct {
	event.Identity
	EventID   string `json:"eventId"`
	Sequence  uint64 `json:"sequence"`  // in the stream
	Duplicate bool   `json:"duplicate"` // the queue had it already
	Conflict  bool   `json:"conflict"`  // what the queue had has another body, which counts
	KeyID     string `json:"keyId"`     // of the secret that verified it, or [KeyIDOperator]
}

// KeyIDOperator is the key id of an envelope that no secret verified: an operator
// vouched for it.
const KeyIDOperator = "operator"
