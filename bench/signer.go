package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// SignerConfig says for which endpoint to sign, and how.
type SignerConfig struct {
	URL    string            // whole address of the endpoint, by http or https
	Scheme *signature.Scheme // how the courier signs
	// Headers are sent with every request, besides those of its signature, and signed
	// where the scheme wants that. Without a Content-Type among them it is JSON.
	Headers []signature.Header
}

// Signer makes signed requests for one endpoint, as a courier does. It never
// changes and is safe for concurrent use.
type Signer struct {
	url     *url.URL
	path    string // as it is sent and signed
	scheme  *signature.Scheme
	headers []signature.Header // of every request
	signed  []signature.Header // the same and the host, for schemes that sign some
}

// NewSigner returns a signer. It fails when the address is none.
func NewSigner(cfg SignerConfig) (*Signer, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no http address", cfg.URL)
	}
	s := &Signer{url: u, path: u.EscapedPath(), scheme: cfg.Scheme}
	if !hasHeader(cfg.Headers, "content-type") {
		s.headers = append(s.headers, signature.Header{Name: "content-type", Value: "application/json"})
	}
	s.headers = append(s.headers, cfg.Headers...)
	s.signed = slices.Clone(s.headers)
	if !hasHeader(s.headers, "host") {
		s.signed = append(s.signed, signature.Header{Name: "host", Value: u.Host})
	}
	return s, nil
}

func hasHeader(headers []signature.Header, name string) bool {
	return slices.ContainsFunc(headers, func(h signature.Header) bool { return strings.EqualFold(h.Name, name) })
}

// Headers returns the headers of every request; it must not be changed.
func (s *Signer) Headers() []signature.Header { return s.headers }

// Covers returns what a signature covers of a request.
func (s *Signer) Covers() signature.Binding { return s.scheme.Binding() }

// SignBody returns what a signature adds to a request with this body. Every way of
// sending goes through it. The result shares memory with body unless the signature
// is in there.
func (s *Signer) SignBody(body []byte, at time.Time) (signature.Signed, error) {
	return s.scheme.SignRequest(signature.Draft{Path: s.path, Headers: s.signed, Body: body}, at)
}

// Request is a signed request, which is to be sent by POST.
type Request struct {
	URL     string             // whole address, with the query that the signature adds
	Headers []signature.Header // all of them, in the order to show them
	Body    []byte
	Query   string // what the signature has added to the address, encoded; "" for nothing
	// Rewritten says that the signature is in the body, so that this one has to be
	// sent in place of the one that was given.
	Rewritten bool
}

// Sign returns the request that posts body, signed as of the time at.
func (s *Signer) Sign(body []byte, at time.Time) (Request, error) {
	signed, err := s.SignBody(body, at)
	if errors.Is(err, signature.ErrNoPrivateKey) {
		return Request{}, fmt.Errorf("%w: set --private-key to its file", err)
	}
	if err != nil {
		return Request{}, err
	}
	for _, h := range signed.Headers {
		if hasHeader(s.headers, h.Name) {
			return Request{}, fmt.Errorf("the header %s is part of the signature, so it can't be given: remove its --header", h.Name)
		}
	}
	request := s.Request(signed)
	request.Rewritten = string(signed.Body) != string(body)
	return request, nil
}

// Request returns the request with a signature and all that every request has.
func (s *Signer) Request(signed signature.Signed) Request {
	to := *s.url
	if to.RawQuery != "" && signed.Query != "" {
		to.RawQuery += "&"
	}
	to.RawQuery += signed.Query
	return Request{URL: to.String(), Headers: slices.Concat(s.headers, signed.Headers), Body: signed.Body, Query: signed.Query}
}

// NewScheme compiles how a courier signs. Public keys are for verifying, so they are
// never loaded.
func NewScheme(c signature.Config) (*signature.Scheme, error) {
	if c.Keys == nil && (c.JWKS != "" || c.PrivateKey != nil) {
		const ever = 24 * time.Hour
		keys, err := jwks.NewSource(jwks.Config{
			Load:  func(context.Context) ([]byte, error) { return nil, errors.New("signing needs no public keys") },
			Every: ever, Retry: ever, MaxAge: 2 * ever, Now: time.Now,
		})
		if err != nil {
			return nil, err
		}
		c.Keys = keys
	}
	return signature.New(c)
}

// prefer makes an algorithm the one that a courier signs by: one of its own becomes
// the first, another one of its scheme replaces all of them and the settings that only
// they need.
func prefer(c *signature.Config, a signature.Algorithm) {
	if slices.Contains(c.Algorithms, a) {
		rest := slices.DeleteFunc(slices.Clone(c.Algorithms), func(b signature.Algorithm) bool { return a == b })
		c.Algorithms = append([]signature.Algorithm{a}, rest...)
		return
	}
	c.Algorithms = []signature.Algorithm{a}
	c.AllowSHA1 = c.AllowSHA1 && a == signature.SHA1
	switch {
	case c.Scheme != "jwt":
	case a == signature.RS256:
		c.Secrets = nil
	default:
		c.JWKS, c.Keys = "", nil
	}
}
