package ingest

import (
	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/jsontext"
)

const plainText = "text/plain; charset=utf-8"

// answerAccepted acknowledges an event that is kept, as its courier expects it.
func (c *call) answerAccepted() {
	if c.answerOwn() {
		return
	}
	b := append(c.out[:0], `{"acknowledged":true,"eventId":`...)
	b = jsontext.AppendString(b, c.env.EventID)
	b = append(b, `,"idempotencyKey":`...)
	b = jsontext.AppendString(b, c.env.Key)
	b = append(b, `,"traceId":`...)
	b = jsontext.AppendString(b, c.answerID)
	b = append(b, `,"queued":true,"duplicate":`...)
	b = appendBool(b, c.receipt.Duplicate)
	b = append(b, `,"receivedAt":"`...)
	b = c.env.ReceivedAt.AppendFormat(b, receivedAtFormat)
	c.out = append(b, `"}`...)
	c.answer(c.courier.success.Status, "application/json", c.out)
}

const receivedAtFormat = "2006-01-02T15:04:05.000Z07:00"

// answerIgnored acknowledges a request that is not kept, as its courier expects it.
func (c *call) answerIgnored() {
	if c.answerOwn() {
		return
	}
	b := append(c.out[:0], `{"acknowledged":true,"traceId":`...)
	b = jsontext.AppendString(b, c.answerID)
	b = append(b, `,"queued":false,"ignored":true,"receivedAt":"`...)
	b = c.started.UTC().AppendFormat(b, receivedAtFormat)
	c.out = append(b, `"}`...)
	c.answer(c.courier.success.Status, "application/json", c.out)
}

// answerOwn answers with the courier's own body, if it has one.
func (c *call) answerOwn() bool {
	own := &c.courier.success
	if own.Body != nil {
		c.answer(own.Status, own.ContentType, own.Body)
	}
	return own.Body != nil
}

func (c *call) answer(status int, contentType string, body []byte) {
	r := &c.ctx.Response
	if c.courier != nil && status < fasthttp.StatusMultipleChoices {
		for i := range c.courier.success.Headers {
			h := &c.courier.success.Headers[i]
			r.Header.Set(h.Name, h.Value)
		}
	}
	r.SetStatusCode(status)
	r.Header.SetContentType(contentType)
	r.Header.Set("X-Request-Id", c.answerID)
	r.SetBody(body)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, "true"...)
	}
	return append(b, "false"...)
}
