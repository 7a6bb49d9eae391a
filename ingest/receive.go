package ingest

import (
	"errors"
	"hash"
	"sync"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/ingest/limits"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// step takes a request one step on; it returns why the request is refused, nil if it
// goes on. The refusal is in the call's memory.
type step func(*Server, *call) *refusal

// receiving is the way of an event from the request to the queue, in the order of the
// picture in the README: limits ▸ verify ▸ read ▸ stamp ▸ publish.
var receiving = [...]step{
	(*Server).checkRunning,
	(*Server).checkLimits, // of address, rate and size
	(*Server).readBody,
	answerQuestion,
	(*Server).verify,
	(*Server).takeSlot, // the limit of requests at once, of which unverified ones are none
	unpack,
	(*Server).readEvent,
	(*Server).stamp,
	(*Server).publish,
}

// receive takes an event from the request to the queue, or returns why it is refused. A
// request that says nothing of a shipment goes no further than to be read.
func (s *Server) receive(c *call) *refusal {
	for _, next := range receiving {
		if refusal := next(s, c); refusal != nil {
			return refusal
		}
		if c.event.Ignored != "" {
			return nil // verified and within its limits, and nothing to queue
		}
	}
	return nil
}

// checkRunning refuses what comes on open connections while the appliance stops.
func (s *Server) checkRunning(c *call) *refusal {
	if s.draining.Load() {
		return c.refuse(unavailable, "the appliance is stopping; send the event again")
	}
	return nil
}

// checkLimits applies the limits that need neither body nor signature. Of a request that
// does not keep them, as much of the body is read as its record keeps, and it is charged to
// its address.
func (s *Server) checkLimits(c *call) *refusal {
	refusal := s.admit(c)
	if limit, detail := s.bodies.limit(c.courier); refusal == nil && c.declaredBytes() > limit {
		refusal = c.refuse(tooLarge, detail)
	}
	if refusal == nil || !refusal.aboutRequest() {
		return refusal
	}
	s.bodies.readForRecord(c)
	return s.chargeRefused(c, refusal)
}

// admit applies the courier's networks, and looks at what is left of its rates.
func (s *Server) admit(c *call) *refusal {
	if c.courier == nil {
		return nil
	}
	costly := c.declaredBytes() > body.ShortBytes || c.courier.scheme.Costly()
	return c.limited(c.courier.limits.Admit(c.from(), c.started, costly))
}

// limited returns the refusal of a request that is not within the limits of its courier.
func (c *call) limited(o limits.Outcome) *refusal {
	var r *refusal
	switch o.Limit {
	case limits.Within:
		return nil
	case limits.Network:
		r = c.refuse(forbidden, "this courier does not post from this address")
	case limits.Rate:
		r = c.refuse(tooOften, "this courier sends more requests per second than it may")
	default:
		r = c.refuse(tooOften, "more requests per second come from this address than may without a valid signature of this courier")
	}
	r.retryAfter = o.RetryAfter
	return r
}

// chargeRefused counts a request that is refused before its signature is looked at for its
// address. It returns why the request is refused: for that, unless it is one too many.
func (s *Server) chargeRefused(c *call, refusal *refusal) *refusal {
	if limited := s.chargeUnverified(c); limited != nil {
		return limited
	}
	return refusal
}

// chargeUnverified counts a request for its address.
func (s *Server) chargeUnverified(c *call) *refusal {
	if c.courier == nil {
		return nil
	}
	return c.limited(c.courier.limits.ChargeUnverified(c.from(), c.started))
}

// verify checks media type and signature, and charges the request to its courier if it is
// verified, and to its address if not. A wrong media type comes first in the answer, unless
// that asks for a credential, but the signature decides who is charged.
func (s *Server) verify(c *call) *refusal {
	wrong := s.checkSignature(c)
	if c.courier == nil {
		return wrong
	}
	h := &c.ctx.Request.Header
	var detail string
	c.packed, detail = c.courier.media.Check(h.ContentType(), h.PeekAll("Content-Encoding"))
	if asks := wrong != nil && c.courier.challenge(wrong.reason) != ""; detail != "" && !asks {
		wrong = c.refuse(notJSON, detail)
	}
	l := c.courier.limits
	if wrong == nil || wrong.code != event.IntakeUnavailable {
		if limited := c.limited(l.Charge(c.verified, c.from(), c.started)); limited != nil {
			return limited
		}
	}
	if wrong == nil || !c.tolerate(wrong) {
		return wrong
	}
	if c.verified {
		return nil
	}
	return c.limited(l.ChargeObserved(c.started))
}

// checkSignature verifies the request. For an unknown courier it does the work of a wrong
// signature, so that its answer takes the same time.
func (s *Server) checkSignature(c *call) *refusal {
	c.env.Body = c.Body()
	if c.courier == nil {
		s.dummy.verify(c)
		return c.refuse(unknownCourier, c.noCourier())
	}
	keyID, err := c.courier.scheme.Verify(c, c.started)
	if err == nil {
		c.env.KeyID, c.verified = keyID, true
		c.courier.limits.Remember(c.from(), c.started)
		return nil
	}
	c.env.KeyID = keyIDObserved // if it goes on at all
	refusal := c.refuse(badSignature, err.Error())
	if fail, ok := errors.AsType[*signature.Failure](err); ok {
		refusal.reason = fail.Kind.String()
		if fail.Kind == signature.NoKeys {
			refusal.problem = unavailable
		}
	}
	return refusal
}

// noCourier says why no courier was found.
func (c *call) noCourier() string {
	if len(c.Path()) <= len(intakePath)+1 {
		return "the path names no courier, and there is no default one: post to " + intakePath + "/{courier}"
	}
	return "there is no courier of this name"
}

// dummyVerifier does the work of verifying for no courier.
type dummyVerifier struct{ digests sync.Pool }

// verify computes a digest that nothing needs. It is always the one that most couriers'
// schemes need, HMAC-SHA256 over the body: those of the couriers there are may cost next to
// nothing, as a token in the address does.
func (d *dummyVerifier) verify(c *call) {
	digest := d.digests.Get().(hash.Hash)
	digest.Reset()
	_, _ = digest.Write(c.env.Body)
	digest.Sum(c.stamp[:0])
	d.digests.Put(digest)
}

// takeSlot counts a verified request in work until the call ends, so that neither slow
// senders nor unverified requests use up the slots.
func (s *Server) takeSlot(c *call) *refusal {
	if !c.courier.limits.Enter(&c.slot) {
		return c.refuse(tooMany, "this courier sends more requests at once than it may")
	}
	return nil
}

// unpack replaces a packed body by what it holds. The signature, of the bytes as they were
// sent, was verified before; what is queued, stamped and shown is the text of the event. The
// limit of the courier's bodies holds for either.
func unpack(s *Server, c *call) *refusal {
	if !c.packed {
		return nil
	}
	src := body.Source{Courier: c.courier.name, Address: address.Group(c.from())}
	if !c.verified {
		src.Courier = ""
	}
	err := s.bodies.reader.Inflate(c.plain, c.body.Bytes, &src, c.courier.maxBodyBytes)
	switch {
	case errors.Is(err, body.ErrNoMemory):
		return c.refuse(unavailable, "too many long bodies are on their way; send the event again")
	case err != nil:
		refusal := c.refuse(badPayload, "the body can't be unpacked")
		refusal.faults = event.Faults{{Path: "$", Message: err.Error()}}
		if c.tolerate(refusal) {
			return nil
		}
		return refusal
	case !c.plain.Whole:
		return c.refuse(tooLarge, c.courier.tooLarge+" when it is unpacked")
	}
	c.env.Body = c.plain.Bytes
	return nil
}

// readEvent reads the event from the body.
func (s *Server) readEvent(c *call) *refusal {
	c.event.Checkpoints = c.checkpoints[:0]
	in := payload.Input{Body: c.env.Body, Headers: (*mappedHeaders)(c), Received: c.started.UTC()}
	c.faults = c.courier.decoder.Decode(in, &c.event, c.faults[:0])
	if c.event.Checkpoints != nil {
		c.checkpoints = c.event.Checkpoints
	}
	if len(c.faults) == 0 {
		return nil
	}
	refusal := c.refuse(badPayload, "the body is no valid event")
	refusal.faults = c.faults
	if !c.tolerate(refusal) {
		return refusal
	}
	c.nameByBody()
	return nil
}

// stamp completes the envelope.
func (s *Server) stamp(c *call) *refusal {
	c.env.TraceID, c.env.ReceivedAt = c.traceID, c.started.UTC()
	c.courier.complete(&c.env, &c.event, s.deps.Stamper, c.stamp[:0])
	return nil
}

// complete completes an envelope that has its body, its key id, its trace id and its
// time. No header of the request gets into it but the one that became the trace id and
// those that the courier's mapping names the event by. The stamp is in memory, if it fits.
func (k *courier) complete(e *event.Envelope, ev *event.Event, stamper *stamp.Stamper, memory []byte) {
	e.Courier, e.Scheme = k.name, k.scheme.Name()
	e.EventID, e.Key = ev.ID, ev.Key
	e.Stamp = alias(stamper.AppendStamp(memory, e))
}

// publish puts the event on the queue. What the queue refuses is refused here, with another
// status if sending it again can't succeed.
func (s *Server) publish(c *call) *refusal {
	receipt, err := s.deps.Publisher.Publish(s.hard, &c.env)
	if err == nil {
		c.receipt = receipt
		return nil
	}
	var refusal *refusal
	switch event.CodeOf(err) {
	case event.PayloadTooLarge:
		refusal = c.refuse(tooLarge, "the event is larger than the queue accepts")
	case event.InvalidPayload:
		refusal = c.refuse(badPayload, "a member of the event can't be kept with it")
	default:
		refusal = c.refuse(unavailable, "the event could not be stored; send it again")
	}
	refusal.cause = err
	return refusal
}
