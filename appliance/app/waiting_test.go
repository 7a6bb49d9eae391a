package app

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// backlog is a queue whose event n has the key kn; all after the third wait.
type backlog struct {
	state event.QueueState
	loads int
}

func (q *backlog) State(context.Context) (event.QueueState, error) { return q.state, nil }

func (q *backlog) Load(_ context.Context, seq uint64) (event.Delivery, error) {
	q.loads++
	return event.Delivery{Sequence: seq, Envelope: event.Envelope{Courier: "demo", Key: fmt.Sprint("k", seq), EventID: "e", Body: []byte("{}")}}, nil
}

func TestWaitingEvents(t *testing.T) {
	down := time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)
	queue := &backlog{state: event.QueueState{LastSeq: 5000, AckFloor: 3, Pending: 4997}}
	for key, want := range map[string]string{"k3": "", "k2000": "", "k4998": "accepted, waiting: up to 4994 events are before it"} {
		queue.loads = 0
		found := waitingEvents(queue, func() time.Time { return time.Time{} })(t.Context(), key)
		if want == "" && len(found) > 0 || want != "" && (len(found) != 1 || found[0].Message != want || found[0].Status != event.Received || found[0].Sequence != 4998) {
			t.Errorf("%s: %+v", key, found)
		}
		if queue.loads > searchedEvents {
			t.Errorf("%s: %d events were read", key, queue.loads)
		}
	}
	found := waitingEvents(queue, func() time.Time { return down })(t.Context(), "k5000")
	if len(found) != 1 || found[0].Message != "accepted, waiting: the store is down since 2026-02-26T12:00:00Z; it is processed when the store is back" {
		t.Errorf("%+v", found)
	}
	queue.state.Pending, queue.loads = 0, 0
	if found := waitingEvents(queue, func() time.Time { return down })(t.Context(), "k5000"); len(found) > 0 || queue.loads > 0 {
		t.Errorf("nothing waits, and %d events were read: %+v", queue.loads, found)
	}
}
