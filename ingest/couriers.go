package ingest

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/limits"
	"github.com/fincart/courier-gateway/ingest/media"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/record"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// Courier is a sender that may post events, and how it does.
type Courier struct {
	Name          string // see [event.ValidCourier]
	Scheme        *signature.Scheme
	Decoder       *payload.Decoder // of its bodies; nil reads the canonical one
	Observe       bool             // accept, and record what would have been refused
	Success       Success
	Handshake     Handshake
	Networks      []netip.Prefix // from which it may post; none: any
	ContentTypes  []string       // of its bodies, see [media.New]; none: [media.Types]
	Encodings     []string       // of its bodies, the same way; none: [media.Codings]
	MaxBodyBytes  int            // larger bodies are refused; 0: the listener's limit, which can't be exceeded
	RatePerSecond float64        // of its requests, 0 for no limit; past it they are refused until Retry-After
	RateBurst     int            // of them at once, after a silence; at least 1 with a rate
	MaxConcurrent int            // of them in work at once, 0 for no limit; those beyond are refused
}

// Success is the answer that a courier expects when its event is accepted.
type Success struct {
	Status      int    // 2xx; 0 means 202
	Body        []byte // nil means our JSON, or nothing with a status that has no body
	ContentType string // of Body; "" means plain text
	Headers     []Header
}

// Header is one of an answer.
type Header struct{ Name, Value string }

// ownHeaders are those of answers that no courier's settings may replace.
var ownHeaders = []string{"connection", "content-encoding", "content-length", "content-type", "date", "keep-alive", "retry-after", "trailer",
	"transfer-encoding", "upgrade", "www-authenticate", "x-request-id"}

// headerName is a token of RFC 9110, section 5.6.2.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")

// Check adds a fault when no courier's settings can add h to an answer.
func (h Header) Check(faults *event.Faults, path string) {
	faults.Check(headerName.MatchString(h.Name), path, "%q can't be the name of a header", h.Name)
	faults.Check(!slices.Contains(ownHeaders, strings.ToLower(h.Name)), path, "header %s of an answer is the appliance's own", h.Name)
	faults.Check(printable(h.Value), path, "the value can't be in a header")
}

// Couriers are all senders that may post events.
type Couriers struct {
	All     []Courier
	Default string // which of them posts to the path without a name; "" for none
	// Secrets are others that no log and no record may have, such as operators' tokens.
	Secrets [][]byte
}

// table is a Couriers ready for use; it never changes.
type table struct {
	byName   map[string]*courier
	fallback *courier         // nil for none
	redactor *record.Redactor // of the credentials of all couriers
}

// registry holds the active couriers.
type registry struct {
	active       atomic.Pointer[table]
	maxBodyBytes int // of the listener
	metrics      *metrics
	records      *recorder
}

// courier is a Courier ready for use, with its counters.
type courier struct {
	name         string
	scheme       *signature.Scheme
	decoder      *payload.Decoder
	observe      bool
	success      Success // complete
	handshake    Handshake
	asks         bool // by POST, in a handshake
	limits       *limits.Limits
	media        *media.Accepts
	maxBodyBytes int
	tooLarge     string         // what the answer to a larger body says
	shares       *record.Shares // of its requests with a record of their own; nil when nothing is recorded

	accepted  tally
	duplicate tally
	conflict  tally
	ignored   prometheus.Counter
	samples   *record.Shares // of ignored requests with a record of their own
}

// ignoredSamples bounds the records of single requests that a courier's settings ignore.
// A sender may post more of them than of anything else, and a few show what they are.
var ignoredSamples = record.Config{PerSecond: 1.0 / 600, Burst: 10}

// tally counts for the metrics and for the records.
type tally struct {
	counter   prometheus.Counter
	aggregate *record.Aggregate
}

// SetCouriers replaces all couriers at once. Requests in work go on with those they
// began with, and limits that stay the same go on where they are. On error the
// couriers before stay active.
func (s *Server) SetCouriers(c Couriers) error { return s.couriers.set(c) }

func (g *registry) set(c Couriers) error {
	before := g.active.Load()
	if before == nil {
		before = &table{}
	}
	t := &table{byName: make(map[string]*courier, len(c.All))}
	var schemes []*signature.Scheme
	var faults event.Faults
	for i := range c.All {
		name, known := c.All[i].Name, len(faults)
		path := fmt.Sprintf("couriers[%q]", name)
		faults.Check(t.byName[name] == nil, path, "is there twice")
		one := g.newCourier(&c.All[i], before.byName[name], &faults, path)
		if len(faults) == known {
			t.byName[name] = one
			schemes = append(schemes, one.scheme)
		}
	}
	t.fallback = t.byName[c.Default]
	faults.Check(t.fallback != nil || c.Default == "", "default", "the default courier %q is not among the couriers", c.Default)
	if err := faults.Err(); err != nil {
		return err
	}
	t.redactor = record.NewRedactor(schemes, c.Secrets)
	for _, one := range t.byName {
		g.count(one)
	}
	g.active.Store(t)
	return nil
}

