package ops

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Status is everything at a glance.
type Status struct {
	Version       string     `json:"version"`
	Role          string     `json:"role"`
	StartedAt     time.Time  `json:"startedAt"`
	UptimeSeconds float64    `json:"uptimeSeconds"`
	At            time.Time  `json:"at"` // of the figures, but for those that have their own
	DataDir       string     `json:"dataDir,omitempty"`
	Listeners     []Listener `json:"listeners"`
	Ready         bool       `json:"ready"`
	NotReady      string     `json:"notReadyBecause,omitempty"`
	Health        Health     `json:"health"`
	// Observing names the couriers in observe mode, whose requests are accepted
	// whether they verify or not.
	Observing []string `json:"observing,omitempty"`
	// Attention is what works, and what an operator should look at all the same.
	Attention []Attention `json:"attention,omitempty"`
	// The following are absent where the role runs without them, and where they
	// could not be asked: then Problems says why.
	Queue      *QueueStatus       `json:"queue,omitempty"`
	Store      *event.StoreCounts `json:"store,omitempty"`
	Worker     *WorkerStatus      `json:"worker,omitempty"`
	Reconciler *ReconcilerStatus  `json:"reconciler,omitempty"`
	Problems   []string           `json:"problems,omitempty"`
}

// Attention is something to look at, and what to do about it.
type Attention struct {
	Courier string `json:"courier,omitempty"`
	What    string `json:"what"`
	Do      string `json:"do"`
}

// Listener is an address that the appliance answers at.
type Listener struct {
	Name    string `json:"name"`    // public or admin
	Address string `json:"address"` // as bound, such as 127.0.0.1:8081
	TLS     bool   `json:"tls"`
}

// Health is the answer of /health: how the whole is (healthy, degraded,
// unhealthy), and how each part is connected.
type Health struct {
	Status string            `json:"status"`
	Parts  map[string]string `json:"parts"`
	// Problems is what keeps it from being healthy, one line each.
	Problems []string `json:"problems,omitempty"`
}

// QueueStatus is the queue's figures with the backlog that follows from them.
type QueueStatus struct {
	event.QueueState
	Unprocessed uint64 `json:"unprocessed"` // accepted and not settled
}

// WorkerStatus is the worker's last heartbeat and what it has done.
type WorkerStatus struct {
	Phase         string    `json:"phase"`                  // starting, pulling, working, holding or stopped
	LastHeartbeat time.Time `json:"lastHeartbeat,omitzero"` // absent before the first
	Events        int64     `json:"events"`                 // deliveries handled since the start
	Batches       int64     `json:"batches"`                // that they came in
}

// ReconcilerStatus counts what the reconciler has found since the start.
type ReconcilerStatus struct {
	Verified uint64 `json:"verified"` // every sequence up to here has ended
	Checked  int64  `json:"checked"`  // settled sequences that it looked up
	Requeued int64  `json:"requeued"` // of those, without an outcome and queued again
	Waiting  int64  `json:"waiting"`  // of those, without an outcome that may still come
}

// ParseHealth reads the body of /health: its status, its problems, and every other
// text member but the time as a part.
func ParseHealth(body []byte) Health {
	var members map[string]any
	h := Health{Status: "unknown", Parts: map[string]string{}}
	if json.Unmarshal(body, &members) != nil {
		return h
	}
	for name, value := range members {
		text, ok := value.(string)
		switch {
		case name == "problems":
			list, _ := value.([]any)
			for _, item := range list {
				h.Problems = append(h.Problems, fmt.Sprint(item))
			}
		case !ok || name == "timestamp":
		case name == "status":
			h.Status = text
		default:
			h.Parts[name] = text
		}
	}
	return h
}
