package ops

import (
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// Modes of a courier.
const (
	ModeEnforce = "enforce" // what does not verify is refused
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

// CourierInfo is an active courier.
type CourierInfo struct {
	Name    string `json:"name"`
	Preset  string `json:"preset,omitempty"` // empty for none
	Scheme  string `json:"scheme"`
	Mode    string `json:"mode"` // enforce or observe
	Path    string `json:"path"` // where it posts
	Default bool   `json:"default"`
	// Unverified means that its preset comes from another party's description, in whole or in part.
	Unverified bool `json:"unverified"`
	Mapped     bool `json:"mapped"` // reads its own payload by a mapping

	Binding    string         `json:"binding"`              // what of a request is verified, for people
	BindsBody  bool           `json:"bindsBody"`            // all of the body
	Fresh      bool           `json:"fresh"`                // an old request is refused when it comes again
	UnsignedID string         `json:"unsignedId,omitempty"` // a header that names its events, and that is not verified
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

// UnmappedList are the statuses that no mapping knew when they came, by courier, the last
// seen first.
type UnmappedList struct {
	Statuses []UnmappedStatus `json:"statuses"`
}

// UnmappedStatus is one of them.
type UnmappedStatus struct {
	Courier string `json:"courier"`
	shipment.UnmappedStatus
	Mapped bool `json:"mapped"` // by now: the events that had it wait to be reprocessed
}

// ReloadReport is the result of a reload.
type ReloadReport struct {
	Couriers int      `json:"couriers"` // active now
	Changed  []string `json:"changed"`  // other settings that have changed and need a restart
}
