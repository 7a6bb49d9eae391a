package admin

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
)

func (a *api) couriers(w http.ResponseWriter, _ *http.Request) error {
	list := ops.CourierList{Couriers: []ops.CourierInfo{}}
	for _, c := range a.deps.Couriers() {
		if c.Keys == nil {
			c.Keys = []ops.KeyInfo{}
		}
		list.Couriers = append(list.Couriers, c)
	}
	return answer(w, list)
}

func (a *api) unmapped(w http.ResponseWriter, r *http.Request) error {
	list, err := a.deps.Unmapped(r.Context())
	if err != nil {
		return err
	}
	return answer(w, list)
}

// reload makes the couriers of a configuration that has changed the active ones.
func (a *api) reload(w http.ResponseWriter, r *http.Request) error {
	report, err := a.deps.Reload(r.Context())
	if _, coded := errors.AsType[*event.Error](err); err != nil && !coded && r.Context().Err() == nil {
		return ops.Refuse(ops.InvalidConfig, "the new configuration is wrong, the couriers before it stay active: %v", err)
	}
	if err != nil {
		return err
	}
	a.deps.Log.Info("couriers reloaded by an operator", slog.Int("couriers", report.Couriers), slog.String("trace_id", traceIDFrom(r.Context())),
		slog.String("by", callerFrom(r.Context()).name))
	if report.Changed == nil {
		report.Changed = []string{}
	}
	return answer(w, report)
}

// observing returns the names of the couriers in observe mode.
func observing(couriers []ops.CourierInfo) (names []string) {
	for _, c := range couriers {
		if c.Mode == ops.ModeObserve {
			names = append(names, c.Name)
		}
	}
	return names
}
