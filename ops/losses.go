package ops

import (
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// LossList is what the queue is known to have lost, the oldest first.
type LossList struct {
	Losses []loss.Loss `json:"losses"`
}
