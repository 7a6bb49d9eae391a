package signature

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// used lists the keys that c sets, but for the scheme and its keys.
func (c *Config) used() []string {
	var keys []string
	for _, s := range []struct {
		key string
		set bool
	}{
		{"algorithms", len(c.Algorithms) > 0},
		{"algorithm_header", c.AlgorithmHeader != ""},
		{"allow_sha1", c.AllowSHA1},
		{"encodings", len(c.Encodings) > 0},
		{"signature.from", c.Signature.From != ""},
		{"signature.names", len(c.Signature.Names) > 0},
		{"signature.prefix", c.Signature.Prefix != ""},
		{"signature.prefix_optional", c.Signature.PrefixOptional},
		{"signature.format", c.Signature.Format != ""},
		{"signature.fields", len(c.Signature.Fields) > 0},
		{"signature.separator", c.Signature.Separator != ""},
		{"timestamp.from", c.Timestamp.From != ""},
		{"timestamp.names", len(c.Timestamp.Names) > 0},
		{"timestamp.unit", c.Timestamp.Unit != ""},
		{"tolerance_past", c.TolerancePast != 0},
		{"tolerance_future", c.ToleranceFuture != 0},
		{"message", len(c.Message) > 0},
		{"derive", c.Derive != ""},
		{"normalize", c.Normalize != ""},
		{"key_id_header", c.KeyIDHeader != ""},
		{"jwks", c.JWKS != ""},
		{"claims", len(c.Claims) > 0},
	} {
		if s.set {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// faults lists what is wrong with c as it was written. Full is c completed by
// its family.
func (c *Config) faults(f *family, full *Config) (out event.Faults) {
	for _, key := range c.used() {
		out.Check(f.allows(key), key, "means nothing to scheme %s", c.Scheme)
	}
	full.algorithmFaults(f, &out)
	full.secretFaults(f, &out)
	if f.fixed == nil {
		full.placeFaults(f, &out)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Claims)) {
		out.Check(isPlain(name), "claims", "%q is no claim's name", name)
	}
	if f.signs() {
		if f.fixed == nil {
			full.messageFaults(&out)
			full.timestampFaults(c, &out)
		}
		full.toleranceFaults(f, &out)
	} else {
		out.Check(c.TolerancePast >= 0, "tolerance_past", "must not be negative, is %v", c.TolerancePast)
		out.Check(c.ToleranceFuture >= 0, "tolerance_future", "must not be negative, is %v", c.ToleranceFuture)
	}
	return out
}

func (c *Config) algorithmFaults(f *family, out *event.Faults) {
	for i, a := range c.Algorithms {
		path := item("algorithms", i)
		switch {
		case len(f.algorithms) == 0: // reported already
		case !slices.Contains(f.algorithms, a):
			out.Check(false, path, "%q is none of %v", a, f.algorithms)
		case slices.Contains(c.Algorithms[:i], a):
			out.Check(false, path, "%q is listed twice", a)
		case a == SHA1 && !c.AllowSHA1:
			out.Check(false, path, "sha1 is used only with allow_sha1 = true")
		}
	}
	out.Check(!c.AllowSHA1 || slices.Contains(c.Algorithms, SHA1), "allow_sha1", "is set, but sha1 is not among the algorithms")
	out.Check(c.AlgorithmHeader == "" || isToken(c.AlgorithmHeader), "algorithm_header", "%q is no header's name", c.AlgorithmHeader)
	if f.signs() && f.fixed == nil {
		out.Check(len(c.Algorithms) < 2 || c.AlgorithmHeader != "", "algorithm_header", "is needed to distinguish %d algorithms", len(c.Algorithms))
	}
	for i, e := range c.Encodings {
		out.Check(slices.Contains(encodings, e), item("encodings", i), "%q is none of %v", e, encodings)
	}
	distinct(out, "encodings", c.Encodings)
}

func (c *Config) secretFaults(f *family, out *event.Faults) {
	symmetric, public := f.keyNeeds(c)
	out.Check(!symmetric || len(c.Secrets) > 0, "secrets", "at least one secret is needed")
	out.Check(symmetric || len(c.Secrets) == 0, "secrets", "mean nothing here: the keys come from a JWKS")
	out.Check(!public || c.JWKS != "" || c.Keys != nil, "jwks", "is needed: the file or https address of the sender's public keys")
	out.Check(!public || c.JWKS == "" || c.Keys != nil, "jwks", "no source of its keys was made")
	out.Check(public || c.JWKS == "" || !f.allows("jwks"), "jwks", "means nothing without RS256")
	out.Check(c.KeyIDHeader == "" || isToken(c.KeyIDHeader), "key_id_header", "%q is no header's name", c.KeyIDHeader)
	if c.JWKS != "" {
		if _, err := jwks.Loader(c.JWKS); err != nil {
			out.Check(false, "jwks", "%v", err)
		}
	}
	if !oneOf(out, "derive", c.Derive, "utf8", "base64", "hex", "whsec") || !oneOf(out, "normalize", c.Normalize, "none", "nfkd") {
		return
	}
	out.Check(c.Normalize == "none" || c.Derive == "utf8", "normalize", "%s has no meaning for a key in %s", c.Normalize, c.Derive)
	for i, s := range c.Secrets {
		path := item("secrets", i)
		switch {
		case !jwks.ValidID(s.ID):
			out.Check(false, path+".id", "%q is not 1 to 64 characters of a-z, A-Z, 0-9, '.', '-' and '_'", s.ID)
		case slices.ContainsFunc(c.Secrets[:i], func(o Secret) bool { return o.ID == s.ID }):
			out.Check(false, path+".id", "%q is the id of two secrets", s.ID)
		}
		if _, problem := c.newKey(f.keys, s, nil); problem != "" {
			out.Check(false, path+".key", "%s", problem)
		}
		out.Check(s.NotBefore.IsZero() || s.NotAfter.IsZero() || s.NotBefore.Before(s.NotAfter), path+".not_after", "must be later than not_before")
	}
}

// keyNeeds reports whether the scheme needs secrets, and whether public keys.
func (f *family) keyNeeds(c *Config) (secrets, public bool) {
	switch f.keys {
	case rsaKeys:
		return false, true
	case jwtKeys:
		public = slices.Contains(c.Algorithms, RS256)
		return !public || len(c.Algorithms) > 1, public
	default:
		return true, false
	}
}

func (c *Config) placeFaults(f *family, out *event.Faults) {
	p := &c.Signature
	sources := []string{"header", "json", "query"}
	if !f.signs() {
		sources = []string{"header", "query"}
	}
	if oneOf(out, "signature.from", p.From, sources...) {
		nameFaults(out, "signature.names", p.From, p.Names)
	}
	out.Check(!p.PrefixOptional || p.Prefix != "", "signature.prefix_optional", "is set, but there is no prefix")
	oneOf(out, "signature.separator", p.Separator, ",", ";")
	if !oneOf(out, "signature.format", p.Format, "plain", "fields", "tagged") {
		return
	}
	plain := p.Format == "plain"
	out.Check(plain || p.Prefix == "", "signature.prefix", "is for the plain format only")
	out.Check(plain || len(p.Fields) > 0, "signature.fields", "the format %s needs the names of fields that hold signatures", p.Format)
	out.Check(!plain || len(p.Fields) == 0, "signature.fields", "the format plain has no fields")
	out.Check(p.Format == "fields" || p.Separator == ",", "signature.separator", "is for the format fields only")
	for i, name := range p.Fields {
		out.Check(isToken(name), item("signature.fields", i), "%q is no field's name", name)
	}
	distinct(out, "signature.fields", p.Fields)
}

// nameFaults checks the names of headers, of a member or of a parameter.
func nameFaults(out *event.Faults, path, from string, names []string) {
	out.Check(len(names) > 0, path, "a name is needed")
	out.Check(len(names) < 2 || from == "header", path, "only headers may have several names")
	for i, n := range names {
		switch from {
		case "header", "field":
			out.Check(isToken(n), item(path, i), "%q is no name of a %s", n, from)
		case "json":
			out.Check(isMember(n), item(path, i), "%q is no member's name", n)
		default:
			out.Check(n != "", item(path, i), "a name is needed")
		}
	}
	distinct(out, path, names)
}

func (c *Config) messageFaults(out *event.Faults) {
	out.Check(len(c.Message) <= maxParts, "message", "has %d parts, at most %d are possible", len(c.Message), maxParts)
	binds := false
	for i, text := range c.Message {
		path := item("message", i)
		p, problem := parsePart(text)
		if problem != "" {
			out.Check(false, path, "%s", problem)
			continue
		}
		binds = binds || p.kind != literalPart && p.kind != methodPart && p.kind != pathPart
		if c.Signature.From == "json" {
			self := c.Signature.Names
			out.Check(p.kind != bodyPart, path, "the body holds the signature, so it can't be signed")
			out.Check(p.kind != memberPart || len(self) != 1 || !within(self[0], p.names[0]), path, "%s holds the signature, so it can't be signed", text)
		}
		out.Check(!p.inHeader() || !c.signatureIn(p.names), path, "%s holds the signature, so it can't be signed", text)
		out.Check(p.kind != timestampPart || c.Timestamp.From != "none", path, "there is no timestamp: set timestamp.from")
	}
	out.Check(binds, "message", "signs nothing that the sender says")
}

// signatureIn reports whether one of the headers holds the signature.
func (c *Config) signatureIn(headers []string) bool {
	return c.Signature.From == "header" && slices.ContainsFunc(headers, func(name string) bool { return slices.Contains(c.Signature.Names, name) })
}

// timestampFaults checks the timestamp; written is c before it was completed.
func (c *Config) timestampFaults(written *Config, out *event.Faults) {
	t := &c.Timestamp
	if !oneOf(out, "timestamp.from", t.From, "none", "header", "field", "json") {
		return
	}
	oneOf(out, "timestamp.unit", t.Unit, "s", "ms", "rfc3339", "rfc2822")
	if t.From == "none" {
		out.Check(len(t.Names) == 0, "timestamp.names", "there is no timestamp: set timestamp.from")
		out.Check(written.Timestamp.Unit == "", "timestamp.unit", "there is no timestamp: set timestamp.from")
		return
	}
	nameFaults(out, "timestamp.names", t.From, t.Names)
	out.Check(t.From != "header" || !c.signatureIn(t.Names), "timestamp.names", "names the header that holds the signature: set timestamp.from to field")
	if t.From == "field" {
		out.Check(c.Signature.Format == "fields", "timestamp.from", "the signature has no fields: set signature.format")
		out.Check(len(t.Names) == 0 || !slices.Contains(c.Signature.Fields, t.Names[0]), "timestamp.names", "names a field that holds signatures")
	}
	out.Check(c.signsTimestamp(), "message", "does not hold the timestamp, so it could be changed on the way")
}

// signsTimestamp reports whether the message holds the timestamp, by itself or as
// a part of something else.
func (c *Config) signsTimestamp() bool {
	return slices.ContainsFunc(c.Message, func(text string) bool {
		p, _ := parsePart(text)
		switch p.kind {
		case timestampPart:
			return true
		case bodyPart:
			return c.Timestamp.From == "json"
		case memberPart:
			return c.Timestamp.From == "json" && len(c.Timestamp.Names) == 1 && within(c.Timestamp.Names[0], p.names[0])
		case headerPart:
			return c.Timestamp.From == "header" && slices.Equal(p.names, c.Timestamp.Names)
		default:
			return false
		}
	})
}

func (c *Config) toleranceFaults(f *family, out *event.Faults) {
	for _, t := range []struct {
		path string
		is   time.Duration
	}{{"tolerance_past", c.TolerancePast}, {"tolerance_future", c.ToleranceFuture}} {
		switch c.Timestamp.From {
		case "none":
			out.Check(f.fixed != nil || t.is == 0, t.path, "there is no timestamp: set timestamp.from")
		case "header", "field", "json":
			out.Check(t.is > 0, t.path, "must be positive, is %v", t.is)
		}
	}
}

// within reports whether the member named inner is the one named outer, or
// inside it.
func within(inner, outer string) bool {
	return inner == outer || strings.HasPrefix(inner, outer+".")
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// oneOf adds a fault unless value is one of those allowed, and reports whether it is.
func oneOf(out *event.Faults, path, value string, allowed ...string) bool {
	ok := slices.Contains(allowed, value)
	out.Check(ok, path, "%q is none of %s", value, strings.Join(allowed, ", "))
	return ok
}

// distinct adds a fault for every value that a list has before.
func distinct[T comparable](out *event.Faults, path string, list []T) {
	for i, v := range list {
		out.Check(!slices.Contains(list[:i], v), item(path, i), "%q is listed twice", fmt.Sprint(v))
	}
}

const alphanumerics = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// isToken reports whether s can be a header's name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	return s != "" && strings.Trim(s, alphanumerics+marks) == ""
}

// isMember reports whether s is the path of a member: names of printable ASCII
// between full stops, without quotes and backslashes.
func isMember(s string) bool {
	return !slices.Contains(strings.Split(s, "."), "") && isPlain(s)
}

// isPlain reports whether s can be in JSON as it is, and isn't empty.
func isPlain(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) < 0
}
