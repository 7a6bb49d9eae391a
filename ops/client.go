package ops

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// maxAnswerBytes bounds what the client reads of one answer: a page of dead
// letters, or one with a large body.
const maxAnswerBytes = 256 << 20

// ClientConfig says which appliance to ask, and how.
type ClientConfig struct {
	// Address is what the admin listener was given ("127.0.0.1:8081", ":8081",
	// "[::]:8081") or a URL in front of it.
	Address string
	Token   string        // bearer token, empty for none
	Timeout time.Duration // for one request with its answer, positive
	// Transport makes the connections; nil for those of net/http.
	Transport http.RoundTripper
}

// Client asks an appliance's admin listener. Its errors are [Problem]s where the
// appliance refused, and otherwise say what to do. It is safe for concurrent
// use.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// NewClient returns a client; nothing is asked yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	base, err := baseURL(cfg.Address)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		return nil, fmt.Errorf("admin client: time-out %v is not positive", cfg.Timeout)
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{IdleConnTimeout: time.Minute}
	}
	return &Client{base: base, token: cfg.Token, http: &http.Client{
		Timeout: cfg.Timeout, Transport: cfg.Transport,
		// The token goes where it was sent and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// baseURL makes a URL of a listener's address, or takes the URL that it is.
func baseURL(address string) (*url.URL, error) {
	hint := "set --admin-listen or APPLIANCE_ADMIN__LISTEN to host:port"
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%q is no http address: %s", address, hint)
		}
		return u, nil
	}
	host, err := Dialable(address)
	if err != nil {
		return nil, fmt.Errorf("the admin address: %w: %s", err, hint)
	}
	return &url.URL{Scheme: "http", Host: host}, nil
}

// Dialable returns where to reach, from the same machine, a listener on address
// (host:port): one on all addresses is reached by loopback.
func Dialable(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" || port == "0" {
		return "", fmt.Errorf("%q names no port to ask", address)
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// Status returns everything at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/api/v1/status", nil)
}

// Health returns the appliance's health, also when it is unhealthy, with the
// document as it was answered.
func (c *Client) Health(ctx context.Context) (Health, json.RawMessage, error) {
	status, body, err := c.do(ctx, http.MethodGet, "/health", nil, nil)
	if err != nil {
		return Health{}, nil, err
	}
	if status != http.StatusOK && status != http.StatusServiceUnavailable {
		return Health{}, nil, c.refusal(status, body)
	}
	return parseHealth(body), body, nil
}

// Event returns the ledger's row for an idempotency key. Where several couriers
// use the key and courier is empty, the error is a [Problem] with the code
// [Ambiguous].
func (c *Client) Event(ctx context.Context, key, courier string) (event.Record, error) {
	return get[event.Record](ctx, c, eventsPath+escapeSegment(key), courierQuery(courier))
}

// Shipment returns a shipment; courier is as for [Client.Event].
func (c *Client) Shipment(ctx context.Context, id, courier string) (event.Shipment, error) {
	return get[event.Shipment](ctx, c, shipmentsPath+escapeSegment(id), courierQuery(courier))
}

// DeadLetters returns one page of the letters that filter selects.
func (c *Client) DeadLetters(ctx context.Context, filter event.DeadLetterFilter) (DeadLetterPage, error) {
	return get[DeadLetterPage](ctx, c, lettersPath, formatFilter(filter))
}

// DeadLetterPages yields every page of the letters that filter selects; its
// limit is the size of a page. An error ends the pages.
func (c *Client) DeadLetterPages(ctx context.Context, filter event.DeadLetterFilter) iter.Seq2[DeadLetterPage, error] {
	return pages(filter.After, func(after string) (DeadLetterPage, error) {
		filter.After = after
		return c.DeadLetters(ctx, filter)
	})
}

// DeadLetter returns one letter, whole.
func (c *Client) DeadLetter(ctx context.Context, id string) (event.DeadLetter, error) {
	return get[event.DeadLetter](ctx, c, letterPath(id), nil)
}

// Replay puts a letter's event back on the queue.
func (c *Client) Replay(ctx context.Context, id string) (event.ReplayLink, error) {
	return call[event.ReplayLink](ctx, c, http.MethodPost, letterPath(id)+"/replay", nil, nil)
}

// Review closes a letter (status [event.ReviewClosed]) or marks it as reviewed
// ([event.ReviewReviewed]); an empty note leaves none.
func (c *Client) Review(ctx context.Context, id string, status event.ReviewStatus, note string) (event.DeadLetter, error) {
	verb := "/review"
	if status == event.ReviewClosed {
		verb = "/close"
	}
	return call[event.DeadLetter](ctx, c, http.MethodPost, letterPath(id)+verb, nil, Note{Note: note})
}

// Metric returns the value of a metric without labels, by its name in /metrics. The
// error has the code [event.NotFound] when there is none of this name.
func (c *Client) Metric(ctx context.Context, name string) (float64, error) {
	req, err := c.request(ctx, http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", c.base.Host, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, c.unreachable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, c.stranger(resp.StatusCode)
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxAnswerBytes))
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return 0, c.stranger(resp.StatusCode)
			}
			return value, nil
		}
	}
	if err := lines.Err(); err != nil {
		return 0, c.unreachable(ctx, err)
	}
	return 0, event.Errorf(event.NotFound, "", "%s has no metric %s", c.base.Host, name)
}

func letterPath(id string) string { return lettersPath + "/" + escapeSegment(id) }

func courierQuery(courier string) url.Values {
	if courier == "" {
		return nil
	}
	return url.Values{"courier": {courier}}
}

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
		return out, c.stranger(status)
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
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); !strings.HasSuffix(mediaType, "json") {
		return 0, nil, c.stranger(resp.StatusCode)
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
	p := &Problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		return c.stranger(status)
	}
	p.Status, p.Detail = status, cmp.Or(p.Detail, p.Message, p.Title)
	if p.Code == Unauthorized {
		p.Detail = fmt.Sprintf("the appliance at %s refuses the admin token: set admin.token (APPLIANCE_ADMIN__TOKEN) to the one it was started with", c.base.Host)
	}
	return p
}

// stranger is the error for an answer that no admin listener gives.
func (c *Client) stranger(status int) error {
	return fmt.Errorf("%s answers (status %d), but not as an appliance's admin listener does: "+
		"is it another program's port? set --admin-listen or APPLIANCE_ADMIN__LISTEN", c.base.Host, status)
}

// unreachableError means that the appliance could not be asked at all.
type unreachableError struct {
	message string
	cause   error
}

func (e *unreachableError) Error() string { return e.message }
func (e *unreachableError) Unwrap() error { return e.cause }

func (c *Client) unreachable(ctx context.Context, err error) error {
	message := fmt.Sprintf("no appliance answers at %s: is `appliance serve` running? set --admin-listen or APPLIANCE_ADMIN__LISTEN", c.base.Host)
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case ctx.Err() != nil:
		message = fmt.Sprintf("stopped waiting for %s: %v", c.base.Host, context.Cause(ctx))
	case errors.Is(err, syscall.ECONNREFUSED):
	case isNet && netErr.Timeout():
		message = fmt.Sprintf("the appliance at %s did not answer within %v: is it overloaded, or is something else listening there?", c.base.Host, c.http.Timeout)
	default:
		message += fmt.Sprintf(" (%v)", unwrapURL(err))
	}
	return &unreachableError{message: message, cause: err}
}

// unwrapURL drops the URL that net/http puts before its errors: the message has
// the address already.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