// hide returns a text that is logged without what it may quote of a request that is secret.
func (g *registry) hide(text string) string {
	if t := g.active.Load(); t != nil {
		return t.redactor.Detail(text)
	}
	return text
}

// newCourier makes a courier ready for use, if it adds no fault; before is what it was
// until now, nil for a new one.
func (g *registry) newCourier(c *Courier, before *courier, faults *event.Faults, path string) *courier {
	faults.Check(event.ValidCourier(c.Name), path, "is no courier's name: 1 to 63 characters of a-z, 0-9, '-' and '_'")
	faults.Check(c.Scheme != nil, path, "has no signature scheme")
	faults.Check(c.MaxBodyBytes >= 0 && c.MaxBodyBytes <= g.maxBodyBytes, path,
		"has a limit of %d body bytes, the listener accepts 1 to %d", c.MaxBodyBytes, g.maxBodyBytes)
	one := &courier{
		name: c.Name, scheme: c.Scheme, decoder: c.Decoder, observe: c.Observe,
		success: c.Success.complete(faults, path), handshake: c.Handshake, asks: c.Handshake.posts(), maxBodyBytes: c.MaxBodyBytes,
	}
	if one.maxBodyBytes == 0 {
		one.maxBodyBytes = g.maxBodyBytes
	}
	one.tooLarge = largerThan(one.maxBodyBytes)
	one.media = c.accepts(faults, path)
	c.Handshake.Check(faults, path+".handshake.")
	var counted *limits.Limits
	switch {
	case before != nil:
		counted, one.shares, one.samples = before.limits, before.shares, before.samples
	case g.records != nil:
		one.shares, one.samples = record.NewShares(g.records.config), record.NewShares(ignoredSamples)
	}
	one.limits = limits.New(limits.Config{
		Networks: c.Networks, RatePerSecond: c.RatePerSecond, RateBurst: c.RateBurst, MaxConcurrent: c.MaxConcurrent,
	}, counted, faults, path)
	return one
}

// challenge returns what a 401 asks a client for that sends its credential only then (RFC
// 7617, section 2; RFC 6750, section 3), "" where no such client is meant.
func (k *courier) challenge(reason string) string {
	switch {
	case k == nil:
		return ""
	case k.scheme.Name() == "basic":
		return `Basic realm="events", charset="UTF-8"`
	case k.scheme.Name() != "bearer":
		return ""
	case reason == signature.Missing.String():
		return `Bearer realm="events"`
	}
	return `Bearer realm="events", error="invalid_token"`
}

// accepts returns which bodies a courier may post, and adds what is wrong with the lists.
func (c *Courier) accepts(faults *event.Faults, path string) *media.Accepts {
	types := c.ContentTypes
	if len(types) == 0 {
		types = media.Types(c.Scheme != nil && c.Scheme.Name() == "basic")
	}
	return media.New(types, c.Encodings, faults, path+".")
}

// count gives a courier that becomes active its counters, which show in the metrics
// from then on.
func (g *registry) count(one *courier) {
	one.accepted = g.tally(one.name, codeAccepted, ingestion.Accepted)
	one.duplicate = g.tally(one.name, codeDuplicate, ingestion.Duplicate)
	one.ignored = g.metrics.requests.WithLabelValues(one.name, codeIgnored)
	one.conflict = g.tally(one.name, codeConflict, ingestion.Duplicate)
}

func (g *registry) tally(courier, code string, outcome ingestion.Outcome) tally {
	return tally{g.metrics.requests.WithLabelValues(courier, code), g.records.aggregate(record.Key{Courier: courier, Outcome: outcome})}
}

// complete returns the answer with its defaults, and adds what is wrong with it.
func (s Success) complete(faults *event.Faults, path string) Success {
	if s.Status == 0 {
		s.Status = fasthttp.StatusAccepted
	}
	faults.Check(s.Status >= 200 && s.Status <= 299, path, "has success status %d, must be 200 to 299", s.Status)
	faults.Check(s.Body != nil || s.ContentType == "", path, "has success content-type %q, but no body of its own", s.ContentType)
	if bare := s.Status == fasthttp.StatusNoContent || s.Status == fasthttp.StatusResetContent; bare {
		faults.Check(len(s.Body) == 0, path, "has a success body, which status %d can't have", s.Status)
		s.Body, s.ContentType = []byte{}, ""
	}
	for _, h := range s.Headers {
		h.Check(faults, path)
	}
	faults.Check(printable(s.ContentType), path, "has success content-type %q, which no header can carry", s.ContentType)
	if len(s.Body) > 0 && s.ContentType == "" {
		s.ContentType = plainText
	}
	return s
}

// find returns the courier of that name, nil for none. An empty name asks for
// the default courier.
func (t *table) find(name []byte) *courier {
	if len(name) == 0 {
		return t.fallback
	}
	return t.byName[string(name)]
}

// printable reports whether text is printable ASCII.
func printable(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
