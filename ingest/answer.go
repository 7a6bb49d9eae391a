package ingest

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/connlimit"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

const (
	// maxFaults bounds the faults in an answer.
	maxFaults = 50
	plainText = "text/plain; charset=utf-8"
)

// problem is a kind of refusal (RFC 9457). Its type member is derived from the
// code: INVALID_PAYLOAD is "urn:courier-gateway:problem:invalid-payload".
type problem struct {
	status int
	code   event.Code
	title  string
}

// The problems that can be answered.
var (
	badSignature     = problem{fasthttp.StatusUnauthorized, event.InvalidSignature, "The signature is not valid"}
	badPayload       = problem{fasthttp.StatusBadRequest, event.InvalidPayload, "The body is not valid"}
	unknownCourier   = problem{fasthttp.StatusNotFound, event.UnknownCourier, "The courier is not known"}
	methodNotAllowed = problem{fasthttp.StatusMethodNotAllowed, event.MethodNotAllowed, "The method is not allowed"}
	notFound         = problem{fasthttp.StatusNotFound, event.NotFound, "There is nothing here"}
	tooLarge         = problem{fasthttp.StatusRequestEntityTooLarge, event.PayloadTooLarge, "The body is too large"}
	notJSON          = problem{fasthttp.StatusUnsupportedMediaType, event.UnsupportedMediaType, "The body is not JSON"}
	unavailable      = problem{fasthttp.StatusServiceUnavailable, event.IntakeUnavailable, "Events can't be kept at the moment"}
	badRequest       = problem{fasthttp.StatusBadRequest, event.BadRequest, "The request can't be read"}
	headerTooLarge   = problem{fasthttp.StatusRequestHeaderFieldsTooLarge, event.BadRequest, "The headers are too large"}
	tooSlow          = problem{fasthttp.StatusRequestTimeout, event.BadRequest, "The request took too long"}
	defect           = problem{fasthttp.StatusInternalServerError, event.Internal, "The appliance failed"}
	tooManyConns     = problem{fasthttp.StatusServiceUnavailable, event.IntakeUnavailable, "Too many connections are open"}
	forbidden        = problem{fasthttp.StatusForbidden, event.Forbidden, "The address may not post"}
	tooOften         = problem{fasthttp.StatusTooManyRequests, event.RateLimited, "Too many requests arrive"}
	tooMany          = problem{fasthttp.StatusTooManyRequests, event.RateLimited, "Too many requests are in work"}
	tooManyFromOne   = problem{fasthttp.StatusTooManyRequests, event.RateLimited, "Too many connections are open from this address"}
)

// retryable reports whether the sender is told when to come again.
func (p *problem) retryable() bool {
	return p.status == fasthttp.StatusServiceUnavailable || p.status == fasthttp.StatusTooManyRequests
}

// refusal is why one request is refused. Without a code it is none.
type refusal struct {
	problem
	detail     string       // for the sender
	reason     string       // kind of a signature's failure, for the records
	faults     event.Faults // of the body
	cause      error        // for the log alone
	retryAfter int          // seconds until it may come again; 0 means as configured
}

// refuse answers, counts, logs and records a refusal.
func (s *Server) refuse(c *call, no refusal) {
	s.metrics.refused.Observe(s.deps.Now().Sub(c.started).Seconds())
	s.metrics.bytes.Add(float64(len(c.env.Body)))
	s.metrics.count(c.sender, no.code)
	s.logRefusal(c, no)
	s.answerProblem(c, no)
	if c.posted {
		s.note(c, ingestion.Refused, no, no.status)
	}
}

func (s *Server) logRefusal(c *call, no refusal) {
	j, courier := s.refusals, noCourier
	if no.cause != nil {
		j = s.failures
	}
	if !j.admit() {
		return
	}
	if c.sender != nil {
		courier = c.sender.name
	}
	args := []any{"code", no.code, "status", no.status, "detail", no.detail, "courier", courier,
		"trace_id", strings.Clone(c.traceID), "remote", s.from(c).String()}
	if no.cause != nil {
		args = append(args, "error", no.cause)
	}
	j.write("request refused", args...)
}

