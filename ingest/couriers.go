package ingest

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// Courier is a sender that may post events.
type Courier struct {
	Name          string // see [event.ValidCourier]
	Scheme        *signature.Scheme
	SuccessStatus int // 2xx that this courier insists on; 0 means 202
}

// Couriers are all senders that may post events.
type Couriers struct {
	All     []Courier
	Default string // which of them posts to the path without a name; "" for none
}

// table is a Couriers ready for use; it never changes.
type table struct {
	byName   map[string]*sender
	fallback *sender // nil for none
	// dummy is verified against when there is no such courier; nil when there
	// is no courier at all.
	dummy *signature.Scheme
}

// sender is a Courier with its counters.
type sender struct {
	name      string
	scheme    *signature.Scheme
	status    int
	accepted  prometheus.Counter
	duplicate prometheus.Counter
	conflict  prometheus.Counter
}

// SetCouriers replaces all couriers at once. Requests under way keep those they
// began with. On error the couriers before stay in force.
func (s *Server) SetCouriers(c Couriers) error {
	t := &table{byName: make(map[string]*sender, len(c.All))}
	var errs []error
	for i := range c.All {
		one, err := s.newSender(&c.All[i])
		if err == nil && t.byName[one.name] != nil {
			err = errors.New("is there twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("courier %q: %w", c.All[i].Name, err))
			continue
		}
		t.byName[one.name] = one
		if t.dummy == nil {
			t.dummy = one.scheme.Dummy()
		}
	}
	if t.fallback = t.byName[c.Default]; t.fallback == nil && c.Default != "" {
		errs = append(errs, fmt.Errorf("the default courier %q is not among the couriers", c.Default))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	s.couriers.Store(t)
	return nil
}

func (s *Server) newSender(c *Courier) (*sender, error) {
	switch {
	case !event.ValidCourier(c.Name):
		return nil, errors.New("is no courier's name: 1 to 63 characters of a-z, 0-9, '-' and '_'")
	case c.Scheme == nil:
		return nil, errors.New("has no signature scheme")
	case c.SuccessStatus != 0 && (c.SuccessStatus < 200 || c.SuccessStatus > 299):
		return nil, fmt.Errorf("has success status %d, must be 200 to 299", c.SuccessStatus)
	}
	one := &sender{
		name: c.Name, scheme: c.Scheme, status: c.SuccessStatus,
		accepted:  s.metrics.requests.WithLabelValues(c.Name, codeAccepted),
		duplicate: s.metrics.requests.WithLabelValues(c.Name, codeDuplicate),
		conflict:  s.metrics.requests.WithLabelValues(c.Name, codeConflict),
	}
	if one.status == 0 {
		one.status = fasthttp.StatusAccepted
	}
	return one, nil
}

// find returns the courier of that name, nil for none. An empty name asks for
// the default courier.
func (t *table) find(name []byte) *sender {
	if len(name) == 0 {
		return t.fallback
	}
	return t.byName[string(name)]
}
