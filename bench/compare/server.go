package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/jsontext"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// What a server does with an event that is verified.
const (
	sinkNone      = "hmac"
	sinkXADD      = "redis"
	sinkPipelined = "redis-pipelined"
)

// Limits of the listener, which are the appliance's defaults.
const (
	maxConns       = 10_000
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 1 << 20
	ioTimeout      = 10 * time.Second
	idleTimeout    = time.Minute
	stopTimeout    = 5 * time.Second
)

// serveConfig says what to serve.
type serveConfig struct {
	listen string
	secret string
	sink   string
	redis  string // address, for the Redis sinks
	pool   int    // connections to it at most
}

// serve says where it serves, by one line of JSON, and serves until ctx ends.
func serve(ctx context.Context, cfg serveConfig, out io.Writer) error {
	if cfg.secret == "" {
		return usage{errors.New(secretVariable + " is not set: it holds the courier's secret")}
	}
	scheme, err := signature.New(signature.Config{
		Scheme: "gateway", Secrets: []signature.Secret{{ID: "bench", Key: []byte(cfg.secret)}},
		TolerancePast: signature.DefaultTolerance, ToleranceFuture: signature.DefaultTolerance,
	})
	if err != nil {
		return err
	}
	sink, err := newSink(ctx, cfg)
	if err != nil {
		return err
	}
	defer sink.close()
	ln, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return err
	}
	server := newServer(&intake{scheme: scheme, sink: sink})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	if err := json.NewEncoder(out).Encode(map[string]string{"url": "http://" + ln.Addr().String()}); err != nil {
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.ShutdownWithContext(stopping); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err // connections that are still open end with the process
	}
	return nil
}

// newServer returns a server with the settings of the appliance's listener.
func newServer(in *intake) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      in.handle,
		Concurrency:                  2 * maxConns,
		ReadBufferSize:               maxHeaderBytes,
		MaxRequestBodySize:           maxBodyBytes,
		ReadTimeout:                  ioTimeout,
		WriteTimeout:                 ioTimeout,
		IdleTimeout:                  idleTimeout,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		LazyRequestTime:              true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
	}
}

// intake accepts events: it verifies the sender, stores the body, and answers.
type intake struct {
	scheme *signature.Scheme
	sink   sink
}

func (in *intake) handle(ctx *fasthttp.RequestCtx) {
	now := time.Now()
	if _, err := in.scheme.Verify((*request)(ctx), now); err != nil {
		refuse(ctx, fasthttp.StatusUnauthorized, "INVALID_SIGNATURE", err)
		return
	}
	body := ctx.Request.Body()
	if err := in.sink.store(ctx, body); err != nil {
		refuse(ctx, fasthttp.StatusServiceUnavailable, "INTAKE_UNAVAILABLE", err)
		return
	}
	ctx.Response.SetStatusCode(fasthttp.StatusAccepted)
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.Header.Set("X-Request-Id", traceID)
	ctx.Response.SetBodyRaw(appendAnswer(make([]byte, 0, 320), body, now))
}

func refuse(ctx *fasthttp.RequestCtx, status int, code string, err error) {
	ctx.Response.SetStatusCode(status)
	ctx.Response.Header.SetContentType("application/problem+json")
	body := append([]byte(nil), `{"acknowledged":false,"errorCode":`...)
	body = jsontext.AppendString(body, code)
	body = append(body, `,"message":`...)
	body = jsontext.AppendString(body, strings.ToValidUTF8(err.Error(), "\uFFFD"))
	ctx.Response.SetBodyRaw(append(body, '}'))
}

// traceID stands for the one that the appliance makes: as long, and for nothing.
const traceID = "req_00000000000000000000000000000000"

// appendAnswer appends the appliance's answer. It only looks for the members that
// it names: a server that only verifies the sender validates no event.
func appendAnswer(dst, body []byte, now time.Time) []byte {
	dst = append(dst, `{"acknowledged":true,"eventId":`...)
	dst = append(dst, member(body, `"eventId":`)...)
	dst = append(dst, `,"idempotencyKey":`...)
	dst = append(dst, member(body, `"idempotencyKey":`)...)
	dst = append(dst, `,"traceId":"`+traceID+`","queued":true,"duplicate":false,"receivedAt":"`...)
	dst = now.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
	return append(dst, `"}`...)
}

// member returns the text behind name, as JSON; null when there is none.
func member(body []byte, name string) []byte {
	at := bytes.Index(body, []byte(name))
	if at < 0 || at+len(name) >= len(body) || body[at+len(name)] != '"' {
		return []byte("null")
	}
	rest := body[at+len(name):]
	if end := bytes.IndexByte(rest[1:], '"'); end >= 0 {
		return rest[:end+2]
	}
	return []byte("null")
}

// request is what the scheme reads of a request.
type request fasthttp.RequestCtx

func (r *request) ctx() *fasthttp.RequestCtx { return (*fasthttp.RequestCtx)(r) }

func (r *request) Header(name string) (value []byte, count int) {
	values := r.ctx().Request.Header.PeekAll(name)
	if len(values) == 0 {
		return nil, 0
	}
	return values[0], len(values)
}

func (r *request) Body() []byte   { return r.ctx().Request.Body() }
func (r *request) Method() []byte { return r.ctx().Method() }
func (r *request) Path() []byte   { return r.ctx().URI().PathOriginal() }
func (r *request) Query() []byte  { return r.ctx().URI().QueryString() }
