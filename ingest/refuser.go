package ingest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/connlimit"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/record"
)

// refuser answers, counts, logs and records what is refused, and what is ignored.
type refuser struct {
	metrics    *metrics
	records    *recorder
	log        *rateLimitedLog // of what senders did wrong
	failures   *rateLimitedLog // of what went wrong here
	retryAfter string          // what a 503 asks for, in full seconds
	now        func() time.Time
}

// refuse answers, counts, logs and records a refusal.
func (r *refuser) refuse(c *call, refusal *refusal) {
	r.metrics.refused.Observe(r.now().Sub(c.started).Seconds())
	r.metrics.bytes.Add(float64(len(c.env.Body)))
	r.metrics.count(c.courier, refusal.code)
	r.logRefusal(c, refusal)
	r.answerProblem(c, refusal)
	if c.posted {
		r.records.note(c, ingestion.Refused, refusal, refusal.status)
	}
}

// ignore answers, counts and records a request that says nothing of a shipment. One that
// is not verified is recorded as observed, so that who sets its courier up sees why.
func (r *refuser) ignore(c *call) {
	r.metrics.ignored.Observe(r.now().Sub(c.started).Seconds())
	r.metrics.bytes.Add(float64(len(c.env.Body)))
	c.courier.ignored.Inc()
	c.answerIgnored()
	if c.observed.code != "" {
		r.observe(c)
		return
	}
	why := c.refuse(problem{}, "by its courier's settings it says nothing of a shipment")
	why.reason = c.event.Ignored
	r.records.note(c, ingestion.Ignored, why, c.courier.success.Status)
}

func (r *refuser) logRefusal(c *call, refusal *refusal) {
	log, courier := r.log, noCourier
	if refusal.cause != nil {
		log = r.failures
	}
	if !log.admit() {
		return
	}
	if c.courier != nil {
		courier = c.courier.name
	}
	args := []any{"code", refusal.code, "status", refusal.status, "detail", refusal.detail, "courier", courier,
		"trace_id", strings.Clone(c.traceID), "remote", c.from().String()}
	if refusal.cause != nil {
		args = append(args, "error", refusal.cause)
	}
	log.write("request refused", args...)
}

func (r *refuser) answerProblem(c *call, refusal *refusal) {
	if refusal.retryAfter > 0 {
		c.ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(refusal.retryAfter))
	} else if refusal.retryable() {
		c.ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, r.retryAfter)
	}
	if refusal.status == fasthttp.StatusUnauthorized {
		if challenge := c.courier.challenge(refusal.reason); challenge != "" {
			c.ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, challenge)
		}
	}
	c.out = appendProblem(c.out[:0], refusal, c.answerID)
	c.answer(refusal.status, "application/problem+json", c.out)
}

// refuseConn answers a connection that is over a limit. One that expects TLS is only
// counted, because it would not understand.
func (r *refuser) refuseConn(c net.Conn, tls bool, reason connlimit.Reason) {
	kind := tooManyConns
	if reason == connlimit.OneAddress {
		kind = tooManyFromOne
	}
	r.metrics.connsRefused.WithLabelValues(string(kind.code)).Inc()
	r.records.count(record.Key{Outcome: ingestion.Refused, Code: kind.code}, r.now())
	r.log.Warn("connection refused", "code", kind.code, "detail", kind.title, "remote", c.RemoteAddr().String())
	if tls {
		return
	}
	body := appendProblem(nil, &refusal{problem: kind, detail: "close a connection or come again later"}, string(appendTraceID(nil)))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nRetry-After: %s\r\nConnection: close\r\n\r\n%s",
		kind.status, fasthttp.StatusMessage(kind.status), len(body), r.retryAfter, body)
}
