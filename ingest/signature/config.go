package signature

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultTolerance is how far a timestamp may lie from the present, in either
// direction, unless a sender's settings say otherwise.
const DefaultTolerance = 5 * time.Minute

// Config is one sender's settings.
type Config struct {
	Scheme     string      // "gateway" or "gateway-body"
	Algorithms []Algorithm // that the sender may use, the preferred first; none means all
	// Secrets are all live at once, so that they can be rotated; at least one.
	Secrets []Secret
	// TolerancePast and ToleranceFuture bound the timestamp's distance from the
	// present. Both are positive; a scheme without a timestamp ignores them.
	TolerancePast, ToleranceFuture time.Duration
}

// Secret is a shared secret and the name by which logs and envelopes call it.
type Secret struct {
	ID  string // 1 to 64 characters of a-z, A-Z, 0-9, ".", "-" and "_"
	Key []byte // the raw key; at least one byte
}

// String names the secret without giving it away.
func (s Secret) String() string { return s.ID + ":hidden" }

// GoString is [Secret.String], for the %#v of a careless log line.
func (s Secret) GoString() string { return s.String() }

// Fault is one thing wrong with a [Config]. Path names the key, as in
// "secrets[1].id".
type Fault struct{ Path, Message string }

// Invalid is the error of a config with faults.
type Invalid []Fault

func (e Invalid) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Path + ": " + f.Message
	}
	return strings.Join(lines, "; ")
}

func (e *Invalid) add(path, format string, args ...any) {
	*e = append(*e, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *Config) faults() (out Invalid) {
	i := slices.IndexFunc(recipes, func(r recipe) bool { return r.name == c.Scheme })
	if i < 0 {
		out.add("scheme", "%q is none of %s", c.Scheme, strings.Join(Names(), ", "))
	}
	for n, a := range c.Algorithms {
		if !slices.Contains(Algorithms, a) {
			out.add("algorithms["+strconv.Itoa(n)+"]", "%q is none of %v", a, Algorithms)
		} else if slices.Contains(c.Algorithms[:n], a) {
			out.add("algorithms["+strconv.Itoa(n)+"]", "%q is listed twice", a)
		}
	}
	c.secretFaults(&out)
	if i >= 0 && recipes[i].timestamp != "" {
		if c.TolerancePast <= 0 {
			out.add("tolerance_past", "must be positive, is %v", c.TolerancePast)
		}
		if c.ToleranceFuture <= 0 {
			out.add("tolerance_future", "must be positive, is %v", c.ToleranceFuture)
		}
	}
	return out
}

func (c *Config) secretFaults(out *Invalid) {
	if len(c.Secrets) == 0 {
		out.add("secrets", "at least one secret is needed")
	}
	for n, s := range c.Secrets {
		path := "secrets[" + strconv.Itoa(n) + "]"
		switch {
		case !validID(s.ID):
			out.add(path+".id", "%q is not 1 to 64 characters of a-z, A-Z, 0-9, '.', '-' and '_'", s.ID)
		case slices.ContainsFunc(c.Secrets[:n], func(o Secret) bool { return o.ID == s.ID }):
			out.add(path+".id", "%q is the id of two secrets", s.ID)
		}
		if len(s.Key) == 0 {
			out.add(path+".key", "must not be empty")
		}
	}
}

// validID reports whether id is safe as a header value and a metrics label.
func validID(id string) bool {
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return id != "" && len(id) <= 64 && strings.Trim(id, chars) == ""
}
