package ingest

import (
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// maxFaults bounds the faults in an answer.
const maxFaults = 50

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

// retryable reports whether the answer says when to come again.
func (p *problem) retryable() bool {
	return p.status == fasthttp.StatusServiceUnavailable || p.status == fasthttp.StatusTooManyRequests
}

// refusal is why one request is refused.
type refusal struct {
	problem
	detail     string       // for the sender
	reason     string       // kind of a signature's failure, for the records
	faults     event.Faults // of the body
	cause      error        // for the log alone
	retryAfter int          // seconds until it may come again; 0 means as configured
}

// refuse makes a refusal in the memory of the call, where there is one at a time: it is
// valid until the next one is made.
func (c *call) refuse(kind problem, detail string) *refusal {
	c.refused = refusal{problem: kind, detail: detail}
	return &c.refused
}

// aboutRequest reports whether the request was refused for what it is. One that came too
// often, or at the wrong time, or met a defect, was not.
func (r *refusal) aboutRequest() bool {
	switch r.code {
	case event.RateLimited, event.IntakeUnavailable, event.Internal:
		return false
	default:
		return true
	}
}

// fullDetail returns the detail with the faults of the body.
func (r *refusal) fullDetail() string {
	var b strings.Builder
	b.WriteString(r.detail)
	for i, f := range r.faults[:min(len(r.faults), maxFaults)] {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(f.Path + " " + f.Message)
	}
	return b.String()
}

// appendProblem appends the problem document of a refusal.
func appendProblem(b []byte, r *refusal, traceID string) []byte {
	b = append(b, `{"type":"urn:courier-gateway:problem:`...)
	for i := range len(r.code) {
		if ch := r.code[i]; ch == '_' {
			b = append(b, '-')
		} else {
			b = append(b, ch|0x20)
		}
	}
	b = append(b, `","title":`...)
	b = jsontext.AppendString(b, r.title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(b, `,"detail":`...)
	b = jsontext.AppendString(b, r.detail)
	b = append(b, `,"acknowledged":false,"errorCode":`...)
	b = jsontext.AppendString(b, string(r.code))
	b = append(b, `,"message":`...)
	b = jsontext.AppendString(b, r.detail)
	b = append(b, `,"traceId":`...)
	b = jsontext.AppendString(b, traceID)
	for i, f := range r.faults[:min(len(r.faults), maxFaults)] {
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
	if len(r.faults) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}
