package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/fincart/courier-gateway/ops"
)

// maxAnswerBytes bounds what the client reads of one answer: a page of dead
// letters, or one with a large body.
const maxAnswerBytes = 256 << 20

// plainToHTTPS is in what a server of net/http answers to plain HTTP where it speaks HTTPS.
var plainToHTTPS = []byte("HTTP request to an HTTPS server")

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return call[T](ctx, c, http.MethodGet, path, query, nil)
}

// call asks and decodes the answer, or the refusal.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (out T, err error) {
	status, body, err := c.do(ctx, method, path, query, in)
	if err != nil {
		return out, err
	}
	if status != http.StatusOK {
		return out, c.refusal(status, body)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, unexpectedAnswer(c, status)
	}
	return out, nil
}

// do sends one request and returns the answer whatever its status. path is
// escaped already.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in any) (status int, body []byte, err error) {
	req, err := c.request(ctx, method, path, query, in)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", c.base.Host, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, c.unreachable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return 0, nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode == http.StatusBadRequest && bytes.Contains(body, plainToHTTPS) {
		return 0, nil, fmt.Errorf("%s speaks HTTPS: set --admin-listen or APPLIANCE_ADMIN__LISTEN to https://%s, "+
			"or name by --data-dir or --config the appliance's own, which say what certificate it shows", c.base.Host, c.base.Host)
	}
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); !strings.HasSuffix(mediaType, "json") {
		return 0, nil, unexpectedAnswer(c, resp.StatusCode)
	}
	return resp.StatusCode, body, nil
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, in any) (*http.Request, error) {
	var payload io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(b)
	}
	target := strings.TrimSuffix(c.base.String(), "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// refusal makes an error of a problem document, with what to do about it where
// the document can't know.
func (c *Client) refusal(status int, body []byte) error {
	p := &ops.Problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		return unexpectedAnswer(c, status)
	}
	p.Status, p.Detail = status, cmp.Or(p.Detail, p.Message, p.Title)
	if p.Code == ops.Unauthorized {
		p.Detail = fmt.Sprintf("the appliance at %s wants a token: give its --data-dir, where a start leaves one for the owner of that directory, "+
			"or set APPLIANCE_ADMIN__TOKEN to env:NAME or file:PATH", c.base.Host)
	}
	return p
}

// unexpectedAnswer is the error for an answer that no admin listener gives.
func unexpectedAnswer(c *Client, status int) error {
	return fmt.Errorf("%s answers (status %d), but not as an appliance's admin listener does: "+
		"is it another program's port? set --admin-listen or APPLIANCE_ADMIN__LISTEN", c.base.Host, status)
}

// UnreachableError means that the appliance could not be asked at all.
type UnreachableError struct {
	message string
	cause   error
}

func (e *UnreachableError) Error() string { return e.message }
func (e *UnreachableError) Unwrap() error { return e.cause }

func (c *Client) unreachable(ctx context.Context, err error) error {
	message := fmt.Sprintf("no appliance answers at %s: is `appliance serve` running? set --admin-listen or APPLIANCE_ADMIN__LISTEN", c.base.Host)
	netErr, isNet := errors.AsType[net.Error](err)
	untrusted, shown := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case ctx.Err() != nil:
		message = fmt.Sprintf("stopped waiting for %s: %v", c.base.Host, context.Cause(ctx))
	case errors.Is(err, syscall.ECONNREFUSED):
	case shown:
		message = fmt.Sprintf("%s answers, but its certificate is not trusted (%v): if it is the appliance, name its --data-dir or --config, "+
			"or set SSL_CERT_FILE to the certificates of who has signed it", c.base.Host, untrusted.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		message = fmt.Sprintf("%s speaks plain HTTP, and is asked by HTTPS as the configuration or the address says: "+
			"was `appliance serve` started with another configuration? set --admin-listen to http://%s to ask it anyway", c.base.Host, c.base.Host)
	case isNet && netErr.Timeout():
		message = fmt.Sprintf("the appliance at %s did not answer within %v: is it overloaded, or is something else listening there?", c.base.Host, c.http.Timeout)
	default:
		message += fmt.Sprintf(" (%v)", unwrapURL(err))
	}
	return &UnreachableError{message: message, cause: err}
}

// unwrapURL drops the URL that net/http puts before its errors: the message has
// the address already.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// pages yields every page behind the row with the id after. An error ends them.
func pages[P ops.Page[R], R any](after string, ask func(after string) (P, error)) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		for {
			page, err := ask(after)
			if !yield(page, err) || err != nil {
				return
			}
			if _, after = page.Rows(); after == "" {
				return
			}
		}
	}
}
