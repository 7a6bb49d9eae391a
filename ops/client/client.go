// Package client asks the admin API of a running appliance over HTTP.
//
// In come an address, a token, and the keys, ids and filters of what is asked for.
// Out come the documents of package ops, and errors: an [ops.Problem] where the
// appliance refused, an [UnreachableError] where it could not be asked. Errors may
// quote what a courier wrote and are not escaped. The commands of ops/cli call it, and
// appliance/app for the load test.
package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ops"
)

// Config says which appliance to ask, and how.
type Config struct {
	// Address is what the admin listener was given ("127.0.0.1:8081", ":8081",
	// "[::]:8081") or a URL in front of it.
	Address string
	Token   string        // bearer token, empty for none
	Timeout time.Duration // for one request with its answer, positive
	// CertFile is the certificate that the listener shows, in PEM form; "" for one that an
	// authority of the system has signed, for the host in Address.
	CertFile string
	// Transport makes the connections; nil for those of net/http.
	Transport http.RoundTripper
}

// Client asks an appliance's admin listener. Its errors are [ops.Problem]s where the
// appliance refused, and otherwise say what to do. It is safe for concurrent
// use.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// New returns a client; nothing is asked yet.
func New(cfg Config) (*Client, error) {
	base, err := baseURL(cfg.Address)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		return nil, fmt.Errorf("admin client: time-out %v is not positive", cfg.Timeout)
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{IdleConnTimeout: time.Minute, TLSClientConfig: trusting(cfg.CertFile)}
	}
	return &Client{base: base, token: cfg.Token, http: &http.Client{
		Timeout: cfg.Timeout, Transport: cfg.Transport,
		// The token goes where it was sent and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Status returns everything at a glance.
func (c *Client) Status(ctx context.Context) (ops.Status, error) {
	return get[ops.Status](ctx, c, ops.StatusPath, nil)
}

// Health returns the appliance's health, also when it is unhealthy, with the
// document as it was answered.
func (c *Client) Health(ctx context.Context) (ops.Health, json.RawMessage, error) {
	status, body, err := c.do(ctx, http.MethodGet, ops.HealthPath, nil, nil)
	if err != nil {
		return ops.Health{}, nil, err
	}
	if status != http.StatusOK && status != http.StatusServiceUnavailable {
		return ops.Health{}, nil, c.refusal(status, body)
	}
	return ops.ParseHealth(body), body, nil
}

// Event returns the ledger's row for an idempotency key. Where several couriers
// use the key and courier is empty, the error is a [ops.Problem] with the code
// [ops.Ambiguous].
func (c *Client) Event(ctx context.Context, key, courier string) (event.Record, error) {
	return get[event.Record](ctx, c, ops.EventsPath+ops.EscapeSegment(key), courierQuery(courier))
}

// Shipment returns a shipment; courier is as for [Client.Event].
func (c *Client) Shipment(ctx context.Context, id, courier string) (shipment.Shipment, error) {
	return get[shipment.Shipment](ctx, c, ops.ShipmentsPath+ops.EscapeSegment(id), courierQuery(courier))
}

// DeadLetters returns one page of the letters that filter selects.
func (c *Client) DeadLetters(ctx context.Context, filter event.DeadLetterFilter) (ops.DeadLetterPage, error) {
	return get[ops.DeadLetterPage](ctx, c, ops.DeadLettersPath, ops.DeadLetterQuery(filter))
}

// DeadLetterPages yields every page of the letters that filter selects; its
// limit is the size of a page. An error ends the pages.
func (c *Client) DeadLetterPages(ctx context.Context, filter event.DeadLetterFilter) iter.Seq2[ops.DeadLetterPage, error] {
	return pages(filter.After, func(after string) (ops.DeadLetterPage, error) {
		filter.After = after
		return c.DeadLetters(ctx, filter)
	})
}

// DeadLetter returns one letter, whole.
func (c *Client) DeadLetter(ctx context.Context, id string) (event.DeadLetter, error) {
	return get[event.DeadLetter](ctx, c, letterPath(id), nil)
}

// Replay requeues a letter's event.
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
	return call[event.DeadLetter](ctx, c, http.MethodPost, letterPath(id)+verb, nil, ops.Note{Note: note})
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
		return 0, unexpectedAnswer(c, resp.StatusCode)
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxAnswerBytes))
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return 0, unexpectedAnswer(c, resp.StatusCode)
			}
			return value, nil
		}
	}
	if err := lines.Err(); err != nil {
		return 0, c.unreachable(ctx, err)
	}
	return 0, event.Errorf(event.NotFound, "", "%s has no metric %s", c.base.Host, name)
}

func letterPath(id string) string { return ops.DeadLettersPath + "/" + ops.EscapeSegment(id) }

