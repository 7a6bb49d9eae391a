package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// double is a stand-in for a whole appliance: it takes events, has them
// processed at once, with faults, and answers for them at its admin listener,
// which is the same.
type double struct {
	*httptest.Server
	proofs interface {
		fault(r *http.Request, body []byte) string // "" when the sender is proved
	}
	faults Faults
	// refuse, when set, answers an event with this status instead of taking it.
	refuse func(key string) int
	// behind is how many sequences its reconciler has not come to.
	behind uint64

	mu        sync.Mutex
	records   map[string]*event.Record
	shipments map[string]*event.Shipment
	letters   []event.DeadLetter
	applied   int
	accepted  int
}

func newDouble(t *testing.T, faults Faults) *double {
	t.Helper()
	d := &double{
		proofs: &intake{scheme: "gateway", secret: "a secret"}, faults: faults,
		records: map[string]*event.Record{}, shipments: map[string]*event.Shipment{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", d.take)
	mux.HandleFunc("GET /api/v1/status", d.status)
	mux.HandleFunc("GET /api/v1/events/{key...}", func(w http.ResponseWriter, r *http.Request) { reply200(w, d.record(r.PathValue("key"))) })
	mux.HandleFunc("GET /api/v1/shipments/{id...}", func(w http.ResponseWriter, r *http.Request) { reply200(w, d.shipment(r.PathValue("id"))) })
	mux.HandleFunc("GET /api/v1/dead-letters", d.page)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		fmt.Fprintf(w, "# HELP x\n%s_else 7\n%s %d\n", appliedCounter, appliedCounter, d.applied)
	})
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

func (d *double) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var e event.Event
	switch {
	case d.proofs.fault(r, body) != "":
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errorCode":"INVALID_SIGNATURE"}`)
	case len(payload.DecodeCanonical(body, &e, nil)) > 0:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"errorCode":"INVALID_PAYLOAD"}`)
	default:
		if d.refuse != nil {
			if status := d.refuse(e.Key); status != 0 {
				w.WriteHeader(status)
				return
			}
		}
		known := d.process(e.Clone())
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"acknowledged":true,"eventId":%q,"idempotencyKey":%q,"duplicate":%v}`, e.ID, e.Key, known)
	}
}

// process applies an event once and reports whether it was known.
func (d *double) process(e event.Event) (known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepted++
	if d.records[e.Key] != nil {
		return true
	}
	r := &event.Record{Status: event.Processed}
	r.Courier, r.Key = "demo", e.Key
	d.records[e.Key] = r
	f := d.faults.Of(e.Key)
	for n := range f.Failures {
		r.Attempts = append(r.Attempts, event.Attempt{Number: n + 1, Outcome: event.WillRetry})
	}
	if f.Permanent {
		r.Status, r.Attempts = event.DeadLettered, []event.Attempt{{Number: 1, Outcome: event.GaveUp}}
		d.bury(e.Key)
		return false
	}
	r.Attempts = append(r.Attempts, event.Attempt{Number: f.Failures + 1, Outcome: event.Succeeded})
	d.apply(e)
	return false
}

func (d *double) bury(key string) {
	l := event.DeadLetter{ID: strconv.Itoa(len(d.letters)), Code: event.DomainInvalid}
	l.Key = key
	d.letters = append(d.letters, l)
}

func (d *double) apply(e event.Event) {
	d.applied++
	s := d.shipments[e.ShipmentID]
	if s == nil {
		s = &event.Shipment{}
		d.shipments[e.ShipmentID] = s
	}
	s.History = append(s.History, event.Checkpoint{At: e.OccurredAt, Status: e.Status, Key: e.Key})
	slices.SortFunc(s.History, func(a, b event.Checkpoint) int { return a.At.Compare(b.At) })
	s.RawStatus = s.History[len(s.History)-1].Status
}

func (d *double) record(key string) *event.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.records[key]
}

func (d *double) shipment(id string) *event.Shipment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shipments[id]
}

func (d *double) status(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	counts := event.StoreCounts{Records: map[event.Status]int64{}, DeadLetters: map[event.ReviewStatus]int64{event.ReviewPending: int64(len(d.letters))}}
	for _, r := range d.records {
		counts.Records[r.Status]++
	}
	n := uint64(d.accepted)
	reply200(w, &map[string]any{
		"version": "double", "queue": event.QueueState{Sync: "none", LastSeq: n, Verified: n - min(n, d.behind), At: time.Now()}, "store": counts, "reconciler": map[string]int{"putBack": 0},
	})
}

func (d *double) page(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from, _ := strconv.Atoi(cmp.Or(r.URL.Query().Get("after"), "-1"))
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || r.URL.Query().Get("courier") != "demo" {
		http.Error(w, "which?", http.StatusBadRequest)
		return
	}
	rest := d.letters[from+1:]
	page := map[string]any{"deadLetters": rest[:min(limit, len(rest))]}
	if len(rest) > limit {
		page["next"] = rest[limit-1].ID
	}
	reply200(w, &page)
}

// reply200 answers with a document, or that there is none.
func reply200[T any](w http.ResponseWriter, v *T) {
	if v == nil {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// at returns the double's endpoint for courier demo.
func (d *double) at(t *testing.T) *site {
	t.Helper()
	s, err := newSite(t.Context(), siteConfig{url: d.URL + "/v1/events/courier/demo"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newTestLoad returns a load on a site.
func newTestLoad(t *testing.T, to *site, cfg loadConfig, m Mix) *load {
	t.Helper()
	events := generator(t, func(c *GeneratorConfig) { c.Source = "demo"; c.Interleave = 20 })
	if cfg.timeout == 0 {
		cfg.timeout = DefaultThresholds.Within * 5
	}
	return &load{
		cfg: cfg, plan: &plan{events: events, mix: m}, signer: newSigner(t, to.url, settings("gateway", "a secret")),
		past: DefaultThresholds.Within * 1000, to: to, rec: newRecorder(to.url, DefaultThresholds.Within),
	}
}

func TestDoubleIsAnAppliance(t *testing.T) {
	t.Parallel()
	d := newDouble(t, Faults{Permanent: 0.5})
	l := newTestLoad(t, d.at(t), loadConfig{connections: 2, requests: 100}, Mix{})
	if err := l.lean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(d.records) != 100 || len(d.letters) == 0 || d.applied+len(d.letters) != 100 {
		t.Errorf("%d events, %d letters, %d applied", len(d.records), len(d.letters), d.applied)
	}
	// A client of its own: a server that closes ends idle connections of the default one.
	resp, err := d.Client().Get(d.URL + "/api/v1/events/nobody")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("nobody's event is answered %d", resp.StatusCode)
	}
	if !strings.HasPrefix(l.plan.events.Key(0), "demo:") {
		t.Error("keys are another courier's")
	}
}
