package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// maxAnswerBytes bounds what is kept of an answer.
const maxAnswerBytes = 1 << 20

// SenderConfig says how to send.
type SenderConfig struct {
	Signer      *Signer
	Authorities *x509.CertPool   // to trust for https; nil for the system's
	Connections int              // most at once, positive
	Timeout     time.Duration    // for one request with its answer, positive
	Now         func() time.Time // the time to sign by
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
		TLSClientConfig:     &tls.Config{RootCAs: cfg.Authorities, MinVersion: tls.VersionTLS12},
	}
	return &Sender{cfg: cfg, client: &http.Client{
		Transport: transport, Timeout: cfg.Timeout,
		// An intake that redirects has not accepted the event.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes the idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Answer is what an appliance answered to one event.
type Answer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"` // as answered; a text that is no JSON becomes a string
}

// Accepted reports whether the event was accepted.
func (a Answer) Accepted() bool { return a.Status >= 200 && a.Status < 300 }

// Duplicate reports whether the appliance had the event before.
func (a Answer) Duplicate() bool {
	var body struct{ Duplicate bool }
	return a.Accepted() && json.Unmarshal(a.Body, &body) == nil && body.Duplicate
}

// Send signs body now and posts it. An answer is no error, whatever its status.
func (s *Sender) Send(ctx context.Context, body []byte) (Answer, error) {
	signed, err := s.cfg.Signer.Sign(body, s.cfg.Now())
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, signed.URL, bytes.NewReader(signed.Body))
	if err != nil {
		return Answer{}, errors.New("send to the appliance: the address can't be used") // it may hold a secret
	}
	for _, h := range signed.Headers {
		req.Header.Set(h.Name, h.Value)
		if strings.EqualFold(h.Name, "host") {
			req.Host = h.Value
		}
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

// asJSON returns text compacted when it is JSON, and as a JSON string when not.
func asJSON(text []byte) json.RawMessage {
	var compact bytes.Buffer
	if json.Compact(&compact, text) == nil {
		return compact.Bytes()
	}
	quoted, _ := json.Marshal(string(text)) // a string always marshals
	return quoted
}

// ErrNoConnection marks failures that every other event would have too.
var ErrNoConnection = errors.New("no connection")

// failure explains why there is no answer. It leaves the address out that was
// posted to, because a token may be in it.
func (s *Sender) failure(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	where := s.cfg.Signer.url.Redacted()
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("%w: nothing answers at %s (%w): is `appliance serve` running? set --url, or ingest.listen in the configuration", ErrNoConnection, where, op.Err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: the certificate of %s is not trusted (%w): name its authority by --ca", ErrNoConnection, where, err)
	}
	return fmt.Errorf("send to the appliance: %w", err)
}

// Authorities returns the certificates to trust from a PEM file, nil (the system's)
// without one.
func Authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the authorities to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the authorities to trust: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}