// Rejections returns one page of the refused and observed requests that filter
// selects, and of the aggregates of those that have no record of their own. No outcome
// in the filter means both.
func (c *Client) Rejections(ctx context.Context, filter ingestion.Filter) (ops.IngestionPage, error) {
	return get[ops.IngestionPage](ctx, c, ops.RejectionsPath, ops.IngestionQuery(filter))
}

// RejectionPages yields every page of what [Client.Rejections] selects; the
// filter's limit is the size of a page. An error ends the pages.
func (c *Client) RejectionPages(ctx context.Context, filter ingestion.Filter) iter.Seq2[ops.IngestionPage, error] {
	return pages(filter.After, func(after string) (ops.IngestionPage, error) {
		filter.After = after
		return c.Rejections(ctx, filter)
	})
}

// Ingestions returns one page of everything that the intake has recorded, the
// aggregates of accepted requests included.
func (c *Client) Ingestions(ctx context.Context, filter ingestion.Filter) (ops.IngestionPage, error) {
	return get[ops.IngestionPage](ctx, c, ops.IngestionsPath, ops.IngestionQuery(filter))
}

// Rejection returns one record, with the whole request.
func (c *Client) Rejection(ctx context.Context, id string) (ingestion.Record, error) {
	return get[ingestion.Record](ctx, c, ops.RejectionsPath+"/"+ops.EscapeSegment(id), nil)
}

// Accept accepts a request that was refused. With vouch it is not verified.
func (c *Client) Accept(ctx context.Context, id string, vouch bool) (ops.Accepted, error) {
	return call[ops.Accepted](ctx, c, http.MethodPost, ops.RejectionsPath+"/"+ops.EscapeSegment(id)+"/accept", nil, ops.AcceptRequest{Vouch: vouch})
}

// Couriers returns the active couriers.
func (c *Client) Couriers(ctx context.Context) (ops.CourierList, error) {
	return get[ops.CourierList](ctx, c, ops.CouriersPath, nil)
}

// Unmapped returns the statuses that no mapping knew when they came.
func (c *Client) Unmapped(ctx context.Context) (ops.UnmappedList, error) {
	return get[ops.UnmappedList](ctx, c, ops.UnmappedPath, nil)
}

// Reprocess yields every page of what request selects. Where to go on is taken from each
// page. An error ends the pages.
func (c *Client) Reprocess(ctx context.Context, request reprocess.Request) iter.Seq2[reprocess.Page, error] {
	return func(yield func(reprocess.Page, error) bool) {
		for {
			page, err := call[reprocess.Page](ctx, c, http.MethodPost, ops.ReprocessPath, nil, request)
			if !yield(page, err) || err != nil || page.Next == 0 {
				return
			}
			request.Sequence, request.To = page.Next, page.To
		}
	}
}

// Reload makes the couriers of the appliance's configuration, as it is now, the
// active ones. When it is wrong the error is a [ops.Problem] with the code
// [ops.InvalidConfig] and all its faults, and the couriers before it stay active.
func (c *Client) Reload(ctx context.Context) (ops.ReloadReport, error) {
	return call[ops.ReloadReport](ctx, c, http.MethodPost, ops.CouriersPath+"/reload", nil, nil)
}

// Losses returns what the queue is known to have lost, the oldest first.
func (c *Client) Losses(ctx context.Context) (ops.LossList, error) {
	return get[ops.LossList](ctx, c, ops.LossesPath, nil)
}

// AcknowledgeLoss marks a loss as known to an operator; an empty note leaves none.
func (c *Client) AcknowledgeLoss(ctx context.Context, id, note string) (loss.Loss, error) {
	return call[loss.Loss](ctx, c, http.MethodPost, ops.LossesPath+"/"+ops.EscapeSegment(id)+"/acknowledge", nil, ops.Note{Note: note})
}

func courierQuery(courier string) url.Values {
	if courier == "" {
		return nil
	}
	return url.Values{"courier": {courier}}
}

// trusting returns settings by which a server has to show this very certificate, nil for
// those of net/http. The file is read for each connection: the server reads it again, too.
func trusting(certFile string) *tls.Config {
	if certFile == "" {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // the certificate is compared instead, with that on this machine
		VerifyConnection: func(state tls.ConnectionState) error {
			raw, err := os.ReadFile(certFile)
			if err != nil {
				return err
			}
			block, _ := pem.Decode(raw)
			if block == nil || !bytes.Equal(block.Bytes, state.PeerCertificates[0].Raw) {
				err = fmt.Errorf("it shows another certificate than that in %s", certFile)
				return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
			}
			return nil
		},
	}
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
	host, err := dialable(address)
	if err != nil {
		return nil, fmt.Errorf("the admin address: %w: %s", err, hint)
	}
	return &url.URL{Scheme: "http", Host: host}, nil
}

// dialable returns where to reach, from the same machine, a listener on address
// (host:port): one on all addresses is reached by loopback.
func dialable(address string) (string, error) {
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
