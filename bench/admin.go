package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// maxAdminAnswer bounds what is read of one answer: a page of dead letters.
const maxAdminAnswer = 64 << 20

// lettersPerPage is as many as the admin listener gives at once.
const lettersPerPage = 500

// admin asks an appliance's admin listener what became of the events. It is safe
// for concurrent use.
type admin struct {
	site   *site
	token  string // bearer token, "" for none
	client *http.Client
}

// status is what a load test reads of GET /api/v1/status.
type status struct {
	Version    string             `json:"version"`
	Queue      *event.QueueState  `json:"queue"`
	Store      *event.StoreCounts `json:"store"`
	Problems   []string           `json:"problems"`
	Reconciler *struct {
		PutBack int64 `json:"putBack"`
	} `json:"reconciler"`
}

func newAdmin(s *site, token string, connections int) *admin {
	return &admin{site: s, token: token, client: &http.Client{
		Timeout: 10 * time.Second, Transport: s.transport(connections),
		// The token goes where it was sent and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (a *admin) close() { a.client.CloseIdleConnections() }

// errAbsent means that what was asked for is not there.
var errAbsent = errors.New("it is not there")

// get asks for a path, escaped already, and hands the answer's body to read. Its
// error is errAbsent when there is no such thing.
func (a *admin) get(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.site.url+path, nil)
	if err != nil {
		return fmt.Errorf("ask the admin listener: %w", err)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the admin listener: %w", err)
	}
	body := io.LimitReader(resp.Body, maxAdminAnswer)
	switch resp.StatusCode {
	case http.StatusOK:
		err = read(body)
	case http.StatusNotFound:
		err = errAbsent
	case http.StatusUnauthorized:
		err = fmt.Errorf("the admin listener at %s refuses the token: set admin.token (APPLIANCE_ADMIN__TOKEN) to the one it was started with", a.site.url)
	default:
		err = fmt.Errorf("the admin listener at %s answers %s with status %d", a.site.url, path, resp.StatusCode)
	}
	_, drained := io.Copy(io.Discard, body) // so that the connection can be used again
	return errors.Join(err, drained, resp.Body.Close())
}

// asJSONInto returns a reader of one JSON document.
func asJSONInto(into any) func(io.Reader) error {
	return func(r io.Reader) error {
		if err := json.NewDecoder(r).Decode(into); err != nil {
			return fmt.Errorf("read the admin listener's answer: %w", err)
		}
		return nil
	}
}

// status returns the figures of queue and store.
func (a *admin) status(ctx context.Context) (status, error) {
	var s status
	if err := a.get(ctx, "/api/v1/status", asJSONInto(&s)); err != nil {
		return s, err
	}
	if s.Queue == nil || s.Store == nil {
		return s, fmt.Errorf("the appliance at %s tells nothing of its queue or store: %s", a.site.url, strings.Join(s.Problems, "; "))
	}
	return s, nil
}

// record returns an event's row in the ledger, errAbsent when there is none.
func (a *admin) record(ctx context.Context, courier, key string) (r event.Record, err error) {
	err = a.get(ctx, "/api/v1/events/"+url.PathEscape(key)+"?courier="+courier, asJSONInto(&r))
	return r, err
}

// shipment returns a shipment, errAbsent when there is none.
func (a *admin) shipment(ctx context.Context, courier, id string) (s event.Shipment, err error) {
	err = a.get(ctx, "/api/v1/shipments/"+url.PathEscape(id)+"?courier="+courier, asJSONInto(&s))
	return s, err
}

// letter is what a load test reads of a dead letter.
type letter struct {
	ID   string     `json:"id"`
	Key  string     `json:"idempotencyKey"`
	Code event.Code `json:"errorCode"`
}

// letters calls visit with every dead letter of a courier.
func (a *admin) letters(ctx context.Context, courier string, visit func(letter)) error {
	after := ""
	for {
		var page struct {
			DeadLetters []letter `json:"deadLetters"`
			Next        string   `json:"next"`
		}
		query := url.Values{"courier": {courier}, "limit": {strconv.Itoa(lettersPerPage)}}
		if after != "" {
			query.Set("after", after)
		}
		if err := a.get(ctx, "/api/v1/dead-letters?"+query.Encode(), asJSONInto(&page)); err != nil {
			return err
		}
		for _, l := range page.DeadLetters {
			visit(l)
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// counter returns a counter without labels from the metrics, errAbsent when
// there is none of this name.
func (a *admin) counter(ctx context.Context, name string) (value uint64, err error) {
	found := false
	err = a.get(ctx, "/metrics", func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			text, ok := strings.CutPrefix(lines.Text(), name+" ")
			if !ok {
				continue
			}
			f, err := strconv.ParseFloat(text, 64)
			value, found = uint64(f), true
			return err
		}
		return lines.Err()
	})
	if err == nil && !found {
		err = fmt.Errorf("metric %s: %w", name, errAbsent)
	}
	return value, err
}