func (s *Server) answerProblem(c *call, no refusal) {
	if no.retryAfter > 0 {
		c.ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(no.retryAfter))
	} else if no.retryable() {
		c.ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, s.retryAfter)
	}
	c.out = appendProblem(c.out[:0], no, c.traceID)
	c.answer(no.status, "application/problem+json", c.out)
}

// answerAccepted acknowledges an event that is kept, in its courier's words if it
// wants to hear them.
func (c *call) answerAccepted(r event.Receipt) {
	if own := &c.sender.success; own.Body != nil {
		c.answer(own.Status, own.ContentType, own.Body)
		return
	}
	b := append(c.out[:0], `{"acknowledged":true,"eventId":`...)
	b = jsontext.AppendString(b, c.env.EventID)
	b = append(b, `,"idempotencyKey":`...)
	b = jsontext.AppendString(b, c.env.Key)
	b = append(b, `,"traceId":`...)
	b = jsontext.AppendString(b, c.env.TraceID)
	b = append(b, `,"queued":true,"duplicate":`...)
	b = appendBool(b, r.Duplicate)
	b = append(b, `,"receivedAt":"`...)
	b = c.env.ReceivedAt.AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	c.out = append(b, `"}`...)
	c.answer(c.sender.success.Status, "application/json", c.out)
}

func (c *call) answer(status int, contentType string, body []byte) {
	r := &c.ctx.Response
	r.SetStatusCode(status)
	r.Header.SetContentType(contentType)
	r.Header.Set("X-Request-Id", c.traceID)
	r.SetBody(body)
}

// refuseConn answers a connection that is over a limit. One that expects TLS is only
// counted, because it would not understand.
func (s *Server) refuseConn(c net.Conn, tls bool, reason connlimit.Reason) {
	why := tooManyConns
	if reason == connlimit.OneAddress {
		why = tooManyFromOne
	}
	s.metrics.turned.WithLabelValues(string(why.code)).Inc()
	s.records.sum(sumKey{outcome: ingestion.Refused, code: why.code}).add(s.deps.Now(), 0)
	s.refusals.warn("connection refused", "code", why.code, "detail", why.title, "remote", c.RemoteAddr().String())
	if tls {
		return
	}
	body := appendProblem(nil, refusal{problem: why, detail: "close a connection or come again later"}, string(appendTraceID(nil)))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nRetry-After: %s\r\nConnection: close\r\n\r\n%s",
		why.status, fasthttp.StatusMessage(why.status), len(body), s.retryAfter, body)
}

// appendProblem appends the problem document of a refusal.
func appendProblem(b []byte, no refusal, traceID string) []byte {
	b = append(b, `{"type":"urn:courier-gateway:problem:`...)
	for i := range len(no.code) {
		if ch := no.code[i]; ch == '_' {
			b = append(b, '-')
		} else {
			b = append(b, ch|0x20)
		}
	}
	b = append(b, `","title":`...)
	b = jsontext.AppendString(b, no.title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(no.status), 10)
	b = append(b, `,"detail":`...)
	b = jsontext.AppendString(b, no.detail)
	b = append(b, `,"acknowledged":false,"errorCode":`...)
	b = jsontext.AppendString(b, string(no.code))
	b = append(b, `,"message":`...)
	b = jsontext.AppendString(b, no.detail)
	b = append(b, `,"traceId":`...)
	b = jsontext.AppendString(b, traceID)
	for i, f := range no.faults[:min(len(no.faults), maxFaults)] {
		if i == 0 {
			b = append(b, `,"errors":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"path":`...)
		b = jsontext.AppendString(b, f.Path)
		b = append(b, `,"message":`...)
		b = jsontext.AppendString(b, f.Message)
		b = append(b, '}')
	}
	if len(no.faults) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, "true"...)
	}
	return append(b, "false"...)
}
