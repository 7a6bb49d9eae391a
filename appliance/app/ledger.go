package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/bench/proof"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ops"
	operators "github.com/fincart/courier-gateway/ops/client"
)

// ledger joins the proof of a load test to the admin API's client.
type ledger struct{ api *operators.Client }

// ledgerTimeout is how long a load test waits for one answer.
const ledgerTimeout = 10 * time.Second

// NewLedger returns the ledger of the appliance whose admin API is at address, asked with
// token over via.
func NewLedger(address, token string, via http.RoundTripper) (proof.Ledger, error) {
	api, err := operators.New(operators.Config{Address: address, Token: token, Timeout: ledgerTimeout, Transport: via})
	if err != nil {
		return nil, err
	}
	return ledger{api}, nil
}

func (l ledger) Figures(ctx context.Context) (proof.Figures, error) {
	s, err := l.api.Status(ctx)
	if err != nil {
		return proof.Figures{}, err
	}
	if s.Queue == nil || s.Store == nil {
		return proof.Figures{}, fmt.Errorf("the appliance has no figures of its queue or store: %s", strings.Join(s.Problems, "; "))
	}
	f := proof.Figures{Version: s.Version, Queue: s.Queue.QueueState, Store: *s.Store}
	if s.Reconciler != nil {
		f.Requeued = s.Reconciler.Requeued
	}
	return f, nil
}

func (l ledger) Event(ctx context.Context, key, courier string) (event.Record, error) {
	r, err := l.api.Event(ctx, key, courier)
	return r, coded(err)
}

func (l ledger) Shipment(ctx context.Context, id, courier string) (shipment.Shipment, error) {
	s, err := l.api.Shipment(ctx, id, courier)
	return s, coded(err)
}

func (l ledger) DeadLetters(ctx context.Context, courier string) iter.Seq2[event.DeadLetter, error] {
	const pageSize = 500 // as many as the admin API gives at once
	return func(yield func(event.DeadLetter, error) bool) {
		for page, err := range l.api.DeadLetterPages(ctx, event.DeadLetterFilter{Courier: courier, Limit: pageSize}) {
			if err != nil {
				yield(event.DeadLetter{}, err)
				return
			}
			for _, row := range page.DeadLetters {
				if !yield(row.DeadLetter, nil) {
					return
				}
			}
		}
	}
}

func (l ledger) Applied(ctx context.Context) (uint64, error) {
	n, err := l.api.Metric(ctx, "courier_gateway_process_processed_total")
	return uint64(n), err
}

// coded gives the error of a refusal its code.
func coded(err error) error {
	if p, ok := errors.AsType[*ops.Problem](err); ok {
		return &event.Error{Code: p.Code, Op: "ask the admin listener", Err: err}
	}
	return err
}
