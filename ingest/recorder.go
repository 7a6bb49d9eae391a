package ingest

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/media"
	"github.com/fincart/courier-gateway/ingest/record"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// maxPeekBytes bounds how much of a packed body is looked through for secrets, for a record,
// unless more of it was unpacked for its event.
const maxPeekBytes = 256 << 10

// recorder makes records of requests. A nil recorder records nothing.
type recorder struct {
	config  record.Config
	writer  *record.Writer
	put     func(ingestion.Record, record.Class) bool // of the writer
	unknown *record.Shares                            // of requests for no courier of ours
	dropped *prometheus.CounterVec
}

// newRecorder returns nil when there is no store.
func newRecorder(c record.Config, store record.Store, log *rateLimitedLog, dropped *prometheus.CounterVec) *recorder {
	if store == nil {
		return nil
	}
	w := record.NewWriter(c, record.Deps{Store: store, Warn: log.Warn, Unstored: dropped.WithLabelValues(droppedUnstored).Inc})
	return &recorder{config: c, writer: w, put: w.Put, unknown: record.NewShares(c), dropped: dropped}
}

func (r *recorder) start(ctx context.Context) {
	if r != nil {
		r.writer.Start(ctx)
	}
}

func (r *recorder) stop(ctx context.Context) error {
	if r == nil {
		return nil
	}
	return r.writer.Stop(ctx)
}

// aggregate returns the aggregate of a key, nil when nothing is recorded.
func (r *recorder) aggregate(key record.Key) *record.Aggregate {
	if r == nil {
		return nil
	}
	return r.writer.Aggregate(key)
}

// count counts what has no body.
func (r *recorder) count(key record.Key, at time.Time) { r.aggregate(key).Add(at, 0) }

// note records what became of a request: by itself when it was refused, observed or
// ignored for what is in it, as far as the bounds allow, and in an aggregate otherwise.
func (r *recorder) note(c *call, outcome ingestion.Outcome, refusal *refusal, status int) {
	if r == nil {
		return
	}
	key := record.Key{Outcome: outcome, Code: refusal.code, Reason: refusal.reason}
	shares := r.unknown
	if c.courier != nil {
		key.Courier, shares = c.courier.name, c.courier.shares
	}
	if outcome == ingestion.Ignored {
		shares = c.courier.samples
	}
	if !refusal.aboutRequest() || !r.recordSingle(c, key, shares, refusal, status) {
		r.writer.Aggregate(key).Add(c.started, len(c.body.Bytes))
	}
}

// recordSingle makes a record of one request. It reports false when the bounds allow none;
// past the rate that costs no memory.
func (r *recorder) recordSingle(c *call, key record.Key, shares *record.Shares, refusal *refusal, status int) bool {
	class := c.class()
	share := record.Request{Address: c.from(), Code: refusal.code, Reason: refusal.reason, Body: c.body.Bytes, At: c.started}
	if !shares.Take(class, &share) {
		if share.Readable = c.readable(shares); !share.Readable || !shares.Take(class, &share) {
			return false
		}
	}
	if !r.writer.Full(class) {
		request, traceID := r.capture(c)
		if r.put(ingestion.Record{
			ID: record.NewID(c.started), Courier: key.Courier, Outcome: key.Outcome, Count: 1,
			Bytes: int64(request.BodyBytes), At: c.started.UTC(), Until: c.started.UTC(),
			Code: refusal.code, Reason: refusal.reason, Detail: aboutPath(key.Courier, request) + c.table.redactor.Detail(refusal.fullDetail()),
			Status: status, Address: c.from().String(), TraceID: traceID, Request: request,
		}, class) {
			return true
		}
	}
	r.dropped.WithLabelValues(droppedFull).Inc()
	return false
}

// aboutPath begins the detail of a request that reached no courier of ours: where it was sent.
func aboutPath(courier string, r *ingestion.Request) string {
	const most = 200
	switch {
	case courier != "":
		return ""
	case len(r.Path) > most:
		return strings.ToValidUTF8(r.Path[:most], "") + "...: "
	default:
		return r.Path + ": "
	}
}

// class returns what is known of the sender of a refused request.
func (c *call) class() record.Class {
	switch {
	case c.verified:
		return record.Verified
	case c.known():
		return record.Known
	default:
		return record.Other
	}
}

// readable reports whether the body of a request that is not verified can be read as
// its courier writes events. Not every one is looked at.
func (c *call) readable(shares *record.Shares) bool {
	if c.verified || c.courier == nil || !c.body.Whole || !shares.MayRead(c.started) {
		return false
	}
	return c.isEvent()
}

// capture returns a request and its trace id in memory of their own and without a
// secret.
func (r *recorder) capture(c *call) (request *ingestion.Request, traceID string) {
	var scheme *signature.Scheme
	if c.courier != nil {
		scheme = c.courier.scheme
	}
	hide := c.table.redactor.Begin(scheme)
	kept := c.body.Bytes
	plain, whole := body.Peek(kept, media.Packed(c.ctx.Request.Header.PeekAll("Content-Encoding")), max(maxPeekBytes, len(c.plain.Bytes)+1))
	if !whole {
		kept = nil // what was not looked through may be a secret
	}
	request = &ingestion.Request{
		Method: hide.Value(c.Method()), Path: hide.Path(c.Path()), Query: hide.Query(c.Query()), Headers: []ingestion.Header{},
		Body: hide.Body(kept, plain, r.config.BodyBytes), BodyBytes: c.body.Length,
	}
	for name, value := range c.ctx.Request.Header.AllInOrder() {
		request.Headers = append(request.Headers, ingestion.Header{Name: hide.Value(name), Value: hide.Header(string(name), value)})
	}
	traceID = hide.Value([]byte(c.traceID))
	request.Redacted = hide.Done()
	return request, traceID
}
