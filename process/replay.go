package process

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
)

// DeadLetters are the dead letters, as far as a replay needs them.
type DeadLetters interface {
	// DeadLetter returns one letter; [event.NotFound] when there is none.
	DeadLetter(ctx context.Context, id string) (event.DeadLetter, error)
	// Review sets a letter's review status and appends the link to its replays.
	Review(ctx context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (event.DeadLetter, error)
}

// Replayer requeues dead letters.
type Replayer struct {
	DeadLetters DeadLetters
	Publisher   Publisher
	Stamper     *stamp.Stamper
	Log         *slog.Logger
	Now         func() time.Time
}

// Replay publishes the event of dead letter id once more, under a nonce of its
// own, and marks the letter as replayed. The publication is the point of no
// return: the worker that receives it reopens the ledger row. A letter can be
// replayed again; an event that has been processed meanwhile stays as it is.
//
// A letter whose stamp is not valid is refused with [event.Forged]: no courier is
// known to have sent it.
func (r *Replayer) Replay(ctx context.Context, id string) (event.ReplayLink, error) {
	letter, err := r.DeadLetters.DeadLetter(ctx, id)
	if err != nil {
		return event.ReplayLink{}, err
	}
	e, err := r.envelope(&letter)
	if err != nil {
		return event.ReplayLink{}, err
	}
	receipt, err := r.Publisher.Publish(ctx, e)
	if err != nil {
		return event.ReplayLink{}, fmt.Errorf("requeue dead letter %s: %w", id, err)
	}
	link := event.ReplayLink{Nonce: e.Replay, Sequence: receipt.Sequence, At: r.Now()}
	if _, err := r.DeadLetters.Review(ctx, id, event.ReviewReplayed, "", &link); err != nil {
		return link, fmt.Errorf("dead letter %s is requeued, but could not be marked as replayed: %w", id, err)
	}
	r.Log.Info("dead letter replayed", "dead_letter", id, "event_id", letter.EventID, "courier", letter.Courier,
		"trace_id", letter.TraceID, "sequence", receipt.Sequence)
	return link, nil
}

// envelope rebuilds the letter's envelope and stamps it under a new nonce.
func (r *Replayer) envelope(letter *event.DeadLetter) (*event.Envelope, error) {
	e := &event.Envelope{Body: letter.Body}
	err := e.SetHeaders(func(name string) string { return letter.Headers[name] })
	if err != nil {
		return nil, event.Errorf(event.Malformed, "replay", "dead letter %s was never an event of ours: %w", letter.ID, err)
	}
	if !r.Stamper.Verify(e) {
		return nil, event.Errorf(event.Forged, "replay",
			"dead letter %s carries no valid stamp, so no courier is known to have sent it; "+
				"if the stamp's key was changed, add the old one to the stamp keys and replay again", letter.ID)
	}
	var nonce [8]byte
	rand.Read(nonce[:]) // never fails, see crypto/rand
	e.Replay = hex.EncodeToString(nonce[:])
	r.Stamper.Stamp(e)
	return e, nil
}
