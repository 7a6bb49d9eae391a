package app

import (
	"sync/atomic"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// readers knows how each courier's payload is read, for whoever takes events off
// the queue. A reload replaces them all at once.
type readers struct {
	byCourier atomic.Pointer[map[string]*payload.Decoder]
}

// set replaces the decoders; on error those from before stay.
func (r *readers) set(cfg config.Config) error {
	decoders, err := cfg.Decoders()
	if err != nil {
		return err
	}
	r.byCourier.Store(&decoders)
	return nil
}

// read implements [process.Reader]. A courier that is not configured any more is
// taken for one who speaks our own format: what can't be read that way becomes a
// dead letter, to be replayed when the courier is back.
func (r *readers) read(env *event.Envelope, e *event.Event, faults event.Faults) event.Faults {
	return (*r.byCourier.Load())[env.Courier].DecodeQueued(env, e, faults)
}
