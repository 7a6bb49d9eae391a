package ops

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// rejections are the outcomes of requests that were refused, or would have been
// if their courier were not in observe mode.
var rejections = []event.IntakeOutcome{event.IntakeRefused, event.IntakeObserved}

// IngestionPage is one page of a listing, newest first.
type IngestionPage struct {
	Records []IngestionRow `json:"records"`
	Next    string         `json:"next,omitempty"` // pass as after for the next page; empty on the last
}

func (p IngestionPage) list() ([]IngestionRow, string) { return p.Records, p.Next }

// IngestionRow is a record as listings have it: without the headers and the body
// of its request, which can be large.
type IngestionRow struct {
	event.IngestionRecord
	Request *RequestRow `json:"request,omitempty"` // nil for a sum
}

// Single reports whether the record tells of one request.
func (r *IngestionRow) Single() bool { return r.Request != nil }

// RequestRow is a captured request as listings have it.
type RequestRow struct {
	event.CapturedRequest
	Cut bool `json:"cut,omitempty"` // not all of its body was kept
	// Headers and Body stand before those of the request and stay empty.
	Headers *struct{} `json:"headers,omitempty"`
	Body    *struct{} `json:"body,omitempty"`
}

// AcceptRequest is the body of a request to take in what was refused.
type AcceptRequest struct {
	// Vouch says that the operator knows who sent it, so that it needs no proof.
	Vouch bool `json:"vouch,omitempty"`
}

// Accepted is what became of a request that was taken in by hand.
type Accepted struct {
	event.Taken
	// NotMarked tells why its record does not show it, empty when it does. The
	// event is on the queue nevertheless.
	NotMarked string `json:"notMarkedBecause,omitempty"`
}

// ingestions returns the handler that lists records of these outcomes.
func (a *Admin) ingestions(outcomes []event.IntakeOutcome) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if a.deps.Ingestions == nil {
			return a.notHere("records of requests")
		}
		filter, err := parseIngestionFilter(r.URL.Query(), outcomes)
		if err != nil {
			return err
		}
		asked := filter
		asked.Limit++
		records, err := a.deps.Ingestions.Ingestions(r.Context(), asked)
		if err != nil {
			return err
		}
		var page IngestionPage
		page.Records, page.Next = cutPage(records, filter.Limit, ingestionRow,
			func(r event.IngestionRecord) string { return r.ID })
		return answer(w, page)
	}
}

func ingestionRow(r event.IngestionRecord) IngestionRow {
	row := IngestionRow{IngestionRecord: r}
	if r.Request != nil {
		row.Request = &RequestRow{CapturedRequest: *r.Request, Cut: !r.Request.Whole()}
	}
	return row
}

func (a *Admin) rejection(w http.ResponseWriter, r *http.Request) error {
	if a.deps.Ingestions == nil {
		return a.notHere("records of requests")
	}
	record, err := a.deps.Ingestions.Ingestion(r.Context(), r.PathValue("id"))
	if err != nil {
		return recordError(r, err)
	}
	return answer(w, record)
}

// recordError says which record is not there, whatever the store calls it.
func recordError(r *http.Request, err error) error {
	if event.CodeOf(err) == event.NotFound {
		return refuse(event.NotFound, "no request %q is recorded: its time to be kept is over, or it never was one", r.PathValue("id"))
	}
	return err
}

// accept takes in a request that was refused. Its event being published is the
// point of no return: from there on the answer is that it was taken in.
func (a *Admin) accept(w http.ResponseWriter, r *http.Request) error {
	if a.deps.Ingestions == nil || a.deps.Intake == nil {
		return refuse(event.DependencyDown, "an appliance with role %s can't take in a request that was refused: "+
			"that needs the records and the intake; ask one that receives", a.deps.About.Role)
	}
	body, err := readBody[AcceptRequest](r, `{"vouch":true}`)
	if err != nil {
		return err
	}
	record, err := a.deps.Ingestions.Ingestion(r.Context(), r.PathValue("id"))
	if err != nil {
		return recordError(r, err)
	}
	if refusal := untakeable(&record); refusal != nil {
		return refusal
	}
	taken, err := a.deps.Intake.Take(r.Context(), record, body.Vouch)
	if err != nil {
		return takeProblem(r, err)
	}
	return answer(w, a.mark(r, record.ID, taken))
}

