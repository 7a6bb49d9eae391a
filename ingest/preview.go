package ingest

import (
	"errors"
	"strings"

	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/media"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// Preview is what the intake would do with a captured request of a courier, apart from its
// signature, its event, and the limits on addresses and rates.
type Preview struct {
	Handshake string   // how it is answered when it is a handshake and no event; "" when it is none
	Body      []byte   // as it would be queued
	Refusals  []string // why it would be refused before its signature counts
}

// Preview returns what becomes of a captured request; maxBodyBytes is the limit of the
// listener. The error is that of the courier's settings.
func (c Courier) Preview(r *Captured, maxBodyBytes int) (p Preview, err error) {
	var faults event.Faults
	accepts := c.accepts(&faults, c.Name)
	if err := faults.Err(); err != nil {
		return p, err
	}
	refuse := func(code event.Code, detail string) { p.Refusals = append(p.Refusals, string(code)+": "+detail) }
	limit := maxBodyBytes
	if c.MaxBodyBytes > 0 {
		limit = c.MaxBodyBytes
	}
	p.Body = r.Body()
	asked := c.Handshake.asked(r, c.Scheme, func() bool {
		var ev event.Event
		return len(c.Decoder.Decode(payload.Input{Body: p.Body, Headers: &capturedHeaders{Captured: r, scheme: c.Scheme}}, &ev, nil)) == 0 && ev.Ignored == "" || c.Decoder.Tells(p.Body)
	})
	if asked != noQuestion && r.Whole() {
		p.Handshake = asked.String()
		return p, nil
	}
	if string(r.Method()) != "POST" {
		refuse(event.MethodNotAllowed, "events are sent by POST")
	}
	if r.BodyBytes > limit {
		refuse(event.PayloadTooLarge, largerThan(limit))
	}
	if _, fault := r.media(accepts); fault != "" && !c.Observe { // which tolerates it
		refuse(event.UnsupportedMediaType, fault)
	}
	text, err := r.unpacked(accepts, limit)
	if fault, ok := errors.AsType[*event.Error](err); !ok {
		p.Body = text
	} else if fault.Code == event.PayloadTooLarge || !c.Observe {
		refuse(fault.Code, fault.Err.Error())
	}
	return p, nil
}

// media is [media.Accepts.Check] of a captured request.
func (c *Captured) media(accepts *media.Accepts) (packed bool, fault string) {
	var contentType []byte
	var encodings [][]byte
	for _, h := range c.Headers {
		switch {
		case strings.EqualFold(h.Name, "content-type"): // the last one counts, as it does for the intake
			contentType = []byte(h.Value)
		case strings.EqualFold(h.Name, "content-encoding"):
			encodings = append(encodings, []byte(h.Value))
		}
	}
	return accepts.Check(contentType, encodings)
}

// unpacked returns the body of a captured request as it is queued. The error is an
// [event.Error] with the code that its sender would get.
func (c *Captured) unpacked(accepts *media.Accepts, limit int) ([]byte, error) {
	if packed, _ := c.media(accepts); !packed {
		return c.Request.Body, nil
	}
	var plain body.Body // which is not closed: the caller has its memory
	memory := body.Config{UnknownBytes: body.HalfBytes(limit)}
	err := body.NewReader(memory).Inflate(&plain, c.Request.Body, &body.Source{}, limit)
	switch {
	case err != nil:
		return nil, event.Errorf(event.InvalidPayload, acceptOp, "the body %w", err)
	case !plain.Whole:
		return nil, event.Errorf(event.PayloadTooLarge, acceptOp, "%s when it is unpacked", largerThan(limit))
	}
	return plain.Bytes, nil
}
