package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// maxAnswerBytes bounds what is kept of an answer.
const maxAnswerBytes = 1 << 20

// SenderConfig says how to send.
type SenderConfig struct {
	URL         string            // whole address of the endpoint
	Scheme      *signature.Scheme // how to sign
	Connections int               // most at once, positive
	Timeout     time.Duration     // for one request with its answer, positive
	Now         func() time.Time  // the time to sign by
}

// Sender signs bodies and posts them, as a courier does. It is safe for
// concurrent use.
type Sender struct {
	cfg    SenderConfig
	client *http.Client
}

// NewSender returns a sender; nothing is sent yet.
func NewSender(cfg SenderConfig) *Sender {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: cfg.Connections,
		MaxConnsPerHost:     cfg.Connections,
	}
	return &Sender{cfg: cfg, client: &http.Client{
		Transport: transport, Timeout: cfg.Timeout,
		// An intake that redirects has not taken the event.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes the idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Answer is what an appliance said to one event.
type Answer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"` // as answered; a text that is no JSON becomes a string
}

// Accepted reports whether the event was taken.
func (a Answer) Accepted() bool { return a.Status >= 200 && a.Status < 300 }

// Duplicate reports whether the appliance had the event before.
func (a Answer) Duplicate() bool {
	var body struct{ Duplicate bool }
	return a.Accepted() && json.Unmarshal(a.Body, &body) == nil && body.Duplicate
}

// Send signs body now and posts it. An answer is no error, whatever its status.
func (s *Sender) Send(ctx context.Context, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("send to %s: %w", s.cfg.URL, err)
	}
	for _, h := range Headers(s.cfg.Scheme, body, s.cfg.Now()) {
		req.Header.Set(h.Name, h.Value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return Answer{}, s.failure(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return Answer{}, s.failure(err)
	}
	return Answer{Status: resp.StatusCode, Body: asJSON(text)}, nil
}

// Headers returns all headers of a signed event, in the order to show them.
func Headers(scheme *signature.Scheme, body []byte, at time.Time) []signature.Header {
	return append([]signature.Header{{Name: "content-type", Value: "application/json"}}, scheme.Sign(body, at)...)
}

// asJSON returns text compacted when it is JSON, and as a JSON string when not.
func asJSON(text []byte) json.RawMessage {
	var compact bytes.Buffer
	if json.Compact(&compact, text) == nil {
		return compact.Bytes()
	}
	quoted, _ := json.Marshal(string(text)) // a string always marshals
	return quoted
}

// errNoConnection marks failures that every other event would meet too.
var errNoConnection = errors.New("no connection")

func (s *Sender) failure(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("%w: nothing answers at %s (%w): is `appliance serve` running? set --url, or ingest.listen in the configuration", errNoConnection, s.cfg.URL, op.Err)
	}
	return fmt.Errorf("send to the appliance: %w", err)
}
