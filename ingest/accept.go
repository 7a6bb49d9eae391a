package ingest

import (
	"context"
	"errors"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/record"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// AcceptRefused puts a request that was refused or ignored on the queue after all, with
// what is known of its courier now: its secrets and scheme may have been wrong, or its
// mapping. The request is verified as of the time when it came; when its signature is not valid
// any more, or never was, it is accepted only if an operator vouches for it. Limits
// on networks, rate, size and media type don't count: a person has looked at it.
//
// The error is an [event.Error]. Its code is BAD_REQUEST for a record that is none
// of a refused request, UNKNOWN_COURIER when its courier is not there,
// PAYLOAD_TOO_LARGE when not all of the body was kept, INVALID_SIGNATURE when it
// would need to be vouched for, INCOMPLETE when what names its event was not kept,
// INVALID_PAYLOAD with every fault of the body, or when it is ignored, and that of the [Publisher] otherwise.
func (s *Server) AcceptRefused(ctx context.Context, r ingestion.Record, vouch bool) (ingestion.Acceptance, error) {
	courier, err := s.couriers.active.Load().acceptable(&r)
	if err != nil {
		return ingestion.Acceptance{}, err
	}
	if s.draining.Load() {
		return ingestion.Acceptance{}, event.Errorf(event.IntakeUnavailable, acceptOp, "the appliance is stopping")
	}
	request := &Captured{r.Request}
	keyID, err := courier.reverify(request, &r, vouch)
	if err != nil {
		return ingestion.Acceptance{}, err
	}
	text, err := request.unpacked(courier.media, courier.maxBodyBytes)
	if err != nil {
		return ingestion.Acceptance{}, err
	}
	var ev event.Event
	headers := &capturedHeaders{Captured: request, scheme: courier.scheme}
	faults := courier.decoder.Decode(payload.Input{Body: text, Headers: headers, Received: r.At.UTC()}, &ev, nil)
	if headers.lost != "" {
		return ingestion.Acceptance{}, event.Errorf(event.Incomplete, acceptOp, "header %s, which names the event, was not kept because of a secret in it", headers.lost)
	}
	if ev.Ignored != "" {
		return ingestion.Acceptance{}, event.Errorf(event.InvalidPayload, acceptOp, "the body says nothing of a shipment, by %s", ev.Ignored)
	}
	if len(faults) > 0 {
		refusal := refusal{detail: "the body is still no valid event", faults: faults}
		return ingestion.Acceptance{}, event.Errorf(event.InvalidPayload, acceptOp, "%s", refusal.fullDetail())
	}
	env := event.Envelope{TraceID: r.TraceID, ReceivedAt: r.At.UTC(), KeyID: keyID, Body: text}
	courier.complete(&env, &ev, s.deps.Stamper, nil)
	receipt, err := s.deps.Publisher.Publish(ctx, &env)
	if err != nil {
		return ingestion.Acceptance{}, &event.Error{Code: event.CodeOf(err), Op: acceptOp, Err: err}
	}
	s.deps.Logger.Info("refused request accepted by hand", "courier", env.Courier, "event_id", env.EventID,
		"trace_id", env.TraceID, "key_id", keyID, "record", r.ID)
	return ingestion.Acceptance{
		Identity: event.Identity{Courier: env.Courier, Key: strings.Clone(env.Key)}, EventID: strings.Clone(env.EventID),
		Sequence: receipt.Sequence, Duplicate: receipt.Duplicate, Conflict: receipt.Conflict, KeyID: keyID,
	}, nil
}

const acceptOp = "accept a refused request"

// acceptable returns the courier of a record that can be accepted.
func (t *table) acceptable(r *ingestion.Record) (*courier, error) {
	switch {
	case r.Request == nil:
		return nil, event.Errorf(event.BadRequest, acceptOp, "the record is an aggregate of %d requests and holds none of them", r.Count)
	case r.Outcome != ingestion.Refused && r.Outcome != ingestion.Ignored:
		return nil, event.Errorf(event.BadRequest, acceptOp, "the request was not refused but %s: its event is on the queue already", r.Outcome)
	case r.Courier == "":
		return nil, event.Errorf(event.UnknownCourier, acceptOp, "the request named no courier of ours, so it is not known what it means")
	case !r.Request.Whole():
		return nil, event.Errorf(event.PayloadTooLarge, acceptOp, "only %d of the %d bytes of the body were kept", len(r.Request.Body), r.Request.BodyBytes)
	}
	courier := t.byName[r.Courier]
	if courier == nil {
		return nil, event.Errorf(event.UnknownCourier, acceptOp, "there is no courier %q any more", r.Courier)
	}
	return courier, nil
}

// reverify returns the id of the key that a captured request is signed by, or of the
// operator who vouches for it.
func (k *courier) reverify(request *Captured, r *ingestion.Record, vouch bool) (keyID string, err error) {
	keyID, err = k.scheme.Verify(request, r.At)
	switch {
	case err == nil:
		return keyID, nil
	case vouch:
		return ingestion.KeyIDOperator, nil
	case r.Request.Redacted:
		return "", event.Errorf(event.InvalidSignature, acceptOp, "the credential of the request was not kept, so it can't be verified again: an operator has to vouch for it")
	}
	if fail, ok := errors.AsType[*signature.Failure](err); ok && fail.Kind == signature.NoKeys {
		return "", event.Errorf(event.IntakeUnavailable, acceptOp, "%w", err)
	}
	return "", event.Errorf(event.InvalidSignature, acceptOp, "%w", err)
}

// capturedHeaders are those of a captured request, for a mapping that names the event by
// them.
type capturedHeaders struct {
	*Captured
	scheme *signature.Scheme
	lost   string // one that was asked for, and was redacted
}

// Header is [signature.Scheme.Header].
func (h *capturedHeaders) Header(name string) (value []byte, count int) {
	if value, count = h.scheme.Header(h.Captured, name); string(value) == record.Redacted {
		h.lost = name
	}
	return value, count
}

// Captured is a captured request as schemes and mappings read it.
type Captured struct{ *ingestion.Request }

// Header returns the first value of a header and how often the header occurs.
func (c *Captured) Header(name string) (value []byte, count int) {
	for i := range c.Headers {
		if h := &c.Headers[i]; strings.EqualFold(h.Name, name) {
			if count++; count == 1 {
				value = []byte(h.Value)
			}
		}
	}
	return value, count
}

// Body returns the body, which is whole.
func (c *Captured) Body() []byte { return c.Request.Body }

// Method returns the method.
func (c *Captured) Method() []byte { return []byte(c.Request.Method) }

// Path returns the path as it was sent.
func (c *Captured) Path() []byte { return []byte(c.Request.Path) }

// Query returns the query as it was sent.
func (c *Captured) Query() []byte { return []byte(c.Request.Query) }
