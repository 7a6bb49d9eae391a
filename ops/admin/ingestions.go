package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
)

// ingestions returns the handler that lists records of these outcomes, or of those among
// more that it is asked for.
func (a *api) ingestions(outcomes, more []ingestion.Outcome) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		filter, err := ops.ParseIngestionQuery(r.URL.Query(), outcomes, more)
		if err != nil {
			return err
		}
		asked := filter
		asked.Limit++
		records, err := a.deps.Ingestions.Ingestions(r.Context(), asked)
		if err != nil {
			return err
		}
		var page ops.IngestionPage
		page.Records, page.Next = cutPage(records, filter.Limit, ingestionRow,
			func(r ingestion.Record) string { return r.ID })
		return answer(w, page)
	}
}

func ingestionRow(r ingestion.Record) ops.IngestionRow {
	row := ops.IngestionRow{Record: r}
	if r.Request != nil {
		row.Request = &ops.RequestRow{Request: *r.Request, Cut: !r.Request.Whole()}
	}
	return row
}

func (a *api) rejection(w http.ResponseWriter, r *http.Request) error {
	record, err := a.deps.Ingestions.Ingestion(r.Context(), r.PathValue("id"))
	if err != nil {
		return recordError(r, err)
	}
	return answer(w, record)
}

// recordError says which record is not there, whatever the store calls it.
func recordError(r *http.Request, err error) error {
	if event.CodeOf(err) == event.NotFound {
		return ops.Refuse(event.NotFound, "no request %q is recorded: its time to be kept is over, or it never was one", r.PathValue("id"))
	}
	return err
}

// accept accepts a request that was refused. Once its event is published the answer
// is that it was accepted, whatever fails after that.
func (a *api) accept(w http.ResponseWriter, r *http.Request) error {
	if a.deps.Ingestions == nil || a.deps.Intake == nil {
		return ops.Refuse(event.DependencyDown, "an appliance with role %s can't accept a request that was refused: "+
			"that needs the records and the intake; ask one that receives", a.deps.About.Role)
	}
	body, err := readBody[ops.AcceptRequest](r, `{"vouch":true}`)
	if err != nil {
		return err
	}
	if who := callerFrom(r.Context()); body.Vouch && !who.role.allows(Admin) {
		return roleRefusal(who, Admin)
	}
	record, err := a.deps.Ingestions.Ingestion(r.Context(), r.PathValue("id"))
	if err != nil {
		return recordError(r, err)
	}
	if refusal := ops.CheckAcceptable(&record); refusal != nil {
		return refusal
	}
	acceptance, err := a.deps.Intake.AcceptRefused(r.Context(), record, body.Vouch)
	if err != nil {
		return acceptProblem(r, err)
	}
	return answer(w, a.mark(r, record.ID, acceptance))
}

// acceptProblem makes a refusal of what the intake says about the request that was
// kept, which is nothing about the request of the operator: 422, with the code
// that the courier's own request would get.
func acceptProblem(r *http.Request, err error) *ops.Problem {
	p := problemOf(err, traceIDFrom(r.Context()))
	if p.Status < http.StatusInternalServerError && p.Status != http.StatusConflict {
		p.Status = http.StatusUnprocessableEntity
	}
	return p
}

// mark marks the record of a request that is on the queue now, also when the caller
// has hung up or the time of the request is over.
func (a *api) mark(r *http.Request, id string, acceptance ingestion.Acceptance) ops.Accepted {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), a.timeout)
	defer cancel()
	traceID := traceIDFrom(ctx)
	log := a.deps.Log.With(slog.String("ingestion", id), slog.String("event_id", acceptance.EventID), slog.String("courier", acceptance.Courier),
		slog.String("key_id", acceptance.KeyID), slog.String("trace_id", traceID), slog.String("by", callerFrom(ctx).name))
	log.Info("refused request accepted by an operator")
	accepted := ops.Accepted{Acceptance: acceptance}
	if _, err := a.deps.Ingestions.AcceptIngestion(ctx, id, acceptance.Key, acceptance.KeyID, time.Now()); err != nil {
		log.Warn("record of an accepted request could not be marked", slog.Any("error", err))
		accepted.NotMarked = problemOf(err, traceID).Detail
	}
	return accepted
}