// untakeable returns why a record holds nothing that can be taken in, nil when it
// does.
func untakeable(r *event.IngestionRecord) *Problem {
	switch {
	case !r.TakenAt.IsZero():
		p := refuse(AlreadyTaken, "request %q was taken in at %s already, as event %q", r.ID, r.TakenAt.UTC().Format(time.RFC3339), r.TakenKey)
		p.Key = r.TakenKey
		return p
	case r.Request == nil:
		return refuse(event.Incomplete, "record %q is a sum and holds none of the requests it counts: have the courier send them again", r.ID)
	case r.Outcome != event.IntakeRefused:
		return refuse(AlreadyTaken, "request %q was not refused, it was accepted when it came", r.ID)
	case !r.Request.Whole():
		return refuse(event.Incomplete, "of the body of request %q only %d of %d bytes were kept: have the courier send it again",
			r.ID, len(r.Request.Body), r.Request.BodyBytes)
	}
	return nil
}

// takeProblem makes a refusal of what the intake says about the request that was
// kept, which is nothing about the request of the operator: 422, with the code
// that the courier would be told.
func takeProblem(r *http.Request, err error) *Problem {
	p := problemOf(err, traceIDFrom(r.Context()))
	if p.Status < http.StatusInternalServerError && p.Status != http.StatusConflict {
		p.Status = http.StatusUnprocessableEntity
	}
	return p
}

// mark marks the record of a request that is on the queue now, also when whoever
// asked for it has hung up or the time of the request is over.
func (a *Admin) mark(r *http.Request, id string, taken event.Taken) Accepted {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), a.cfg.RequestTimeout)
	defer cancel()
	traceID := traceIDFrom(ctx)
	log := a.deps.Log.With(slog.String("ingestion", id), slog.String("event_id", taken.EventID), slog.String("courier", taken.Courier),
		slog.String("key_id", taken.KeyID), slog.String("trace_id", traceID))
	log.Info("refused request taken in by an operator")
	accepted := Accepted{Taken: taken}
	if _, err := a.deps.Ingestions.TakeIngestion(ctx, id, taken.Key, taken.KeyID, time.Now()); err != nil {
		log.Warn("record of a request that was taken in could not be marked", slog.Any("error", err))
		accepted.NotMarked = problemOf(err, traceID).Detail
	}
	return accepted
}

// parseIngestionFilter reads the query of a listing of these outcomes.
func parseIngestionFilter(query url.Values, outcomes []event.IntakeOutcome) (event.IngestionFilter, error) {
	filter := event.IngestionFilter{Outcomes: outcomes, Limit: DefaultPage}
	err := parseQuery(query, map[string]setter{
		"courier": text(&filter.Courier), "code": text(&filter.Code),
		"outcome": someOf(&filter.Outcomes, outcomes), "open": yesOrNo(&filter.Open),
		"after": text(&filter.After), "limit": rowLimit(&filter.Limit),
	})
	filter.Outcomes = slices.Clone(filter.Outcomes)
	return filter, err
}

// formatIngestionFilter is the inverse of parseIngestionFilter.
func formatIngestionFilter(filter event.IngestionFilter) url.Values {
	open := ""
	if filter.Open {
		open = "true"
	}
	return formatQuery(filter.Limit, map[string]string{
		"courier": filter.Courier, "code": string(filter.Code), "outcome": strings.Join(words(filter.Outcomes), ","), "open": open, "after": filter.After,
	})
}
