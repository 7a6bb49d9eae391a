package ops

import (
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// Rejections are the outcomes of requests that were refused, or would have been
// if their courier were not in observe mode.
var Rejections = []ingestion.Outcome{ingestion.Refused, ingestion.Observed}

// NotQueued are the outcomes that a listing of rejections can be asked for: besides
// [Rejections], which it has when it is not asked, that of ignored requests.
var NotQueued = append(slices.Clone(Rejections), ingestion.Ignored)

// IngestionPage is one page of a listing, newest first.
type IngestionPage struct {
	Records []IngestionRow `json:"records"`
	Next    string         `json:"next,omitempty"` // pass as after for the next page; empty on the last
}

// Rows makes the page a [Page].
func (p IngestionPage) Rows() ([]IngestionRow, string) { return p.Records, p.Next }

// IngestionRow is a record as listings have it: without the headers and the body
// of its request, which can be large.
type IngestionRow struct {
	ingestion.Record
	Request *RequestRow `json:"request,omitempty"` // nil for an aggregate
}

// Single reports whether the record is of one request, not an aggregate of several.
func (r *IngestionRow) Single() bool { return r.Request != nil }

// RequestRow is a captured request as listings have it.
type RequestRow struct {
	ingestion.Request
	Cut bool `json:"cut,omitempty"` // not all of its body was kept
	// Headers and Body hide those of the request and stay empty.
	Headers *struct{} `json:"headers,omitempty"`
	Body    *struct{} `json:"body,omitempty"`
}

// AcceptRequest is the body of a request to accept what was refused.
type AcceptRequest struct {
	// Vouch says that the operator knows who sent it, so that it is not verified.
	Vouch bool `json:"vouch,omitempty"`
}

// Accepted is the event of a refused request that an operator has accepted.
type Accepted struct {
	ingestion.Acceptance
	// NotMarked is why its record does not show it, empty when it does. The
	// event is on the queue nevertheless.
	NotMarked string `json:"notMarkedBecause,omitempty"`
}

// CheckAcceptable returns why a record holds no request that can be accepted, nil
// when it does.
func CheckAcceptable(r *ingestion.Record) *Problem {
	switch {
	case !r.AcceptedAt.IsZero():
		p := Refuse(AlreadyAccepted, "request %q was accepted already, at %s, as event %q", r.ID, r.AcceptedAt.UTC().Format(time.RFC3339), r.AcceptedKey)
		p.Key = r.AcceptedKey
		return p
	case r.Request == nil:
		return Refuse(event.Incomplete, "record %q is an aggregate and holds none of the requests it counts: have the courier send them again", r.ID)
	case r.Outcome != ingestion.Refused && r.Outcome != ingestion.Ignored:
		return Refuse(AlreadyAccepted, "request %q was not refused, it was accepted when it came", r.ID)
	case !r.Request.Whole():
		return Refuse(event.Incomplete, "of the body of request %q only %d of %d bytes were kept: have the courier send it again",
			r.ID, len(r.Request.Body), r.Request.BodyBytes)
	}
	return nil
}
