package ops

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Modes of a courier.
const (
	ModeEnforce = "enforce" // what has no valid proof is refused
	ModeObserve = "observe" // it is accepted, and recorded
)

// States of a courier's key.
const (
	KeyValid   = "valid"
	KeyNotYet  = "not yet" // its time has not begun
	KeyExpired = "expired"
)

// CourierList is the answer about couriers, in the order of their names.
type CourierList struct {
	Couriers []CourierInfo `json:"couriers"`
}

// CourierInfo is a courier as it is in force.
type CourierInfo struct {
	Name    string `json:"name"`
	Preset  string `json:"preset,omitempty"` // empty for none
	Scheme  string `json:"scheme"`
	Mode    string `json:"mode"` // enforce or observe
	Path    string `json:"path"` // where it posts
	Default bool   `json:"default"`
	// Unverified tells that its preset follows a third party's description.
	Unverified bool `json:"unverified"`
	Mapped     bool `json:"mapped"` // reads its own payload by a mapping

	Binding    string         `json:"binding"`              // what of a request its proof covers, for people
	BindsBody  bool           `json:"bindsBody"`            // all of the body
	Fresh      bool           `json:"fresh"`                // an old request is refused when it comes again
	UnsignedID string         `json:"unsignedId,omitempty"` // a header that names its events, and that its proof does not cover
	Keys       []KeyInfo      `json:"keys"`
	PublicKeys *KeySourceInfo `json:"publicKeys,omitempty"` // nil for none

	Networks      []string `json:"networks,omitempty"` // that it may post from; none for any
	RatePerSecond float64  `json:"ratePerSecond"`      // 0 for no limit
	MaxConcurrent int      `json:"maxConcurrent"`      // 0 for no limit
	MaxBodyBytes  int      `json:"maxBodyBytes"`
	SuccessStatus int      `json:"successStatus"`
}

// KeyInfo is a courier's key, without what is secret of it.
type KeyInfo struct {
	ID        string    `json:"id"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
	State     string    `json:"state"` // valid, not yet or expired
}

// KeySourceInfo is where a courier's public keys come from.
type KeySourceInfo struct {
	Address  string    `json:"address"`
	Count    int       `json:"count"`             // keys that are known
	LoadedAt time.Time `json:"loadedAt,omitzero"` // absent before the first time
	Problem  string    `json:"problem,omitempty"` // why they could not be loaded lately
}

// ReloadReport tells what a reload came to.
type ReloadReport struct {
	Couriers int      `json:"couriers"` // in force now
	Changed  []string `json:"changed"`  // other settings that have changed and need a restart
}

func (a *Admin) couriers(w http.ResponseWriter, _ *http.Request) error {
	if a.deps.Couriers == nil {
		return a.elsewhere("couriers", "receives")
	}
	list := CourierList{Couriers: []CourierInfo{}}
	for _, c := range a.deps.Couriers() {
		if c.Keys == nil {
			c.Keys = []KeyInfo{}
		}
		list.Couriers = append(list.Couriers, c)
	}
	return answer(w, list)
}

// reload takes over the couriers of a configuration that has changed.
func (a *Admin) reload(w http.ResponseWriter, r *http.Request) error {
	if a.deps.Reload == nil {
		return a.elsewhere("couriers", "receives")
	}
	report, err := a.deps.Reload(r.Context())
	if _, coded := errors.AsType[*event.Error](err); err != nil && !coded && r.Context().Err() == nil {
		return refuse(InvalidConfig, "the new configuration is wrong, the couriers before stay in force: %v", err)
	}
	if err != nil {
		return err
	}
	a.deps.Log.Info("couriers reloaded by an operator", slog.Int("couriers", report.Couriers), slog.String("trace_id", traceIDFrom(r.Context())))
	if report.Changed == nil {
		report.Changed = []string{}
	}
	return answer(w, report)
}

// observing returns the names of the couriers in observe mode.
func observing(couriers []CourierInfo) (names []string) {
	for _, c := range couriers {
		if c.Mode == ModeObserve {
			names = append(names, c.Name)
		}
	}
	return names
}
