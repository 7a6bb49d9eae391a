package ops

import "github.com/fincart/courier-gateway/ingest/event"

// LossList is what the queue is known to have lost, the oldest first.
type LossList struct {
	Losses []event.Loss `json:"losses"`
}
