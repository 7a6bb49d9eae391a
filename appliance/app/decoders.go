package app

import (
	"sync/atomic"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// decoders decode each courier's payload for the consumers of the queue. A reload
// replaces them all at once.
type decoders struct {
	byCourier atomic.Pointer[map[string]*payload.Decoder]
}

// set replaces the decoders; on error those from before stay.
func (d *decoders) set(cfg config.Config) error {
	next, err := cfg.Decoders()
	if err != nil {
		return err
	}
	d.byCourier.Store(&next)
	return nil
}

// decode implements [process.Reader]. The events of a courier that is not configured any
// more are decoded as canonical ones: what can't be decoded that way becomes a dead
// letter, to be replayed when the courier is back.
func (d *decoders) decode(env *event.Envelope, e *event.Event, faults event.Faults) event.Faults {
	return (*d.byCourier.Load())[env.Courier].DecodeQueued(env, e, faults)
}

// mapped implements [process.Handler.Mapped].
func (d *decoders) mapped(courier, status string, scan bool) bool {
	return (*d.byCourier.Load())[courier].Mapped(status, scan)
}
